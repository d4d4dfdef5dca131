"""Imports a user's modules: `model.name=mypackage.mynet:MyNet`, `data.kind=mypackage.mydata:load`.

Importing a module runs it. Callers may pass only names from the user: from the command line, the
user's config file or an argument. A name from a saved run or other data is never imported.
"""

import importlib
import inspect
from typing import Any

from jaxcnn import data
from jaxcnn.errors import UserError, reason
from jaxcnn.models import MODELS
from jaxcnn.models.registry import new_entry

CLASSES = 1000  # default for networks without `num_classes`; a config uses its data's number
INPUT_SIZE = (224, 224, 3)


def import_model(name: str) -> None:
    """Imports a network, and adds it to `MODELS` by its full name.

    Other names, such as those in the registry, and networks that are already imported need no
    import.

    Args:
      name: `MODULE:ATTRIBUTE`, named by the user. `python -m jaxcnn.main` finds modules in the
        current directory, in PYTHONPATH and among installed packages.

    Raises:
      UserError: if module or attribute is missing, fails to import, or is not a network.
    """
    if ":" not in name or name in MODELS:
        return
    constructor = _imported(
        f"model {name}", name, "MODULE:NETWORK, for example mypackage.mynet:MyNet"
    )
    MODELS[name] = new_entry(name, constructor, _classes(constructor), INPUT_SIZE)


def import_data(kind: str) -> None:
    """Imports a function that loads data, and adds it to `data.LOADERS` by its full name.

    Args:
      kind: `MODULE:FUNCTION`, named by the user; other kinds need no import.

    Raises:
      UserError: if module or attribute is missing, fails to import, or is not a function.
    """
    if ":" not in kind or kind in data.LOADERS:
        return
    load = _imported(f"data {kind}", kind, "MODULE:FUNCTION, for example mypackage.mydata:load")
    if not callable(load):
        raise UserError(f"data {kind} is no function: write load(split, config) -> Dataset")
    data.LOADERS[kind] = load


def _imported(title: str, name: str, form: str) -> Any:
    """Returns an attribute of a module, `MODULE:ATTRIBUTE`.

    Args:
      title: beginning of the message.
      name: name of module and attribute.
      form: required form of the name, with an example.

    Raises:
      UserError: if the name has another form, or cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise UserError(f"{title}: write {form}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise UserError(f"{title}: cannot import {module_name}: {reason(error)}") from error
    if not hasattr(module, attribute):
        raise UserError(f"{title}: {module_name} has no {attribute}")
    return getattr(module, attribute)


def _classes(constructor: object) -> int:
    """Returns the default of the field `num_classes`, if it has one."""
    try:
        parameters = inspect.signature(constructor).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):  # not a function, or one in C: see `new_entry`
        return CLASSES
    own = getattr(parameters.get("num_classes"), "default", None)
    return own if type(own) is int and own >= 0 else CLASSES

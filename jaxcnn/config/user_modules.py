"""A user's own modules: `model.name=mypackage.mynet:MyNet`, `data.kind=mypackage.mydata:load`.

Importing a module runs it. Whoever calls this must have the name from the user: from the command
line, from the user's config file or as an argument. A name that a saved run or other data hold is
never imported.
"""

import importlib
import inspect
from typing import Any

from jaxcnn import data
from jaxcnn.errors import UserError, reason
from jaxcnn.models import MODELS
from jaxcnn.models.registry import new_entry

CLASSES = 1000  # of a network that has no number of its own; a config's data have theirs
INPUT_SIZE = (224, 224, 3)


def import_model(name: str) -> None:
    """Imports a network, and adds it to `MODELS` by its full name.

    Names of another form, such as those of the registry, and networks that are there already need
    no import.

    Args:
      name: `MODULE:ATTRIBUTE`, which the user named. `python -m jaxcnn.main` finds modules in the
        current directory, in PYTHONPATH and among what is installed.

    Raises:
      UserError: no such module or attribute, an error in it, or one that is no network.
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
      kind: `MODULE:FUNCTION`, which the user named; other kinds need no import.

    Raises:
      UserError: no such module or attribute, an error in it, or one that is no function.
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
      title: begins a message.
      name: of both.
      form: that a name has, with an example.

    Raises:
      UserError: a name of another form, or one that cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise UserError(f"{title}: write {form}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module, which is a program, raises
        raise UserError(f"{title}: cannot import {module_name}: {reason(error)}") from error
    if not hasattr(module, attribute):
        raise UserError(f"{title}: {module_name} has no {attribute}")
    return getattr(module, attribute)


def _classes(constructor: object) -> int:
    """Returns the default of the field `num_classes`, if it has one."""
    try:
        parameters = inspect.signature(constructor).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no function, or one in C: see `new_entry`
        return CLASSES
    own = getattr(parameters.get("num_classes"), "default", None)
    return own if type(own) is int and own >= 0 else CLASSES

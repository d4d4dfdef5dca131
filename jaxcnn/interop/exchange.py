"""Converts between torch states and Flax variables."""

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.errors import UserError, nearest
from jaxcnn.interop.name_rules import Library, Rule, library_name
from jaxcnn.interop.name_tables import LIBRARIES, ONNX
from jaxcnn.models import create_model, input_size

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
IGNORED = "num_batches_tracked"
_log = logging.getLogger(__name__)

Path = tuple[str, ...]


class _Place(NamedTuple):
    """Place of one of our leaves in a torch state."""

    key: str
    rule: Rule
    leaf: jax.ShapeDtypeStruct  # our leaf
    shape: tuple[int, ...]  # torch's shape


def from_torch(
    state: Mapping[str, Any], library: str, name: str, **overrides: Any
) -> tuple[nn.Module, dict[str, Any]]:
    """Returns our network for a torch library's name, and its variables from the library's state.

    The number of classes and input channels, and whether there are auxiliary heads, are read from
    the state. Arrays are cast to the network's `param_dtype`. `num_batches_tracked` is ignored, and
    so is a prefix of the keys, such as `module.` or `model.backbone.`. With `num_classes=0` the
    classifier is omitted and may be missing.

    Args:
      state: key → array; convolutions (O, I, H, W), dense layers (O, I), as in a `state_dict`.
      library: "torchvision" or "timm".
      name: the library's name of the network, such as "resnet50" or "mobilenetv1_100".
      **overrides: fields of our network, for variants without their own name (`growth_rate=12,
        stage_sizes=(4, 4, 4), stem_features=24`) or another `dtype`.

    Returns:
      The module, and {"params": …, "batch_stats": …}.

    Raises:
      UserError: if the library, name or field is unknown, or the state is of another network; the
        message lists missing, superfluous and differently shaped arrays.
    """
    chosen = _find_in_torch(library, name)
    overrides.setdefault("parent", None)  # a top-level module
    state, dropped = without_prefix(state, library, name)
    if dropped:
        _log.warning("weights: the prefix %r of the keys is dropped", dropped)
    state = {current_name(key, chosen): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if not key.endswith(IGNORED)}
    for prefix, field in chosen.optional.items():
        present = any(key.startswith(prefix) for key in state)
        if not overrides.setdefault(field, present):
            state = {key: value for key, value in state.items() if not key.startswith(prefix)}
    rules = rules_of(build(chosen, overrides), chosen)
    head, _ = library_name(rules, "classifier")
    if overrides.get("num_classes") == 0:
        state = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
    elif state and f"{head}.weight" not in state:
        raise UserError(
            f"this state of {library}'s {name} has no classifier ({head}.weight is missing): take"
            " it without, for its features or a classifier of your own, by num_classes=0"
        )
    model = build(chosen, overrides, num_classes=axis_length(state, f"{head}.weight", 0))
    places = _places(model, rules, axis_length(state, f"{rules[0].key}.weight", 1), chosen)
    compare(
        {place.key: place.shape for place in places.values()},
        {key: np.shape(value) for key, value in state.items()},
        f"this is no state of {library}'s {name}",
    )
    flat = {
        path: jnp.asarray(_to_flax(np.asarray(state[place.key]), place), place.leaf.dtype)
        for path, place in places.items()
    }
    return model, traverse_util.unflatten_dict(flat)


def without_prefix(state: Mapping[str, Any], library: str, name: str) -> tuple[dict[str, Any], str]:
    """Returns a state without the prefix that wrappers add to its keys, and that prefix.

    The prefix precedes the network's first convolution and most other keys.

    Raises:
      UserError: if the library or name is unknown, or the state has several networks.
    """
    chosen = _find_in_torch(library, name)
    stem = f"{rules_of(build(chosen, {'parent': None}), chosen)[0].key}.weight"
    if stem in state:
        return dict(state), ""
    found = [key.removesuffix(stem) for key in state if key.endswith(f".{stem}")]
    counts = {prefix: sum(key.startswith(prefix) for key in state) for prefix in found}
    most = max(counts.values(), default=0)
    prefixes = [prefix for prefix, count in counts.items() if count == most > len(state) // 4]
    if len(prefixes) > 1:
        raise UserError(
            f"this state holds several networks, under {' and '.join(map(repr, prefixes))}: give"
            " the keys of one"
        )
    prefix = prefixes[0] if prefixes else ""
    return {key.removeprefix(prefix): value for key, value in state.items()}, prefix


def to_torch(
    variables: Mapping[str, Any], library: str, name: str, **overrides: Any
) -> dict[str, np.ndarray]:
    """Returns the state from which `from_torch` makes these variables: its inverse.

    The counters `num_batches_tracked` are omitted; torch adds them.

    Args:
      variables: variables of the network that `from_torch` returns for these names and overrides.
      library: see `from_torch`.
      name: see `from_torch`.
      **overrides: see `from_torch`.

    Raises:
      UserError: if the library, name or field is unknown, or the variables are of another network.
    """
    chosen = _find_in_torch(library, name)
    overrides.setdefault("parent", None)
    given = traverse_util.flatten_dict(jax.tree.map(np.asarray, dict(variables)))
    for field in chosen.optional.values():
        overrides.setdefault(field, any("aux" in part for path in given for part in path))
    network = build(chosen, overrides)
    rules = rules_of(network, chosen)
    head = given.get(("params", "classifier", "kernel"))
    model = build(chosen, overrides, num_classes=None if head is None else head.shape[-1])
    places = _places(model, rules, input_channels(variables, network, chosen), chosen)
    compare(
        {"/".join(path): place.leaf.shape for path, place in places.items()},
        {"/".join(path): leaf.shape for path, leaf in given.items()},
        f"these are no variables of our {chosen.model} as {library}'s {name}",
    )
    return {
        place.key: np.ascontiguousarray(_to_torch(given[path], path[-1], place.rule))
        for path, place in places.items()
    }


def create_library_model(
    library: str, model: str, /, num_classes: int | None = None, **overrides: Any
) -> nn.Module:
    """Returns our network with the fields of a library's network, not initialised.

    Args:
      library: see `from_torch`.
      model: the library's name of the network.
      num_classes: see `models.create_model`.
      **overrides: fields that replace the library's.

    Raises:
      UserError: if the library, name or field is unknown.
    """
    return build(find_network(library, model), overrides, num_classes)


def find_network(library: str, name: str) -> Library:
    """Returns the table entry of a library's network.

    Args:
      library: "torchvision", "timm", "keras" or, for files of `from_onnx`, "onnx".
      name: the library's name of the network.

    Raises:
      UserError: if the library or name is unknown.
    """
    libraries = {**LIBRARIES, "onnx": ONNX}
    if library not in libraries:
        raise UserError(f"no library {library!r}: {nearest(library, libraries)}")
    networks = libraries[library]
    if name not in networks:
        raise UserError(f"no table for {library}'s {name!r}: {nearest(name, networks)}")
    return networks[name]


def _find_in_torch(library: str, name: str) -> Library:
    if library == "onnx":
        raise UserError("files of ONNX have no keys of torch: read them by from_onnx")
    if library == "keras":
        raise UserError("keras is no library of torch: its arrays are read by from_keras")
    return find_network(library, name)


def input_channels(variables: Mapping[str, Any], model: nn.Module, chosen: Library) -> int | None:
    """Returns the number of input channels; None if the variables have no stem."""
    stem = rules_of(model, chosen)[0]
    for path, leaf in traverse_util.flatten_dict(dict(variables)).items():
        if np.ndim(leaf) == 4 and re.fullmatch(stem.path, "/".join(path[1:-1])):
            return np.shape(leaf)[2]
    return None


def current_name(key: str, chosen: Library) -> str:
    """Returns the name that the library has today for a key, which may be an old one."""
    for pattern, replacement in chosen.renamed:
        key = re.sub(pattern, replacement, key)
    return key


def build(
    chosen: Library, overrides: Mapping[str, Any], num_classes: int | None = None
) -> nn.Module:
    """Returns our network with the fields of a library's network and with `overrides`."""
    return create_model(chosen.model, **{"num_classes": num_classes, **chosen.fields, **overrides})


def fields_set(model: nn.Module, plain: nn.Module) -> dict[str, Any]:
    """Returns the fields that another network of the class has otherwise; not `num_classes`."""
    return {
        field.name: value
        for field in dataclasses.fields(model)
        if field.name not in ("num_classes", "name", "parent")
        and (value := getattr(model, field.name)) != getattr(plain, field.name)
    }


def rules_of(model: nn.Module, chosen: Library) -> Sequence[Rule]:
    """Returns the rules of names for a network."""
    return chosen.rules(model) if callable(chosen.rules) else chosen.rules


def axis_length(state: Mapping[str, Any], key: str, axis: int) -> int | None:
    """Returns the length of an axis; None if the array is missing, which is reported later."""
    shape = np.shape(state[key]) if key in state else ()
    return shape[axis] if axis < len(shape) else None


def variable_shapes(
    model: nn.Module, channels: int | None, chosen: Library
) -> dict[Path, jax.ShapeDtypeStruct]:
    """Returns shape and dtype of every leaf of a network's variables, without allocating arrays.

    Args:
      model: network.
      channels: of the images; None is the usual number.
      chosen: table entry of the network.
    """
    height, width, usual = input_size(chosen.model)
    images = jax.ShapeDtypeStruct((1, height, width, channels or usual), jnp.float32)
    return traverse_util.flatten_dict(jax.eval_shape(model.init, jax.random.key(0), images))


def _places(
    model: nn.Module, rules: Sequence[Rule], channels: int | None, chosen: Library
) -> dict[Path, _Place]:
    """Returns the place of every leaf of a network's variables."""
    places = {}
    for path, leaf in variable_shapes(model, channels, chosen).items():
        module, rule = library_name(rules, "/".join(path[1:-1]))
        torch_leaf = jax.eval_shape(partial(_to_torch, name=path[-1], rule=rule), leaf)
        places[path] = _Place(f"{module}.{LEAVES[path[-1]]}", rule, leaf, torch_leaf.shape)
    return places


def _to_torch(leaf: Any, name: str, rule: Rule) -> Any:
    """Transposes a leaf to torch's order of axes."""
    if name != "kernel":
        return leaf
    if leaf.ndim == 4:
        return leaf.transpose(3, 2, 0, 1)
    if rule.spatial is None:
        return leaf.transpose(1, 0)
    kernel = leaf.reshape(*rule.spatial, -1, leaf.shape[-1]).transpose(3, 2, 0, 1)
    return kernel if rule.as_conv else kernel.reshape(kernel.shape[0], -1)


def _to_flax(array: np.ndarray, place: _Place) -> np.ndarray:
    """Transposes a torch array to our order of axes."""
    if len(place.leaf.shape) == 4:
        return array.transpose(2, 3, 1, 0)
    if place.rule.spatial is not None and array.ndim > 1:
        array = array.reshape(array.shape[0], -1, *place.rule.spatial).transpose(2, 3, 1, 0)
        return array.reshape(place.leaf.shape)
    return array.T


def compare(
    expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], what: str
) -> None:
    """Raises `UserError` with all differences between two mappings of names to shapes."""
    complaints = {
        "missing": [key for key in expected if key not in given],
        "not used": [key for key in given if key not in expected],
        "misshapen": [
            f"{key} {given[key]} instead of {shape}"
            for key, shape in expected.items()
            if key in given and given[key] != shape
        ],
    }
    found = "; ".join(
        f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in complaints.items() if keys
    )
    if found:
        raise UserError(f"{what}: {found}. Another member takes its fields, such as stage_sizes")


def _some(keys: Sequence[str], most: int = 12) -> str:
    return ", ".join(keys[:most]) + (", …" if len(keys) > most else "")

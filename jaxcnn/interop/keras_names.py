"""Names of layers and arrays in Keras's files, and the names that Keras gives in a new process.

A file names a layer in one of three ways:

- by its own name, such as `conv1_conv`;
- by its class and a number in order of creation, such as `conv2d_94`, if it was made without a
  name; networks that the same process made before have the smaller numbers;
- in `.weights.h5` by its class and its place among the layers of that class, such as
  `layers/conv2d_3`. Keras sorts layers by their distance to the output, the farthest first.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.interop.keras_tables import NUMBERED
from jaxcnn.interop.name_rules import Rule, library_name

Layers = dict[str, dict[str, Any]]  # layer → variable → array

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # Keras 3's; tf.keras 2.12 and 2.13's
_PLACE = re.compile(rf"(?:(.+)/)?(?:{'|'.join(CONTAINERS)})/([^/]+)/vars/(\d+)")
_OTHERS = re.compile(r"(?:^|/)(?:optimizer|seed_generator\w*)(?:/|$)")  # no variables of layers
_KERNEL = re.compile(r"depthwise_kernel|.+_W(?:_\d+)?")  # the second was Keras 1's
_BIAS = re.compile(r".+_b(?:_\d+)?")
_BRANCH = re.compile(r"(.+?)/branch(\d+)/(conv|fork)(\d+)/(.+)")
_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_RANKS = {  # words of our paths that begin or end a sequence; all others have 1
    "stem": 0,
    "reduction": 0,
    "expand": 2,
    "last": 2,
    "final_norm": 2,
    "fc": 3,
    "classifier": 4,
}


def is_variable(key: str) -> bool:
    """Returns whether a name is of a layer's array, not of an optimizer or a random seed."""
    return not _OTHERS.search(key)


def read_layers(state: Mapping[str, Any]) -> tuple[Layers, bool]:
    """Returns the arrays of a state by layer and variable; and whether layers have places.

    Args:
      state: names of any file of Keras → array, such as "conv1_conv/kernel",
        "conv1_conv/conv1_conv/kernel:0" or "layers/conv2d/vars/0". Optimizers and random seeds are
        left out.
    """
    layers: Layers = {}
    places = False
    for key, array in state.items():
        key = re.sub(r":\d+$", "", key.replace("\\", "/"))
        if not is_variable(key):
            continue
        if found := _PLACE.fullmatch(key):
            parent, name, variable = found.groups()
            places, layer = True, f"{parent}/{name}" if parent else name
        else:
            layer, _, variable = key.rpartition("/")
            layer = _once(layer)
            variable = "kernel" if _KERNEL.fullmatch(variable) else variable
            variable = "bias" if _BIAS.fullmatch(variable) else variable
        layers.setdefault(layer, {})[variable] = array
    return {layer: named_variables(arrays) for layer, arrays in layers.items()}, places


def named_variables(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arrays of a layer by their names; those of places "0", "1", … get names.

    Convolutions and dense layers have a kernel and perhaps a bias; BN has gamma, which may be
    missing, beta, mean and variance.
    """
    if not all(key.isdigit() for key in arrays):
        return dict(arrays)
    ordered = [arrays[key] for key in sorted(arrays, key=int)]
    usual = ("kernel", "bias") if np.ndim(ordered[0]) > 1 else _BATCH_NORM[-min(len(ordered), 4) :]
    names = [*usual, *map(str, range(len(usual), len(ordered)))]
    return dict(zip(names, ordered, strict=False))


def _once(layer: str) -> str:
    """Returns a layer's path without the repetition that it often has in `.h5`."""
    parts = layer.split("/")
    for length in range(len(parts) // 2, 0, -1):
        if parts[-2 * length : -length] == parts[-length:]:
            return "/".join(parts[:-length])
    return layer


def split_nested(layers: Layers) -> tuple[str, Layers, Layers]:
    """Returns the prefix of the network in a model, its layers without it, and all other layers.

    The network is where most layers are. If it is nested, names of others begin with "/".

    Raises:
      UserError: if the model has several networks.
    """
    parents = Counter(layer.rpartition("/")[0] for layer in layers)
    most = max(parents.values(), default=0)
    found = [parent for parent, count in parents.items() if count == most > len(layers) // 4]
    if len(found) > 1:
        raise UserError(
            f"these weights hold several networks, under {' and '.join(map(repr, found))}: give the"
            " arrays of one"
        )
    prefix = f"{found[0]}/" if found and found[0] else ""
    inside = {layer: layer.removeprefix(prefix) for layer in layers if layer.startswith(prefix)}
    inside = {layer: name for layer, name in inside.items() if "/" not in name}
    return (
        prefix,
        {name: layers[layer] for layer, name in inside.items()},
        {
            f"/{layer}" if prefix else layer: variables
            for layer, variables in layers.items()
            if layer not in inside
        },
    )


def layer_names(rules: Sequence[Rule], paths: Iterable[str]) -> dict[str, str]:
    """Returns Keras's name of each layer in a new process, by its path in our network."""
    names, count = {}, Counter[str]()
    for path in sorted(paths, key=_creation):
        name, _ = library_name(rules, path)
        names[path] = name
        if name in NUMBERED:
            names[path] = _numbered(name, count[name])
            count[name] += 1
    return names


def layer_kinds(leaves: Mapping[tuple[str, ...], Any], rules: Sequence[Rule]) -> dict[str, str]:
    """Returns Keras's class of each layer, such as "conv2d", by its path in our network.

    Args:
      leaves: arrays or shapes of the network's variables by path.
      rules: see `Rule`.
    """
    kinds = {}
    for path, leaf in leaves.items():
        module = "/".join(path[1:-1])
        if path[-1] == "var":
            kinds[module] = "batch_normalization"
        elif path[-1] == "kernel" and leaf.ndim == 2:
            kinds[module] = "conv2d" if library_name(rules, module)[1].as_conv else "dense"
        elif path[-1] == "kernel":
            kinds[module] = "depthwise_conv2d" if "depthwise" in path else "conv2d"
    return kinds


def names_by_number(given: Collection[str], names: Collection[str]) -> dict[str, str]:
    """Returns the names in a new process of layers that are named by class and number.

    Args:
      given: names of layers in a file.
      names: names of all layers in a new process.
    """
    renamed = {}
    for kind in NUMBERED:
        expected = sum(_number(kind, name) is not None for name in names)
        numbers = {name: n for name in given if (n := _number(kind, name)) is not None}
        ordered = sorted(numbers, key=numbers.__getitem__)
        if not expected or not ordered:
            continue
        complete = len(ordered) == expected
        for place, name in enumerate(ordered):
            number = place if complete else numbers[name] - numbers[ordered[0]]
            renamed[name] = _numbered(kind, number)
    return renamed


def names_by_place(
    given: Collection[str], names: Mapping[str, str], kinds: Mapping[str, str]
) -> dict[str, str]:
    """Returns the names in a new process of layers that are named by class and place.

    Args:
      given: names of layers in a file.
      names: names of all layers in a new process, by their paths in our network.
      kinds: Keras's class of each layer, such as "conv2d", by path.
    """
    renamed = {}
    ordered = by_distance(names)
    for kind in set(kinds.values()):
        expected = [names[path] for path in ordered if kinds[path] == kind]
        found = {name: n for name in given if (n := _number(kind, name)) is not None}
        # A single dense layer is the classifier, also where hidden layers are missing.
        first = len(expected) - 1 if kind == "dense" and len(found) == 1 else 0
        for name, number in found.items():
            if first + number < len(expected):
                renamed[name] = expected[first + number]
    return renamed


def by_distance(paths: Iterable[str]) -> list[str]:
    """Sorts paths of convolutions, or of their BNs, as Keras sorts layers.

    The farthest from the output is first. A convolution with BN and activation is three layers,
    and a concatenation one. Of equal layers the one of the first branch is first; a shortcut's
    projection is as far as the last convolution of its unit.
    """
    branches = {path: found for path in paths if (found := _BRANCH.fullmatch(path))}
    last: dict[tuple[str, str], tuple[int, bool]] = {}  # of each branch: steps, ends in a fork
    for found in branches.values():
        module, branch, kind, step, _ = found.groups()
        last[module, branch] = max(
            last.get((module, branch), (0, False)), (int(step), kind == "fork")
        )

    def key(path: str) -> tuple[Any, ...]:
        if path not in branches:
            return _creation(path), 0, ()
        module, branch, _, step, rest = branches[path].groups()
        steps, forks = last[module, branch]
        distance = 3 * (steps - int(step)) + forks
        return _creation(module), -distance, (int(branch), _creation(rest))

    return sorted(paths, key=key)


def _creation(path: str) -> tuple[tuple[float, float, str], ...]:
    """Returns a key that sorts paths as the layers follow each other in the network."""
    parts = []
    for part in path.split("/"):
        word = part.rstrip("0123456789")
        number = float(part[len(word) :] or 0)
        if word == "proj":
            number = 2.5
        parts.append((_RANKS.get(word, 1), number, word))
    return tuple(parts)


def _numbered(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


def _number(kind: str, name: str) -> int | None:
    # TensorFlow 1.13 and 1.14 wrote batch_normalization_v1.
    found = re.fullmatch(rf"{kind}(?:_v1)?(?:_([1-9]\d*))?", name)
    return int(found[1] or 0) if found else None

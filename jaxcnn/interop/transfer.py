"""Transfers weights between networks with the same body, or the arrays that a map selects."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.analysis.tracing.graph import IMAGES, trace
from jaxcnn.errors import UserError

Path = tuple[str, ...]
Flat = dict[Path, Any]


class Transferred(NamedTuple):
    """Report of a transfer; every text is for people.

    Attributes:
      copied: paths of the arrays that were copied unchanged.
      changed: change of the stem.
      new: heads that keep their initialisation, and why; or arrays that the map does not select.
      left_out: given heads that the network does not have; or arrays that the map does not use.
    """

    copied: list[str]
    changed: list[str]
    new: list[str]
    left_out: list[str]


def transfer(
    fresh: Mapping[str, Any],
    given: Mapping[str, Any],
    chosen: Mapping[Path, Path] | None = None,
) -> tuple[dict[str, Any], Transferred]:
    """Returns fresh variables with given ones copied into them, and a report.

    Arrays of the same path and shape are copied in the fresh ones' dtypes. Two parts may differ:

    The classifier and auxiliary heads may be missing in either network, or have another number of
    classes; such a layer stays fresh.

    The first convolution may take grey instead of colour images or the reverse. Its kernel is then
    summed over the channels, or divided by three for each channel. A grey image then has the same
    response as one channel or as three equal ones.

    With `chosen` the networks may be any two: the chosen arrays are copied and must have the same
    shapes; all others stay fresh.

    Args:
      fresh: variables of the network to train: arrays, or their shapes and dtypes.
      given: variables of the network that the weights come from.
      chosen: see `choose`.

    Returns:
      A tree like `fresh`: NumPy arrays for copied leaves, fresh leaves elsewhere.

    Raises:
      UserError: if other arrays do not fit; the message lists them.
    """
    here, there = _flat(fresh), _flat(given)
    if chosen is not None:
        return _transfer_chosen(fresh, here, there, chosen)
    new = _fresh_heads(here, there)
    stem = _stem(here, there)
    known = {_head(path) for path in here} | {""}
    not_used = [path for path in there if path not in here]
    left_out = sorted({_head(path) for path in not_used} - known)
    report = Transferred([], [], sorted(set(new.values())), left_out)
    found: Flat = {}
    misfits: dict[str, list[str]] = {
        "missing": [],
        "not used": ["/".join(path) for path in not_used if _head(path) in known],
        "misshapen": [],
    }
    for path, leaf in here.items():
        name = "/".join(path)
        if _module(path) in new:
            found[path] = leaf
        elif path not in there:
            misfits["missing"].append(name)
        elif leaf.shape == there[path].shape:
            found[path] = np.asarray(there[path]).astype(leaf.dtype)
            report.copied.append(name)
        elif path == stem:
            kernel = np.asarray(there[path]).astype(leaf.dtype)
            found[path], change = _other_channels(kernel, leaf.shape[2])
            report.changed.append(f"{_module(path)}: {change}")
        else:
            misfits["misshapen"].append(f"{name} {there[path].shape} instead of {leaf.shape}")
    if wrong := _wrong(misfits):
        raise UserError(f"the weights are of another network: {wrong}")
    return jax.tree_util.tree_map_with_path(lambda path, _: found[_keys(path)], fresh), report


def choose(fresh: Mapping[str, Any], patterns: Sequence[str | tuple[str, str]]) -> dict[Path, Path]:
    """Returns the arrays of a network that are copied, with their paths in the other network.

    Args:
      fresh: variables of the network.
      patterns: regular expressions, searched in "stage1/conv1/kernel"; or pairs of one and a
        replacement, which gives the path in the other network. The first match is used.

    Raises:
      UserError: if a pattern is not valid, or matches nothing.
    """
    pairs, used, chosen = [], set(), {}
    for entry in patterns:
        pattern, replacement = (entry, r"\g<0>") if isinstance(entry, str) else entry
        pairs.append((pattern, replacement))
    for path in _flat(fresh):
        name = "/".join(path[1:])
        for pattern, replacement in pairs:
            try:
                theirs, matches = re.subn(pattern, replacement, name, count=1)
            except re.error as error:
                raise UserError(f"init_map: {pattern!r}, {replacement!r}: {error}") from None
            if matches:
                used.add(pattern)
                chosen[path] = (path[0], *theirs.split("/"))
                break
    for pattern, _ in pairs:
        if pattern not in used:
            raise UserError(
                f"init_map: no array of the network matches {pattern!r} that an earlier pattern has"
                " not taken"
            )
    return chosen


def swap_input_channels(model: nn.Module, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns variables for images whose three channels are in reverse order.

    With the variables of a network that was trained on images with blue first, as in Caffe, the
    network takes images with red first. The first convolution's kernel, and the BatchNorm of images
    if there is one, are turned; all other arrays are the same.

    Args:
      model: takes images (N, H, W, 3).
      variables: of the network.

    Raises:
      UserError: if the network does not take three channels, or its first layers are others than
        BatchNorm and ungrouped convolutions.
    """
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    try:
        graph = trace(model, variables, images)
    except flax.errors.ScopeParamShapeError as error:
        raise UserError(f"the network takes no images of three channels ({error})") from error
    turned, flat = {IMAGES}, dict(_flat(variables))
    for node in graph.nodes:
        if turned.isdisjoint(node.inputs):
            continue
        module = tuple(node.name.split("/"))
        if node.kind == "conv" and "groups" not in node.detail:
            axes, leaves = 2, [("params", *module, "kernel")]
        elif node.kind == "batch_norm":
            axes, leaves = 0, [path for path in flat if path[1:-1] == module]
            turned.add(node.name)
        else:
            raise UserError(
                f"the channels of images cannot be swapped: {node.name} takes them, a layer of kind"
                f" {node.kind} {node.detail}"
            )
        flat.update({path: jnp.flip(flat[path], axes) for path in leaves})
    return traverse_util.unflatten_dict(flat)


def _transfer_chosen(
    fresh: Mapping[str, Any], here: Flat, there: Flat, chosen: Mapping[Path, Path]
) -> tuple[dict[str, Any], Transferred]:
    found: Flat = {}
    misfits: dict[str, list[str]] = {"missing": [], "misshapen": []}
    for path, source in chosen.items():
        name, leaf = "/".join(source), here[path]
        if source not in there:
            misfits["missing"].append(name)
        elif leaf.shape != there[source].shape:
            misfits["misshapen"].append(f"{name} {there[source].shape} instead of {leaf.shape}")
        else:
            found[path] = np.asarray(there[source]).astype(leaf.dtype)
    if wrong := _wrong(misfits):
        raise UserError(f"init_map: {wrong}")
    copied = ["/".join(path) for path in found]
    report = Transferred(copied, [], _modules(here, found), _modules(there, chosen.values()))
    return jax.tree_util.tree_map_with_path(
        lambda p, leaf: found.get(_keys(p), leaf), fresh
    ), report


def _wrong(misfits: Mapping[str, list[str]]) -> str:
    return "; ".join(
        f"{len(names)} {kind}: {_some(names)}" for kind, names in misfits.items() if names
    )


def _modules(arrays: Iterable[Path], without: Iterable[Path]) -> list[str]:
    """Returns a text with the modules of these arrays, except those of the other arrays."""
    gone = set(without)
    names = list(dict.fromkeys(_module(path) for path in arrays if path not in gone))
    return [_some(names)] if names else []


def _flat(variables: Mapping[str, Any]) -> Flat:
    return traverse_util.flatten_dict({name: dict(tree) for name, tree in variables.items()})


def _keys(path: Any) -> Path:
    return tuple(entry.key for entry in path)


def _module(path: Path) -> str:
    return "/".join(path[1:-1])


def _head(path: Path) -> str:
    """Returns the classifier or auxiliary head that an array belongs to, or ""."""
    for number, part in enumerate(path[1:-1], 1):
        if part == "classifier" or part.startswith("aux"):
            return "/".join(path[1 : number + 1])
    return ""


def _fresh_heads(here: Flat, there: Flat) -> dict[str, str]:
    """Returns head modules that are missing or for other classes, each with a description."""
    given = {_head(path) for path in there}
    new = {}
    for path, leaf in here.items():
        module, head = _module(path), _head(path)
        if head and head not in given:
            new[module] = f"{head}: not given"
        elif head and path in there:
            shape = there[path].shape
            if leaf.shape != shape and leaf.shape[:-1] == shape[:-1]:
                new[module] = f"{module}: {leaf.shape[-1]} classes instead of {shape[-1]}"
    # A kernel with other input features is of another network, even if its bias fits.
    for path, leaf in here.items():
        if path in there and leaf.shape[:-1] != there[path].shape[:-1]:
            new.pop(_module(path), None)
    return new


def _stem(here: Flat, there: Flat) -> Path | None:
    """Returns the path of the only kernel that differs just in image channels, or None."""

    def is_stem(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
        if not len(ours) == len(theirs) == 4 or {ours[2], theirs[2]} != {1, 3}:
            return False
        return (*ours[:2], ours[3]) == (*theirs[:2], theirs[3])

    found = [p for p, leaf in here.items() if p in there and is_stem(leaf.shape, there[p].shape)]
    return found[0] if len(found) == 1 else None


def _other_channels(kernel: np.ndarray, channels: int) -> tuple[np.ndarray, str]:
    """Returns a kernel (H, W, C, O) converted to another number of channels, and a description."""
    if channels == 1:
        return kernel.sum(2, keepdims=True), f"summed over its {kernel.shape[2]} input channels"
    repeated = np.repeat(kernel / channels, channels, axis=2).astype(kernel.dtype)
    return repeated, f"shared out among {channels} input channels"


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")

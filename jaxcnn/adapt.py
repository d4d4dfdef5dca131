"""Weights of one network into another of the same body."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from jaxcnn.errors import UserError

Path = tuple[str, ...]
Flat = dict[Path, Any]


class Adapted(NamedTuple):
    """What became of the weights; every text is for a person.

    Attributes:
      taken: paths of the arrays that are as they were given.
      changed: what was done to the stem.
      new: heads that are as they were initialised, and why.
      left_out: given heads that the network does not have.
    """

    taken: list[str]
    changed: list[str]
    new: list[str]
    left_out: list[str]


def adapt(fresh: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], Adapted]:
    """Returns fresh variables with given ones in their place, and what was done.

    Arrays of the same path and shape are taken, in the fresh ones' types. Two things may differ:

    The classifier and auxiliary heads may be missing on either side, or have another number of
    classes; such a layer stays fresh.

    The first convolution may see grey images instead of colour or the reverse. Its kernel is then
    the sum over the channels, or a third of itself for each: a grey image gives the same response
    whether it comes in one channel or in three equal ones.

    Args:
      fresh: variables of the network that is to be trained: arrays, or their shapes and dtypes.
      given: variables of the network that the weights come from.

    Returns:
      A tree like `fresh`: NumPy arrays where something was taken, fresh leaves elsewhere.

    Raises:
      UserError: listing what else does not fit.
    """
    here, there = _flat(fresh), _flat(given)
    new = _fresh_heads(here, there)
    stem = _stem(here, there)
    known = {_head(path) for path in here} | {""}
    not_used = [path for path in there if path not in here]
    left_out = sorted({_head(path) for path in not_used} - known)
    report = Adapted([], [], sorted(set(new.values())), left_out)
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
            report.taken.append(name)
        elif path == stem:
            kernel = np.asarray(there[path]).astype(leaf.dtype)
            found[path], change = _other_channels(kernel, leaf.shape[2])
            report.changed.append(f"{_module(path)}: {change}")
        else:
            misfits["misshapen"].append(f"{name} {there[path].shape} instead of {leaf.shape}")
    wrong = [f"{len(names)} {kind}: {_some(names)}" for kind, names in misfits.items() if names]
    if wrong:
        raise UserError(f"the weights are of another network: {'; '.join(wrong)}")
    return jax.tree_util.tree_map_with_path(lambda path, _: found[_keys(path)], fresh), report


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
    """Returns the modules of heads that were not given, or for other classes, and what to say."""
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
    # A kernel for other features is another network's, whatever its bias looks like.
    for path, leaf in here.items():
        if path in there and leaf.shape[:-1] != there[path].shape[:-1]:
            new.pop(_module(path), None)
    return new


def _stem(here: Flat, there: Flat) -> Path | None:
    """Returns the one kernel that differs in the channels of images alone, if there is one."""

    def is_stem(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
        if not len(ours) == len(theirs) == 4 or {ours[2], theirs[2]} != {1, 3}:
            return False
        return (*ours[:2], ours[3]) == (*theirs[:2], theirs[3])

    found = [p for p, leaf in here.items() if p in there and is_stem(leaf.shape, there[p].shape)]
    return found[0] if len(found) == 1 else None


def _other_channels(kernel: np.ndarray, channels: int) -> tuple[np.ndarray, str]:
    """Returns a kernel (H, W, C, O) of as many input channels, and what was done."""
    if channels == 1:
        return kernel.sum(2, keepdims=True), f"summed over its {kernel.shape[2]} input channels"
    repeated = np.repeat(kernel / channels, channels, axis=2).astype(kernel.dtype)
    return repeated, f"shared out among {channels} input channels"


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")

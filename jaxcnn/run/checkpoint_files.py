"""One checkpoint on the disk: the files of its folder, and whether they are unchanged.

checkpoints/<step>/
  state/     arrays, as Orbax writes them
  digests/   SHA-256, dtype and shape of each array, and the seal
  meta/      the run: config, names of the classes, versions, devices
  metrics/   the evaluation at this step, if there was one

The seal is the SHA-256 of the step's number and of all JSON in the folder, and so of the arrays'
digests: Orbax does not notice a flipped bit. It shows damage, but not a forgery by somebody who
computes it anew.
"""

import errno
import hashlib
import json
import math
import os
import stat
import sys
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxcnn.errors import UserError, system_errno
from jaxcnn.io import safe_files
from jaxcnn.training.state import leaf_digests, sha256_of_digests

NOT_DAMAGE = (
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,  # these of a file server that is away
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
)

SEAL = "seal"  # its key among the digests


class Description(NamedTuple):
    """What stands beside the arrays of a checkpoint.

    Attributes:
      step: of the run.
      leaves: path → {"sha256", "dtype", "shape"} of each array.
      meta: what `Checkpoints.save` was given.
      metrics: of the evaluation at this step; empty if there was none.
    """

    step: int
    leaves: dict[str, Any]
    meta: dict[str, Any]
    metrics: dict[str, float]


def variables_sha256(described: Description) -> str:
    """Returns `state.state_sha256` of a checkpoint's parameters and statistics, unread."""
    ours = ("params/", "batch_stats/")
    digests = {path: leaf["sha256"] for path, leaf in described.leaves.items()}
    return sha256_of_digests({path: sha for path, sha in digests.items() if path.startswith(ours)})


def steps(directory: Path) -> list[int]:
    """Returns the steps that have a folder, ascending. Files, links and other names are none."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    numbers = [int(name) for name in names if name.isascii() and name.isdecimal()]
    return sorted(number for number in set(numbers) if str(number) in names)


def name(path: Any) -> str:
    """Returns "params/stem/kernel" for a path of `jax.tree_util`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def nested(tree: Any) -> Any:
    """Dictionaries all the way down, without empty nodes: names do not depend on Python classes."""
    leaves = {name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    return flax.traverse_util.unflatten_dict(leaves, sep="/")


def digests(
    step: int, state: Any, meta: dict[str, Any], metrics: dict[str, float]
) -> dict[str, Any]:
    """Returns the digests of a nested state, with the seal of all that is given."""
    found = leaf_digests(state)
    leaves = {
        path: {"sha256": found[path], "dtype": str(leaf.dtype), "shape": list(leaf.shape)}
        for path, leaf in flax.traverse_util.flatten_dict(state, sep="/").items()
    }
    return {**leaves, SEAL: _seal(leaves, meta, step, metrics)}


def _seal(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def describe(directory: Path, step: int) -> Description:
    """Returns what stands beside the arrays of a checkpoint, verified.

    Raises:
      OSError: if a file is missing or cannot be read.
      ValueError: if it differs from the saved one.
    """
    folder = directory / str(step)
    leaves, meta = (_read(folder / item / "metadata", item) for item in ("digests", "meta"))
    file = folder / "metrics" / "metrics"
    metrics = _read(file, "metrics") if file.parent.exists() else {}
    seal = leaves.pop(SEAL, "")
    if seal == _seal(leaves, meta, step, metrics):
        return Description(step, leaves, meta, metrics)
    if seal == _seal(leaves, meta):  # of a version that sealed neither step nor metrics
        numbers = all(isinstance(value, float) for value in metrics.values())
        if numbers and all(map(math.isfinite, metrics.values())):
            return Description(step, leaves, meta, metrics)
    raise ValueError("its description was changed")


def _read(file: Path, item: str) -> dict[str, Any]:
    try:
        found = safe_files.read_json(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"it has no {item}") from None
    except ValueError as error:
        raise ValueError(f"its {item}: no JSON, {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"its {item}: no JSON object")
    return found


def read_state(directory: Path, described: Description, template: Any) -> Any:
    """Returns the arrays of a checkpoint, verified, in the form of the template.

    Args:
      directory: of all checkpoints.
      described: the checkpoint.
      template: a tree of arrays or shapes; None returns the stored tree, as nested dictionaries.

    Raises:
      UserError: if the arrays are of another kind than the template's.
      Exception: if they are damaged; Orbax has no common class for that.
    """
    folder = directory / str(described.step)
    wanted = nested(template) if template is not None else _shapes(described.leaves)
    compare(described.leaves, wanted, str(folder))
    for file in (folder / "state").rglob("*"):
        if not stat.S_ISREG(mode := file.stat().st_mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{file.name} is not a regular file")  # to read a FIFO would hang
    target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), wanted)
    handler = ocp.StandardCheckpointHandler()
    try:
        found = handler.restore(folder / "state", args=ocp.args.StandardRestore(target))
    finally:
        handler.close()
    for path, digest in leaf_digests(found).items():
        if described.leaves[path]["sha256"] != digest:
            raise ValueError(f"the bits of state/{path} are not those that were saved")
    if template is None:
        return found
    leaves = flax.traverse_util.flatten_dict(found, sep="/")
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves[name(path)], template)


def ignore_late_answers() -> None:
    """Keeps Python from printing a traceback for each array that ends after the first failed.

    Orbax's event loop, which they would report to, is closed by then.
    """
    hook = sys.unraisablehook
    if getattr(hook, "ignores_late_answers", False):
        return

    def filtered(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    filtered.ignores_late_answers = True  # type: ignore[attr-defined]
    sys.unraisablehook = filtered


def _shapes(saved: dict[str, Any]) -> Any:
    leaves = {
        path: jax.ShapeDtypeStruct(entry["shape"], jnp.dtype(entry["dtype"]))
        for path, entry in saved.items()
    }
    return flax.traverse_util.unflatten_dict(leaves, sep="/")


def compare(saved: dict[str, Any], wanted: Any, where: str) -> None:
    """Checks names, dtypes and shapes: Orbax names missing arrays but casts dtypes silently.

    Raises:
      UserError: naming the first that differ.
    """
    leaves = flax.traverse_util.flatten_dict(wanted, sep="/")
    here = {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves.items()}
    there = {path: f"{entry['dtype']}{entry['shape']}" for path, entry in saved.items()}
    differing = [
        f"{path} is {there.get(path, 'missing')} there and {here.get(path, 'missing')} here"
        for path in sorted(here.keys() | there.keys())
        if here.get(path) != there.get(path)
    ]
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise UserError(
            f"checkpoint {where} is of another network or optimizer: {'; '.join(differing[:3])}"
            f"{more}; use the config it was saved with, or another --workdir"
        )


def is_no_damage(error: Exception) -> bool:
    """Tells whether a checkpoint could not be read for a reason that is not its own."""
    elsewhere = (ConnectionError, TimeoutError, MemoryError)
    return system_errno(error) in NOT_DAMAGE or isinstance(error, elsewhere)

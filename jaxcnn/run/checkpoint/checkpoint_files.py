"""The files of one checkpoint: writes and verifies their digests.

checkpoints/<step>/
  state/     arrays, as Orbax writes them
  digests/   SHA-256, dtype and shape of each array, and the seal
  meta/      description of the run: config, class names, versions, devices
  metrics/   results of the evaluation at this step, if there was one

The seal is the SHA-256 of the step number and all JSON in the folder, which includes the arrays'
digests, because Orbax does not notice a flipped bit. It reveals damage but not a forgery: anybody
can recompute it.
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
    errno.ESTALE,  # file server unavailable
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
)

SEAL = "seal"  # key of the seal among the digests


class Description(NamedTuple):
    """Digests, metadata and metrics of a checkpoint.

    Attributes:
      step: number of the step.
      leaves: path → {"sha256", "dtype", "shape"} of each array.
      meta: metadata given to `Checkpoints.save`.
      metrics: results of the evaluation at this step; empty if there was none.
    """

    step: int
    leaves: dict[str, Any]
    meta: dict[str, Any]
    metrics: dict[str, float]


def variables_sha256(described: Description) -> str:
    """Returns `state.state_sha256` of a checkpoint's variables, without reading the arrays."""
    ours = ("params/", "batch_stats/")
    digests = {path: leaf["sha256"] for path, leaf in described.leaves.items()}
    return sha256_of_digests({path: sha for path, sha in digests.items() if path.startswith(ours)})


def steps(directory: Path) -> list[int]:
    """Returns the steps that have a folder, ascending; ignores files, links and other names."""
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
    """Returns the tree as nested dictionaries without empty nodes, whatever its Python classes."""
    leaves = {name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    return flax.traverse_util.unflatten_dict(leaves, sep="/")


def digests(
    step: int, state: Any, meta: dict[str, Any], metrics: dict[str, float]
) -> dict[str, Any]:
    """Returns the digests of a nested state, and the seal of all arguments."""
    found = leaf_digests(state)
    leaves = {
        path: {"sha256": found[path], "dtype": str(leaf.dtype), "shape": list(leaf.shape)}
        for path, leaf in flax.traverse_util.flatten_dict(state, sep="/").items()
    }
    return {**leaves, SEAL: _seal(leaves, meta, step, metrics)}


def _seal(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def describe(directory: Path, step: int) -> Description:
    """Returns the verified description of a checkpoint.

    Raises:
      OSError: if a file is missing or cannot be read.
      ValueError: if a file differs from the saved one.
    """
    folder = directory / str(step)
    leaves, meta = (_read(folder / item / "metadata", item) for item in ("digests", "meta"))
    file = folder / "metrics" / "metrics"
    metrics = _read(file, "metrics") if file.parent.exists() else {}
    seal = leaves.pop(SEAL, "")
    if seal == _seal(leaves, meta, step, metrics):
        return Description(step, leaves, meta, metrics)
    if seal == _seal(leaves, meta):  # older versions sealed neither step nor metrics
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
    """Returns the verified arrays of a checkpoint, in the structure of the template.

    Args:
      directory: directory of all checkpoints.
      described: description of the checkpoint.
      template: a tree of arrays or shapes; None returns the stored tree, as nested dictionaries.

    Raises:
      UserError: if the arrays do not match the template.
      Exception: if the arrays are damaged; Orbax has no common class for that.
    """
    folder = directory / str(described.step)
    wanted = nested(template) if template is not None else _shapes(described.leaves)
    compare(described.leaves, wanted, str(folder))
    for file in (folder / "state").rglob("*"):
        if not stat.S_ISREG(mode := file.stat().st_mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{file.name} is not a regular file")  # reading a FIFO would hang
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
    """Suppresses tracebacks of arrays that finish loading after another one has failed.

    By then Orbax has closed the event loop that they report to.
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
    """Compares names, dtypes and shapes; Orbax detects missing arrays but casts dtypes silently.

    Raises:
      UserError: if any differ; the message names the first ones.
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
    """Returns whether a read error is caused by the system and not by the checkpoint's content."""
    elsewhere = (ConnectionError, TimeoutError, MemoryError)
    return system_errno(error) in NOT_DAMAGE or isinstance(error, elsewhere)

"""The directory of one run: who holds it, and what was run in it.

workdir/
  config.json       the resolved config
  classes.json      names of the classes, in the order of the network's outputs
  metrics.jsonl     one record per log or evaluation, and metrics.csv from the same
  checkpoints/      one directory per step
  statistics.npz    of the training images, where `data.preprocess` needs any
  .lock             held as long as a run writes here
"""

import contextlib
import fcntl
import json
import os
import platform
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import flax
import jax
from ml_collections import ConfigDict

from jaxcnn import inputs, recipes
from jaxcnn.data import whitening
from jaxcnn.data.source import DataSource
from jaxcnn.errors import EXIT_WORKDIR, UserError

STATISTICS = "statistics.npz"
# What a run may be continued with: nothing here changes the numbers.
FREE_TO_CHANGE = (
    "allow_change",
    "checkpoint",
    "data.dir",
    "data.max_bad_fraction",
    "data.num_workers",
    "debug_nans",
    "eval.batch_size",
    "log",
    "train.max_skipped",
    "train.watchdog_seconds",
)


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the directory and holds it; a second run gets an error at once.

    The lock is the operating system's, so a killed run leaves none behind. It does not reach over
    NFS without lock support, nor to object stores.

    Raises:
      UserError: if another run holds it, or it cannot be written (exit code 73).
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / ".lock").open("a+")
    except OSError as error:
        raise UserError(
            f"cannot write to the workdir {workdir}: {error.strerror}; choose another --workdir",
            EXIT_WORKDIR,
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(
                f"the workdir {workdir} is in use by {holder}: wait for it, stop it, or choose"
                " another --workdir",
                EXIT_WORKDIR,
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def write_config(workdir: Path, config: ConfigDict) -> None:
    """Writes the resolved config, whole or not at all."""
    _write(workdir / "config.json", recipes.to_saved(config))


def _write(path: Path, content: Any) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(partial, path)


def read_config(workdir: Path) -> ConfigDict:
    """Returns the config of an earlier run.

    Raises:
      UserError: if there is none, or it cannot be read.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise UserError(f"{workdir} is no workdir of a run: there is no config.json in it")
    try:
        return recipes.from_saved(json.loads(path.read_text()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def write_class_names(workdir: Path, names: Sequence[str]) -> None:
    """Writes the names of the classes, whole or not at all."""
    _write(workdir / "classes.json", list(names))


def read_class_names(workdir: Path) -> tuple[str, ...] | None:
    """Returns the names of the classes; None if the workdir does not hold them.

    Raises:
      UserError: if they cannot be read.
    """
    path = workdir / "classes.json"
    try:
        names = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path} is no list of names")
    return tuple(names)


def check_class_names(workdir: Path, names: Sequence[str]) -> None:
    """Refuses data whose classes are as many as those of the workdir's run, but others.

    Raises:
      UserError: naming the first that differs.
    """
    known = read_class_names(workdir) or ()
    if len(known) != len(names):  # of another number of classes others speak
        return
    for number, (there, here) in enumerate(zip(known, names, strict=True)):
        if there != here:
            raise UserError(
                f"class {number} is {there!r} in {workdir} and {here!r} in the data: use the data"
                f" it was trained on, or delete {workdir / 'classes.json'} if it is the same class"
            )


def keep_statistics(
    workdir: Path, config: ConfigDict, source: DataSource, say: Callable[[str], None]
) -> None:
    """Measures what `data.preprocess` has to know of the training split, unless that is done.

    Raises:
      UserError: see `whitening.measure`.
    """
    if config.data.preprocess == "channels":
        return
    about = {
        "dataset": config.dataset,
        "shape": list(source.image_shape),
        "examples": source.num_examples,
        **{field: config.data[field] for field in ("preprocess", "gcn_scale", "zca_epsilon")},
    }
    kept = whitening.read(workdir / STATISTICS)
    if kept is None or kept[1] != about:
        say(f"measuring {source.num_examples:,} training images for {config.data.preprocess} …")
        statistics = inputs.measure_statistics(config, source)
        if statistics is not None:
            whitening.write(workdir / STATISTICS, statistics, about)


def read_statistics(workdir: Path, config: ConfigDict) -> whitening.Statistics | None:
    """Returns what `keep_statistics` left.

    Raises:
      UserError: if it is missing or damaged.
    """
    if config.data.preprocess == "channels":
        return None
    kept = whitening.read(workdir / STATISTICS)
    if kept is None:
        raise UserError(
            f"{workdir / STATISTICS} is missing or damaged: give the training command again, which"
            " measures the training images anew"
        )
    return kept[0]


def describe_run(config: ConfigDict, num_classes: int) -> dict[str, Any]:
    """What stands beside the state in a checkpoint; JSON."""
    return {
        "config": recipes.to_saved(config),
        "num_classes": num_classes,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "versions": versions(),
        "git": git_revision(),
    }


def versions() -> dict[str, str]:
    """The versions that the numbers depend on."""
    names = ("jaxcnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return {"python": platform.python_version(), **found}


def git_revision() -> str:
    """The revision of the source, with "+" if files differ from it; "" outside a checkout."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(  # noqa: S603
            ["git", "-C", str(here), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.SubprocessError):
        return ""


def check_unchanged(config: ConfigDict, saved: dict[str, Any], where: str) -> None:
    """Refuses to continue a run with a config that would change its numbers.

    Args:
      config: of the run that starts; its `allow_change` names fields or sections that may differ.
      saved: config of the run that is continued.
      where: for the message.

    Raises:
      UserError: listing what differs.
    """
    allowed = [name.strip() for name in config.allow_change.split(",") if name.strip()]
    here = _flat(recipes.to_saved(config))
    there = _flat(recipes.to_saved(recipes.from_saved(saved)))

    def is_free(name: str) -> bool:
        # A plateau counts evaluations, and a recalibration before one changes what is saved.
        counted = config.schedule.name == "plateau" or config.eval.recalibrate_batches
        if name == "eval.every" and not counted:
            return True
        return any(
            name == free or name.startswith(f"{free}.") for free in (*FREE_TO_CHANGE, *allowed)
        )

    differing = [
        f"{name} {there.get(name, 'unset')} → {here.get(name, 'unset')}"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name) and not is_free(name)
    ]
    if differing:
        names = ",".join(difference.split(" ", 1)[0] for difference in differing)
        raise UserError(
            f"{where} was begun with another config: {'; '.join(differing)}. Use another --workdir,"
            f" or continue in spite of it with --config.allow_change={names}"
        )


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(config, sep=".")

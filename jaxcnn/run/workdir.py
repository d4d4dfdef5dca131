"""The directory of one run: its lock, config, class names and digests.

workdir/
  config.json       the resolved config
  classes.json      class names, in the order of the network's outputs
                    (both for people: every checkpoint holds them too, sealed)
  metrics.jsonl     one record per log or evaluation; metrics.csv holds the same records
  checkpoints/      one directory per step
  statistics.npz    statistics of the training images, if `data.preprocess` needs them
  report.html       report of the run, if `log.report` asks for it
  .lock             locked while a run writes here
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxcnn.config import build_data, config_dict, resume
from jaxcnn.config.schema import RunConfig
from jaxcnn.data import normalization
from jaxcnn.data.dataset import Dataset
from jaxcnn.errors import EXIT_BAD_DATA, EXIT_WORKDIR, InUseError, UserError
from jaxcnn.io import append, safe_files
from jaxcnn.io.atomic import whole_file
from jaxcnn.run import distributed, versions

LOG = logging.getLogger("jaxcnn")
STATISTICS = "statistics.npz"
REPORT = "report.html"
WRITTEN = (
    ".lock",
    "checkpoints",
    "classes.json",
    "config.json",
    "metrics.csv",
    "metrics.jsonl",
    "profile",
    REPORT,
    STATISTICS,
    "tensorboard",
)


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Creates and locks the directory; a second run gets an error at once.

    The operating system releases the lock of a killed run. A file system without
    locks gives a warning. The workdir may be a link. Links inside it are refused, because a run
    would write to another place.

    Raises:
      InUseError: if it is locked by another run.
      UserError: if it is not writable, or contains links (exit code 73).
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        for name in WRITTEN:
            if (workdir / name).is_symlink():
                raise OSError(errno.ELOOP, f"{name} in it is a link to another place")
        file = append.open_append(workdir / ".lock")
    except OSError as error:
        raise UserError(
            f"cannot write to the workdir {workdir}: {error.strerror or error}; choose another"
            " --workdir",
            EXIT_WORKDIR,
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(200).decode(errors="replace").strip()
            raise InUseError(
                f"the workdir {workdir} is in use by {holder or 'another process'}: wait for it,"
                " stop it, or choose another --workdir"
            ) from None
        except OSError as error:
            LOG.warning(
                "the file system of %s has no locks (%s): start no second run there",
                workdir,
                error.strerror,
            )
        with contextlib.suppress(OSError):  # full disk: the holder's name is optional
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield


def write_config(workdir: Path, config: RunConfig) -> None:
    """Writes the resolved config atomically."""
    _write(workdir / "config.json", config_dict.to_saved(config))


def _write(path: Path, content: Any) -> None:
    with whole_file(path, EXIT_WORKDIR) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def read_config(workdir: Path) -> RunConfig:
    """Returns config.json, which is not sealed; see `config_of` for a checkpoint's sealed config.

    Raises:
      UserError: if the file is missing or cannot be read.
    """
    path = workdir / "config.json"
    try:
        saved = safe_files.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{workdir} is not the workdir of a run: it has no config.json") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {_why(error)}") from None
    return _parsed(saved, str(path))


def _why(error: Exception) -> str:
    """Returns the reason without the path, which the message already has."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _parsed(saved: Any, where: str) -> RunConfig:
    try:
        return config_dict.from_saved(saved)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise UserError(f"{where} cannot be read: {_why(error)}") from None


def config_of(meta: dict[str, Any], workdir: Path) -> RunConfig:
    """Returns the config that a checkpoint was trained with; warns if config.json differs.

    Args:
      meta: metadata of the checkpoint.
      workdir: workdir of its run.

    Raises:
      UserError: if the metadata hold no valid config.
    """
    if "config" not in meta:
        return read_config(workdir)
    config = _parsed(meta["config"], f"the config of a checkpoint in {workdir}")
    try:
        beside = resume.flat(config_dict.to_saved(read_config(workdir)))
    except UserError as error:
        LOG.warning("%s; the config within the checkpoint is used", error)
        return config
    sealed = resume.flat(config_dict.to_saved(config))
    differing = [
        f"{name} {sealed.get(name, 'unset')} → {beside.get(name, 'unset')}"
        for name in sorted(sealed.keys() | beside.keys())
        if sealed.get(name) != beside.get(name)
    ]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        LOG.warning(
            "%s/config.json differs from the config within the checkpoint (%s%s), which is used",
            workdir,
            ", ".join(differing[:3]),
            more,
        )
    return config


def write_class_names(workdir: Path, names: Sequence[str]) -> None:
    """Writes the class names atomically."""
    _write(workdir / "classes.json", list(names))


def read_class_names(workdir: Path) -> tuple[str, ...] | None:
    """Returns the names in classes.json; None if the file is missing.

    Raises:
      UserError: if the names cannot be read.
    """
    path = workdir / "classes.json"
    try:
        names = safe_files.read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {_why(error)}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path} is not a list of names")
    return tuple(names)


def class_names_of(meta: dict[str, Any], workdir: Path) -> tuple[str, ...] | None:
    """Returns a checkpoint's class names, in the order of the network's outputs.

    Warns if classes.json differs from the checkpoint. Checkpoints of older versions have no names;
    classes.json is used for them, if it exists.

    Raises:
      UserError: if classes.json is needed and cannot be read.
    """
    sealed = meta.get("class_names")
    if not sealed:
        return read_class_names(workdir)
    with contextlib.suppress(UserError):
        if read_class_names(workdir) in (None, tuple(sealed)):
            return tuple(sealed)
    LOG.warning(
        "%s/classes.json differs from the names within the checkpoint, which are used", workdir
    )
    return tuple(sealed)


def check_class_names(known: Sequence[str] | None, names: Sequence[str], workdir: Path) -> None:
    """Refuses data with as many classes as the run but other class names.

    Args:
      known: class names of the run; None if it has none.
      names: class names of the data.
      workdir: the workdir, for the message.

    Raises:
      UserError: if names differ; the message has the first one.
    """
    if known is None or len(known) != len(names):  # other checks compare the numbers
        return
    for number, (there, here) in enumerate(zip(known, names, strict=True)):
        if there != here:
            raise UserError(
                f"class {number} is {there!r} in {workdir} and {here!r} in the data: use the data"
                " it was trained on, with the same names"
            )


def keep_statistics(
    workdir: Path,
    config: RunConfig,
    dataset: Dataset,
    say: Callable[[str], None],
    sealed: str = "",
) -> None:
    """Measures the statistics that `data.preprocess` needs, unless they exist.

    Args:
      workdir: workdir of the run.
      config: config of the run.
      dataset: the training split.
      say: prints a line before the work.
      sealed: digest of the statistics at the start of the run, if known.

    Raises:
      UserError: see `normalization.measure`.
    """
    if config.data.preprocess == "channels":
        return
    about = {
        "dataset": config.dataset,
        "shape": list(dataset.image_shape),
        "examples": dataset.num_examples,
        **{
            field: getattr(config.data, field)
            for field in ("preprocess", "gcn_scale", "zca_epsilon")
        },
    }
    kept = normalization.read(workdir / STATISTICS)
    if kept is None or kept[1] != about or sealed not in ("", normalization.digest(kept[0])):
        say(f"measuring {dataset.num_examples:,} training images for {config.data.preprocess} …")
        statistics = build_data.measure_statistics(config, dataset)
        if statistics is not None:
            normalization.write(workdir / STATISTICS, statistics, about)
            if sealed not in ("", normalization.digest(statistics)):
                LOG.warning(
                    "the training images, measured anew, differ from those at the begin of the run"
                    " in %s, if only by rounding: the run does not go on bit for bit",
                    workdir,
                )


def read_statistics(
    workdir: Path, config: RunConfig, sealed: str = ""
) -> normalization.Statistics | None:
    """Returns the statistics that `keep_statistics` wrote.

    Args:
      workdir: workdir of the run.
      config: config of the run.
      sealed: digest of the statistics that a checkpoint was trained with, if known.

    Raises:
      UserError: if the file is missing, damaged, or not the one used by the checkpoint.
    """
    if config.data.preprocess == "channels":
        return None
    kept = normalization.read(workdir / STATISTICS)
    if kept is None:
        raise UserError(
            f"{workdir / STATISTICS} is missing or damaged: run the training command again, which"
            " computes it from the training images"
        )
    if sealed not in ("", normalization.digest(kept[0])):
        raise UserError(
            f"{workdir / STATISTICS} is not the file that the checkpoint was trained with: put"
            " that back, or run the training command again, which computes it from the training"
            " images",
            EXIT_BAD_DATA,
        )
    return kept[0]


def describe_run(
    config: RunConfig,
    num_classes: int,
    class_names: Sequence[str] = (),
    statistics: normalization.Statistics | None = None,
) -> dict[str, Any]:
    """Returns the metadata of a checkpoint, as JSON."""
    return {
        "config": config_dict.to_saved(config),
        "num_classes": num_classes,
        "class_names": list(class_names),
        "statistics": "" if statistics is None else normalization.digest(statistics),
        "devices": distributed.device_count(),
        "processes": distributed.process_count(),
        "hardware": {
            "device": distributed.devices()[0].device_kind,
            "processor": versions.processor(),
            "cores": versions.cores(),
            "memory": versions.memory(),
        },
        "command": versions.command(),
        "versions": versions.installed(),
        "git": versions.git_revision(),
    }

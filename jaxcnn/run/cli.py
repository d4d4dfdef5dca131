"""Prepares a command's process before JAX is loaded; turns errors into one line."""

import argparse
import contextlib
import errno
import logging
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from jaxcnn.errors import EXIT_PEER_LOST, EXIT_USAGE, EXIT_WORKDIR, UserError, nearest, printable
from jaxcnn.io import atomic, paths, stdio
from jaxcnn.run import preemption

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 30  # between progress lines without a terminal
# Lower-case words in the errors of collectives whose other side is lost.
OF_NETWORKS = ("gloo", "nccl", "rccl", "coordination", "heartbeat", "connection", "socket")
HUGE_PAGES = "glibc.malloc.hugetlb"  # 1: madvise, 0: off


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UserError`."""

    def error(self, message: str) -> NoReturn:
        """Raises a `UserError`; for an unknown flag it names the most similar one."""
        if match := re.match(r"unrecognized arguments: (--?[\w-]+)", message):
            flags = {text for action in self._actions for text in action.option_strings}
            message = f"no flag {match[1]}: {nearest(match[1], flags - {'-h'})}"
        elif match := re.match(r"argument (\S+): invalid (int|float) value: '(.*)'", message):
            kind = {"int": "whole number", "float": "number"}[match[2]]
            message = f"{match[1]}={match[3]} is not a {kind}"
        raise UserError(message)


class _Formatter(logging.Formatter):
    """Escapes characters that a terminal would interpret; see `errors.printable`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Returns the log line, without a traceback that may follow it."""
        return printable(super().formatMessage(record))


def begin() -> None:
    """Prepares the process of a command, before jax is loaded, which takes seconds.

    Handles signals, makes any text printable, and calls `restart_with_settings`.
    """
    stdio.prepare()
    # Signals are blocked until the restarted program has installed its handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, preemption.SIGNALS)
    restart_with_settings()
    sys.excepthook = _on_uncaught  # for errors while modules are loaded
    preemption.CLEANERS.append(atomic.remove_partial_files)
    preemption.install()


def set_up(coordinator: str = "", num_processes: int = 1, process_id: int = 0) -> None:
    """Sets up the compilation cache and logging, and joins the other processes.

    Args:
      coordinator: host:port of process 0, "auto" or, in a single process, "".
      num_processes: number of processes.
      process_id: number of this process.

    Raises:
      UserError: if numbers are given without a coordinator, or processes cannot connect.
    """
    import jax
    from absl import logging as absl_logging

    from jaxcnn.ops.switch import plain_xla
    from jaxcnn.run import distributed

    plain_xla()  # a wrong JAXCNN_OPS is refused before any work

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # jax reads this variable itself
        cache = paths.cache_folder()
        jax.config.update("jax_compilation_cache_dir", cache and str(cache))
    absl_logging.set_verbosity(absl_logging.FATAL)  # Orbax raises the errors that it logs
    logger = logging.getLogger("jaxcnn")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not coordinator and (num_processes, process_id) != (1, 0):
        raise UserError(
            "--num_processes and --process_id need --coordinator=HOST:PORT, that of process 0"
        )
    if coordinator:
        distributed.initialize(coordinator, num_processes, process_id)
        preemption.install_again()  # jax installs its own handler for SIGTERM
    check_platform()


def check_platform() -> None:
    """Refuses an environment that names missing devices.

    Raises:
      UserError: with JAX_PLATFORMS, or jax's error.
    """
    from jaxcnn.run import distributed

    try:
        distributed.devices()
    except Exception as error:  # may be an AssertionError, or the plugin's own class
        wanted = os.environ.get("JAX_PLATFORMS") or os.environ.get("JAX_PLATFORM_NAME")
        reason = " ".join(str(error).split())
        if "known backends" in reason:
            reason = "jax has no support for it here"
        title = f"JAX_PLATFORMS={wanted}: " if wanted else ""
        fix = "unset it or set JAX_PLATFORMS=cpu" if wanted else "JAX_PLATFORMS=cpu runs without"
        raise UserError(
            f"{title}no such device is found ({reason or 'no reason given'}): {fix}; python -m"
            " jaxcnn.doctor lists what there is"
        ) from error


def restart_with_settings() -> None:
    """Restarts this program in the same process if its environment lacks settings, on Linux.

    The C library and XLA read these settings only at start. On the CPU, XLA allocates and frees the
    arrays of every step; with pages of 4 KiB this takes a fifth of ResNet-50's step, so the C
    library is set to use huge pages. XLA must also not log every cached program; see
    `mistakes_in_one_line`. Call this at the end of a module that runs as a program, before JAX is
    used.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    missing = {}
    if HUGE_PAGES not in tunables:
        missing["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, f"{HUGE_PAGES}=1")))
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # jax sets it to 1
        missing["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if sys.platform == "linux" and missing and sys.executable:
        os.environ.update(missing)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def shown(path: Path) -> str:
    """Returns a file name in printable form, whatever bytes it contains."""
    return printable(path)


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yields the items and shows the number of finished items on standard error.

    Args:
      items: any items.
      total: number of items.
      what: noun for the items.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as bar

        yield from bar(items, what, total, console=Console(stderr=True), transient=True)
        return
    said = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        if time.monotonic() - said > SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            print(f"{number:,} of {total:,} {what}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def mistakes_in_one_line(*, debug: bool) -> Iterator[None]:
    """Ends the process with one line and an exit code if a `UserError` is raised inside.

    Expands a `~` in the command line.

    Args:
      debug: whether to print the traceback too.
    """
    # XLA logs slow compilations and cached programs as errors. Real failures raise exceptions.
    # jaxlib reads the variable when it is loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        sys.argv[1:] = map(paths.expand_argument, sys.argv[1:])
        yield
        sys.stdout.flush()
    except preemption.Stopped as stopped:
        preemption.print_stop_message()
        _leave(stopped.code, "")
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT, "stopped by SIGINT (Ctrl-C)")
    except (BrokenPipeError, stdio.OutputError) as error:
        stdio.silence()
        if error.errno == errno.EPIPE:  # the reader of the pipe, such as `head`, closed it
            _leave(128 + signal.SIGPIPE, "")
        _leave(EXIT_WORKDIR, f"error: {error.strerror}")
    except UserError as error:
        if debug:
            traceback.print_exc()
        _leave(error.exit_code, f"{'error: ' * (error.exit_code < 128)}{error}")
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            _leave(*_unwritable(error))
        if "RESOURCE_EXHAUSTED" in str(error):
            _leave(
                2,
                "error: the device's memory is full: lower --config.train.batch_size (or --batch),"
                " or raise --config.train.grad_accum_steps to take each batch in parts; of an"
                " evaluation, lower --config.eval.batch_size",
            )
        if line := _of_environment(error):
            _leave(EXIT_USAGE, line)
        if _is_one_of_several():
            lost = any(word in str(error).lower() for word in OF_NETWORKS)
            if debug or not lost:
                traceback.print_exc()
            reason = " ".join(str(error).split())
            _leave(
                EXIT_PEER_LOST,
                f"error: this or another process is lost: {reason}; start the run again",
            )
        raise


def _of_environment(error: BaseException) -> str:
    """Returns a message for an environment variable that jax failed to parse; "" otherwise."""
    last = (traceback.extract_tb(error.__traceback__) or [None])[-1]
    if not isinstance(error, ValueError) or last is None or "/jax/_src/config.py" not in last[0]:
        return ""
    reason = " ".join(str(error).split())
    names = re.findall(r"(?i)\bjax_[a-z0-9_]+", reason)
    set_here = [name.upper() for name in names if name.upper() in os.environ]
    if not set_here:
        return ""
    name = set_here[-1]
    return f"error: {name}={os.environ[name]}: jax does not take it ({reason}); unset it"


def _on_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Prints one line for an error in the environment, else a traceback; for `sys.excepthook`."""
    line = _of_environment(error)
    if not line:
        sys.__excepthook__(kind, error, trace)
        return
    with contextlib.suppress(OSError):
        preemption.tell(line)
    os._exit(EXIT_USAGE)


def _unwritable(error: OSError) -> tuple[int, str]:
    """Returns the exit code and the message for a full or read-only disk.

    Writing to the workdir raises its own errors.
    """
    name = "a file" if error.filename is None else os.fsdecode(error.filename)
    return EXIT_WORKDIR, (
        f"error: cannot write {name}: {error.strerror}; free space, or make it writable"
    )


def _is_one_of_several() -> bool:
    distributed = sys.modules.get("jaxcnn.run.distributed")  # only this module joins processes
    return distributed is not None and distributed.is_initialized()


def _leave(code: Any, line: str) -> NoReturn:
    """Prints the last line and ends the process with an exit code."""
    with contextlib.suppress(OSError):
        if line:
            preemption.tell(line)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    # A normal exit would wait for the other processes, and a thread in which XLA compiles may crash
    # while Python shuts down.
    if _is_one_of_several() or code >= 128:
        os._exit(code)
    sys.exit(code)

"""What a command does before JAX is used, and how it ends."""

import argparse
import contextlib
import errno
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NoReturn, TypeVar

from absl import logging as absl_logging

from jaxcnn.errors import EXIT_PEER_LOST, EXIT_WORKDIR, UserError, printable

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 30  # of progress, where there is no terminal
HUGE_PAGES = "glibc.malloc.hugetlb"  # 1: by madvise, 0: not


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are `UserError`s."""

    def error(self, message: str) -> NoReturn:
        """Raises what it complains of."""
        raise UserError(message)


def set_up(coordinator: str = "", num_processes: int = 1, process_id: int = 0) -> None:
    """Keeps compiled programs, quiets the libraries, and joins the other processes.

    Args:
      coordinator: host:port of process 0, "auto" or, in a single process, "".
      num_processes: how many.
      process_id: which one this is.
    """
    import jax

    from jaxcnn import parallel

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxcnn" / "xla"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # jax reads that itself
        jax.config.update("jax_compilation_cache_dir", str(cache))
    absl_logging.set_verbosity(absl_logging.ERROR)  # Orbax warns of what is meant
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("jaxcnn")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if coordinator:
        parallel.initialize(coordinator, num_processes, process_id)


def restart_with_settings() -> None:
    """Starts this program again in the same process where its environment lacks settings, on Linux.

    They are read when a program starts, and not later. On the CPU, XLA fetches the arrays of a step
    from the system and gives them back; by pages of 4 KiB that is a fifth of ResNet-50's step, so
    the C library is asked for huge ones. And XLA must not log of each program that it finds in the
    cache; see `mistakes_in_one_line`. For the last lines of a module that is run, before JAX is
    used.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    missing = {}
    if HUGE_PAGES not in tunables:
        missing["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, f"{HUGE_PAGES}=1")))
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # jax sets it to 1
        missing["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if sys.platform == "linux" and missing:
        os.environ.update(missing)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Yields a binary file that becomes `path` at the end: whole or not at all.

    It is opened at once, so what cannot be written is known before the work. Folders are made.

    Raises:
      UserError: if it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = partial.open("xb")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    try:
        yield file
        file.close()
        partial.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # of a full disk
            file.close()
        partial.unlink(missing_ok=True)


def shown(path: Path) -> str:
    """Returns a file's name as it can be printed, whatever bytes are in it."""
    return printable(path)


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yields the items; standard error shows how many of them are done.

    Args:
      items: any.
      total: how many there are.
      what: the items' name.
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
    """A mistake of the user inside ends the process with one line and its exit code.

    Args:
      debug: show the traceback, too.
    """
    # XLA logs as errors what is none: a slow compilation, a program kept by the same processor.
    # What fails comes as an exception. It is read when jaxlib is loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read what is printed, as `head` does, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except UserError as error:
        if debug:
            traceback.print_exc()
        _leave(error.exit_code, f"error: {error}")
    except Exception as error:
        import jax

        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            _leave(EXIT_WORKDIR, f"error: cannot write to the workdir: {error}")
        if "RESOURCE_EXHAUSTED" in str(error):
            _leave(
                2,
                "error: the device's memory is full: lower --config.train.batch_size (or --batch),"
                " or raise --config.train.accumulate to take each batch in parts; of an evaluation,"
                " lower --config.eval.batch_size",
            )
        if jax.distributed.is_initialized():
            traceback.print_exc()
            _leave(EXIT_PEER_LOST, f"error: this or another process is lost: {error}")
        raise


def _leave(code: int, line: str) -> NoReturn:
    """Prints the last line and ends the process with a code."""
    import jax

    print(f"\n{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)
    sys.stdout.flush()
    if jax.distributed.is_initialized():
        os._exit(code)  # an orderly exit would wait for the other processes
    sys.exit(code)

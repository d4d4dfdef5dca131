"""Standard input, output and error of a command, for any connection."""

import codecs
import contextlib
import errno
import io
import os
import sys
from typing import TextIO

PLAIN = {"…": "...", "→": "->", "×": "x", "±": "+-", "–": "-", "·": ".", "’": "'"}


class OutputError(OSError):
    """Raised when standard output or standard error cannot be written."""


class Stream(io.TextIOWrapper):
    """A text stream that raises `OutputError`, unlike other files."""

    def write(self, text: str) -> int:
        """Writes text.

        Raises:
          OutputError: with the system's error number; EPIPE for a closed pipe.
        """
        try:
            return super().write(text)
        except OSError as error:
            raise self._failure(error) from None

    def flush(self) -> None:
        """Writes the buffered text; see `write`."""
        try:
            super().flush()
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> OutputError:
        which = "standard error" if self.fileno() == 2 else "standard output"
        reason = "its reader is gone" if error.errno == errno.EPIPE else error.strerror
        return OutputError(error.errno or errno.EIO, f"{which} cannot be written: {reason}")


def prepare() -> None:
    """Makes every text printable; opens standard streams that are closed.

    A closed stream is opened on the null device, before one of our files gets its number.
    Characters outside the terminal's encoding are replaced.
    """
    codecs.register_error("plain", _plain)
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)  # the lowest free number is this one
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdin is None:
        stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115, it lives as long as we do
        sys.stdin = sys.__stdin__ = stdin  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, sys.stdout)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, sys.stderr)  # type: ignore[misc]


def _stream(number: int, old: TextIO | None) -> Stream:
    if not isinstance(old, io.TextIOWrapper):
        return Stream(open(number, "wb", closefd=False), encoding="utf-8", errors="plain")
    settings = {
        "encoding": old.encoding,
        "line_buffering": old.line_buffering,
        "write_through": old.write_through,
    }
    return Stream(old.detach(), errors="plain", **settings)  # type: ignore[arg-type]


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in text), error.end


def silence() -> None:
    """Discards buffered standard output, which cannot be written."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def is_live(stream: TextIO) -> bool:
    """Returns whether a stream is a terminal on which a line can be replaced."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")

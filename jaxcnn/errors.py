"""What a user can get wrong, said in one line.

Everything below raises `UserError`; `jaxcnn.main` prints the line and exits with its code.
A message names the thing, the reason and the fix.
"""

import difflib
import os
import re
from collections.abc import Iterable

EXIT_USAGE = 2  # a name, path, shape, field or file that the user can correct
EXIT_BAD_DATA = 65  # training stopped on bad data or on non-finite values
EXIT_WORKDIR = 73  # workdir locked by another run, not writable, or full
EXIT_STUCK = 74  # no step finished within the watchdog's time, or no data came
EXIT_PEER_LOST = 75  # another process of the same run is gone: start the run again


class UserError(ValueError):
    """One clear line for the person at the terminal.

    Args:
      message: names the thing, the reason and the fix; see `printable`.
      exit_code: exit code of the command.
    """

    def __init__(self, message: str, exit_code: int = EXIT_USAGE):
        super().__init__(printable(message))
        self.exit_code = exit_code


def printable(text: object) -> str:
    r"""Returns a text in one line that a terminal can only show, not obey.

    Names of files and classes come from strangers: line breaks, escape sequences, characters that
    turn the direction of writing and bytes that are not UTF-8 become escapes such as \x1b.
    """
    line = str(text)
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() else _escaped(each) for each in line)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it in file names
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def check_whole(name: str, number: int, least: int = 1, most: int = 2**31 - 1) -> None:
    """Checks a whole number of the command line.

    Raises:
      UserError: naming the nearest number that is allowed.
    """
    if number < least:
        raise UserError(f"{name}={number} is too small: {least:,} or more")
    if number > most:
        raise UserError(f"{name}={number} is too large: {most:,} or less")


class MissingSplitError(UserError):
    """The data have no such split."""


class InUseError(UserError):
    """Another process has the directory in work.

    Args:
      message: see `UserError`.
    """

    def __init__(self, message: str):
        super().__init__(message, EXIT_WORKDIR)


class DivergedError(UserError):
    """Training left the finite numbers and was stopped.

    Args:
      message: see `UserError`.
    """

    def __init__(self, message: str):
        super().__init__(message, EXIT_BAD_DATA)


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Returns "did you mean a, b or c?" for a misspelt name, or all the known names if few.

    Names that end with it, or hold it, come first: "resnet20" is in "cifar_resnet20".

    Args:
      name: the misspelt name.
      known: the names that would have been right.
      count: how many to offer.
    """
    names = sorted(known)
    holding = [known for known in names if len(name) > 3 and name in known]
    holding.sort(key=lambda known: (not known.endswith(name), len(known)))
    alike = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    close = list(dict.fromkeys([*holding[: count - 1], *alike]))[:count]
    if close:
        return "did you mean " + " or ".join(close) + "?"
    if len(names) <= 12:
        return "choose one of " + ", ".join(names)
    return "for example " + ", ".join(names[:count]) + " …"


def reason(error: BaseException) -> str:
    """Returns why something failed, in one line: the system's reason if there is one."""
    if number := system_errno(error):
        return os.strerror(number)
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def system_errno(error: BaseException | None) -> int | None:
    """Returns the number of the operating system's error behind an exception, if there is one.

    Errors of the network are not looked at. TensorStore has the number in its text, as
    "[os_error_code='28']".
    """
    while error is not None:
        if isinstance(error, OSError) and not isinstance(error, (ConnectionError, TimeoutError)):
            return error.errno
        if found := re.search(r"os_error_code='(\d+)'", str(error)):
            return int(found[1])
        error = error.__cause__ or error.__context__
    return None

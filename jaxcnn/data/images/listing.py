"""Lists the images below a folder, by one rule for training, prediction and preparation.

An image is a regular file, or a link to one, with an ending in `decode.ENDINGS` in any case.
Subfolders are searched and links to folders are followed. Hidden files are skipped, and so is a
folder that is reached again, for example by circular links. `say_left_out` logs the number of other
files in one line.
"""

import functools
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxcnn.data.images.decode import ENDINGS
from jaxcnn.errors import UserError, printable
from jaxcnn.io.safe_files import kind_of

HIDDEN = "hidden"
AGAIN = "links to a folder that is listed already"
NO_LINK = "links to nothing"
SHOWN = 6  # kinds and names in one line of the log
NO_NAME = ("Cc", "Cs", "Zl", "Zp")  # Unicode: control characters, surrogates, line breaks

_log = logging.getLogger("jaxcnn")


class Listing(NamedTuple):
    """Content of a folder and its subfolders.

    Attributes:
      files: paths relative to the folder, sorted by their parts.
      left_out: number of files that are not images, by kind, such as "ending in .txt".
      special: entries that are neither folders nor regular files, such as "cat/1.jpg is a FIFO".
    """

    files: list[str]
    left_out: Counter[str]
    special: list[str]


def list_images(folder: str | Path) -> Listing:
    """Lists the images below a folder.

    Raises:
      UserError: if a folder cannot be listed.
    """
    found = Listing([], Counter(), [])
    top = Path(folder).resolve()
    seen = {identity for above in top.parents if (identity := _identity(above))}
    waiting = [("", True)]
    while waiting:
        name, is_folder = waiting.pop()
        if not is_folder:
            found.files.append(name)
            continue
        place = os.path.join(folder, name)
        identity = _identity(place)
        if identity in seen:
            found.special.append(f"{name} {AGAIN}")
            continue
        if identity:
            seen.add(identity)
        below = []
        for entry in scan(place):
            kind, path = kind_of_entry(entry), os.path.join(name, entry.name)
            if kind in ("image", "folder"):
                below.append((path, kind == "folder"))
            elif kind.startswith(("is", "links")):
                found.special.append(f"{path} {kind}")
            else:
                found.left_out[kind] += 1
        waiting += reversed(below)
    return found


def scan(folder: str | Path) -> list[os.DirEntry[str]]:
    """Returns the entries of a folder, sorted by name.

    Raises:
      UserError: if the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot list the folder {folder}: {error.strerror or error}") from None


def subfolders(folder: str | Path) -> tuple[str, ...]:
    """Returns the sorted names of the subfolders of a folder, without hidden ones.

    Raises:
      UserError: if the folder cannot be listed.
    """
    return tuple(entry.name for entry in scan(folder) if kind_of_entry(entry) == "folder")


def kind_of_entry(entry: os.DirEntry[str]) -> str:
    """Returns "image", "folder", or the reason why an entry is neither."""
    if entry.name.startswith("."):
        return HIDDEN
    try:
        if entry.is_dir():
            return "folder"
        if not entry.is_file():
            return f"is {kind_of(entry.stat().st_mode)}"
    except OSError:  # it vanished, or is a link to nothing or to itself
        return NO_LINK
    name = entry.name.lower()
    if name.endswith(ENDINGS):
        return "image"
    ending = os.path.splitext(name)[1]
    return f"ending in {ending}" if 1 < len(ending) < 12 else "without an ending"


def check_class_names(folder: str | Path, names: Sequence[str]) -> None:
    """Refuses folder names that cannot be class names.

    Lists have one name per line, and two names that look the same could be confused.

    Raises:
      UserError: if a name is not UTF-8, has a control character or line break, or is another
        spelling of the same characters as a second name.
    """
    for name in names:
        if any(unicodedata.category(character) in NO_NAME for character in name):
            raise UserError(
                f"the class folder {name!r} in {folder} has a control character, a line break or"
                " bytes that are not UTF-8 in its name: rename it"
            )
    first: dict[str, str] = {}
    for name in names:
        same = first.setdefault(unicodedata.normalize("NFC", name), name)
        if same != name:
            raise UserError(
                f"the class folders {same!a} and {name!a} in {folder} are the same name"
                " in two spellings of Unicode: merge them"
            )


def say_left_out(folder: str | Path, left_out: Counter[str], special: Sequence[str]) -> None:
    """Logs, once per process and in one line, the files below a folder that are not images.

    Nothing is logged if there are only hidden files.

    Args:
      folder: folder of the files.
      left_out: see `Listing`.
      special: see `Listing`.
    """
    if not special and not set(left_out) - {HIDDEN}:
        return
    said = [f"{count:,} {kind}" for kind, count in left_out.most_common(SHOWN)]
    said += [f"{len(left_out) - SHOWN} other endings"] * (len(left_out) > SHOWN)
    said += special[:SHOWN]
    said += [f"{len(special) - SHOWN} more like these"] * (len(special) > SHOWN)
    say_once(f"left out below {folder}: {', '.join(said)}")


@functools.cache
def say_once(line: str) -> None:
    """Logs a warning once per process, because every pass over the data finds it again."""
    _log.warning(printable(line))


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Returns an identity of a folder that is the same by every path; None if it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None

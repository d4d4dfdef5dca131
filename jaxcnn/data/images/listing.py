"""Which files below a folder are images: one rule for training, prediction and preparation.

A file counts if its ending is one of `decode.ENDINGS`, in capitals or not, and it is a regular
file or a link to one. Folders below are searched, links to folders followed; a folder that is met
again, by links in a circle for example, is passed over. So is what is hidden. What is left out is
counted, and `say_left_out` says so in one line.
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
SHOWN = 6  # kinds and names in a line
NO_NAME = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control characters, no characters, line breaks

_log = logging.getLogger("jaxcnn")


class Listing(NamedTuple):
    """What is below a folder.

    Attributes:
      files: relative to the folder, sorted by the parts of their paths.
      left_out: how many files are no images, by kind, such as "ending in .txt".
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
      UserError: if it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot list the folder {folder}: {error.strerror or error}") from None


def subfolders(folder: str | Path) -> tuple[str, ...]:
    """Returns the names of the folders in a folder, sorted, without hidden ones.

    Raises:
      UserError: if it cannot be listed.
    """
    return tuple(entry.name for entry in scan(folder) if kind_of_entry(entry) == "folder")


def kind_of_entry(entry: os.DirEntry[str]) -> str:
    """Returns "image", "folder", or why an entry is neither."""
    if entry.name.startswith("."):
        return HIDDEN
    try:
        if entry.is_dir():
            return "folder"
        if not entry.is_file():
            return f"is {kind_of(entry.stat().st_mode)}"
    except OSError:  # it vanishes, or is a link that leads to nothing or to itself
        return NO_LINK
    name = entry.name.lower()
    if name.endswith(ENDINGS):
        return "image"
    ending = os.path.splitext(name)[1]
    return f"ending in {ending}" if 1 < len(ending) < 12 else "without an ending"


def check_class_names(folder: str | Path, names: Sequence[str]) -> None:
    """Refuses folders that cannot be names of classes.

    Lists of names have one a line, and two names that look the same are taken for one.

    Raises:
      UserError: a name that is not UTF-8, has a control character or a line break, or is another
        spelling of the same characters as a second one.
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
    """Says once in a process, in one line of the log, what below a folder is no image.

    Nothing is said of hidden files alone.

    Args:
      folder: whose files they are.
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
    """Warns, once in a process, of what every pass over the data finds again."""
    _log.warning(printable(line))


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Returns what tells a folder from others, by whatever way it is reached; None if nothing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None

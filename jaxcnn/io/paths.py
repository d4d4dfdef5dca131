"""Expands paths from command lines and config files."""

import os
import stat
import tempfile
from pathlib import Path

from jaxcnn.errors import UserError


def expand(text: str) -> str:
    """Returns a path with a leading `~` or `~user` replaced by that home folder.

    Any other text is returned unchanged.

    Raises:
      UserError: if the home folder of `~/…` or `~user/…` does not exist.
    """
    expanded = os.path.expanduser(text)
    if expanded == text and text.startswith("~") and "/" in text:
        home = text.partition("/")[0]
        whose = f"there is no user {home[1:]!r}" if home[1:] else "HOME is not set"
        raise UserError(f"{text}: {whose}; write the whole path")
    return expanded


def expand_argument(argument: str) -> str:
    """Returns an argument of a command line, `PATH` or `--flag=PATH,PATH`, with expanded paths.

    Raises:
      UserError: see `expand`.
    """
    flag, equals, value = "", "", argument
    if argument.startswith("-"):
        flag, equals, value = argument.partition("=")
    return flag + equals + ",".join(map(expand, value.split(",")))


def cache_folder(name: str = "xla") -> Path | None:
    """Returns the folder for compiled programs, or another cache; creates it if missing.

    It is below XDG_CACHE_HOME or ~/.cache. A user without a writable home folder, as in many
    containers, gets a folder below the temporary one that nobody else can write, because its files
    are executed. Returns None if neither exists.

    Args:
      name: name of the cache.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxcnn" / name
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: neither HOME nor an entry in /etc/passwd
        pass
    try:
        folder = Path(tempfile.gettempdir()) / f"jaxcnn-{name}-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return folder if own and not found.st_mode & 0o077 else None

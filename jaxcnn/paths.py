"""Paths as people write them: on command lines, in config files."""

import os

from jaxcnn.errors import UserError


def expand(text: str) -> str:
    """Returns a path whose leading `~` or `~user` is replaced by that home folder.

    Any other text is returned as it is.

    Raises:
      UserError: for `~/…` or `~user/…` of a home folder that does not exist.
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

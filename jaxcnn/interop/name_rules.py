"""How a torch library's name of a parameter follows from its path in our network.

A rule reads a module's path in our network and writes torch's name of it. Numbers found in the path
go into the name; the format of a field says what 1 is called there: `{0:0}` counts from 0, `{0:b}`
from b.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flax import linen as nn


class Rule(NamedTuple):
    r"""One line of a table.

    Attributes:
      path: regular expression of a whole path, such as `stage(\d+)/block(\d+)/conv(\d)`.
      key: template of torch's name; fields are the groups of `path`.
      spatial: (H, W) of the map in front of a dense layer that reads maps: torch orders its inputs
        (C, H, W), we order them (H, W, C).
      as_conv: torch has a convolution where we have a dense layer; `spatial` is its kernel's size.
    """

    path: str
    key: str
    spatial: tuple[int, int] | None = None
    as_conv: bool = False


class Library(NamedTuple):
    """A network of a torch library.

    Attributes:
      model: our name of it.
      fields: what distinguishes our network of that name from the library's.
      rules: see `Rule`; or a function that makes them for a network, where names count layers. The
        first is that of the first convolution, whose input has the channels of the images.
      optional: parts that a state may have or not: prefix of torch's names → field that is true
        where it has them.
      renamed: patterns of old names and what they were replaced by.
    """

    model: str
    fields: Mapping[str, Any]
    rules: Sequence[Rule] | Callable[[nn.Module], Sequence[Rule]]
    optional: Mapping[str, str] = {}
    renamed: Sequence[tuple[str, str]] = ()


class _Index(int):
    """A number of a path, which a template's format moves to where it counts from."""

    def __format__(self, first: str) -> str:
        if not first or first.isdigit():
            return str(self - 1 + int(first or 1))
        return chr(ord(first) + self - 1)


def name_in_torch(rules: Sequence[Rule], path: str) -> tuple[str, Rule]:
    """Returns torch's name of a module and the rule that gave it.

    Raises:
      KeyError: if no rule reads the path.
    """
    for rule in rules:
        if found := re.fullmatch(rule.path, path):
            groups = [_Index(g) if g and g.isdigit() else g for g in found.groups()]
            return rule.key.format(*groups), rule
    raise KeyError(path)

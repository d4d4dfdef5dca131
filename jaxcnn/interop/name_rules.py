"""Rules that map a module's path in our network to another library's name.

A rule matches a module's path and returns the library's name. Numbers in the path are inserted into
the name. The format of a field is the name of number 1: `{0:0}` counts from 0, `{0:b}` from b.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flax import linen as nn

Shapes = Mapping[str, tuple[int, ...]]


class Rule(NamedTuple):
    r"""One line of a table.

    Attributes:
      path: regular expression of a whole path, such as `stage(\d+)/block(\d+)/conv(\d)`.
      key: template of the library's name; its fields are the groups of `path`.
      spatial: (H, W) of the map before a dense layer: torch orders its inputs (C, H, W), we order
        them (H, W, C).
      as_conv: whether the library has a convolution for our dense layer; `spatial` is its kernel
        size.
    """

    path: str
    key: str
    spatial: tuple[int, int] | None = None
    as_conv: bool = False


class Library(NamedTuple):
    """A network of another library.

    Attributes:
      model: our name of the network.
      fields: fields of our network that must be set to equal the library's.
      rules: see `Rule`; or network → rules, if names count layers. The first rule is for the first
        convolution, whose input channels are those of the images.
      optional: parts that a state may lack: prefix of the library's names → field that is true if
        the state has them.
      renamed: patterns of old names and their replacements.
      read_off: fields of our network that a state determines: field → function of the shapes of its
        arrays, by their names.
      biases: network → convolutions whose biases the library adds before a BN and we do not, by the
        path of the BN.
    """

    model: str
    fields: Mapping[str, Any]
    rules: Sequence[Rule] | Callable[[nn.Module], Sequence[Rule]]
    optional: Mapping[str, str] = {}
    renamed: Sequence[tuple[str, str]] = ()
    read_off: Mapping[str, Callable[[Shapes], Any]] = {}
    biases: Callable[[nn.Module], Mapping[str, Sequence[str]]] | None = None


class _Index(int):
    """A number in a path; formatting it shifts it to the template's start."""

    def __format__(self, first: str) -> str:
        if not first or first.isdigit():
            return str(self - 1 + int(first or 1))
        return chr(ord(first) + self - 1)


def library_name(rules: Sequence[Rule], path: str) -> tuple[str, Rule]:
    """Returns the library's name of a module and its rule.

    Raises:
      KeyError: if no rule matches the path.
    """
    for rule in rules:
        if found := re.fullmatch(rule.path, path):
            groups = [_Index(g) if g and g.isdigit() else g for g in found.groups()]
            return rule.key.format(*groups), rule
    raise KeyError(path)

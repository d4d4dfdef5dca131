"""What residual networks share: stem, a unit around any branch, its shortcut, a stage of units."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.conv import Activation, Constructor, ConvNormAct
from jaxcnn.layers.norm import zero_scale
from jaxcnn.layers.scan import apply_scanned
from jaxcnn.layers.shortcut import average_and_pad, subsample_and_pad
from jaxcnn.ops.pool import max_pool

# (unit, input, draw) → what the unit adds to its shortcut, which depends on a scalar of the unit's.
Drop = Callable[["ResidualUnit", jax.Array, Any], jax.Array]

SHORTCUTS = ("A", "B", "C", "none", "average")


def check_shortcut(shortcut: str, known: Sequence[str], zero_init_last: bool) -> None:
    """Raises `UserError` for a shortcut that does not exist, or with which nothing is learnt."""
    if shortcut not in known:
        raise UserError(f"no shortcut {shortcut!r}: {nearest(shortcut, known)}")
    if shortcut == "none" and zero_init_last:
        raise UserError(
            "zero_init_last in a network without shortcuts makes every activation zero and "
            "nothing can be learnt: leave it out"
        )


class ResidualUnit(nn.Module):
    """residual; + shortcut; ReLU.

    The branch is a method of its own, so that a unit may do with it what it likes (leave it out,
    scale it) and subclasses say only what the branch is. Called within `__call__`, its layers are
    the unit's own: `conv1`, `norm1`, … and `proj` for a projecting shortcut.

    Attributes:
      features: the stage's width; the unit puts out `expansion` times as many channels.
      strides: of the whole unit.
      shortcut: one of `SHORTCUTS`; see `ResNet`.
      zero_init_last: start the scale of the last BN at zero, the unit as its shortcut.
      cardinality: groups of a bottleneck's 3x3.
      base_width: width of each group where `features` is 64; see `ResNet`.
      drop: (unit, x, draw) → the branch, in place of `residual(x)`; None leaves that as it is.
      draw: scalar for `drop`.
    """

    features: int
    conv: Constructor
    norm: Constructor
    act: Activation
    strides: int = 1
    shortcut: str = "B"
    zero_init_last: bool = False
    cardinality: int = 1
    base_width: int = 64
    drop: Drop | None = None
    draw: jax.Array | None = None

    expansion: ClassVar[int] = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), expansion·features)."""
        y = self.branch(x)
        if self.shortcut != "none":
            y = y + self.skip(x, self.norm)
        return self.act(y)

    def branch(self, x: jax.Array) -> jax.Array:
        """Returns `residual(x)`, or what `drop` makes of it."""
        return self.residual(x) if self.drop is None else self.drop(self, x, self.draw)

    def residual(self, x: jax.Array) -> jax.Array:
        """Returns the branch that is added to the shortcut, up to its last BN."""
        raise NotImplementedError

    def keeps(self, x: jax.Array) -> bool:
        """Tells whether the shortcut is the input as it is."""
        same_shape = self.strides == 1 and x.shape[-1] == self.expansion * self.features
        return same_shape and self.shortcut != "C"

    def skip(self, x: jax.Array, norm: Constructor | None) -> jax.Array:
        """Returns the input in the shape of the branch's output; `norm` follows a projection."""
        features = self.expansion * self.features
        if self.keeps(x):
            return x
        if self.shortcut == "A":
            return subsample_and_pad(x, features, self.strides)
        if self.shortcut == "average":
            return average_and_pad(x, features, self.strides)
        return ConvNormAct(
            features,
            (1, 1),
            conv=self.conv,
            norm=norm,
            act=None,
            strides=self.strides,
            name="proj",
        )(x)

    def last_norm(self, name: str) -> nn.Module:
        """Returns the BN that ends the branch."""
        return zero_scale(self.norm, name) if self.zero_init_last else self.norm(name=name)

    @property
    def group_features(self) -> int:
        """Width of one group of a bottleneck, which has `cardinality` of them."""
        features = self.features * self.base_width // 64
        if features < 1:
            raise UserError(
                f"base_width {self.base_width} leaves nothing of {self.features} features: make "
                f"it {-(-64 // self.features)} or more"
            )
        return features

    @property
    def inner_features(self) -> int:
        """Width of a bottleneck's 3x3."""
        return self.cardinality * self.group_features

    def check_ungrouped(self) -> None:
        """Raises `UserError` if the fields of a bottleneck are set, for a unit that is none."""
        if (self.cardinality, self.base_width) != (1, 64):
            raise UserError(
                f"{type(self).__name__} has no inner width: cardinality and base_width go with a "
                "bottleneck"
            )


def stem(images: jax.Array, features: int, *, cifar: bool, **layers: Any) -> jax.Array:
    """Applies `stem` of the calling module: 7x7/2, BN, ReLU, 3x3/2 max-pool.

    Args:
      images: (N, H, W, C).
      features: of the convolution.
      cifar: 3x3, BN, ReLU instead, for small images.
      **layers: `conv`, `norm` and `act`; see `ConvNormAct`.

    Returns:
      (N, ceil(H/4), ceil(W/4), features); (N, H, W, features) of the small form.
    """
    if cifar:
        return ConvNormAct(features, (3, 3), **layers, name="stem")(images)
    x = ConvNormAct(features, (7, 7), strides=2, **layers, name="stem")(images)
    return max_pool(x, (3, 3), (2, 2), padding=1)


class Stage(nn.Module):
    """Units of one width, `block1`, `block2`, …; the first takes the stage's stride.

    Attributes:
      first: constructor of the first unit, where it is another than that of the rest.
      draws: `draw` of each unit, an array [num_blocks]; None where units have none.
      scan: run the units behind the first as a loop; see `ResNet`.
    """

    block: Constructor
    num_blocks: int
    features: int
    strides: int = 1
    first: Constructor | None = None
    draws: jax.Array | None = None
    scan: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), C') of the block."""
        first = self.block if self.first is None else self.first
        draws = [None] * self.num_blocks if self.draws is None else self.draws
        x = first(self.features, strides=self.strides, draw=draws[0], name="block1")(x)
        if self.scan and self.num_blocks > 2 and not self.is_initializing():
            names = [f"block{i + 1}" for i in range(1, self.num_blocks)]
            unit = lambda draw: self.block(self.features, draw=draw, parent=None)  # noqa: E731
            return apply_scanned(self, unit, names, x, None if self.draws is None else draws[1:])
        for i in range(1, self.num_blocks):
            x = self.block(self.features, draw=draws[i], name=f"block{i + 1}")(x)
        return x

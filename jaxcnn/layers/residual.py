"""Shared parts of residual networks: stem, residual unit, shortcut, stage."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.conv import Activation, Constructor, ConvNormAct
from jaxcnn.layers.norm import zero_scale
from jaxcnn.layers.scan import apply_scanned
from jaxcnn.layers.shortcut import average_and_pad, subsample_and_pad
from jaxcnn.ops.pool import max_pool

# (unit, input, draw) → the branch's contribution to the sum, which depends on the unit's scalar.
Drop = Callable[["ResidualUnit", jax.Array, Any], jax.Array]

SHORTCUTS = ("A", "B", "C", "none", "average")


def check_shortcut(shortcut: str, known: Sequence[str], zero_init_last: bool) -> None:
    """Raises `UserError` if the shortcut does not exist, or makes learning impossible."""
    if shortcut not in known:
        raise UserError(f"no shortcut {shortcut!r}: {nearest(shortcut, known)}")
    if shortcut == "none" and zero_init_last:
        raise UserError(
            "zero_init_last in a network without shortcuts makes every activation zero and "
            "nothing can be learnt: leave it out"
        )


class ResidualUnit(nn.Module):
    """residual; + shortcut; ReLU.

    The branch is a separate method, so that a unit may drop or scale it and subclasses define only
    the branch. It is called within `__call__`, so its layers belong to the unit: `conv1`, `norm1`,
    … and `proj` for a projection shortcut.

    Attributes:
      features: width of the stage; the unit's output has `expansion` times as many channels.
      strides: strides of the whole unit.
      shortcut: one of `SHORTCUTS`, see `ResNet`; or "subsample", every `strides`-th pixel of the
        input, for a stride without a change of channels.
      zero_init_last: whether the last BN's scale starts at zero, the unit as its shortcut.
      cardinality: number of groups of a bottleneck's 3x3.
      base_width: width of each group if `features` is 64; see `ResNet`.
      drop: (unit, x, draw) → the branch, instead of `residual(x)`; None uses `residual(x)`.
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
        """Returns `residual(x)`, or the result of `drop`."""
        return self.residual(x) if self.drop is None else self.drop(self, x, self.draw)

    def residual(self, x: jax.Array) -> jax.Array:
        """Returns the branch that is added to the shortcut, up to its last BN."""
        raise NotImplementedError

    def keeps(self, x: jax.Array) -> bool:
        """Returns whether the shortcut is the identity, apart from pixels that a stride skips."""
        if self.shortcut == "subsample":
            return True
        same_shape = self.strides == 1 and x.shape[-1] == self.expansion * self.features
        return same_shape and self.shortcut != "C"

    def skip(self, x: jax.Array, norm: Constructor | None) -> jax.Array:
        """Returns the input with the shape of the branch's output; `norm` follows a projection."""
        features = self.expansion * self.features
        if self.keeps(x):
            return x if self.strides == 1 else subsample_and_pad(x, features, self.strides)
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
        """Returns the BN at the end of the branch."""
        return zero_scale(self.norm, name) if self.zero_init_last else self.norm(name=name)

    @property
    def group_features(self) -> int:
        """Width of each of a bottleneck's `cardinality` groups."""
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
        """Raises `UserError` if a unit without a bottleneck has fields of bottlenecks set."""
        if (self.cardinality, self.base_width) != (1, 64):
            raise UserError(
                f"{type(self).__name__} has no inner width: cardinality and base_width go with a "
                "bottleneck"
            )


def stem(
    images: jax.Array,
    features: int,
    *,
    cifar: bool,
    ceil_pool: bool = False,
    pool_zeros: bool = False,
    **layers: Any,
) -> jax.Array:
    """Applies the calling module's `stem`: 7x7/2, BN, ReLU, 3x3/2 max-pool.

    Args:
      images: (N, H, W, C).
      features: number of features of the convolution.
      cifar: whether to use 3x3, BN, ReLU instead, for small images.
      ceil_pool: whether the pool is not padded and keeps a partly fitting last window, as in Caffe.
      pool_zeros: whether zeros around the map take part in the max-pool, as in Keras.
      **layers: `conv`, `norm` and `act`; see `ConvNormAct`.

    Returns:
      (N, ceil(H/4), ceil(W/4), features), or (N, H, W, features) with `cifar`.
    """
    if cifar:
        return ConvNormAct(features, (3, 3), **layers, name="stem")(images)
    x = ConvNormAct(features, (7, 7), strides=2, **layers, name="stem")(images)
    if pool_zeros:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    padding = 0 if ceil_pool or pool_zeros else 1
    return max_pool(x, (3, 3), (2, 2), padding=padding, ceil_mode=ceil_pool)


class Stage(nn.Module):
    """Units of one width, `block1`, `block2`, …; the first one has the stage's stride.

    Attributes:
      first: constructor of the first unit, if it differs from the others.
      last: constructor of the last unit, if it differs from the others; not used for a single unit.
      draws: `draw` of each unit, an array [num_blocks]; None if units have none.
      scan: whether to run the units after the first in a loop; see `ResNet`.
    """

    block: Constructor
    num_blocks: int
    features: int
    strides: int = 1
    first: Constructor | None = None
    draws: jax.Array | None = None
    scan: bool = False
    last: Constructor | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, H', W', C'), with C' and strides from the units."""
        first = self.block if self.first is None else self.first
        draws = [None] * self.num_blocks if self.draws is None else self.draws
        x = first(self.features, strides=self.strides, draw=draws[0], name="block1")(x)
        last = self.num_blocks - 1
        equal = range(1, last if self.last is not None else self.num_blocks)
        if self.scan and len(equal) > 1 and not self.is_initializing():
            names = [f"block{i + 1}" for i in equal]
            unit = lambda draw: self.block(self.features, draw=draw, parent=None)  # noqa: E731
            drawn = None if self.draws is None else draws[1 : equal.stop]
            x = apply_scanned(self, unit, names, x, drawn)
        else:
            for i in equal:
                x = self.block(self.features, draw=draws[i], name=f"block{i + 1}")(x)
        if self.last is not None and last > 0:
            x = self.last(self.features, draw=draws[last], name=f"block{last + 1}")(x)
        return x

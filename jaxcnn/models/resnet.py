"""ResNet and its plain twins.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

The paper's: depths and widths, shortcuts A, B and C, the plain networks, He initialisation, and for
`*_v1` the stride on the first 1x1 of a bottleneck. Of the released code (facebook/fb.resnet.torch)
and torchvision: the stride on the 3x3 elsewhere ("v1.5"), the fan-out form of the initialisation,
the initial classifier U(±1/sqrt(fan_in)) with (ours) zero bias, `zero_init_last` (Goyal et al.,
arXiv 1706.02677). Padding is symmetric.

ImageNet, ten-crop validation error in the paper (top-1 / top-5 %; of depth 50 and more that of
`*_v1`), parameters:

  resnet18_a   27.88 / –      11,515,688      plain18      27.94 / –      11,515,688
  resnet34_a   25.03 / 7.76   21,623,848      plain34      28.54 / 10.02  21,623,848
  resnet34     24.52 / 7.46   21,797,672      resnet18     –              11,689,512
  resnet34_c   24.19 / 7.40   22,716,840      resnet101    21.75 / 6.05   44,549,160
  resnet50     22.85 / 6.71   25,557,032      resnet152    21.43 / 5.71   60,192,808

CIFAR-10, test error in the paper (%), parameters (the plain twins have the same, and train worse
the deeper they are: plain-110 stays above 60 %):

  cifar_resnet20   8.75   269,722      cifar_resnet56     6.97      853,018
  cifar_resnet32   7.51   464,154      cifar_resnet110    6.43    1,727,962
  cifar_resnet44   7.17   658,586      cifar_resnet1202   7.93   19,421,274
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers import (
    BatchNorm,
    Conv,
    ConvNormAct,
    batch_norm,
    classifier,
    global_average_pool,
    he_normal_fan_out,
)
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.norm import zero_scale
from jaxcnn.layers.scan import apply_scanned
from jaxcnn.layers.shortcut import average_and_pad, subsample_and_pad
from jaxcnn.models.checks import check_images
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


class BasicBlock(ResidualUnit):
    """3x3, BN, ReLU, 3x3, BN; + shortcut; ReLU."""

    def residual(self, x: jax.Array) -> jax.Array:
        """3x3, BN, ReLU, 3x3, BN."""
        self.check_ungrouped()
        x = self.conv(self.features, (3, 3), strides=self.strides, padding=1, name="conv1")(x)
        x = self.act(self.norm(name="norm1")(x))
        x = self.conv(self.features, (3, 3), padding=1, name="conv2")(x)
        return self.last_norm("norm2")(x)


class Bottleneck(ResidualUnit):
    """1x1, BN, ReLU, 3x3 in `cardinality` groups, BN, ReLU, 1x1, BN; + shortcut; ReLU.

    Attributes:
      stride_first: stride on the first 1x1, as the paper has it, instead of on the 3x3.
    """

    stride_first: bool = False

    expansion: ClassVar[int] = 4

    def residual(self, x: jax.Array) -> jax.Array:
        """1x1, BN, ReLU, 3x3, BN, ReLU, 1x1, BN."""
        first, second = (self.strides, 1) if self.stride_first else (1, self.strides)
        inner, groups = self.inner_features, self.cardinality
        x = self.conv(inner, (1, 1), strides=first, name="conv1")(x)
        x = self.act(self.norm(name="norm1")(x))
        conv2 = partial(self.conv, feature_group_count=groups, strides=second, padding=1)
        x = conv2(inner, (3, 3), name="conv2")(x)
        x = self.act(self.norm(name="norm2")(x))
        x = self.conv(self.expansion * self.features, (1, 1), name="conv3")(x)
        return self.last_norm("norm3")(x)


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


class ResNet(nn.Module):
    """Stem, stages of residual units, global average pooling, linear classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) of any size to logits
    (N, num_classes) in at least float32. With `train=True` the collection `batch_stats` must be
    mutable; no rng is needed. Submodules: `stem`, `stage1`, `stage2`, …, `classifier`.

    Attributes:
      num_classes: 0 returns the pooled features.
      stage_sizes: units in each stage.
      block: constructor of a unit: `BasicBlock`, `Bottleneck`, or a partial of one.
      width: features of the first stage; each further stage doubles them and halves the map.
      cardinality: groups C of the 3x3 in bottlenecks, as in ResNeXt.
      base_width: width w of each group where a stage has 64 features: the 3x3 of a stage of c has
        C·floor(c·w/64) maps. 64 with one group is ResNet, 128 the wide ResNet.
      cifar_stem: a 3x3 stem for small images, `width` maps, instead of 7x7/2 and a max-pool.
      shortcut: A is parameter-free (subsampling and zero channels; "average": the mean of 2x2
        instead), B projects by 1x1 and BN where the shape changes, C projects in every unit; "none"
        is the plain network.
      zero_init_last: start the last BN of every unit at scale zero.
      scan_units: compile one unit for each stage and run the others in a loop (`jax.lax.scan`),
        with the same variables and numbers: very deep networks start sooner. Inner values of
        these units cannot be captured while it is on.
      dtype: of the computation; the parameters of BN and its statistics stay as they are.
      param_dtype: of the parameters.
      norm_momentum: decay of the running statistics.
      norm_epsilon: added to variances.
      conv: constructor of convolutions.
      norm: constructor of normalisation; see `jaxcnn.layers.batch_norm`.
      act: activation of the whole network.

    Raises:
      UserError: if the images are not of rank 4, for a shortcut that does not exist or cannot
        learn, or for groups in units that have none.
    """

    num_classes: int = 1000
    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    block: Constructor = Bottleneck
    width: int = 64
    cardinality: int = 1
    base_width: int = 64
    cifar_stem: bool = False
    shortcut: str = "B"
    zero_init_last: bool = False
    scan_units: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    norm_momentum: float = 0.9
    norm_epsilon: float = 1e-5
    conv: Constructor = Conv
    norm: Constructor | None = BatchNorm
    act: Activation = nn.relu

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images)
        check_shortcut(self.shortcut, SHORTCUTS, self.zero_init_last)
        conv = partial(
            self.conv,
            use_bias=self.norm is None,
            kernel_init=he_normal_fan_out,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        norm = batch_norm(
            self.norm,
            train=train,
            momentum=self.norm_momentum,
            epsilon=self.norm_epsilon,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        handed_down: dict[str, Any] = {"conv": conv, "norm": norm, "act": self.act}
        block = partial(
            self.block,
            shortcut=self.shortcut,
            zero_init_last=self.zero_init_last,
            cardinality=self.cardinality,
            base_width=self.base_width,
            **handed_down,
        )

        if self.cifar_stem:
            x = ConvNormAct(self.width, (3, 3), **handed_down, name="stem")(images)
        else:
            x = ConvNormAct(self.width, (7, 7), strides=2, **handed_down, name="stem")(images)
            x = max_pool(x, (3, 3), (2, 2), padding=1)
        drops = self.drops(train)
        stages: Any = len(self.stage_sizes) * [None]
        if drops is not None:
            drop, draws = drops
            block = partial(block, drop=drop)
            stages = jnp.split(draws, np.cumsum(self.stage_sizes)[:-1])
        for i, (size, of_stage) in enumerate(zip(self.stage_sizes, stages, strict=True)):
            x = Stage(
                block,
                size,
                self.width * 2**i,
                1 if i == 0 else 2,
                draws=of_stage,
                scan=self.scan_units,
                name=f"stage{i + 1}",
            )(x)
        x = global_average_pool(x)
        if self.num_classes == 0:
            return x
        return classifier(self.num_classes, self.dtype, self.param_dtype)(x)

    def drops(self, train: bool) -> tuple[Drop, jax.Array] | None:
        """Returns `drop` of all units and the `draw` of each [units]; None if all branches stay."""
        return None


IMAGENET_DEPTHS: dict[int, tuple[Constructor, tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def imagenet_resnet(depth: int, **fields: Any) -> ResNet:
    """Returns the ImageNet network of a depth of the paper; `fields` are those of `ResNet`.

    Raises:
      UserError: for a depth that the paper does not have.
    """
    if depth not in IMAGENET_DEPTHS:
        raise UserError(f"no ResNet of depth {depth}: choose one of {list(IMAGENET_DEPTHS)}")
    block, stage_sizes = IMAGENET_DEPTHS[depth]
    return ResNet(**{"block": block, "stage_sizes": stage_sizes, **fields})


def cifar_resnet(depth: int, network: type[ResNet] = ResNet, **fields: Any) -> ResNet:
    """Returns the CIFAR network of depth 6n+2, shortcut A.

    Args:
      depth: weighted layers.
      network: the class.
      **fields: of the class.

    Raises:
      UserError: for another depth.
    """
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise UserError(f"no CIFAR ResNet of depth {depth}: it must be 6n+2, as 20 or 110")
    defaults = {
        "num_classes": 10,
        "stage_sizes": (n, n, n),
        "block": BasicBlock,
        "width": 16,
        "cifar_stem": True,
        "shortcut": "A",
    }
    return network(**{**defaults, **fields})

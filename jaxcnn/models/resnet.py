"""ResNet and its plain twins.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

The paper's: depths and widths, shortcuts A, B and C, the plain networks, He initialisation, and for
`*_v1` the stride on the first 1x1 of a bottleneck. From the released code
(facebook/fb.resnet.torch) and torchvision: the stride on the 3x3 elsewhere ("v1.5"), the fan-out
form of the initialisation, the initial classifier U(±1/sqrt(fan_in)) with (ours) zero bias,
`zero_init_last` (Goyal et al., arXiv 1706.02677). Padding is symmetric.

ImageNet, ten-crop validation error in the paper (top-1 / top-5 %; for depth 50 and more of `*_v1`),
parameters:

  resnet18_a   27.88 / –      11,515,688      plain18      27.94 / –      11,515,688
  resnet34_a   25.03 / 7.76   21,623,848      plain34      28.54 / 10.02  21,623,848
  resnet34     24.52 / 7.46   21,797,672      resnet18     –              11,689,512
  resnet34_c   24.19 / 7.40   22,716,840      resnet101    21.75 / 6.05   44,549,160
  resnet50     22.85 / 6.71   25,557,032      resnet152    21.43 / 5.71   60,192,808

CIFAR-10, test error in the paper (%), parameters (the plain twins have the same number, and their
error increases with depth: plain-110 stays above 60 %):

  cifar_resnet20   8.75   269,722      cifar_resnet56     6.97      853,018
  cifar_resnet32   7.51   464,154      cifar_resnet110    6.43    1,727,962
  cifar_resnet44   7.17   658,586      cifar_resnet1202   7.93   19,421,274
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers import global_average_pool, he_normal_fan_out
from jaxcnn.layers.conv import Constructor
from jaxcnn.layers.recompute import recomputed
from jaxcnn.layers.residual import SHORTCUTS, Drop, ResidualUnit, Stage, check_shortcut, stem
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork


class BasicBlock(ResidualUnit):
    """3x3, BN, ReLU, 3x3, BN; + shortcut; ReLU."""

    def residual(self, x: jax.Array) -> jax.Array:
        """Applies 3x3, BN, ReLU, 3x3, BN."""
        self.check_ungrouped()
        x = self.conv(self.features, (3, 3), strides=self.strides, padding=1, name="conv1")(x)
        x = self.act(self.norm(name="norm1")(x))
        x = self.conv(self.features, (3, 3), padding=1, name="conv2")(x)
        return self.last_norm("norm2")(x)


class Bottleneck(ResidualUnit):
    """1x1, BN, ReLU, 3x3 in `cardinality` groups, BN, ReLU, 1x1, BN; + shortcut; ReLU.

    Attributes:
      stride_first: whether the first 1x1 is strided, as in the paper, instead of the 3x3.
    """

    stride_first: bool = False

    expansion: ClassVar[int] = 4

    def residual(self, x: jax.Array) -> jax.Array:
        """Applies 1x1, BN, ReLU, 3x3, BN, ReLU, 1x1, BN."""
        first, second = (self.strides, 1) if self.stride_first else (1, self.strides)
        inner, groups = self.inner_features, self.cardinality
        x = self.conv(inner, (1, 1), strides=first, name="conv1")(x)
        x = self.act(self.norm(name="norm1")(x))
        conv2 = partial(self.conv, feature_group_count=groups, strides=second, padding=1)
        x = conv2(inner, (3, 3), name="conv2")(x)
        x = self.act(self.norm(name="norm2")(x))
        x = self.conv(self.expansion * self.features, (1, 1), name="conv3")(x)
        return self.last_norm("norm3")(x)


class ResNet(NormNetwork):
    """Stem, stages of residual units, global average pooling, linear classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) of any size to logits
    (N, num_classes) in at least float32. With `train=True` the collection `batch_stats` must be
    mutable; no rng is needed. Submodules: `stem`, `stage1`, `stage2`, …, `classifier`.

    Attributes:
      stage_sizes: number of units in each stage.
      block: constructor of a unit: `BasicBlock`, `Bottleneck`, or a partial of one.
      width: features of the first stage; each further stage doubles them and halves the map.
      cardinality: number C of groups in the 3x3 of bottlenecks, as in ResNeXt.
      base_width: width w of each group in a stage of 64 features: the 3x3 in a stage of c features
        has C·floor(c·w/64) maps. 64 with one group is ResNet, 128 the wide ResNet.
      cifar_stem: whether the stem is a 3x3 (`width` maps, small images), not 7x7/2 and max-pool.
      ceil_pool: whether the stem's pool is not padded and keeps a partly fitting last window, as in
        the authors' Caffe networks.
      shortcut: A is parameter-free (subsampling and zero channels; "average": the mean of 2x2
        instead), B projects by 1x1 and BN if the shape changes, C projects in every unit; "none" is
        the plain network.
      zero_init_last: whether the last BN of every unit starts at scale zero.
      remat: whether the backward pass keeps only the input of every unit and computes the unit
        again, for less memory; see `jaxcnn.layers.recompute`.
      scan_units: whether to compile one unit per stage and run the others by `jax.lax.scan`, with
        the same variables and numbers: very deep networks start sooner. Intermediates of these
        units cannot be captured.

    Raises:
      UserError: if images are not of rank 4, a shortcut does not exist or cannot learn, or units
        without groups have groups set.
    """

    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    block: Constructor = Bottleneck
    width: int = 64
    cardinality: int = 1
    base_width: int = 64
    cifar_stem: bool = False
    ceil_pool: bool = False
    shortcut: str = "B"
    zero_init_last: bool = False
    remat: bool = False
    scan_units: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images)
        check_shortcut(self.shortcut, SHORTCUTS, self.zero_init_last)
        layers = self.layers(train, he_normal_fan_out)
        block = partial(
            recomputed(self.block) if self.remat else self.block,
            shortcut=self.shortcut,
            zero_init_last=self.zero_init_last,
            cardinality=self.cardinality,
            base_width=self.base_width,
            **layers,
        )

        x = stem(images, self.width, cifar=self.cifar_stem, ceil_pool=self.ceil_pool, **layers)
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
        return self.classify(global_average_pool(x))

    def drops(self, train: bool) -> tuple[Drop, jax.Array] | None:
        """Returns the units' common `drop` and `draw`s [units]; None if nothing is dropped."""
        return None


IMAGENET_DEPTHS: dict[int, tuple[Constructor, tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def imagenet_resnet(depth: int, **fields: Any) -> ResNet:
    """Returns the paper's ImageNet network of a depth; `fields` are those of `ResNet`.

    Raises:
      UserError: if the paper has no such depth.
    """
    if depth not in IMAGENET_DEPTHS:
        raise UserError(f"no ResNet of depth {depth}: choose one of {list(IMAGENET_DEPTHS)}")
    block, stage_sizes = IMAGENET_DEPTHS[depth]
    return ResNet(**{"block": block, "stage_sizes": stage_sizes, **fields})


def cifar_resnet(depth: int, network: type[ResNet] = ResNet, **fields: Any) -> ResNet:
    """Returns the CIFAR network of depth 6n+2, shortcut A.

    Args:
      depth: number of weighted layers.
      network: class of the network.
      **fields: fields of the class.

    Raises:
      UserError: for any other depth.
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

"""Inception-v4 and Inception-ResNet.

Szegedy, Ioffe, Vanhoucke and Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2016, arXiv 1602.07261.

The paper's: stems, modules and reductions of the three networks, residual branches that end in a
linear 1x1 convolution with bias, without BN, and are scaled down before the addition, dropout of
0.2. From the released code (TensorFlow models, slim): the scales 0.17, 0.10 and 0.20 (the paper
says 0.1 to 0.3), in the stem of v4 the 1x7 before the 7x1, the auxiliary head, epsilon 0.001,
average pools that divide by the pixels in the window. The initialisation is Inception v3's.
Momentum 0.9 is torchvision's; slim has 0.9997. Padding is symmetric.

`inception_resnet_v2` is the released network, which is known by this name: the stem of v3, ten,
twenty and ten modules, the last of them unscaled and without ReLU, and 1536 maps to pool.
`inception_resnet_v2_paper` follows the figures; its expansions have the widths of the sums (1152
and 2144, where the figures print 1154 and 2048).

ImageNet, single-crop validation error in the paper, without about 1,700 images suspected of wrong
labels, and with 144 crops of all images (top-1 / top-5 %), parameters:

  inception_v4                20.0 / 5.0   17.7 / 3.8   42,679,816
  inception_resnet_v1         21.3 / 5.5   18.8 / 4.3   22,756,328
  inception_resnet_v2         –            –            55,843,464
  inception_resnet_v2_paper   19.9 / 4.9   17.8 / 3.7   32,433,928
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from flax import linen as nn

from jaxcnn.layers import ConvNormAct, classifier, global_average_pool, sow_auxiliary
from jaxcnn.layers.conv import Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.head import runs_auxiliary
from jaxcnn.layers.inception_blocks import AVERAGE, MAX, Branches, Chain, Fork, Layer, Step, fork
from jaxcnn.layers.recompute import recomputed
from jaxcnn.models.checks import check_images
from jaxcnn.models.inception_v3 import STEM as STEM_V3
from jaxcnn.models.inception_v3 import AuxiliaryHead, Stage, truncated_normal, valid3x3
from jaxcnn.models.network import NormNetwork

Tables = Sequence[Fork]

STEM_V4 = (
    valid3x3(32, 2),
    valid3x3(32),
    Layer(64, 3),
    fork([MAX], [valid3x3(96, 2)]),
    fork(
        [Layer(64), valid3x3(96)],
        [Layer(64), Layer(64, (1, 7)), Layer(64, (7, 1)), valid3x3(96)],
    ),
    fork([valid3x3(192, 2)], [MAX]),
)
STEM_RESNET_V1 = (*STEM_V3[:-1], valid3x3(256, 2))
STEM_RESNET_V2 = (
    *STEM_V3,
    fork(
        [Layer(96)],
        [Layer(48), Layer(64, 5)],
        [Layer(64), Layer(96, 3), Layer(96, 3)],
        [AVERAGE, Layer(64)],
    ),
)


def reduction_a(k: int, l: int, m: int, n: int) -> Fork:  # noqa: E741, the paper's letters
    """Returns n 3x3/2 | k 1x1, l 3x3, m 3x3/2 | max-pool."""
    return fork([valid3x3(n, 2)], [Layer(k), Layer(l, 3), valid3x3(m, 2)], [MAX])


REDUCTION_B_V4 = fork(
    [Layer(192), valid3x3(192, 2)],
    [Layer(256), Layer(256, (1, 7)), Layer(320, (7, 1)), valid3x3(320, 2)],
    [MAX],
)


def reduction_b_resnet(second: int, third: tuple[int, int]) -> Fork:
    """Returns 256, 384 3x3/2 | 256, `second` 3x3/2 | 256, `third` 3x3, 3x3/2 | max-pool."""
    return fork(
        [Layer(256), valid3x3(384, 2)],
        [Layer(256), valid3x3(second, 2)],
        [Layer(256), Layer(third[0], 3), valid3x3(third[1], 2)],
        [MAX],
    )


_ENDS = fork([Layer(256, (1, 3))], [Layer(256, (3, 1))])

BLOCKS_V4 = (
    fork(
        [Layer(96)],
        [Layer(64), Layer(96, 3)],
        [Layer(64), Layer(96, 3), Layer(96, 3)],
        [AVERAGE, Layer(96)],
    ),
    fork(
        [Layer(384)],
        [Layer(192), Layer(224, (1, 7)), Layer(256, (7, 1))],
        [
            Layer(192),
            Layer(192, (7, 1)),
            Layer(224, (1, 7)),
            Layer(224, (7, 1)),
            Layer(256, (1, 7)),
        ],
        [AVERAGE, Layer(128)],
    ),
    fork(
        [Layer(256)],
        [Layer(384), _ENDS],
        [Layer(384), Layer(448, (3, 1)), Layer(512, (1, 3)), _ENDS],
        [AVERAGE, Layer(256)],
    ),
)
BLOCKS_RESNET_V1 = (
    fork([Layer(32)], [Layer(32), Layer(32, 3)], [Layer(32), Layer(32, 3), Layer(32, 3)]),
    fork([Layer(128)], [Layer(128), Layer(128, (1, 7)), Layer(128, (7, 1))]),
    fork([Layer(192)], [Layer(192), Layer(192, (1, 3)), Layer(192, (3, 1))]),
)
BLOCKS_RESNET_V2 = (
    fork([Layer(32)], [Layer(32), Layer(32, 3)], [Layer(32), Layer(48, 3), Layer(64, 3)]),
    fork([Layer(192)], [Layer(128), Layer(160, (1, 7)), Layer(192, (7, 1))]),
    fork([Layer(192)], [Layer(192), Layer(224, (1, 3)), Layer(256, (3, 1))]),
)


class ResidualBranches(Branches):
    """Branches; 1x1 with bias; scaled and added to the input; ReLU.

    Attributes:
      scale: factor of the residual.
      linear: whether to omit the ReLU at the end.
      residual: whether there is a shortcut; False returns the expanded branches, unscaled.
    """

    scale: float = 1.0
    linear: bool = False
    residual: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, H, W, C)."""
        y = self.conv(x.shape[-1], (1, 1), use_bias=True, name="expand")(self.join(x))
        x = x + self.scale * y if self.residual else y
        return x if self.linear else self.act(x)


class InceptionV4(NormNetwork):
    """Stem, three stages of modules, global average pooling, dropout, linear classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) to logits (N, num_classes) in at least
    float32. With `train=True` the collection `batch_stats` must be mutable, and if `dropout_rate`
    is positive an rng `dropout` is needed. Submodules: `stem`, `stage1`, `stage2`, `stage3`,
    `classifier`, and with `aux_heads` `aux1_head`, whose input is the output of stage 2. It runs in
    training and whenever collection `aux` is mutable, and stores its logits there as `aux1`.

    Attributes:
      stem: steps, see `jaxcnn.layers.inception_blocks`.
      modules: table of each stage's module.
      reductions: tables of the reductions before stages 2 and 3, which halve the map.
      stage_sizes: number of modules in each stage.
      smallest: side of the smallest images for which stem and reductions leave a pixel.
      aux_heads: whether there is an auxiliary head, that of Inception v3. If it runs, images must
        be at least 299x299.
      dropout_rate: share of features dropped before the classifier.
      remat: whether the backward pass keeps only the input of every module and computes the module
        again, for less memory; see `jaxcnn.layers.recompute`.
      scan_units: whether to compile one module per stage and run the others in a loop
        (`jax.lax.scan`), with the same variables and numbers: the network starts sooner.
        Intermediates of these modules cannot be captured.

    Raises:
      UserError: if images are not of rank 4, or too small for the last stage or the auxiliary head.
    """

    stem: Sequence[Step] = STEM_V4
    modules: Tables = BLOCKS_V4
    reductions: Tables = (reduction_a(192, 224, 256, 384), REDUCTION_B_V4)
    stage_sizes: Sequence[int] = (4, 7, 3)
    smallest: int = 75
    aux_heads: bool = False
    dropout_rate: float = 0.2
    remat: bool = False
    scan_units: bool = False
    norm_epsilon: float = 1e-3

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images, self.smallest)
        layers = self.layers(train, truncated_normal(0.1))
        first, second, third = (self.blocks(i, **layers) for i in range(3))
        reduction = self.module_of(Branches, **layers)
        to_second, to_third = (partial(reduction, table) for table in self.reductions)

        x = Chain(self.stem, **layers, name="stem")(images)
        stage = partial(Stage, scan=self.scan_units)
        x = stage(first, name="stage1")(x)
        x = stage(second, reduction=to_second, name="stage2")(x)
        if self.aux_heads and self.num_classes > 0 and runs_auxiliary(self, train):
            last_init = self.kernel_init or truncated_normal(0.01)
            head = partial(classifier, self.num_classes, **self.dtypes)
            aux = AuxiliaryHead(**layers, last_init=last_init, classifier=head, name="aux1_head")
            sow_auxiliary(self, "aux1", aux(x))
        x = stage(third, reduction=to_third, name="stage3")(x)
        x = global_average_pool(self.tail(x, **layers))
        dropout = Dropout(self.dropout_rate, deterministic=not train)
        return self.classify(x, truncated_normal(0.1), dropout)

    def blocks(self, stage: int, **layers: Any) -> list[Constructor]:
        """Returns the modules of a stage, counted from 0."""
        block = self.module_of(Branches, table=self.modules[stage], **layers)
        return [block] * self.stage_sizes[stage]

    def module_of(self, kind: type[Branches], **fields: Any) -> Constructor:
        """Returns the constructor of modules of a class; `fields` are theirs."""
        return partial(recomputed(kind) if self.remat else kind, **fields)

    def tail(self, x: jax.Array, **layers: Any) -> jax.Array:
        """Returns the maps to be averaged."""
        return x


class InceptionResNet(InceptionV4):
    """Inception-v4 with residual modules; the defaults are those of the released v2.

    Attributes, in addition to those of `InceptionV4` (and a further submodule `last`):
      scales: scales of the residual branches in each stage.
      residual: whether the modules have shortcuts.
      linear_last: whether stage 3 has one more module, unscaled and without ReLU at its end.
      last_features: maps of a 1x1 convolution after stage 3; None omits it.
    """

    stem: Sequence[Step] = STEM_RESNET_V2
    modules: Tables = BLOCKS_RESNET_V2
    reductions: Tables = (
        reduction_a(256, 256, 384, 384),
        reduction_b_resnet(288, (288, 320)),
    )
    stage_sizes: Sequence[int] = (10, 20, 9)
    scales: Sequence[float] = (0.17, 0.10, 0.20)
    residual: bool = True
    linear_last: bool = True
    last_features: int | None = 1536

    def blocks(self, stage: int, **layers: Any) -> list[Constructor]:
        """Returns the modules of a stage, counted from 0."""
        block = self.module_of(
            ResidualBranches, table=self.modules[stage], residual=self.residual, **layers
        )
        blocks: list[Constructor] = [partial(block, scale=self.scales[stage])] * self.stage_sizes[
            stage
        ]
        if stage == 2 and self.linear_last:
            blocks.append(partial(block, linear=True))
        return blocks

    def tail(self, x: jax.Array, **layers: Any) -> jax.Array:
        """Returns the maps to be averaged."""
        if self.last_features is None:
            return x
        return ConvNormAct(self.last_features, (1, 1), **layers, name="last")(x)


def inception_resnet_v1(**fields: Any) -> InceptionResNet:
    """Returns Inception-ResNet-v1; `fields` are those of `InceptionResNet`."""
    defaults = {
        "stem": STEM_RESNET_V1,
        "modules": BLOCKS_RESNET_V1,
        "reductions": (reduction_a(192, 192, 256, 384), reduction_b_resnet(256, (256, 256))),
        "stage_sizes": (5, 10, 5),
        "linear_last": False,
        "last_features": None,
    }
    return InceptionResNet(**{**defaults, **fields})


def inception_resnet_v2_paper(**fields: Any) -> InceptionResNet:
    """Returns the figures' Inception-ResNet-v2; `fields` are those of `InceptionResNet`."""
    defaults = {
        "stem": STEM_V4,
        "stage_sizes": (5, 10, 5),
        "linear_last": False,
        "last_features": None,
    }
    return InceptionResNet(**{**defaults, **fields})

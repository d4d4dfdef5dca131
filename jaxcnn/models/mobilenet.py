"""MobileNet v1.

Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto and Adam, "MobileNets: Efficient
Convolutional Neural Networks for Mobile Vision Applications", 2017, arXiv 1704.04861.

The paper's: the layers and widths, the width multiplier α (int(α·C) channels), the twin with
ordinary convolutions, the shallow network, ReLU. (Its table prints stride 2 for the last depthwise
layer, whose map stays 7x7: ours is stride 1.) From the released code (TensorFlow models, slim):
padding SAME, dropout 0.001, epsilon 0.001, truncated normal initialisation of convolutions with
deviation 0.09. That code, Keras and timm have ReLU6, here `act=nn.relu6`. Momentum 0.99 is Keras's;
slim has 0.9997. Ours: the classifier's initialisation.

ImageNet, single-crop validation error in the paper at 224 (top-1 %), parameters:

  mobilenet_v1_100   29.4   4,231,976      mobilenet_v1_025       49.4      470,072
  mobilenet_v1_075   31.6   2,585,560      mobilenet_v1_shallow   34.7    2,887,976
  mobilenet_v1_050   36.3   1,331,592      mobilenet_v1_fullconv  28.3   29,294,088

At 192, 160 and 128 mobilenet_v1_100 has 30.9, 32.8 and 35.6.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers import ConvNormAct, global_average_pool
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.initializers import truncated_normal
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork

# Padding of the stem and of the other layers with stride 2; values for `ConvNormAct`.
PADDINGS: dict[str, tuple[Any, Any]] = {
    "SAME": ("SAME", "SAME"),
    "symmetric": (None, None),
    "keras": ("SAME", ((0, 1), (0, 1))),
}


class SeparableConv(nn.Module):
    """3x3 depthwise, BN, ReLU, 1x1, BN, ReLU.

    Maps (N, H, W, C) to (N, H', W', features).

    Attributes:
      padding: padding of the 3x3; see `ConvNormAct`.
    """

    features: int
    conv: Constructor
    norm: Constructor
    act: Activation
    strides: int = 1
    padding: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Filters each channel separately, then mixes channels."""
        channels = x.shape[-1]
        depthwise = ConvNormAct(
            channels,
            (3, 3),
            partial(self.conv, feature_group_count=channels),
            self.norm,
            self.act,
            strides=self.strides,
            padding=self.padding,
            name="depthwise",
        )
        pointwise = ConvNormAct(
            self.features, (1, 1), self.conv, self.norm, self.act, name="pointwise"
        )
        return pointwise(depthwise(x))


class Stage(nn.Module):
    """Blocks of one width, `block1`, `block2`, …; the first one has the stage's stride.

    Attributes:
      padding: padding of the first block; see `ConvNormAct`. The others keep the size.
    """

    block: Constructor
    num_blocks: int
    features: int
    strides: int
    padding: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, H', W', features)."""
        for i in range(self.num_blocks):
            strides, padding = (self.strides, self.padding) if i == 0 else (1, None)
            block = self.block(
                features=self.features, strides=strides, padding=padding, name=f"block{i + 1}"
            )
            x = block(x)
        return x


class MobileNet(NormNetwork):
    """3x3/2 stem, stages of separable convolutions, global average pooling, dropout, classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) of any size to logits
    (N, num_classes) in at least float32. With `train=True` the collection `batch_stats` must be
    mutable, and if `dropout_rate` is positive an rng `dropout` is needed. Submodules: `stem`,
    `stage1`, `stage2`, …, `head` if `head_features` asks for it, `classifier`.

    Attributes:
      stage_sizes: number of blocks in each stage; every stage but the first halves the map.
      features: channels of the stem and of each stage, before the multiplier.
      width_multiplier: α; a layer of C channels has int(α·C).
      separable: False replaces every block by one ordinary 3x3 convolution, BN, ReLU.
      head_features: channels of a 1x1 convolution, BN, ReLU before the pooling, not multiplied by
        α; the paper has none.
      padding: padding at stride 2: "SAME" as in TensorFlow, "symmetric" as in torch, or "keras".
        At even sizes "SAME" and "keras" pad only right and below; at odd sizes "SAME" pads on all
        sides and "keras" only in the stem, so H and W must be at least 2^stages - 1.
      dropout_rate: share of the pooled features that is dropped.

    Raises:
      UserError: if images are not of rank 4 or too small, the padding does not exist, the
        multiplier leaves a layer without channels, or stages and features are inconsistent.
    """

    stage_sizes: Sequence[int] = (1, 2, 2, 6, 2)
    features: Sequence[int] = (32, 64, 128, 256, 512, 1024)
    width_multiplier: float = 1.0
    separable: bool = True
    head_features: int | None = None
    padding: str = "SAME"
    dropout_rate: float = 1e-3
    norm_momentum: float = 0.99
    norm_epsilon: float = 1e-3

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        of_stem, of_stage = self._padding()
        check_images(images, 2 ** len(self.stage_sizes) - 1 if self.padding == "keras" else 1)
        stem_features, *stages = self._widths()
        layers = self.layers(train, truncated_normal(0.09))
        ordinary = partial(ConvNormAct, kernel_size=(3, 3), **layers)
        block = partial(SeparableConv, **layers) if self.separable else ordinary

        x = ordinary(features=stem_features, strides=2, padding=of_stem, name="stem")(images)
        for i, (size, features) in enumerate(zip(self.stage_sizes, stages, strict=True)):
            strides, padding = (1, None) if i == 0 else (2, of_stage)
            x = Stage(block, size, features, strides, padding, name=f"stage{i + 1}")(x)
        if self.head_features is not None:
            x = ConvNormAct(self.head_features, (1, 1), **layers, name="head")(x)
        dropout = Dropout(self.dropout_rate, deterministic=not train)
        return self.classify(global_average_pool(x), dropout=dropout)

    def _widths(self) -> list[int]:
        if len(self.features) != len(self.stage_sizes) + 1:
            raise UserError(
                f"{len(self.stage_sizes)} stages need {len(self.stage_sizes) + 1} numbers in "
                f"`features`, the stem's first: there are {len(self.features)}"
            )
        widths = [int(self.width_multiplier * features) for features in self.features]
        if min(widths) < 1:
            raise UserError(
                f"width_multiplier {self.width_multiplier} leaves a layer without channels: "
                f"take {1 / min(self.features)} or more"
            )
        return widths

    def _padding(self) -> tuple[Any, Any]:
        if self.padding not in PADDINGS:
            raise UserError(f"no padding {self.padding!r}: {nearest(self.padding, PADDINGS)}")
        return PADDINGS[self.padding]

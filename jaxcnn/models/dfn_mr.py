"""DFN-MR: deeply-fused nets with merge-and-run mappings.

Zhao, Wang, Li, Tu and Zeng, "On the Connection of Deep Fusion to Ensembling", 2016,
arXiv 1611.07718.

Two lines of residual branches run in parallel; their common shortcut is the mean of both. From the
released code (zlmzju/fusenet), which is the paper's: the units, widths and depths, the change of a
line's shape, the end of the lines, He initialisation by fan-in, BN's epsilon 2e-5 (and for CIFAR a
decay of 0.99, here 0.9). Padding is symmetric. The longest path has 56, 32, 50 and 50 layers in
DFN-MR1, MR2, MR3 and the ImageNet network.

CIFAR-10 / CIFAR-100, test error in the paper with flips and shifts (%), parameters:

  dfn_mr1   4.94 / 24.46    1,710,426
  dfn_mr2   3.94 / 19.25   14,851,402
  dfn_mr3   3.57 / 19.00   24,151,882 (24.8M by the authors' count)

ImageNet, validation error of one 224 crop (top-1 / top-5 %): dfn_mr_imagenet 23.16 / 6.61,
46,395,048.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers import ConvNormAct, global_average_pool
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.initializers import he_normal
from jaxcnn.layers.residual import stem
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork

Lines = tuple[jax.Array, jax.Array]


class Branch(nn.Module):
    """3x3, BN, ReLU, 3x3, BN; or 1x1, BN, ReLU, 3x3, BN, ReLU, 1x1, BN with a quarter of the width.

    Layers are `layer1`, `layer2`, …; the first 3x3 is strided.
    """

    features: int
    strides: int
    bottleneck: bool
    layer: Constructor

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), features)."""
        inner = self.features
        if self.bottleneck:
            inner //= 4
            x = self.layer(inner, (1, 1), name="layer1")(x)
        first, last = (2, 3) if self.bottleneck else (1, 2)
        x = self.layer(inner, (3, 3), strides=self.strides, name=f"layer{first}")(x)
        size = (1, 1) if self.bottleneck else (3, 3)
        return self.layer(self.features, size, act=None, name=f"layer{last}")(x)


class MergeAndRun(nn.Module):
    """`left` and `right`, each + the mean of the (projected) lines; ReLU.

    Attributes:
      branch: constructor of a line's branch.
      layer: constructor of a convolution with BN and ReLU, for the projections `left_proj` and
        `right_proj` if the shape changes; None omits the shortcut there.
      end: whether to add both branches to one shortcut; the lines are then equal.
    """

    features: int
    strides: int
    branch: Constructor
    layer: Constructor | None
    act: Activation
    end: bool = False

    @nn.compact
    def __call__(self, lines: Lines) -> Lines:
        """Maps two arrays (N, H, W, C) to two (N, ceil(H/strides), ceil(W/strides), features)."""
        left, right = (
            self.branch(self.features, self.strides, name=name)(line)
            for name, line in zip(("left", "right"), lines, strict=True)
        )
        merged = self.merged(lines)
        if self.end:
            # One shortcut, as in the released code: half of each line.
            left = right = left + right
        if merged is not None:
            left, right = merged + left, merged + right
        return self.act(left), self.act(right)

    def merged(self, lines: Lines) -> jax.Array | None:
        """Returns the mean of the lines with the shape of the branches; None without a shortcut."""
        if self.strides > 1 or lines[0].shape[-1] != self.features:
            if self.layer is None:
                return None
            proj = partial(self.layer, self.features, (1, 1), strides=self.strides, act=None)
            lines = (proj(name="left_proj")(lines[0]), proj(name="right_proj")(lines[1]))
        return (lines[0] + lines[1]) / 2


class Stage(nn.Module):
    """Units of one width, `block1`, `block2`, …; the first one has the stage's stride.

    Attributes:
      end: whether the last unit ends both lines.
    """

    unit: Constructor
    num_blocks: int
    features: int
    strides: int
    end: bool

    @nn.compact
    def __call__(self, lines: Lines) -> Lines:
        """Maps two arrays (N, H, W, C) to two (N, ceil(H/strides), ceil(W/strides), features)."""
        for i in range(self.num_blocks):
            strides = self.strides if i == 0 else 1
            end = self.end and i == self.num_blocks - 1
            lines = self.unit(self.features, strides, end=end, name=f"block{i + 1}")(lines)
        return lines


class MergeAndRunNet(NormNetwork):
    """Stem, stages of merge-and-run units, global average pooling, linear classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) of any size to logits
    (N, num_classes) in at least float32. With `train=True` the collection `batch_stats` must be
    mutable; no rng is needed. Submodules: `stem`, `stage1`, `stage2`, …, `classifier`.

    Attributes:
      stage_sizes: number of units in each stage.
      width: features of the stem and, without `bottleneck`, of the first stage; each further stage
        doubles them and halves the map.
      bottleneck: whether branches are 1x1, 3x3, 1x1 and stages four times as wide.
      cifar_stem: whether the stem is 3x3, BN, ReLU (small images), not only 7x7/2 and max-pool.
      project: whether 1x1 and BN change the shape of the lines; otherwise units that change the
        shape have no shortcut.
      concatenate: whether the output has the channels of both lines; otherwise the last unit adds
        both branches to one shortcut.

    Raises:
      UserError: if images are not of rank 4, or a stage has no unit.
    """

    num_classes: int = 10
    stage_sizes: Sequence[int] = (9, 9, 9)
    width: int = 16
    bottleneck: bool = False
    cifar_stem: bool = True
    project: bool = True
    concatenate: bool = False
    norm_epsilon: float = 2e-5

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images)
        if not self.stage_sizes or min(self.stage_sizes) < 1:
            raise UserError(
                f"stage_sizes={tuple(self.stage_sizes)}: a stage has 1 unit or more, in the last "
                "one of which the lines end"
            )
        layers = self.layers(train, he_normal())
        layer = partial(ConvNormAct, **layers)
        unit = partial(
            MergeAndRun,
            branch=partial(Branch, bottleneck=self.bottleneck, layer=layer),
            layer=layer if self.project else None,
            act=self.act,
        )

        if not self.cifar_stem:
            layers |= {"norm": None, "act": None}
        x = stem(images, self.width, cifar=self.cifar_stem, **layers)
        lines = (x, x)
        expansion = 4 if self.bottleneck else 1
        for i, size in enumerate(self.stage_sizes):
            features, strides = expansion * self.width * 2**i, 1 if i == 0 else 2
            end = not self.concatenate and i == len(self.stage_sizes) - 1
            lines = Stage(unit, size, features, strides, end, name=f"stage{i + 1}")(lines)
        x = jnp.concatenate(lines, axis=-1) if self.concatenate else lines[0]
        return self.classify(global_average_pool(x))


def imagenet_dfn_mr(**fields: Any) -> MergeAndRunNet:
    """Returns the ImageNet network; `fields` are those of `MergeAndRunNet`."""
    defaults = {
        "num_classes": 1000,
        "stage_sizes": (1, 2, 11, 2),
        "width": 64,
        "bottleneck": True,
        "cifar_stem": False,
        "project": False,
        "concatenate": True,
    }
    return MergeAndRunNet(**{**defaults, **fields})

"""BN-Inception, which TF-slim calls Inception v2.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift", 2015, arXiv 1502.03167. (The Inception v2 of "Rethinking the Inception
Architecture" is another network.)

The paper's: the modules of its figure 5, with two 3x3 convolutions instead of GoogLeNet's 5x5, and
modules of stride 2 instead of pools between the stages; batch normalisation after every
convolution; no response normalisation, auxiliary heads or dropout. The figure gives 4c and 4d 576
channels, but its printed widths add up to 608; we use the widths, as does the port to Caffe. The
text has a separable first convolution; the figure, the port and `bn_inception` have not. No variant
gives the paper's 13.6 million parameters. Padding is TensorFlow's SAME, which is not symmetric at
stride 2, and average pools do not count the padding.

`inception_v2_slim` is TF-slim's: pool projections of 96 in 4c and 4d (slim's names are one letter
later), which give 576 channels; a separable first convolution; dropout 0.2. Ours in both: truncated
normal weights with He's variance, where slim has other deviations for 1x1 convolutions in front of
others (0.09 and 0.1) and for the depthwise one (1.0). Ours in `inception_v2_slim`: batch
normalisation after the first convolution, where slim's released code has a bias by mistake, and
with a scale, which slim omits.

ImageNet, validation error (top-1 / top-5 %), one network, parameters:

  bn_inception        25.2 / 7.82   11,285,224   paper, one crop; 21.99 / 5.82 with 144 crops
  inception_v2_slim   26.1 / 8.2    11,188,288   released weights, centre crop
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from jaxcnn.layers import ConvNormAct, global_average_pool
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.inception_blocks import Fork, Layer, fork
from jaxcnn.models.checks import check_images
from jaxcnn.models.googlenet import Stage
from jaxcnn.models.network import NormNetwork
from jaxcnn.ops.pool import avg_pool, max_pool

# SAME as in TensorFlow; averages only over pixels of the map in the window.
AVERAGE = partial(avg_pool, window=(3, 3), padding="SAME", count_include_pad=False)
MAX = partial(max_pool, window=(3, 3), padding="SAME")


class Row(NamedTuple):
    """A module in the paper's figure 5: features of its convolutions, and its pool.

    Attributes:
      conv1x1: 0 omits the branch.
      pool: see `AVERAGE` and `MAX`.
      pool_proj: 0 passes the channels of the pool unchanged.
      strides: strides of the last 3x3 of each branch, and of the pool.
    """

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce_double: int
    conv_double: int
    pool: Constructor
    pool_proj: int
    strides: int = 1


MODULES = (
    (  # 3a to 3c
        Row(64, 64, 64, 64, 96, AVERAGE, 32),
        Row(64, 64, 96, 64, 96, AVERAGE, 64),
        Row(0, 128, 160, 64, 96, MAX, 0, strides=2),
    ),
    (  # 4a to 4e
        Row(224, 64, 96, 96, 128, AVERAGE, 128),
        Row(192, 96, 128, 96, 128, AVERAGE, 128),
        Row(160, 128, 160, 128, 160, AVERAGE, 128),
        Row(96, 128, 192, 160, 192, AVERAGE, 128),
        Row(0, 128, 192, 192, 256, MAX, 0, strides=2),
    ),
    (  # 5a, 5b
        Row(352, 192, 320, 160, 224, AVERAGE, 128),
        Row(352, 192, 320, 192, 224, MAX, 128),
    ),
)

_4a, _4b, _4c, _4d, _4e = MODULES[1]
SLIM_MODULES = (
    MODULES[0],
    (_4a, _4b, _4c._replace(pool_proj=96), _4d._replace(pool_proj=96), _4e),
    MODULES[2],
)

he_truncated_normal = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


def module(row: Row) -> Fork:
    """Returns [1x1 |] 1x1, 3x3 | 1x1, 3x3, 3x3 | 3x3 pool[, 1x1]."""
    pool = partial(row.pool, strides=(row.strides, row.strides))
    double = Layer(row.conv_double, 3)
    return fork(
        *([[Layer(row.conv1x1)]] if row.conv1x1 else []),
        [Layer(row.reduce3x3), Layer(row.conv3x3, 3, row.strides, "SAME")],
        [Layer(row.reduce_double), double, double._replace(strides=row.strides, padding="SAME")],
        [pool, Layer(row.pool_proj)] if row.pool_proj else [pool],
    )


class Stem(nn.Module):
    """7x7/2(64), pool, 1x1(64), 3x3(192), pool; each convolution with BN and ReLU.

    Maps (N, H, W, C) to (N, ceil(H/8), ceil(W/8), 192).

    Attributes:
      separable: whether the 7x7 is depthwise with eight maps per channel, followed by a 1x1.
    """

    conv: Constructor
    norm: Constructor
    act: Activation
    separable: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the input of the first module."""
        conv = partial(ConvNormAct, conv=self.conv, norm=self.norm, act=self.act)
        channels = x.shape[-1]
        if self.separable:
            depthwise = partial(self.conv, 8 * channels, (7, 7), feature_group_count=channels)
            x = depthwise(strides=2, padding="SAME", name="depthwise")(x)
            x = conv(64, (1, 1), name="conv1")(x)
        else:
            x = conv(64, (7, 7), strides=2, padding="SAME", name="conv1")(x)
        x = max_pool(x, (3, 3), (2, 2), "SAME")
        x = conv(64, (1, 1), name="conv2")(x)
        x = conv(192, (3, 3), name="conv3")(x)
        return max_pool(x, (3, 3), (2, 2), "SAME")


class BNInception(NormNetwork):
    """Stem, three stages of Inception modules, global average pooling, dropout, linear classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) of any size to logits
    (N, num_classes) in at least float32. With `train=True` the collection `batch_stats` must be
    mutable, and if `dropout_rate` is positive an rng `dropout` is needed. Submodules: `stem`,
    `stage1` (3a to 3c), `stage2` (4a to 4e), `stage3` (5a, 5b), `classifier`.

    Attributes:
      modules: rows of each stage.
      separable_stem: see `Stem`.
      dropout_rate: share of features dropped before the classifier.
      remat: whether the backward pass keeps only the input of every module and computes the module
        again, for less memory; see `jaxcnn.layers.recompute`.

    Raises:
      UserError: if images are not of rank 4.
    """

    modules: Sequence[Sequence[Row]] = MODULES
    separable_stem: bool = False
    dropout_rate: float = 0.0
    remat: bool = False
    norm_epsilon: float = 1e-3

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images)
        layers = self.layers(train, he_truncated_normal)

        x = Stem(**layers, separable=self.separable_stem, name="stem")(images)
        for i, rows in enumerate(self.modules):
            modules = [module(row) for row in rows]
            x = Stage(modules, **layers, remat=self.remat, name=f"stage{i + 1}")(x)
        dropout = Dropout(self.dropout_rate, deterministic=not train)
        return self.classify(global_average_pool(x), he_truncated_normal, dropout)


def inception_v2_slim(**fields: Any) -> BNInception:
    """Returns TF-slim's Inception v2; `fields` are those of `BNInception`."""
    defaults = {
        "modules": SLIM_MODULES,
        "separable_stem": True,
        "dropout_rate": 0.2,
        "norm_momentum": 0.9997,
    }
    return BNInception(**{**defaults, **fields})

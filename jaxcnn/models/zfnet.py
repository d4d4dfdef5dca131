"""ZFNet.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, arXiv 1311.2901.

The paper's (figure 3, §3, table 2): AlexNet in one tower with finer first convolutions, 7x7 and 5x5
at stride 2, and contrast normalisation across maps after their pools; N(0, 0.01²) with biases of
zero; dropout after the two hidden dense layers. `zfnet_wide` is its best network, with 512, 1024
and 512 maps in the last three convolutions. `zfnet_keras` is known from Keras code: other padding
(maps of 109, 54, 27, 13), no normalisation, U(±0.05).

Ours: the constants of the normalisation, which are AlexNet's because the paper gives none; the
padding, inferred from the sizes in its figure (110, 55, 26, 13); the last map averaged to 6x6, its
size at 224.

The paper also rescales filters of the convolutions whose root mean square exceeds 0.1, which
matters most in the first layer: see `optimizer.max_rms`.

ImageNet 2012, validation error of one network (top-1 / top-5 %, ten crops), parameters:

  zfnet         38.4 / 16.5    62,357,608
  zfnet_wide    37.5 / 16.0   107,627,624
  zfnet_keras   –              62,357,608

Ensembles: five zfnet 36.7 / 15.3; six networks including zfnet_wide 36.0 / 14.7.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from flax import linen as nn
from jax.nn.initializers import Initializer

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers import ConvNormAct, Dense, flat_maps, global_average_pool
from jaxcnn.layers.conv import Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.initializers import normal, uniform
from jaxcnn.models.alexnet import HiddenLayer
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork
from jaxcnn.ops.lrn import response_norm
from jaxcnn.ops.pool import max_pool


class Padding(NamedTuple):
    """Pixels around the first two convolutions and their pools, or "SAME" as in TensorFlow.

    Attributes:
      smallest: side of the smallest images for which the last pool leaves a pixel.
    """

    convs: tuple[int | str, int | str]
    pools: tuple[int, int]
    smallest: int


PADDINGS = {
    "paper": Padding((1, 0), (1, 1), smallest=53),
    "keras": Padding((0, "SAME"), (0, 0), smallest=59),
    "valid": Padding((0, 0), (0, 0), smallest=75),
}


# Initialisation of the Keras form, as fields of `ZFNet`.
KERAS: dict[str, Any] = dict.fromkeys(
    ("kernel_init", "dense_init", "classifier_init"), uniform(0.05)
)


class ZFNet(NormNetwork):
    """Five convolutions, the first, second and fifth pooled; two hidden dense layers; linear.

    `apply(variables, images, train=False)` maps (N, H, W, C), H and W at least 53 (59 with
    `padding="keras"`), to logits (N, num_classes) in at least float32. With `train=True` an rng
    `dropout` is needed if `dropout_rate` is positive. Submodules: `stage1`, …, `stage5` (a
    convolution and its ReLU), `fc6`, `fc7`, `classifier`.

    The paper has no `norm`. If one is given, it precedes the ReLU of every convolution, and
    convolutions keep their biases.

    Attributes:
      features: features of the five convolutions.
      padding: a name in `PADDINGS`.
      lrn: local response normalisation beside the first and second pool; see `response_norm`.
      pool_first: whether the first and second pool precede the normalisation.
      ceil_mode: whether pools keep a partly fitting last window, as in Caffe.
      pool_size: (H, W) to which the last map is averaged.
      fully_convolutional: whether to slide the dense layers over the last map and average their
        scores, instead of averaging the map: dense evaluation of larger images, same parameters.
      hidden_features: features of the dense layers before the classifier.
      dropout_rate: dropout rate of the hidden dense layers' outputs.
      dense_init: initialiser of the hidden dense layers.
      classifier_init: initialiser of the classifier.

    Raises:
      UserError: if images are not of rank 4 or too small, `features` does not have five numbers, or
        `padding` is unknown.
    """

    features: Sequence[int] = (96, 256, 384, 384, 256)
    padding: str = "paper"
    lrn: bool | Sequence[float] = True
    pool_first: bool = True
    ceil_mode: bool = False
    pool_size: tuple[int, int] = (6, 6)
    fully_convolutional: bool = False
    hidden_features: Sequence[int] = (4096, 4096)
    dropout_rate: float = 0.5
    dense_init: Initializer = normal(0.01)
    classifier_init: Initializer = normal(0.01)
    norm: Constructor | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        if self.padding not in PADDINGS:
            raise UserError(f"no padding {self.padding!r}: {nearest(self.padding, PADDINGS)}")
        padding = PADDINGS[self.padding]
        check_images(images, smallest=padding.smallest)
        if len(self.features) != 5:
            raise UserError(f"features={tuple(self.features)}: ZFNet has five convolutions")
        stage = partial(
            ConvNormAct,
            conv=self.convolution(normal(0.01)),
            norm=self.normalization(train),
            act=self.act,
        )
        hidden = partial(
            HiddenLayer,
            dense=partial(Dense, kernel_init=self.dense_init, **self.dtypes),
            act=self.act,
            dropout=partial(Dropout, self.dropout_rate, deterministic=not train),
        )

        pool = partial(max_pool, window=(3, 3), strides=(2, 2), ceil_mode=self.ceil_mode)
        normalize = response_norm(self.lrn) or (lambda x: x)
        x = images
        for i, kernel_size in enumerate(((7, 7), (5, 5))):
            strided = partial(stage, strides=2, padding=padding.convs[i])
            x = strided(self.features[i], kernel_size, name=f"stage{i + 1}")(x)
            pooled = partial(pool, padding=padding.pools[i])
            x = normalize(pooled(x)) if self.pool_first else pooled(normalize(x))
        for i in (2, 3, 4):
            x = stage(self.features[i], (3, 3), name=f"stage{i + 1}")(x)
        x = pool(x)
        x = flat_maps(x, self.pool_size, self.fully_convolutional)
        for i, features in enumerate(self.hidden_features):
            x = hidden(features, name=f"fc{i + 6}")(x)
        x = self.classify(x, self.classifier_init)
        return global_average_pool(x) if self.fully_convolutional else x

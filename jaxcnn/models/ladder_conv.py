"""The convolutional Ladder network for CIFAR-10 with only the top of the decoder: Γ.

Rasmus, Valpola, Honkala, Berglund and Raiko, "Semi-Supervised Learning with Ladder Networks", 2015,
arXiv 1507.02672.

The paper's: the convolutions, alternately valid and full, normalisation and noise also after the
pools, only the cost of the classes. From the released code (CuriousAI/ladder): leaky ReLU with 0.1,
kernels U(±sqrt(3/fan_in)), a bias and no scale for the normalised mean of the class maps, pools
that keep a partly fitting last window. Ours: see `ladder`.

CIFAR-10, test error in the paper with 4,000 labels (without unlabelled images). Parameters:
1,369,748 of the encoder, 1,369,848 with the combinator of the top:

  ladder_conv_large_gamma   20.40 ± 0.47 % (23.33 %)
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.layers import global_average_pool, sow_auxiliary
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.initializers import caffe_xavier
from jaxcnn.layers.split_norm import SplitBatchNorm
from jaxcnn.models.checks import check_images
from jaxcnn.models.ladder import (
    Decoder,
    Encoded,
    Layer,
    Pass,
    add_noise,
    check_decoder,
    check_denoising,
    check_labelled,
    check_split_norm,
)
from jaxcnn.models.network import NormNetwork
from jaxcnn.ops.pool import max_pool


class Row(NamedTuple):
    """A convolution of the paper's table.

    Attributes:
      padding: pixels on every side: 0 is "valid", kernel_size - 1 is "full".
    """

    features: int
    kernel_size: int = 3
    padding: int = 0


CONV_LARGE = (
    (Row(96), Row(96, padding=2), Row(96, padding=2)),
    (Row(192), Row(192, padding=2), Row(192)),
    (Row(192), Row(192, kernel_size=1)),
)


def leaky_relu(x: jax.Array) -> jax.Array:
    """Returns max(x, x/10)."""
    return nn.leaky_relu(x, 0.1)


def smallest_images(stages: Sequence[Sequence[Row]]) -> int:
    """Returns the side of the smallest images for which every map has a pixel."""
    size = 1
    for i, rows in reversed(list(enumerate(stages))):
        for row in reversed(rows):
            size = max(1, size + row.kernel_size - 1 - 2 * row.padding)
        if i > 0:
            size = 2 * size - 1
    return size


class Stage(nn.Module):
    """Layers `conv1`, `conv2`, …; `pool`: 2x2/2 max-pool, BN[, noise]."""

    rows: Sequence[Row]
    pooled: bool
    conv: Constructor
    norm: Constructor
    act: Activation

    @nn.compact
    def __call__(self, x: jax.Array, way: Pass | None) -> jax.Array:
        """Maps (N, H, W, C) to the maps of one pass, or of evaluation if `way` is None."""
        for i, row in enumerate(self.rows):
            size = (row.kernel_size,) * 2
            conv = partial(self.conv, row.features, size, padding=row.padding)
            x = Layer(conv, self.norm, self.act, name=f"conv{i + 1}")(x, way)
        if self.pooled:
            x = max_pool(x, (2, 2), (2, 2), ceil_mode=True)
            x = Layer(None, self.norm, None, name="pool")(x, way)
        return x


class Classifier(nn.Module):
    """`conv`: 1x1, BN, activation; `mean`: global mean, BN, + bias.

    Attributes:
      norm: constructor of normalisation; the mean's normalisation computes in `dtype`.
    """

    num_classes: int
    conv: Constructor
    norm: Constructor
    act: Activation
    dtype: Any

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to logits (N, num_classes), in evaluation."""
        return self.encode(x, None).h

    @nn.compact
    def encode(self, x: jax.Array, way: Pass | None) -> Encoded:
        """Returns the values of the logits' layer; `way` is None in evaluation."""
        conv = partial(self.conv, self.num_classes, (1, 1))
        x = Layer(conv, self.norm, self.act, name="conv")(x, way)
        norm = partial(self.norm, dtype=self.dtype)
        return Layer(None, norm, lambda x: x, name="mean").encode(global_average_pool(x), way)


class LadderConv(NormNetwork):
    """Stages of convolutions, each but the last pooled; 1x1; global mean; the same with noise.

    `apply(variables, images, train=False, labelled=None)` maps (N, H, W, C) to logits (N,
    num_classes) in at least float32. For `train`, `labelled`, the rng `dropout` and the collections
    see `jaxcnn.models.ladder.LadderMLP`. Submodules: `stage1`, `stage2`, …, `classifier`,
    `decoder`.

    `norm` must be `SplitBatchNorm`, a partial of it, or have its methods.

    Attributes:
      stages: convolutions of each stage.
      decoder: whether to use the cost of the classes.
      denoising: λ, weight of that cost.
      noise: standard deviation of the noise on the input and after every normalisation.

    Raises:
      UserError: if images are not of rank 4 or too small, a decoder has no classes, or `denoising`
        or `labelled` do not fit.
    """

    num_classes: int = 10
    stages: Sequence[Sequence[Row]] = CONV_LARGE
    decoder: bool = False
    denoising: float = 4.0
    noise: float = 0.3
    norm: Constructor | None = SplitBatchNorm
    act: Activation = leaky_relu

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False, labelled: jax.Array | None = None
    ) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images, smallest_images(self.stages))
        check_labelled(labelled, images)
        check_decoder(self.decoder, self.num_classes)
        check_split_norm(self.norm)
        layers = self.layers(train, caffe_xavier)
        last = len(self.stages) - 1
        stages = [
            Stage(rows, i < last, **layers, name=f"stage{i + 1}")
            for i, rows in enumerate(self.stages)
        ]
        logits_dtype = jnp.promote_types(self.dtype, jnp.float32)

        def features(way: Pass | None) -> jax.Array:
            x = images.astype(self.dtype)
            if way:
                x = add_noise(self, x, way.noise)
            for stage in stages:
                x = stage(x, way)
            return x

        ways = [Pass(labelled, 0.0, clean=True), Pass(labelled, self.noise, clean=False)]
        if self.num_classes == 0:
            maps = [features(way) for way in (ways if train else [None])]
            return global_average_pool(maps[-1])
        classifier = Classifier(self.num_classes, **layers, dtype=logits_dtype, name="classifier")
        # Initialisation includes the decoder, whatever `train` is.
        decoding = self.decoder and (train or self.is_initializing())
        if not train and not decoding:
            return classifier(features(None))
        clean, noisy = (
            classifier.encode(features(way), way) for way in (ways if train else [None, None])
        )
        if decoding:
            check_denoising([self.denoising], 1)
        if decoding and self.denoising > 0:
            top = partial(layers["norm"], dtype=logits_dtype)
            decoder = Decoder([self.denoising], nn.Dense, top, name="decoder")
            costs = decoder([clean], [noisy.z], nn.softmax(noisy.h), labelled)
            sow_auxiliary(self, "denoising", costs)
        return noisy.h

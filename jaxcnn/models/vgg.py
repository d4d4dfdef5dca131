"""VGG.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
arXiv 1409.1556.

The paper's: stages of 3x3 convolutions, each ended by a 2x2 max-pool, the networks A, A-LRN, B, C
(whose third convolutions are 1x1), D and E, dropout after the two hidden dense layers. Of
torchvision: the variants with batch normalisation, whose convolutions keep their biases; the last
map averaged to 7x7, which it is at 224, so that images may have any size from 32; the start (He
fan-out for convolutions, N(0, 0.01) for dense layers), under which the deep ones learn from scratch
as they do not under the paper's N(0, 0.1²): it copied the first four convolutions and the dense
layers from a trained A, or used Glorot's.

ImageNet, validation error (top-1 / top-5 %), parameters. The paper's are of one scale, evaluated
densely: images of short side 256, for C, D and E 384 after training on 256 to 512. Torchvision's
are of the centre crop:

  vgg11 (A)          29.6 / 10.4   132,863,336      vgg11_bn       29.63 / 10.19   132,868,840
  vgg11_lrn (A-LRN)  29.7 / 10.5   132,863,336      vgg13_bn       28.41 / 9.63    133,053,736
  vgg13 (B)          28.7 / 9.9    133,047,848      vgg16_1x1_bn   –               133,647,400
  vgg16_1x1 (C)      27.3 / 8.8    133,638,952      vgg16_bn       26.64 / 8.48    138,365,992
  vgg16 (D)          25.6 / 8.1    138,357,544      vgg19_bn       25.78 / 8.16    143,678,248
  vgg19 (E)          25.5 / 8.0    143,667,240
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers import (
    BatchNorm,
    Conv,
    Dense,
    batch_norm,
    classifier,
    flat_maps,
    global_average_pool,
    he_normal_fan_out,
)
from jaxcnn.layers.conv import Activation, Constructor, symmetric_padding
from jaxcnn.layers.dropout import Dropout
from jaxcnn.models.alexnet import HiddenLayer
from jaxcnn.models.checks import check_images
from jaxcnn.ops.lrn import local_response_norm
from jaxcnn.ops.pool import max_pool

_normal = nn.initializers.normal
_glorot = nn.initializers.glorot_uniform()

# How kernels start: of convolutions, of dense layers. Biases start at zero.
INITIALIZATIONS = {
    "torchvision": (he_normal_fan_out, _normal(0.01)),
    "paper": (_normal(0.1), _normal(0.1)),
    "glorot": (_glorot, _glorot),
}

# What the paper copies from a trained net A to the same places of a deeper one: the first four
# convolutions and the dense layers. The rest starts anew.
FROM_NET_A = ("^stage[12]/(conv|norm)1/", "^stage3/(conv|norm)[12]/", "^fc[67]/", "^classifier/")


class Stage(nn.Module):
    """3x3, [BN,] ReLU; repeated. Its layers are `conv1`, `norm1`, `conv2` and so on.

    Maps (N, H, W, C) to (N, H, W, features).

    Attributes:
      third_kernel_size: side of the third convolution and those after it.
      norm: None leaves it out.
    """

    num_layers: int
    features: int
    third_kernel_size: int
    conv: Constructor
    norm: Constructor | None
    act: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the activated maps; see the class."""
        for i in range(self.num_layers):
            kernel_size = (3, 3) if i < 2 else (self.third_kernel_size,) * 2
            padding = symmetric_padding(kernel_size)
            x = self.conv(self.features, kernel_size, padding=padding, name=f"conv{i + 1}")(x)
            if self.norm is not None:
                x = self.norm(name=f"norm{i + 1}")(x)
            x = self.act(x)
        return x


class VGG(nn.Module):
    """Stages of 3x3 convolutions, each pooled; two hidden dense layers; linear.

    `apply(variables, images, train=False)` maps (N, H, W, C), H and W at least 2^stages, to logits
    (N, num_classes) in at least float32. With `train=True` an rng `dropout` is needed if
    `dropout_rate` is positive, and with `with_norm` the collection `batch_stats` must be mutable.
    Submodules: `stage1`, `stage2`, … (before their pools), `fc6`, `fc7`, `classifier`.

    For small images `stage_sizes=(1, 1, 2, 2, 2), pool_size=(1, 1), hidden_features=()` with
    `with_norm` is what is commonly trained on CIFAR.

    Attributes:
      num_classes: 0 returns the last hidden layer.
      stage_sizes: convolutions in each stage.
      stage_features: their width in each stage.
      third_kernel_size: side of the third convolution of a stage and those after it; C has 1.
      lrn: local response normalisation, AlexNet's, at the end of the first stage.
      with_norm: batch normalisation before every ReLU of a convolution.
      pool_size: (H, W) to which the last map is averaged.
      fully_convolutional: slide the dense layers over the last map instead of averaging it, and
        average the scores of all places: dense evaluation of larger images, same parameters.
      hidden_features: of the dense layers before the classifier.
      dropout_rate: share of their outputs dropped.
      initialization: a name of `INITIALIZATIONS`.
      dtype: of the computation; the parameters of BN and its statistics stay as they are.
      param_dtype: of the parameters.
      norm_momentum: decay of the running statistics.
      norm_epsilon: added to variances.
      conv: constructor of convolutions.
      norm: constructor of normalisation; see `jaxcnn.layers.batch_norm`.
      act: activation of the whole network.

    Raises:
      UserError: if the images are not of rank 4 or too small, if `stage_sizes` and
        `stage_features` are not equally long, or for an unknown `initialization`.
    """

    num_classes: int = 1000
    stage_sizes: Sequence[int] = (2, 2, 3, 3, 3)
    stage_features: Sequence[int] = (64, 128, 256, 512, 512)
    third_kernel_size: int = 3
    lrn: bool = False
    with_norm: bool = False
    pool_size: tuple[int, int] = (7, 7)
    fully_convolutional: bool = False
    hidden_features: Sequence[int] = (4096, 4096)
    dropout_rate: float = 0.5
    initialization: str = "torchvision"
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
        check_images(images, smallest=2 ** len(self.stage_sizes))
        if len(self.stage_sizes) != len(self.stage_features):
            raise UserError(
                f"stage_sizes={tuple(self.stage_sizes)} and stage_features="
                f"{tuple(self.stage_features)}: give one number for each stage in both"
            )
        if self.initialization not in INITIALIZATIONS:
            near = nearest(self.initialization, INITIALIZATIONS)
            raise UserError(f"no initialization {self.initialization!r}: {near}")
        conv_init, dense_init = INITIALIZATIONS[self.initialization]
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        norm = batch_norm(
            self.norm,
            train=train,
            momentum=self.norm_momentum,
            epsilon=self.norm_epsilon,
            **types,
        )
        stage = partial(
            Stage,
            third_kernel_size=self.third_kernel_size,
            conv=partial(self.conv, kernel_init=conv_init, **types),
            norm=norm if self.with_norm else None,
            act=self.act,
        )
        hidden = partial(
            HiddenLayer,
            dense=partial(Dense, kernel_init=dense_init, **types),
            act=self.act,
            dropout=partial(Dropout, self.dropout_rate, deterministic=not train),
        )

        x = images
        sizes = zip(self.stage_sizes, self.stage_features, strict=True)
        for i, (num_layers, features) in enumerate(sizes):
            x = stage(num_layers, features, name=f"stage{i + 1}")(x)
            if i == 0 and self.lrn:
                x = local_response_norm(x)
            x = max_pool(x, (2, 2), (2, 2))
        x = flat_maps(x, self.pool_size, self.fully_convolutional)
        for i, features in enumerate(self.hidden_features):
            x = hidden(features, name=f"fc{i + 6}")(x)
        if self.num_classes > 0:
            x = classifier(self.num_classes, **types, kernel_init=dense_init)(x)
        if self.fully_convolutional:
            x = global_average_pool(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))


DEPTHS: dict[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def imagenet_vgg(depth: int, **fields: Any) -> VGG:
    """Returns the network of a depth of the paper; `fields` are those of `VGG`.

    Raises:
      UserError: for a depth that the paper does not have.
    """
    if depth not in DEPTHS:
        raise UserError(f"no VGG of depth {depth}: choose one of {list(DEPTHS)}")
    return VGG(**{"stage_sizes": DEPTHS[depth], **fields})

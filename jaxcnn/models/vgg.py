"""VGG.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
arXiv 1409.1556.

The paper's: stages of 3x3 convolutions, each followed by a 2x2 max-pool, the networks A, A-LRN, B,
C (whose third convolutions are 1x1), D and E, dropout after the two hidden dense layers. From
torchvision: the variants with batch normalisation, whose convolutions keep their biases; the last
map averaged to 7x7, its size at 224, so images may have any size from 32; the initialisation (He
fan-out for convolutions, N(0, 0.01) for dense layers). It lets deep networks learn from scratch,
unlike the paper's N(0, 0.1²): the paper copied the first four convolutions and the dense layers
from a trained A, or used Glorot's.

ImageNet, validation error (top-1 / top-5 %), parameters. The paper's errors are for one scale,
evaluated densely: images of short side 256, for C, D and E 384 after training on 256 to 512.
torchvision's errors are for the centre crop:

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
from flax import linen as nn
from flax.linen.initializers import Initializer

from jaxcnn.errors import UserError
from jaxcnn.layers import Dense, flat_maps, global_average_pool, he_normal_fan_out
from jaxcnn.layers.conv import Activation, Constructor, symmetric_padding
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.initializers import glorot_uniform, normal
from jaxcnn.models.alexnet import HiddenLayer
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork
from jaxcnn.ops.lrn import response_norm
from jaxcnn.ops.pool import max_pool

_KERNELS = ("kernel_init", "dense_init", "classifier_init")

# The paper's initialisations, as fields of `VGG`: N(0, 0.1²), or Glorot and Bengio's.
PAPER: dict[str, Any] = dict.fromkeys(_KERNELS, normal(0.1))
GLOROT: dict[str, Any] = dict.fromkeys(_KERNELS, glorot_uniform)

# Layers that the paper copies from a trained net A to a deeper net: the first four convolutions and
# the dense layers. All other layers are initialised.
FROM_NET_A = ("^stage[12]/(conv|norm)1/", "^stage3/(conv|norm)[12]/", "^fc[67]/", "^classifier/")


class Stage(nn.Module):
    """3x3, [BN,] ReLU; repeated. Its layers are `conv1`, `norm1`, `conv2` and so on.

    Maps (N, H, W, C) to (N, H, W, features).

    Attributes:
      third_kernel_size: side of the third and later convolutions.
    """

    num_layers: int
    features: int
    third_kernel_size: int
    conv: Constructor
    norm: Constructor
    act: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the activated maps; see the class."""
        for i in range(self.num_layers):
            kernel_size = (3, 3) if i < 2 else (self.third_kernel_size,) * 2
            padding = symmetric_padding(kernel_size)
            x = self.conv(self.features, kernel_size, padding=padding, name=f"conv{i + 1}")(x)
            x = self.act(self.norm(name=f"norm{i + 1}")(x))
        return x


class VGG(NormNetwork):
    """Stages of 3x3 convolutions, each pooled; two hidden dense layers; linear.

    `apply(variables, images, train=False)` maps (N, H, W, C), H and W at least 2^stages, to logits
    (N, num_classes) in at least float32. With `train=True` an rng `dropout` is needed if
    `dropout_rate` is positive. Submodules: `stage1`, `stage2`, … (before their pools), `fc6`,
    `fc7`, `classifier`.

    The paper has no `norm`. If one is given, it precedes the ReLU of every convolution, and
    convolutions keep their biases. `stage_sizes=(1, 1, 2, 2, 2), pool_size=(1, 1),
    hidden_features=(), norm=BatchNorm` is the common network for small images such as CIFAR.

    Attributes:
      stage_sizes: number of convolutions in each stage.
      stage_features: width of each stage.
      third_kernel_size: side of the third and later convolutions of a stage; C has 1.
      lrn: local response normalisation, AlexNet's, at the end of the first stage; see
        `response_norm`.
      pool_size: (H, W) to which the last map is averaged.
      fully_convolutional: whether to slide the dense layers over the last map and average their
        scores, instead of averaging the map: dense evaluation of larger images, same parameters.
      hidden_features: features of the dense layers before the classifier.
      dropout_rate: share of the hidden dense layers' outputs dropped.
      dense_init: initialiser of the hidden dense layers.
      classifier_init: initialiser of the classifier.

    Raises:
      UserError: if images are not of rank 4 or too small, or `stage_sizes` and `stage_features`
        have different lengths.
    """

    stage_sizes: Sequence[int] = (2, 2, 3, 3, 3)
    stage_features: Sequence[int] = (64, 128, 256, 512, 512)
    third_kernel_size: int = 3
    lrn: bool | Sequence[float] = False
    pool_size: tuple[int, int] = (7, 7)
    fully_convolutional: bool = False
    hidden_features: Sequence[int] = (4096, 4096)
    dropout_rate: float = 0.5
    dense_init: Initializer = normal(0.01)
    classifier_init: Initializer = normal(0.01)
    norm: Constructor | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images, smallest=2 ** len(self.stage_sizes))
        if len(self.stage_sizes) != len(self.stage_features):
            raise UserError(
                f"stage_sizes={tuple(self.stage_sizes)} and stage_features="
                f"{tuple(self.stage_features)}: give one number for each stage in both"
            )
        stage = partial(
            Stage,
            third_kernel_size=self.third_kernel_size,
            conv=self.convolution(he_normal_fan_out),
            norm=self.normalization(train),
            act=self.act,
        )
        hidden = partial(
            HiddenLayer,
            dense=partial(Dense, kernel_init=self.dense_init, **self.dtypes),
            act=self.act,
            dropout=partial(Dropout, self.dropout_rate, deterministic=not train),
        )

        normalize = response_norm(self.lrn) or (lambda x: x)
        x = images
        sizes = zip(self.stage_sizes, self.stage_features, strict=True)
        for i, (num_layers, features) in enumerate(sizes):
            x = stage(num_layers, features, name=f"stage{i + 1}")(x)
            x = max_pool(normalize(x) if i == 0 else x, (2, 2), (2, 2))
        x = flat_maps(x, self.pool_size, self.fully_convolutional)
        for i, features in enumerate(self.hidden_features):
            x = hidden(features, name=f"fc{i + 6}")(x)
        x = self.classify(x, self.classifier_init)
        return global_average_pool(x) if self.fully_convolutional else x


DEPTHS: dict[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def imagenet_vgg(depth: int, **fields: Any) -> VGG:
    """Returns the paper's network of a depth; `fields` are those of `VGG`.

    Raises:
      UserError: if the paper has no such depth.
    """
    if depth not in DEPTHS:
        raise UserError(f"no VGG of depth {depth}: choose one of {list(DEPTHS)}")
    return VGG(**{"stage_sizes": DEPTHS[depth], **fields})

"""AlexNet.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
NIPS 2012. Its one-column form: Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", 2014, arXiv 1404.5997.

`alexnet` is the paper's: two towers, each on its own GPU, that are joined in the third convolution
(here convolutions with two groups), local response normalisation, overlapping pools, dropout after
the two hidden dense layers, N(0, 0.01), biases of one in the paper's layers. `alexnet_owt` is the
second paper's, with torchvision's padding, dropout (before the dense layers) and initialisation;
torchvision's own network `alexnet_torchvision` has a narrower fourth convolution.
`alexnet_one_tower` is known from Keras code: one tower, no normalisation, U(±0.05).

Ours: the last map is averaged to 6x6 for images of other sizes (as in torchvision; at 224 and 227
it is 6x6), and the first convolution's padding. The paper prints 224 pixels, which do not give its
maps of 55; its code must have used 227. See `full_windows`. Biases that torch draws from
U(±1/sqrt(fan_in)) start at zero.

ImageNet 2012, validation error (top-1 / top-5 %), parameters:

  alexnet               40.7 / 18.2    60,965,224   the paper, ten-crop
  alexnet_torchvision   43.48 / 20.93  61,100,840   torchvision, centre crop
  alexnet_owt           –              61,838,248
  alexnet_one_tower     –              62,378,344

The paper's gains: normalisation 1.4 / 1.2, two towers 1.7 / 1.2 (against one that fits one GPU),
3/2 pools instead of 2/2 0.4 / 0.3. Its 16.4 % and 15.3 % are ensembles of five and seven.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from flax import linen as nn
from jax.nn.initializers import Initializer

from jaxcnn.errors import UserError
from jaxcnn.layers import ConvNormAct, Dense, flat_maps, global_average_pool
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.initializers import normal, torch_uniform, uniform
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork
from jaxcnn.ops.lrn import response_norm
from jaxcnn.ops.pool import max_pool


def _alike(init: Initializer) -> dict[str, Any]:
    kernels = dict.fromkeys(("kernel_init", "dense_init", "classifier_init"), init)
    return {**kernels, "raised_bias": 0.0}


# Initialisations of other code, as fields of `AlexNet`. CAFFE is the reproduction whose weights
# were most widely used.
CAFFE: dict[str, Any] = {"dense_init": normal(0.005), "raised_bias": 0.1}
TORCHVISION = _alike(torch_uniform)
KERAS = _alike(uniform(0.05))


def full_windows(length: int, kernel_size: int, strides: int) -> tuple[int, int]:
    """Returns the smallest padding (before, after) with which every window is full.

    Windows of 11 at stride 4 cover 4m+3 pixels exactly: 227 need no padding, and 224 need one pixel
    before and two after, so both give maps of 55. Every pixel is covered at any size; an odd
    padding is larger at the end.
    """
    missing = (kernel_size - length) % strides
    return missing // 2, missing - missing // 2


class HiddenLayer(nn.Module):
    """Dense, ReLU, dropout; or dropout, dense, ReLU. The parameters are named `dense`.

    Maps (N, C) to (N, features).
    """

    features: int
    dense: Constructor
    act: Activation
    dropout: Constructor
    dropout_first: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the activated features."""
        if self.dropout_first:
            x = self.dropout()(x)
        x = self.act(self.dense(self.features, name="dense")(x))
        return x if self.dropout_first else self.dropout()(x)


class AlexNet(NormNetwork):
    """Five convolutions, the first, second and fifth pooled; two hidden dense layers; linear.

    `apply(variables, images, train=False)` maps (N, H, W, C), H and W at least 64 (67 - 2·padding
    if `padding` is given), to logits (N, num_classes) in at least float32. With `train=True` an rng
    `dropout` is needed if `dropout_rate` is positive. Submodules: `stage1`, …, `stage5` (a
    convolution and its ReLU), `fc6`, `fc7`, `classifier`.

    The paper has no `norm`. If one is given, it precedes the ReLU of every convolution, and
    convolutions keep their biases.

    Attributes:
      features: features of the five convolutions.
      towers: groups of the second, fourth and fifth convolution; the others have one group.
      padding: padding of the first convolution on every side; None is `full_windows`.
      lrn: local response normalisation after the first and second ReLU; see `response_norm`.
      pool_first: whether the first and second pool precede the normalisation, as in CaffeNet.
      ceil_mode: whether pools keep a partly fitting last window, as in Caffe. It matters at sizes
        at which windows do not fill the maps: without padding, 224 pixels give maps of 54.
      pool_size: (H, W) to which the last map is averaged.
      fully_convolutional: whether to slide the dense layers over the last map and average their
        scores, instead of averaging the map: dense evaluation of larger images, same parameters.
      hidden_features: features of the dense layers before the classifier.
      dropout_rate: dropout rate of the hidden dense layers.
      dropout_first: whether to drop the inputs of the hidden dense layers instead of their outputs.
      dense_init: initialiser of the hidden dense layers.
      classifier_init: initialiser of the classifier.
      raised_bias: initial bias of conv2, conv4, conv5 and the hidden dense layers, which gives ReLU
        positive inputs; all other biases start at zero.

    Raises:
      UserError: if images are not of rank 4 or too small, or `features` does not have five numbers.
    """

    features: Sequence[int] = (96, 256, 384, 384, 256)
    towers: int = 2
    padding: int | None = None
    lrn: bool | Sequence[float] = True
    pool_first: bool = False
    ceil_mode: bool = False
    pool_size: tuple[int, int] = (6, 6)
    fully_convolutional: bool = False
    hidden_features: Sequence[int] = (4096, 4096)
    dropout_rate: float = 0.5
    dropout_first: bool = False
    dense_init: Initializer = normal(0.01)
    classifier_init: Initializer = normal(0.01)
    raised_bias: float = 1.0
    norm: Constructor | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        # 67 pixels give maps of 15, 7, 3 and 1; up to three of the pixels may be padding.
        check_images(images, smallest=64 if self.padding is None else 67 - 2 * self.padding)
        if len(self.features) != 5:
            raise UserError(f"features={tuple(self.features)}: AlexNet has five convolutions")
        zero, raised = nn.initializers.zeros, nn.initializers.constant(self.raised_bias)
        conv, norm = self.convolution(normal(0.01)), self.normalization(train)
        hidden = partial(
            HiddenLayer,
            dense=partial(Dense, kernel_init=self.dense_init, bias_init=raised, **self.dtypes),
            act=self.act,
            dropout=partial(Dropout, self.dropout_rate, deterministic=not train),
            dropout_first=self.dropout_first,
        )

        def stage(number: int, kernel_size: int, bias: Initializer, **fields: Any) -> ConvNormAct:
            groups = self.towers if number in (2, 4, 5) else 1
            return ConvNormAct(
                self.features[number - 1],
                (kernel_size, kernel_size),
                partial(conv, bias_init=bias, feature_group_count=groups),
                norm,
                self.act,
                name=f"stage{number}",
                **fields,
            )

        pool = partial(max_pool, window=(3, 3), strides=(2, 2), ceil_mode=self.ceil_mode)
        normalize = response_norm(self.lrn) or (lambda x: x)

        def normalize_and_pool(x: jax.Array) -> jax.Array:
            return normalize(pool(x)) if self.pool_first else pool(normalize(x))

        padding: Any = self.padding
        if padding is None:
            padding = [full_windows(length, 11, 4) for length in images.shape[1:3]]
        x = normalize_and_pool(stage(1, 11, zero, strides=4, padding=padding)(images))
        x = normalize_and_pool(stage(2, 5, raised)(x))
        x = stage(3, 3, zero)(x)
        x = stage(4, 3, raised)(x)
        x = pool(stage(5, 3, raised)(x))
        x = flat_maps(x, self.pool_size, self.fully_convolutional)
        for i, features in enumerate(self.hidden_features):
            x = hidden(features, name=f"fc{i + 6}")(x)
        x = self.classify(x, self.classifier_init)
        return global_average_pool(x) if self.fully_convolutional else x

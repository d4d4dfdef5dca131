"""Highway networks and their plain twins.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks", 2015, arXiv 1507.06228.

The paper's: layers H(x)·T(x) + x·(1 - T(x)) with a learned gate T whose bias starts negative, so
that a deep network is initially near the identity; the fully connected networks of its depth study,
and their plain twins of 71 units, which have nearly as many parameters. From the released code: the
convolutional networks, dropout on the image and after every pool, Caffe's Xavier for the weights.

Ours: the gates of all fully connected networks start at -2, the paper's value for 50 layers (it
searched from -1 to -10); the plain twins of the convolutional networks have the same widths. The
paper does not fully specify its CIFAR network of 11 layers, so we do not have it.

Test error in the paper (%), parameters. The convolutional networks on CIFAR with shifts and flips:

  highway_mnist_w16    0.57     38,986      highway_fc10     85,660   plain  102,463
  highway_mnist_w32    0.55    151,690      highway_fc20    136,660   plain  153,583
  highway_cifar10      7.72  2,256,838      highway_fc50    289,660   plain  306,943
  highway_cifar100    32.39  2,265,928      highway_fc100   544,660   plain  562,543
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers import ConvNormAct, classifier, global_average_pool, symmetric_padding
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.initializers import caffe_xavier, normal
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import Network
from jaxcnn.ops.pool import max_pool


class HighwayUnit(nn.Module):
    """H(x)·T(x) + x·(1 - T(x)), H = ReLU(layer(x)), T = sigmoid(gate(x)).

    Attributes:
      layer: constructor of the affine maps in H and T, both with the shape of the input.
      act: activation of H.
      gate_bias: initial bias of the gate; a more negative one is nearer to the identity.
      highway: False omits the gate; only H remains, which may have another shape.
    """

    layer: Constructor
    act: Activation
    gate_bias: float = -2.0
    highway: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns an array of the shape of `x`."""
        y = self.act(self.layer(name="layer")(x))
        if not self.highway:
            return y
        if y.shape != x.shape:
            raise UserError(f"a highway unit keeps the shape: {x.shape} became {y.shape}")
        bias = nn.initializers.constant(self.gate_bias)
        gate = nn.sigmoid(self.layer(bias_init=bias, name="gate")(x))
        return y * gate + x * (1 - gate)


class Stage(nn.Module):
    """Dropout, plain layer `first`, ReLU, units `block1`, `block2` and so on.

    Attributes:
      first: constructor of the plain layer that changes the width; None omits it.
      unit: constructor of a `HighwayUnit`.
      dropout: dropout of the input; None omits it.
    """

    num_blocks: int
    first: Constructor | None
    unit: Constructor
    act: Activation
    dropout: Constructor | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the output of the last unit."""
        if self.dropout is not None:
            x = self.dropout()(x)
        if self.first is not None:
            x = self.act(self.first(name="first")(x))
        for i in range(self.num_blocks):
            x = self.unit(name=f"block{i + 1}")(x)
        return x


class HighwayMLP(nn.Module):
    """A plain layer, highway layers, linear classifier; all fully connected.

    `apply(variables, images, train=False)` maps (N, H, W, C) to logits (N, num_classes) in at least
    float32; `train` changes nothing. Submodules: `stage1` (all hidden layers), `classifier`.

    Attributes:
      num_classes: 0 returns the last hidden layer.
      depth: number of hidden layers, including the plain first one.
      width: units in each; None is the paper's 50, and 71 without gates.
      gate_bias: see `HighwayUnit`.
      highway: False is the plain twin.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      dense: constructor of the hidden layers.
      act: activation of the whole network.

    Raises:
      UserError: if images are not of rank 4, or there is no layer or unit.
    """

    num_classes: int = 10
    depth: int = 10
    width: int | None = None
    gate_bias: float = -2.0
    highway: bool = True
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    dense: Constructor = nn.Dense
    act: Activation = nn.relu

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        del train
        check_images(images)
        width = self.width
        if width is None:
            width = 50 if self.highway else 71
        if self.depth < 1 or width < 1:
            raise UserError(f"depth={self.depth}, width={width}: both must be 1 or more")
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = partial(self.dense, width, kernel_init=caffe_xavier, **types)
        unit = partial(HighwayUnit, layer, self.act, self.gate_bias, self.highway)
        x = images.reshape(images.shape[0], -1).astype(self.dtype)
        x = Stage(self.depth - 1, layer, unit, self.act, name="stage1")(x)
        if self.num_classes == 0:
            return x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return classifier(self.num_classes, **types, kernel_init=caffe_xavier)(x)


class Highway(Network):
    """Stages of 3x3 highway units, pooled; linear classifier. The defaults are CIFAR's.

    The first stage, and each stage with another width than the previous one, begins with a plain
    convolution.

    `apply(variables, images, train=False)` maps (N, H, W, C) to logits (N, num_classes) in at least
    float32. With `train=True` an rng `dropout` is needed if a rate is positive. Submodules:
    `stage1`, `stage2`, … (before their pools), `last` if there are `last_features`, `classifier`.

    Attributes:
      stage_sizes: number of highway units in each stage.
      stage_features: width of each stage.
      first_kernel_size: kernel size of the very first convolution; the others are 3x3.
      first_padding: its padding on every side; None is half its kernel.
      pool_sizes: windows of the max-pools of stride 2 after the stages, for the first stages if
        there are fewer; pools keep a partly fitting last window.
      last_features: features of a 1x1 convolution after the stages, whose maps are averaged; 0
        omits it, and the classifier's input is every pixel.
      dropout_rates: dropout rates of the inputs of each stage and finally of the classifier.
      classifier_std: standard deviation of the classifier's initial weights.
      gate_bias: see `HighwayUnit`.
      highway: False is the plain twin of the same widths.

    Raises:
      UserError: if images are not of rank 4 or too small, or fields have inconsistent lengths.
    """

    num_classes: int = 10
    stage_sizes: Sequence[int] = (4, 5, 5)
    stage_features: Sequence[int] = (32, 80, 128)
    first_kernel_size: int = 3
    first_padding: int | None = None
    pool_sizes: Sequence[int] = (2, 2)
    last_features: int = 100
    dropout_rates: Sequence[float] = (0.2, 0.2, 0.2, 0.2)
    classifier_std: float = 0.05
    gate_bias: float = -2.0
    highway: bool = True

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        self._check_fields()
        check_images(images, self._smallest())
        conv = self.convolution(caffe_xavier)
        dropouts = [partial(Dropout, rate, deterministic=not train) for rate in self.dropout_rates]

        x = images.astype(self.dtype)
        for i, (size, features) in enumerate(
            zip(self.stage_sizes, self.stage_features, strict=True)
        ):
            layer = partial(conv, features, (3, 3), padding=1)
            first: Constructor | None = layer
            if i == 0:
                side, padding = (self.first_kernel_size,) * 2, self.first_padding
                around = symmetric_padding(side) if padding is None else padding
                first = partial(conv, features, side, padding=around)
            elif features == self.stage_features[i - 1]:
                first = None
            unit = partial(HighwayUnit, layer, self.act, self.gate_bias, self.highway)
            x = Stage(size, first, unit, self.act, dropouts[i], name=f"stage{i + 1}")(x)
            if i < len(self.pool_sizes):
                x = max_pool(x, (self.pool_sizes[i],) * 2, (2, 2), ceil_mode=True)
        if self.last_features:
            x = ConvNormAct(self.last_features, (1, 1), conv, None, self.act, name="last")(x)
            x = global_average_pool(x)
        else:
            x = x.reshape(x.shape[0], -1)
        return self.classify(x, normal(self.classifier_std), dropouts[-1]())

    def _smallest(self) -> int:
        """Returns the side of the smallest valid images."""
        side = 1
        for window in reversed(self.pool_sizes):
            # One pixel of the last of these windows is enough.
            side = max(2 * side - 3 + window, 1)
        if self.first_padding is not None:
            side += self.first_kernel_size - 1 - 2 * self.first_padding
        return max(side, 1)

    def _check_fields(self) -> None:
        stages = len(self.stage_sizes)
        for field, values, fits in (
            ("stage_features", self.stage_features, len(self.stage_features) == stages),
            ("dropout_rates", self.dropout_rates, len(self.dropout_rates) == stages + 1),
            ("pool_sizes", self.pool_sizes, len(self.pool_sizes) <= stages),
        ):
            if not fits:
                raise UserError(
                    f"{field}={tuple(values)} does not go with the {stages} stages of stage_sizes: "
                    "one number for each, one more for dropout_rates, at most one for pool_sizes"
                )
        if self.first_kernel_size % 2 == 0 and self.first_padding is None:
            raise UserError(
                f"first_kernel_size={self.first_kernel_size} is even: give first_padding with it"
            )


def mnist_highway(width: int, **fields: Any) -> Highway:
    """Returns the network of ten layers for MNIST; `fields` are those of `Highway`."""
    defaults = {
        "stage_sizes": (2, 3, 3),
        "stage_features": (width,) * 3,
        "first_kernel_size": 5,
        "first_padding": 0,
        "pool_sizes": (3, 3, 2),
        "last_features": 0,
        "dropout_rates": (0.2, 0.3, 0.4, 0.5),
        "classifier_std": 0.1,
        "gate_bias": -1.0,
    }
    return Highway(**{**defaults, **fields})

"""Network in Network.

Lin, Chen and Yan, "Network In Network", 2013, arXiv 1312.4400.

The paper's: the mlpconv layer (a convolution and two 1x1 convolutions, each with its ReLU), one map
per class, global average pooling instead of dense layers, dropout between the mlpconv layers. From
the released code, because the paper prints no widths: widths and kernels, overlapping max-pools
that keep a partly fitting last window, the ReLU on the class maps (so logits are never negative),
N(0, 0.05²) and in the ImageNet network N(0, 0.01²) for three layers. The first convolution of the
ImageNet network has no padding.

Test error in the paper (%), parameters. Without augmentation; the ImageNet figure is from the
model's author, top-1 on the centre crop:

  nin_cifar10    10.41 (8.81 with shifts and flips)    966,986
  nin_cifar100   35.68                                 984,356
  nin_svhn        2.35                               1,986,026
  nin_mnist       0.47                                 349,674
  nin_imagenet   40.64                               7,595,176
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.initializers import Initializer

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers import global_average_pool, symmetric_padding
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.initializers import normal
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import Network
from jaxcnn.ops.pool import avg_pool, max_pool

# (number of the stage, from 1; output of its first convolution before the ReLU) → nothing
Tap = Callable[[int, jax.Array], None]

POOLS = {"max": max_pool, "avg": avg_pool}
DEVIATION = 0.05  # default deviation of the initial weights


class MLPConv(nn.Module):
    """Dropout, convolution, ReLU; 1x1, ReLU; repeated. Its layers are `conv1`, `conv2` and so on.

    Maps (N, H, W, C) to (N, H', W', C') of the last layer.

    Attributes:
      first: constructor of the convolution larger than 1x1, complete except for its name.
      features: features of the 1x1 convolutions.
      dropout: dropout of the input.
    """

    first: Constructor
    features: Sequence[int]
    conv: Constructor
    act: Activation
    dropout: Constructor

    @nn.compact
    def __call__(self, x: jax.Array, tap: Callable[[jax.Array], None] | None = None) -> jax.Array:
        """Returns the activated maps; calls `tap` with the first convolution's maps before ReLU."""
        x = self.first(name="conv1")(self.dropout()(x))
        if tap is not None:
            tap(x)
        x = self.act(x)
        for i, features in enumerate(self.features, start=2):
            x = self.act(self.conv(features, (1, 1), name=f"conv{i}")(x))
        return x


class NiN(Network):
    """mlpconv layers with pools between them; the means of the last one's maps, one per class.

    `apply(variables, images, train=False)` maps (N, H, W, C), H and W at least 2^pools, to logits
    (N, num_classes) in at least float32. With `train=True` an rng `dropout` is needed if
    `dropout_rate` is positive. Submodules: `stage1`, `stage2`, … (before their pools) and
    `classifier`, the 1x1 convolution that ends the last mlpconv.

    Attributes:
      num_classes: features of the last 1x1; 0 returns the averaged map before it.
      features: features of each stage's layers. The last stage has one less, besides `classifier`.
      kernel_sizes: sides of each stage's first convolution; the others are 1x1.
      strides: strides of the very first convolution.
      padding: padding of the very first convolution on every side; None is half its kernel.
      pools: "max" or "avg", one between each two stages.
      pool_size: window of the pools, whose stride is 2.
      dropout_rate: share of the inputs of a stage dropped.
      dropout_last_only: whether to drop only the last stage's inputs, not of all but the first.
      final_act: whether to activate the class maps before they are averaged.
      deviations: of the initial weights of each stage's first convolution and of `classifier`, or
        pairs with the deviation of the stage's 1x1; None and all other weights are N(0, 0.05²).

    Raises:
      UserError: if images are not of rank 4 or too small, fields are inconsistent, or a pool is
        unknown.
    """

    num_classes: int = 10
    features: Sequence[Sequence[int]] = ((192, 160, 96), (192, 192, 192), (192, 192))
    kernel_sizes: Sequence[int] = (5, 5, 3)
    strides: int = 1
    padding: int | None = None
    pools: Sequence[str] = ("max", "max")
    pool_size: int = 3
    dropout_rate: float = 0.5
    dropout_last_only: bool = False
    final_act: bool = True
    deviations: Sequence[float | tuple[float, float]] | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        self._check_fields()
        check_images(images, self._smallest())
        last = len(self.features) - 1
        conv = partial(self.conv, **self.dtypes)
        inits = self._initializers()
        tap = self.tap(train)

        x = images.astype(self.dtype)
        for i, (features, side) in enumerate(zip(self.features, self.kernel_sizes, strict=True)):
            if i > 0:
                x = POOLS[self.pools[i - 1]](x, (self.pool_size,) * 2, (2, 2), ceil_mode=True)
            strides, padding = (self.strides, self.padding) if i == 0 else (1, None)
            first = partial(
                conv,
                features[0],
                (side, side),
                strides=strides,
                padding=symmetric_padding((side, side)) if padding is None else padding,
                kernel_init=inits[i][0],
            )
            dropped = i == last or (i > 0 and not self.dropout_last_only)
            x = MLPConv(
                first,
                features[1:],
                partial(conv, kernel_init=inits[i][1]),
                self.act,
                partial(Dropout, self.dropout_rate if dropped else 0.0, deterministic=not train),
                name=f"stage{i + 1}",
            )(x, tap and partial(tap, i + 1))
        if self.num_classes == 0:
            return global_average_pool(x)
        classifier = partial(conv, dtype=jnp.promote_types(self.dtype, jnp.float32))
        x = classifier(self.num_classes, (1, 1), kernel_init=inits[-1][0], name="classifier")(x)
        return global_average_pool(self.act(x) if self.final_act else x)

    def tap(self, train: bool) -> Tap | None:
        """Returns a function called with the output of every stage's first convolution, or None."""
        del train
        return None

    def _deviations(self) -> Sequence[tuple[float, ...]]:
        stages = len(self.features) + 1
        given = [DEVIATION] * stages if self.deviations is None else self.deviations
        return [(x, DEVIATION) if isinstance(x, int | float) else tuple(x) for x in given]

    def _initializers(self) -> list[tuple[Initializer, ...]]:
        if self.kernel_init is not None:
            return [(self.kernel_init,) * 2] * (len(self.features) + 1)
        return [tuple(map(normal, pair)) for pair in self._deviations()]

    def _smallest(self) -> int:
        """Returns the side of the smallest valid images."""
        # A pool reduces every 2^(pools left + 1) pixels to two or more, and two to one.
        needed, side = 2 ** len(self.pools), self.kernel_sizes[0]
        padding = side // 2 if self.padding is None else self.padding
        return max((needed - 1) * self.strides + side - 2 * padding, 1)

    def _check_fields(self) -> None:
        stages = len(self.features)
        for field, values, expected in (
            ("kernel_sizes", self.kernel_sizes, stages),
            ("pools", self.pools, stages - 1),
            ("deviations", self._deviations(), stages + 1),
        ):
            if len(values) != expected:
                raise UserError(
                    f"{field}={tuple(values)}: the {stages} stages of `features` need {expected}"
                )
        if any(len(pair) != 2 for pair in self._deviations()):
            raise UserError(f"deviations={self.deviations}: each is a number or a pair")
        for pool in self.pools:
            if pool not in POOLS:
                raise UserError(f"no pool {pool!r}: {nearest(pool, POOLS)}")
        if any(side % 2 == 0 for side in self.kernel_sizes):
            raise UserError(f"kernel_sizes={tuple(self.kernel_sizes)} must be odd to be padded")


def svhn_nin(**fields: Any) -> NiN:
    """Returns the network for SVHN; `fields` are those of `NiN`."""
    features = ((128, 96, 64), (320, 256, 128), (384, 256))
    return NiN(**{"features": features, "kernel_sizes": (5, 5, 5), **fields})


def mnist_nin(**fields: Any) -> NiN:
    """Returns the network for MNIST; `fields` are those of `NiN`."""
    features = ((96, 64, 48), (128, 96, 48), (128, 96))
    return NiN(**{"features": features, "kernel_sizes": (5, 5, 5), **fields})


def imagenet_nin(**fields: Any) -> NiN:
    """Returns the network for ImageNet; `fields` are those of `NiN`."""
    defaults = {
        "num_classes": 1000,
        "features": ((96, 96, 96), (256, 256, 256), (384, 384, 384), (1024, 1024)),
        "kernel_sizes": (11, 5, 3, 3),
        "strides": 4,
        "padding": 0,
        "pools": ("max", "max", "max"),
        "dropout_last_only": True,
        "deviations": (0.01, 0.05, 0.01, 0.05, 0.01),
    }
    return NiN(**{**defaults, **fields})

"""DenseNet.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016,
arXiv 1608.06993.

The paper's: dense blocks, growth rate, bottlenecks (B), compression in the transitions (C), both
together (BC), a stem of 16 maps for CIFAR and of twice the growth rate for BC, dropout after every
convolution but the first, ReLU. From the released code (liuzhuang13/DenseNet): the fan-out form of
He initialisation, the initial classifier U(±1/sqrt(fan_in)) with zero bias, dropout before the pool
of a transition. The released script differs from the paper in one point: the plain CIFAR networks
also start with twice the growth rate. Padding is symmetric.

ImageNet, single-crop validation error in the paper (top-1 / top-5 %), parameters:

  densenet121   25.02 / 7.71    7,978,856      densenet201   22.58 / 6.34   20,013,928
  densenet169   23.80 / 6.85   14,149,480      densenet161   22.33 / 6.15   28,681,000

CIFAR with augmentation, error in the paper (CIFAR-10 / CIFAR-100 %), parameters with 10 classes:

  densenet_40_12    5.24 / 24.42    1,019,722   densenet_bc_100_12   4.51 / 22.27      769,162
  densenet_100_12   4.10 / 20.20    6,979,642   densenet_bc_250_24   3.62 / 17.60   15,324,406
  densenet_100_24   3.74 / 19.25   27,249,082   densenet_bc_190_40   3.46 / 17.18   25,624,430
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from jaxcnn.errors import UserError
from jaxcnn.layers import ConvNormAct, global_average_pool, he_normal_fan_out
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.norm import is_batch_norm
from jaxcnn.layers.residual import stem
from jaxcnn.layers.scan import grow_scanned
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork
from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.pool import avg_pool


class DenseLayer(nn.Module):
    """[BN, ReLU, 1x1(4k), dropout,] BN, ReLU, 3x3(k), dropout.

    Maps (N, H, W, C), optionally split along the channels, to (N, H, W, growth_rate).
    """

    growth_rate: int
    bottleneck: bool
    conv: Constructor
    norm: Constructor
    act: Activation
    dropout: Constructor

    @nn.compact
    def __call__(self, *parts: jax.Array) -> jax.Array:
        """Returns the new channels."""
        x = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)
        x = self.act(self.norm(name="norm1")(x))
        if self.bottleneck:
            x = self.conv(4 * self.growth_rate, (1, 1), name="conv1")(x)
            x = self.dropout()(checkpoint_name(x, "convolved"))
            x = self.act(self.norm(name="norm2")(x))
        last = "conv2" if self.bottleneck else "conv1"
        return self.dropout()(self.conv(self.growth_rate, (3, 3), padding=1, name=last)(x))


class DenseBlock(nn.Module):
    """Layers `layer1`, `layer2`, …; the input of each is the output of all previous ones.

    Attributes:
      layer: constructor of the layers.
      num_layers: number of layers.
      in_parts: whether to pass the previous outputs to each layer separately, instead of
        concatenating them once for all later layers.
      scan: whether to run the layers as a loop; see `DenseNet`.
    """

    layer: Constructor
    num_layers: int
    in_parts: bool = False
    scan: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, H, W, C + num_layers·growth_rate)."""
        names = [f"layer{i + 1}" for i in range(self.num_layers)]
        if self.scan and self.num_layers > 1 and not self.is_initializing():
            return grow_scanned(self, partial(self.layer, parent=None), names, x)
        parts = [x]
        for name in names:
            parts.append(self.layer(name=name)(*parts))
            if not self.in_parts:
                parts = [materialize_on_cpu(jnp.concatenate(parts, axis=-1), gradient=True)]
        return jnp.concatenate(parts, axis=-1)


class Transition(nn.Module):
    """BN, ReLU, 1x1, dropout, 2x2 average pool.

    Maps (N, H, W, C) to (N, floor(H/2), floor(W/2), features).
    """

    features: int
    conv: Constructor
    norm: Constructor
    act: Activation
    dropout: Constructor

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns fewer and smaller maps."""
        x = self.act(self.norm(name="norm")(x))
        x = self.dropout()(self.conv(self.features, (1, 1), name="conv")(x))
        return avg_pool(x, (2, 2), strides=(2, 2))


class DenseNet(NormNetwork):
    """Stem, dense blocks with transitions between, BN, ReLU, global average pooling, classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) to logits (N, num_classes) in at least
    float32. With `train=True` the collection `batch_stats` must be mutable, and if `dropout_rate`
    is positive an rng `dropout` is needed. Submodules: `stem`, `stage1`, `transition1`, `stage2`,
    …, `final_norm`, `classifier`.

    Attributes:
      stage_sizes: number of layers in each dense block.
      growth_rate: k, number of channels that a layer adds.
      bottleneck: B, whether a 1x1 convolution to 4k channels precedes each 3x3.
      compression: θ; a transition keeps floor(θ·C) of its C channels. The paper's C is θ < 1.
      stem_features: channels of the stem; None is 2k.
      cifar_stem: whether the stem is a single 3x3 convolution for small images, instead of 7x7/2,
        BN, ReLU and a max-pool.
      dropout_rate: share of outputs dropped after each convolution but the first; the paper has 0.2
        for CIFAR without augmentation, otherwise 0.
      remat: whether the backward pass saves only the outputs of a dense block's convolutions and
        recomputes the rest: memory grows with the depth of the block instead of its square. See
        `jaxcnn.layers.recompute` for a CPU.
      scan_units: whether to compile one layer per block and run the others in a loop
        (`jax.lax.scan`), with all channels allocated: same numbers, compiled sooner, slower. Not
        supported with dropout or captured intermediates.

    Raises:
      UserError: if images are not of rank 4, or too small for a transition; for `scan_units` with
        dropout.
    """

    stage_sizes: Sequence[int] = (6, 12, 24, 16)
    growth_rate: int = 32
    bottleneck: bool = True
    compression: float = 0.5
    stem_features: int | None = None
    cifar_stem: bool = False
    dropout_rate: float = 0.0
    remat: bool = False
    scan_units: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        if self.scan_units and self.dropout_rate:
            raise UserError("scan_units goes without dropout: set scan_units=False")
        if self.scan_units and self.norm is not None and not is_batch_norm(self.norm):
            raise UserError(
                "scan_units fills channels with zeros, which only BatchNorm leaves out of the"
                " others' statistics: set scan_units=False"
            )
        halvings = len(self.stage_sizes) - 1
        # The ImageNet stem leaves ceil(H/4) pixels, and each transition halves, rounding down.
        check_images(images, smallest=2**halvings if self.cifar_stem else 4 * 2**halvings - 3)
        layers = self.layers(train, he_normal_fan_out)
        dropout = partial(Dropout, self.dropout_rate, deterministic=not train)
        dense_layer: Constructor = DenseLayer
        if self.remat:
            policy = jax.checkpoint_policies.save_only_these_names("convolved")
            dense_layer = nn.remat(DenseLayer, policy=policy)
        layer = partial(dense_layer, self.growth_rate, self.bottleneck, **layers, dropout=dropout)
        stem_features = self.stem_features or 2 * self.growth_rate

        if self.cifar_stem:
            x = ConvNormAct(
                stem_features, (3, 3), layers["conv"], norm=None, act=None, name="stem"
            )(images)
        else:
            x = stem(images, stem_features, cifar=False, **layers)
        for i, size in enumerate(self.stage_sizes):
            if i > 0:
                kept = math.floor(self.compression * x.shape[-1])
                x = Transition(kept, **layers, dropout=dropout, name=f"transition{i}")(x)
            x = DenseBlock(layer, size, self.remat, self.scan_units, name=f"stage{i + 1}")(x)
        x = self.act(layers["norm"](name="final_norm")(x))
        return self.classify(global_average_pool(x))


IMAGENET_DEPTHS: dict[int, tuple[int, tuple[int, ...]]] = {  # growth rate, layers
    121: (32, (6, 12, 24, 16)),
    169: (32, (6, 12, 32, 32)),
    201: (32, (6, 12, 48, 32)),
    161: (48, (6, 12, 36, 24)),
}


def imagenet_densenet(depth: int, **fields: Any) -> DenseNet:
    """Returns the paper's ImageNet network of a depth; `fields` are those of `DenseNet`.

    Raises:
      UserError: if the paper has no such depth.
    """
    if depth not in IMAGENET_DEPTHS:
        raise UserError(f"no DenseNet of depth {depth}: choose one of {list(IMAGENET_DEPTHS)}")
    growth_rate, stage_sizes = IMAGENET_DEPTHS[depth]
    return DenseNet(**{"growth_rate": growth_rate, "stage_sizes": stage_sizes, **fields})


def cifar_densenet(depth: int, growth_rate: int, bc: bool = False, **fields: Any) -> DenseNet:
    """Returns the CIFAR network with three equal blocks; `fields` are those of `DenseNet`.

    Args:
      depth: 3n+4, or 6n+4 with bottlenecks.
      growth_rate: number of channels that a layer adds.
      bc: whether to use bottlenecks, θ = 0.5 and a stem of 2k maps, instead of plain blocks, θ = 1
        and 16 maps. For B or C alone set `bottleneck` or `compression`, which keep the 16 maps.
      **fields: fields of `DenseNet`.

    Raises:
      UserError: for any other depth.
    """
    defaults = {
        "num_classes": 10,
        "bottleneck": bc,
        "compression": 0.5 if bc else 1.0,
        "stem_features": None if bc else 16,
        "cifar_stem": True,
    }
    chosen = {**defaults, **fields}
    step = 6 if chosen["bottleneck"] else 3
    n, rest = divmod(depth - 4, step)
    if n < 1 or rest:
        raise UserError(f"no CIFAR DenseNet of depth {depth}: here it must be {step}n+4")
    return DenseNet(**{"growth_rate": growth_rate, "stage_sizes": (n, n, n), **chosen})

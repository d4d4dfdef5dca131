"""Pre-activation ResNet, "v2".

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027.

The paper's: BN and ReLU before the convolutions, nothing after the addition; the input of the first
unit is already activated by the stem, and BN and ReLU follow the last unit. From the released code
(KaimingHe/resnet-1k-layers, facebook/fb.resnet.torch): if the shape changes, branch and shortcut
share one BN-ReLU and a projection has no BN of its own; the fan-out form of He initialisation; for
CIFAR the stride on the first 1x1 of a bottleneck and no BN after the stem (which is equivalent,
because the first unit projects). ImageNet's stride is on the 3x3. timm's `resnetv2_*` activate
neither the stem nor the max-pool's input and let the first unit pre-activate: equally many
parameters, another function (`stem_norm=False`). Keras's do so too, halve the map in the last unit
of a stage instead of the first of the next (`stride_last`), and have a bias in the stem and zeros
around the max-pool (`stem_bias`, `pool_zeros`). Ours: `zero_init_last`, the classifier's
initialisation. Padding is symmetric.

ImageNet, validation error in the paper, one 320x320 crop (top-1 / top-5 %), parameters:

  resnet18_v2   –   11,687,720      resnet101_v2   –             44,541,480
  resnet34_v2   –   21,795,880      resnet152_v2   21.1 / 5.5    60,185,128
  resnet50_v2   –   25,549,352      resnet200_v2   20.7 / 5.3    64,666,152

Depth 200 has 20.1 / 4.8 with aspect ratio augmentation in training.

CIFAR, test error in the paper, median of 5 runs (CIFAR-10 / CIFAR-100 %), parameters:

  cifar_resnet110_v2   6.37 / –        1,727,962     basic units, shortcut A
  cifar_resnet164_v2   5.46 / 24.33    1,703,258     bottlenecks
  cifar_resnet1001_v2  4.92 / 22.71   10,327,706     bottlenecks; 4.62 with batches of 64
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import jax
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers import global_average_pool, he_normal_fan_out, residual
from jaxcnn.layers.conv import Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.recompute import recomputed
from jaxcnn.layers.residual import ResidualUnit, Stage, check_shortcut, stem
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork

SHORTCUTS = (*residual.SHORTCUTS, "first")


class PreActUnit(ResidualUnit):
    """BN, ReLU, residual; + shortcut.

    A shortcut that changes the shape uses the same BN-ReLU as the branch, and its projection has no
    BN of its own.

    Attributes:
      preactivate: False omits the first BN-ReLU, for an input that is already activated.
      dropout: constructor of a dropout before every convolution but the first; None omits it.
      zero_init_last: whether the last convolution starts at zero, the unit as its shortcut.
    """

    preactivate: bool = True
    dropout: Constructor | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), expansion·features)."""
        activated = self.act(self.norm(name="norm1")(x)) if self.preactivate else x
        y = self.branch(activated)
        if self.shortcut == "none":
            return y
        return y + self.skip(x if self.keeps(x) else activated, norm=None)

    def dropped(self, x: jax.Array) -> jax.Array:
        """Returns x after the optional dropout."""
        return x if self.dropout is None else self.dropout()(x)

    @property
    def last_conv(self) -> Constructor:
        """Constructor of the last convolution of the branch."""
        zeros = nn.initializers.zeros
        return partial(self.conv, kernel_init=zeros) if self.zero_init_last else self.conv


class PreActBasicBlock(PreActUnit):
    """BN, ReLU, 3x3, BN, ReLU, dropout, 3x3; + shortcut."""

    def residual(self, x: jax.Array) -> jax.Array:
        """Applies 3x3, BN, ReLU, dropout, 3x3."""
        self.check_ungrouped()
        x = self.conv(self.features, (3, 3), strides=self.strides, padding=1, name="conv1")(x)
        x = self.dropped(self.act(self.norm(name="norm2")(x)))
        return self.last_conv(self.features, (3, 3), padding=1, name="conv2")(x)


class PreActBottleneck(PreActUnit):
    """BN, ReLU, 1x1, BN, ReLU, dropout, 3x3, BN, ReLU, dropout, 1x1; + shortcut.

    Attributes:
      stride_first: whether the first 1x1 is strided, as for CIFAR, instead of the 3x3.
    """

    stride_first: bool = False

    expansion: ClassVar[int] = 4

    def residual(self, x: jax.Array) -> jax.Array:
        """Applies 1x1, BN, ReLU, dropout, 3x3, BN, ReLU, dropout, 1x1."""
        first, second = (self.strides, 1) if self.stride_first else (1, self.strides)
        inner, groups = self.inner_features, self.cardinality
        x = self.conv(inner, (1, 1), strides=first, name="conv1")(x)
        x = self.dropped(self.act(self.norm(name="norm2")(x)))
        conv2 = partial(self.conv, feature_group_count=groups, strides=second, padding=1)
        x = conv2(inner, (3, 3), name="conv2")(x)
        x = self.dropped(self.act(self.norm(name="norm3")(x)))
        return self.last_conv(self.expansion * self.features, (1, 1), name="conv3")(x)


class PreActResNet(NormNetwork):
    """Stem, stages of pre-activation units, BN, ReLU, global average pooling, linear classifier.

    The paper's other orderings and shortcuts are in `jaxcnn.models.identity_mappings`.

    `apply(variables, images, train=False)` maps (N, H, W, C) of any size to logits
    (N, num_classes) in at least float32. With `train=True` the collection `batch_stats` must be
    mutable, and if a dropout rate is positive an rng `dropout` is needed. Submodules: `stem`,
    `stage1`, `stage2`, …, `final_norm`, `classifier`.

    Attributes:
      stage_sizes: number of units in each stage.
      block: constructor of a unit: `PreActBasicBlock`, `PreActBottleneck`, or a partial of one.
      width: features of the first stage, doubled in each further stage; or a sequence with the
        features of every stage. Each stage but the first halves the map.
      stem_features: channels of the stem; None is the features of the first stage.
      cifar_stem: whether to use a 3x3 stem for small images, instead of 7x7/2 and a max-pool.
      stem_norm: whether BN and ReLU follow the stem's convolution and the first unit has none
        before its first convolution; False exchanges the two.
      image_norm: whether a BN of the images, `image_norm`, precedes the stem, as in Gluon.
      first_preactivation: whether the first unit has BN and ReLU before its first convolution; None
        is `not stem_norm`. Gluon has both.
      stem_bias: whether the stem's convolution has a bias.
      pool_zeros: whether zeros around the map take part in the stem's max-pool; without BN and
        ReLU before it they exceed negative values.
      stride_last: whether the last unit of a stage halves the map, and its shortcut is every second
        pixel, instead of the first unit of the next stage.
      shortcut: A is parameter-free (subsampling and zero channels; "average": the mean of 2x2
        instead), B projects by 1x1 if the shape changes, "first" there and in the first unit of
        every stage (timm's bottlenecks), C in every unit; "none" is the plain network.
      zero_init_last: whether the last convolution of every unit starts at zero.
      dropout_rate: share of inputs dropped before every convolution of a unit but the first.
      remat: whether the backward pass computes every unit again; see `ResNet`.
      scan_units: whether to compile one unit per stage and run the others in a loop; see `ResNet`.
        Not supported with dropout, whose draws would differ.

    Raises:
      UserError: if images are not of rank 4, a shortcut does not exist or cannot learn, or the
        number of widths is not the number of stages.
    """

    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    block: Constructor = PreActBottleneck
    width: int | Sequence[int] = 64
    stem_features: int | None = None
    cifar_stem: bool = False
    stem_norm: bool = True
    image_norm: bool = False
    first_preactivation: bool | None = None
    stem_bias: bool = False
    pool_zeros: bool = False
    stride_last: bool = False
    shortcut: str = "B"
    zero_init_last: bool = False
    dropout_rate: float = 0.0
    remat: bool = False
    scan_units: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        self.check_fields(images)
        layers = self.layers(train, he_normal_fan_out)
        x = self.opening(images, layers, norm=self.stem_norm, act=self.stem_norm)
        x = self.stages(x, self.unit(train, **layers), self.stage_sizes)
        x = self.act(layers["norm"](name="final_norm")(x))
        return self.classify(global_average_pool(x))

    def check_fields(self, images: jax.Array) -> None:
        """Raises `UserError` if images or fields are inconsistent."""
        check_images(images)
        check_shortcut(self.shortcut, SHORTCUTS, self.zero_init_last)
        if self.scan_units and self.dropout_rate:
            raise UserError("scan_units goes without dropout: set scan_units=False")

    def opening(
        self, images: jax.Array, layers: Mapping[str, Any], *, norm: bool, act: bool
    ) -> jax.Array:
        """Returns the maps of the stem, with or without normalisation and activation."""
        if self.image_norm:
            images = layers["norm"](name="image_norm")(images)
        return stem(
            images,
            self.stem_features or self._widths()[0],
            cifar=self.cifar_stem,
            pool_zeros=self.pool_zeros,
            conv=partial(layers["conv"], use_bias=True) if self.stem_bias else layers["conv"],
            norm=layers["norm"] if norm else None,
            act=layers["act"] if act else None,
        )

    def unit(self, train: bool, **fields: Any) -> Constructor:
        """Returns the constructor of units; `fields` are those that the network sets."""
        return partial(
            recomputed(self.block) if self.remat else self.block,
            shortcut="B" if self.shortcut == "first" else self.shortcut,
            zero_init_last=self.zero_init_last,
            dropout=partial(Dropout, self.dropout_rate, deterministic=not train),
            **fields,
        )

    def stages(self, x: jax.Array, block: Constructor, sizes: Sequence[int]) -> jax.Array:
        """Applies `stage1`, `stage2`, … with the given numbers of units."""
        first = partial(block, shortcut="C") if self.shortcut == "first" else block
        activated = self.stem_norm  # the stem does the pre-activation of the first unit
        if self.first_preactivation is not None:
            activated = not self.first_preactivation
        halving = partial(block, strides=2, shortcut="subsample")
        halved = True  # the input of the first stage by the stem
        for i, (size, features) in enumerate(zip(sizes, self._widths(), strict=True)):
            own = partial(first, preactivate=False) if activated and i == 0 else first
            strides = 1 if halved else 2
            halved = self.stride_last and size > 1 and i + 1 < len(sizes)
            stage = Stage(
                block,
                size,
                features,
                strides,
                own,
                scan=self.scan_units,
                last=halving if halved else None,
                name=f"stage{i + 1}",
            )
            x = stage(x)
        return x

    def _widths(self) -> Sequence[int]:
        """Returns the features of every stage."""
        if isinstance(self.width, int):
            return [self.width * 2**i for i in range(len(self.stage_sizes))]
        if len(self.width) != len(self.stage_sizes):
            raise UserError(
                f"width {tuple(self.width)} is for {len(self.width)} stages, stage_sizes "
                f"{tuple(self.stage_sizes)} for {len(self.stage_sizes)}: give one for each"
            )
        return self.width


IMAGENET_DEPTHS: dict[int, tuple[Constructor, tuple[int, ...]]] = {
    18: (PreActBasicBlock, (2, 2, 2, 2)),
    34: (PreActBasicBlock, (3, 4, 6, 3)),
    50: (PreActBottleneck, (3, 4, 6, 3)),
    101: (PreActBottleneck, (3, 4, 23, 3)),
    152: (PreActBottleneck, (3, 8, 36, 3)),
    200: (PreActBottleneck, (3, 24, 36, 3)),
}


def imagenet_preact_resnet(depth: int, **fields: Any) -> PreActResNet:
    """Returns the ImageNet network of a depth; `fields` are those of `PreActResNet`.

    Raises:
      UserError: if the table has no such depth.
    """
    if depth not in IMAGENET_DEPTHS:
        raise UserError(f"no ResNet v2 of depth {depth}: choose one of {list(IMAGENET_DEPTHS)}")
    block, stage_sizes = IMAGENET_DEPTHS[depth]
    return PreActResNet(**{"block": block, "stage_sizes": stage_sizes, **fields})


def cifar_preact_resnet(
    depth: int,
    bottleneck: bool = False,
    network: type[PreActResNet] = PreActResNet,
    **fields: Any,
) -> PreActResNet:
    """Returns the CIFAR network with three equal stages.

    Args:
      depth: 6n+2, or 9n+2 with bottlenecks.
      bottleneck: bottlenecks and shortcut B, instead of basic units and shortcut A.
      network: class of the network.
      **fields: fields of the class.

    Raises:
      UserError: for any other depth.
    """
    step = 9 if bottleneck else 6
    n, rest = divmod(depth - 2, step)
    if n < 1 or rest:
        raise UserError(f"no CIFAR ResNet v2 of depth {depth}: here it must be {step}n+2")
    defaults = {
        "num_classes": 10,
        "stage_sizes": (n, n, n),
        "block": partial(PreActBottleneck, stride_first=True) if bottleneck else PreActBasicBlock,
        "width": 16,
        "cifar_stem": True,
        "stem_norm": not bottleneck,
        "shortcut": "B" if bottleneck else "A",
    }
    return network(**{**defaults, **fields})

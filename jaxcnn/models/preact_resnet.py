"""Pre-activation ResNet, "v2".

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027.

The paper's: BN and ReLU in front of the convolutions, nothing behind the addition; the first unit
works on what the stem has activated already, and BN and ReLU follow the last unit. Of the released
code (KaimingHe/resnet-1k-layers, facebook/fb.resnet.torch): where the shape changes, branch and
shortcut share one BN-ReLU and a projection has no BN of its own; the fan-out form of He
initialisation; for CIFAR the stride on the first 1x1 of a bottleneck and no BN behind the stem
(which says the same, for there the first unit projects). ImageNet's stride is on the 3x3. timm's
`resnetv2_*` activate neither the stem nor the max-pool's input and let the first unit
pre-activate: equally many parameters, another function (`stem_norm=False`). Ours:
`zero_init_last`, the classifier's start. Padding is symmetric.

ImageNet, validation error in the paper, one 320x320 crop (top-1 / top-5 %), parameters:

  resnet18_v2   –   11,687,720      resnet101_v2   –             44,541,480
  resnet34_v2   –   21,795,880      resnet152_v2   21.1 / 5.5    60,185,128
  resnet50_v2   –   25,549,352      resnet200_v2   20.7 / 5.3    64,666,152

Depth 200 has 20.1 / 4.8 if the aspect ratio is varied in training, too.

CIFAR, test error in the paper, median of 5 runs (CIFAR-10 / CIFAR-100 %), parameters:

  cifar_resnet110_v2   6.37 / –        1,727,962     basic units, shortcut A
  cifar_resnet164_v2   5.46 / 24.33    1,703,258     bottlenecks
  cifar_resnet1001_v2  4.92 / 22.71   10,327,706     bottlenecks; 4.62 with batches of 64
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers import (
    BatchNorm,
    Conv,
    ConvNormAct,
    batch_norm,
    classifier,
    global_average_pool,
    he_normal_fan_out,
)
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.models.checks import check_images
from jaxcnn.models.identity_mappings import ORDERINGS, Steps, check_ordering, make_join
from jaxcnn.models.resnet import SHORTCUTS as RESNET_SHORTCUTS
from jaxcnn.models.resnet import ResidualUnit, Stage, check_shortcut
from jaxcnn.ops.pool import max_pool

SHORTCUTS = (*RESNET_SHORTCUTS, "first")


class PreActUnit(ResidualUnit):
    """BN, ReLU, residual; + shortcut. Or in another of the paper's orderings.

    Where the shortcut is not the input as it is, it starts from the same BN-ReLU as the branch.

    Attributes:
      ordering: one of `jaxcnn.models.identity_mappings.ORDERINGS`.
      preactivate: False leaves the first BN-ReLU out, for an input that is activated already.
      dropout: constructor of a dropout in front of every convolution but the first; None leaves it
        out.
      join: constructor of what adds branch and shortcut, a `Join`; None is the sum.
      zero_init_last: start the branch's last convolution or BN at zero, the unit as its shortcut.
      span: convolutions of the branch, for a basic unit; None is two.
    """

    ordering: str = "e"
    preactivate: bool = True
    dropout: Constructor | None = None
    join: Constructor | None = None
    span: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), expansion·features)."""
        before, branch, behind = self.steps
        activated = self.run(before, x) if self.preactivate else x
        y = self.branch(activated)
        if self.shortcut != "none":
            # Behind a projection stands what stands behind the branch's last convolution.
            norm = None if branch[-1][0] == "W" else self.norm
            shortcut = self.skip(x if self.keeps(x) else activated, norm)
            if self.join is None:
                y = y + shortcut
            else:
                y = self.join(conv=self.conv, strides=self.strides, name="join")(x, y, shortcut)
        return self.run(behind, y)

    def residual(self, x: jax.Array) -> jax.Array:
        """Returns the branch of an input that is pre-activated."""
        return self.run(self.steps[1], x)

    @property
    def convolutions(self) -> list[Constructor]:
        """Constructors of the branch's convolutions, with everything set but the name."""
        raise NotImplementedError

    @property
    def steps(self) -> tuple[Steps, Steps, Steps]:
        """What stands before the branch, in it, and behind the addition."""
        return ORDERINGS[self.ordering].steps(len(self.convolutions))

    def run(self, steps: Steps, x: jax.Array) -> jax.Array:
        """Applies `conv1`, `norm1`, `conv2`, …, and activations."""
        last = self.steps[1][-1] if self.zero_init_last else None
        for step in steps:
            kind, number = step
            if kind == "R":
                x = self.act(x)
            elif kind == "B":
                norm = self.last_norm if step == last else self.norm
                x = norm(name=f"norm{number}")(x)
            else:
                if number > 1 and self.dropout is not None:
                    x = self.dropout()(x)
                zero = {"kernel_init": nn.initializers.zeros} if step == last else {}
                x = self.convolutions[number - 1](**zero, name=f"conv{number}")(x)
        return x


class PreActBasicBlock(PreActUnit):
    """BN, ReLU, 3x3, BN, ReLU, dropout, 3x3; + shortcut."""

    @property
    def convolutions(self) -> list[Constructor]:
        """3x3 and 3x3, or as many as `span` says."""
        self.check_ungrouped()
        conv = partial(self.conv, self.features, (3, 3), padding=1)
        span = 2 if self.span is None else self.span
        return [partial(conv, strides=self.strides), *(span - 1) * [conv]]


class PreActBottleneck(PreActUnit):
    """BN, ReLU, 1x1, BN, ReLU, dropout, 3x3, BN, ReLU, dropout, 1x1; + shortcut.

    Attributes:
      stride_first: stride on the first 1x1, as for CIFAR, instead of on the 3x3.
    """

    stride_first: bool = False

    expansion: ClassVar[int] = 4

    @property
    def convolutions(self) -> list[Constructor]:
        """1x1, 3x3, 1x1."""
        if self.span is not None:
            raise UserError("the shortcut of a bottleneck spans its three layers: no shortcut_span")
        first, second = (self.strides, 1) if self.stride_first else (1, self.strides)
        inner, groups = self.inner_features, self.cardinality
        return [
            partial(self.conv, inner, (1, 1), strides=first),
            partial(
                self.conv,
                inner,
                (3, 3),
                feature_group_count=groups,
                strides=second,
                padding=1,
            ),
            partial(self.conv, self.expansion * self.features, (1, 1)),
        ]


class PreActResNet(nn.Module):
    """Stem, stages of pre-activation units, BN, ReLU, global average pooling, linear classifier.

    The further orderings and shortcuts of the paper are fields (`ordering`; `shortcut_scale` to
    `shortcut_dropout`), with which it is another network.

    `apply(variables, images, train=False)` maps (N, H, W, C) of any size to logits
    (N, num_classes) in at least float32. With `train=True` the collection `batch_stats` must be
    mutable, and if a dropout is positive an rng `dropout` is needed. Submodules: `stem`,
    `stage1`, `stage2`, …, `final_norm`, `classifier`.

    Attributes:
      num_classes: 0 returns the pooled features.
      stage_sizes: units in each stage.
      block: constructor of a unit: `PreActBasicBlock`, `PreActBottleneck`, or a partial of one.
      width: features of the first stage, each further stage doubling them; or those of every
        stage. Each stage but the first halves the map.
      stem_features: channels of the stem; None is the features of the first stage.
      cifar_stem: a 3x3 stem for small images, instead of 7x7/2 and a max-pool.
      stem_norm: BN and ReLU behind the stem's convolution, and none in front of the first unit;
        False has it the other way round.
      ordering: of BN, ReLU and convolution in a unit, "a" to "e" of the paper; "a" is `ResNet`.
      shortcut: A is parameter-free (subsampling and zero channels; "average": the mean of 2x2
        instead), B projects by 1x1 where the shape changes, "first" there and in the first unit of
        every stage (timm's bottlenecks), C in every unit; "none" is the plain network.
      shortcut_span: convolutions under one shortcut of basic units, at the same depth; None is two.
      shortcut_scale: constant factor of every shortcut.
      residual_scale: constant factor of every branch.
      gate: "shortcut" multiplies every shortcut by 1-g(x), "exclusive" its branch by g(x) as well.
      gate_bias: bias of the gates to start from.
      shortcut_dropout: share of inputs dropped on every shortcut.
      zero_init_last: start the last convolution (BN where that stands behind) of every unit at
        zero.
      dropout_rate: share of inputs dropped in front of every convolution of a unit but the first.
      scan_units: compile one unit for each stage and run the others in a loop; see `ResNet`. Not
        with dropout, whose draws would be others.
      dtype: of the computation; the parameters of BN and its statistics stay as they are.
      param_dtype: of the parameters.
      norm_momentum: decay of the running statistics.
      norm_epsilon: added to variances.
      conv: constructor of convolutions.
      norm: constructor of normalisation; see `jaxcnn.layers.batch_norm`.
      act: activation of the whole network.

    Raises:
      UserError: if the images are not of rank 4, for an ordering, a shortcut or a gate that does
        not exist or cannot learn, or for widths that are not as many as stages.
    """

    num_classes: int = 1000
    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    block: Constructor = PreActBottleneck
    width: int | Sequence[int] = 64
    stem_features: int | None = None
    cifar_stem: bool = False
    stem_norm: bool = True
    ordering: str = "e"
    shortcut: str = "B"
    shortcut_span: int | None = None
    shortcut_scale: float = 1.0
    residual_scale: float = 1.0
    gate: str = "none"
    gate_bias: float = 0.0
    shortcut_dropout: float = 0.0
    zero_init_last: bool = False
    dropout_rate: float = 0.0
    scan_units: bool = False
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
        check_images(images)
        check_shortcut(self.shortcut, SHORTCUTS, self.zero_init_last)
        check_ordering(self.ordering, self.zero_init_last)
        if self.scan_units and (self.dropout_rate or self.shortcut_dropout):
            raise UserError("scan_units goes without dropout: set scan_units=False")
        conv = partial(
            self.conv,
            use_bias=self.norm is None,
            kernel_init=he_normal_fan_out,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        norm = batch_norm(
            self.norm,
            train=train,
            momentum=self.norm_momentum,
            epsilon=self.norm_epsilon,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        dropout = partial(Dropout, deterministic=not train)
        join = make_join(
            self.shortcut,
            gate=self.gate,
            gate_bias=self.gate_bias,
            shortcut_scale=self.shortcut_scale,
            residual_scale=self.residual_scale,
            dropout=partial(dropout, self.shortcut_dropout) if self.shortcut_dropout else None,
        )
        block = partial(
            self.block,
            ordering=self.ordering,
            shortcut="B" if self.shortcut == "first" else self.shortcut,
            zero_init_last=self.zero_init_last,
            dropout=partial(dropout, self.dropout_rate),
            join=join,
            span=self.shortcut_span,
            conv=conv,
            norm=norm,
            act=self.act,
        )
        first = partial(block, shortcut="C") if self.shortcut == "first" else block
        widths = self._widths()
        # The stem is one more layer of the same kind, and takes over what stands in front of the
        # first unit; behind the last unit the same stands once more.
        ordering = ORDERINGS[self.ordering]
        opening = ordering.postactivation
        if self.stem_norm:
            opening += ordering.preactivation
        stem = partial(
            ConvNormAct,
            self.stem_features or widths[0],
            conv=conv,
            norm=norm if "B" in opening else None,
            act=self.act if "R" in opening else None,
            name="stem",
        )
        if self.cifar_stem:
            x = stem(kernel_size=(3, 3))(images)
        else:
            x = stem(kernel_size=(7, 7), strides=2)(images)
            x = max_pool(x, (3, 3), (2, 2), padding=1)
        for i, (size, features) in enumerate(zip(self._sizes(), widths, strict=True)):
            unit = partial(first, preactivate=False) if self.stem_norm and i == 0 else first
            x = Stage(
                block,
                size,
                features,
                1 if i == 0 else 2,
                first=unit,
                scan=self.scan_units,
                name=f"stage{i + 1}",
            )(x)
        if "B" in ordering.preactivation:
            x = norm(name="final_norm")(x)
        if "R" in ordering.preactivation:
            x = self.act(x)
        x = global_average_pool(x)
        if self.num_classes == 0:
            return x
        return classifier(self.num_classes, self.dtype, self.param_dtype)(x)

    def _sizes(self) -> Sequence[int]:
        """Returns the units of every stage."""
        span = 2 if self.shortcut_span is None else self.shortcut_span
        if span < 1 or any(2 * size % span for size in self.stage_sizes):
            raise UserError(
                f"shortcut_span={span} does not divide the convolutions of stages of "
                f"{tuple(self.stage_sizes)} units of two: 1 and 2 always do"
            )
        return [2 * size // span for size in self.stage_sizes]

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
      UserError: for a depth that is not in the table.
    """
    if depth not in IMAGENET_DEPTHS:
        raise UserError(f"no ResNet v2 of depth {depth}: choose one of {list(IMAGENET_DEPTHS)}")
    block, stage_sizes = IMAGENET_DEPTHS[depth]
    return PreActResNet(**{"block": block, "stage_sizes": stage_sizes, **fields})


def cifar_preact_resnet(depth: int, bottleneck: bool = False, **fields: Any) -> PreActResNet:
    """Returns the CIFAR network of three equal stages; `fields` are those of `PreActResNet`.

    Args:
      depth: 6n+2, or 9n+2 with bottlenecks.
      bottleneck: bottlenecks and shortcut B, instead of basic units and shortcut A.
      **fields: of `PreActResNet`.

    Raises:
      UserError: for another depth.
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
    return PreActResNet(**{**defaults, **fields})

"""Variants of a residual unit: positions of BN and ReLU, and operations on the shortcut.

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027. The
best variant is written out in `jaxcnn.models.preact_resnet`. This file has the others, as one
network whose units follow a table.

CIFAR-10, test error in the paper (%), median of 5 runs, of ResNet-110 (basic units) and ResNet-164
(bottlenecks), by `ordering`:

  (a) original               6.61   5.93      (d) relu_only_preactivation   6.71   5.91
  (b) bn_after_addition      8.17   6.50      (e) full_preactivation        6.37   5.46
  (c) relu_before_addition   7.84   6.14

and for ResNet-110 with the original ordering, by the operations on the shortcut of every unit
("fail": above 20 %):

  shortcut x 0, branch x 1      fail       gate 1-g, branch g          fail; b_g = -6 8.70, -7 9.81
  shortcut x 0.5, branch x 1    fail       gate 1-g, branch x 1        b_g = 0 12.86, -6 6.91
  shortcut x 0.5, branch x 0.5  12.35      dropout 0.5                 fail
  1x1 convolution               12.22

The paper's: all of these, with g = σ(W x + b_g) from a 1x1 convolution with one gate per channel
and pixel; BN after every convolution, and none in a gate. Ours, where the paper gives no detail: a
unit that changes the shape gates the output of its parameter-free shortcut, and the gate has the
unit's stride.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers import global_average_pool, he_normal_fan_out
from jaxcnn.layers.conv import Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.models.preact_resnet import PreActResNet, PreActUnit, cifar_preact_resnet

Steps = list[tuple[str, int]]


class Ordering(NamedTuple):
    """Order of a convolution (W), its BN (B) and its ReLU (R).

    Attributes:
      layer: order in one layer; a branch has one layer per convolution.
      behind: number of the branch's last steps that follow the addition.
    """

    layer: str
    behind: int = 0

    @property
    def preactivation(self) -> str:
        """Steps before a convolution."""
        return self.layer[: self.layer.index("W")]

    @property
    def postactivation(self) -> str:
        """Steps after a convolution."""
        return self.layer[self.layer.index("W") + 1 :]

    def steps(self, convolutions: int) -> tuple[Steps, Steps, Steps]:
        """Returns the steps of a unit: pre-activation, branch, and steps after the addition.

        A step is a letter and the number of its layer, from 1.
        """
        steps = [(kind, i + 1) for i in range(convolutions) for kind in self.layer]
        start, end = len(self.preactivation), len(steps) - self.behind
        return steps[:start], steps[start:end], steps[end:]


ORDERINGS = {  # (a) to (e) of the paper's figure 4
    "original": Ordering("WBR", behind=1),
    "bn_after_addition": Ordering("WBR", behind=2),
    "relu_before_addition": Ordering("WBR"),
    "relu_only_preactivation": Ordering("RWB"),
    "full_preactivation": Ordering("BRW"),
}
GATES = ("none", "exclusive", "shortcut")


def check_ordering(ordering: str, zero_init_last: bool) -> None:
    """Raises `UserError` if the ordering does not exist, or makes learning impossible."""
    if ordering not in ORDERINGS:
        raise UserError(f"no ordering {ordering!r}: {nearest(ordering, ORDERINGS)}")
    if zero_init_last and ordering == "relu_before_addition":
        raise UserError(
            "zero_init_last under the ReLU that ends the branches of ordering relu_before_addition"
            " leaves them no gradient and nothing can be learnt: leave it out"
        )


class Join(nn.Module):
    """Adds branch and shortcut, each with a factor.

    Attributes:
      strides: strides of the unit.
      gate: "shortcut" multiplies the shortcut by 1-g, "exclusive" also the branch by g.
      gate_bias: initial b_g; the gate's convolution is named `gate`.
      shortcut_scale: constant factor of the shortcut.
      residual_scale: constant factor of the branch.
      dropout: dropout of the shortcut; None omits it.
    """

    conv: Constructor
    strides: int = 1
    gate: str = "none"
    gate_bias: float = 0.0
    shortcut_scale: float = 1.0
    residual_scale: float = 1.0
    dropout: Constructor | None = None

    @nn.compact
    def __call__(self, x: jax.Array, branch: jax.Array, shortcut: jax.Array) -> jax.Array:
        """Returns the sum, with the shape of `branch` and `shortcut`; `x` is the unit's input."""
        if self.gate not in GATES:
            raise UserError(f"no gate {self.gate!r}: {nearest(self.gate, GATES)}")
        branch, shortcut = self.residual_scale * branch, self.shortcut_scale * shortcut
        if self.gate != "none":
            conv = self.conv(
                branch.shape[-1],
                (1, 1),
                strides=self.strides,
                use_bias=True,
                bias_init=nn.initializers.constant(self.gate_bias),
                name="gate",
            )
            gate = nn.sigmoid(conv(x))
            shortcut = (1 - gate) * shortcut
            if self.gate == "exclusive":
                branch = gate * branch
        if self.dropout is not None:
            shortcut = self.dropout()(shortcut)
        return branch + shortcut


class VariantUnit(PreActUnit):
    """A residual unit whose layers have one of `ORDERINGS`.

    If the shortcut is not the identity, its input is the pre-activation of the branch; BN follows
    its projection if BN follows the branch's last convolution.

    Attributes:
      ordering: a name in `ORDERINGS`.
      join: constructor of a `Join` for branch and shortcut; None is the sum.
      zero_init_last: whether the branch's last convolution or BN starts at zero.
      span: number of convolutions in the branch of a basic unit; None is two.
    """

    ordering: str = "full_preactivation"
    join: Constructor | None = None
    span: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), expansion·features)."""
        before, branch, behind = self.steps
        activated = self.run(before, x) if self.preactivate else x
        y = self.branch(activated)
        if self.shortcut != "none":
            norm = None if branch[-1][0] == "W" else self.norm
            shortcut = self.skip(x if self.keeps(x) else activated, norm)
            if self.join is None:
                y = y + shortcut
            else:
                y = self.join(conv=self.conv, strides=self.strides, name="join")(x, y, shortcut)
        return self.run(behind, y)

    def residual(self, x: jax.Array) -> jax.Array:
        """Returns the branch for a pre-activated input."""
        return self.run(self.steps[1], x)

    @property
    def convolutions(self) -> list[Constructor]:
        """Constructors of the branch's convolutions, complete except for the name."""
        raise NotImplementedError

    @property
    def steps(self) -> tuple[Steps, Steps, Steps]:
        """Steps before the branch, in it, and after the addition."""
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
                x = self.dropped(x) if number > 1 else x
                zero = {"kernel_init": nn.initializers.zeros} if step == last else {}
                x = self.convolutions[number - 1](**zero, name=f"conv{number}")(x)
        return x


class VariantBasicBlock(VariantUnit):
    """Two 3x3, or `span` of them, with BN and ReLU according to the ordering."""

    @property
    def convolutions(self) -> list[Constructor]:
        """Constructors of the 3x3 convolutions."""
        self.check_ungrouped()
        conv = partial(self.conv, self.features, (3, 3), padding=1)
        span = 2 if self.span is None else self.span
        return [partial(conv, strides=self.strides), *(span - 1) * [conv]]


class VariantBottleneck(VariantUnit):
    """1x1, 3x3, 1x1, with BN and ReLU according to the ordering.

    Attributes:
      stride_first: whether the first 1x1 is strided, as for CIFAR, instead of the 3x3.
    """

    stride_first: bool = False

    expansion: ClassVar[int] = 4

    @property
    def convolutions(self) -> list[Constructor]:
        """Constructors of the 1x1, 3x3 and 1x1 convolutions."""
        if self.span is not None:
            raise UserError("the shortcut of a bottleneck spans its three layers: no shortcut_span")
        first, second = (self.strides, 1) if self.stride_first else (1, self.strides)
        inner, groups = self.inner_features, self.cardinality
        conv2 = partial(self.conv, feature_group_count=groups, strides=second, padding=1)
        return [
            partial(self.conv, inner, (1, 1), strides=first),
            partial(conv2, inner, (3, 3)),
            partial(self.conv, self.expansion * self.features, (1, 1)),
        ]


class VariantResNet(PreActResNet):
    """`PreActResNet` with another ordering in its units, or operations on their shortcuts.

    With the ordering "original" it is `ResNet`, with "full_preactivation" `PreActResNet`. The stem
    is one more layer with the same ordering, and does the pre-activation of the first unit. The
    last unit is followed by another pre-activation.

    Attributes:
      block: constructor of a unit: `VariantBasicBlock`, `VariantBottleneck`, or a partial of one.
      ordering: order of BN, ReLU and convolution in a unit; a name in `ORDERINGS`.
      shortcut_span: convolutions per shortcut in basic units, at the same depth; None is two.
      shortcut_scale: constant factor of every shortcut.
      residual_scale: constant factor of every branch.
      gate: "shortcut" multiplies every shortcut by 1-g(x), "exclusive" also its branch by g(x).
      gate_bias: initial bias of the gates.
      shortcut_dropout: share of inputs dropped on every shortcut.
      zero_init_last: whether the last convolution of every unit (or the BN after it) starts at
        zero.

    Raises:
      UserError: see `PreActResNet`; also if an ordering or a gate does not exist or cannot learn.
    """

    block: Constructor = VariantBottleneck
    ordering: str = "full_preactivation"
    shortcut_span: int | None = None
    shortcut_scale: float = 1.0
    residual_scale: float = 1.0
    gate: str = "none"
    gate_bias: float = 0.0
    shortcut_dropout: float = 0.0

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        self.check_fields(images)
        ordering, layers = ORDERINGS[self.ordering], self.layers(train, he_normal_fan_out)
        opening = ordering.postactivation
        if self.stem_norm:
            opening += ordering.preactivation
        x = self.opening(images, layers, norm="B" in opening, act="R" in opening)
        block = self.unit(
            train,
            ordering=self.ordering,
            join=self._join(train),
            span=self.shortcut_span,
            **layers,
        )
        x = self.stages(x, block, self._sizes())
        if "B" in ordering.preactivation:
            x = layers["norm"](name="final_norm")(x)
        if "R" in ordering.preactivation:
            x = self.act(x)
        return self.classify(global_average_pool(x))

    def check_fields(self, images: jax.Array) -> None:
        """Raises `UserError` if images or fields are inconsistent."""
        super().check_fields(images)
        check_ordering(self.ordering, self.zero_init_last)
        if self.scan_units and self.shortcut_dropout:
            raise UserError("scan_units goes without dropout: set scan_units=False")

    def _join(self, train: bool) -> Constructor | None:
        """Returns the constructor of a `Join`, or None if branch and shortcut are just added.

        Raises:
          UserError: if there is no shortcut.
        """
        factors = (self.shortcut_scale, self.residual_scale)
        if (self.gate, *factors, self.shortcut_dropout) == ("none", 1.0, 1.0, 0.0):
            return None
        if self.shortcut == "none":
            raise UserError("shortcut=none leaves nothing to gate, scale or drop: choose another")
        dropout = partial(Dropout, self.shortcut_dropout, deterministic=not train)
        return partial(
            Join,
            gate=self.gate,
            gate_bias=self.gate_bias,
            shortcut_scale=self.shortcut_scale,
            residual_scale=self.residual_scale,
            dropout=dropout if self.shortcut_dropout else None,
        )

    def _sizes(self) -> Sequence[int]:
        """Returns the number of units in every stage."""
        span = 2 if self.shortcut_span is None else self.shortcut_span
        if span < 1 or any(2 * size % span for size in self.stage_sizes):
            raise UserError(
                f"shortcut_span={span} does not divide the convolutions of stages of "
                f"{tuple(self.stage_sizes)} units of two: 1 and 2 always do"
            )
        return [2 * size // span for size in self.stage_sizes]


def cifar_resnet_v2(
    depth: int, bottleneck: bool = False, ordering: str | None = None, **fields: Any
) -> PreActResNet:
    """Returns the paper's CIFAR network, or a variant of it if an ordering is given.

    Args:
      depth: 6n+2, or 9n+2 with bottlenecks.
      bottleneck: bottlenecks and shortcut B, instead of basic units and shortcut A.
      ordering: a name in `ORDERINGS`; None is `PreActResNet`.
      **fields: fields of `VariantResNet`, or of `PreActResNet` without an ordering.

    Raises:
      UserError: for any other depth.
    """
    if ordering is None:
        return cifar_preact_resnet(depth, bottleneck, **fields)
    block = partial(VariantBottleneck, stride_first=True) if bottleneck else VariantBasicBlock
    chosen = {"block": block, "ordering": ordering, **fields}
    return cifar_preact_resnet(depth, bottleneck, VariantResNet, **chosen)

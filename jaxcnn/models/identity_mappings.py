"""Orderings of a residual unit, and what can stand on its shortcut.

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027, of
which `jaxcnn.models.preact_resnet` is the network that won.

CIFAR-10, test error in the paper (%), median of 5 runs, of ResNet-110 (basic units) and ResNet-164
(bottlenecks), by where BN and ReLU stand:

  a  original                      6.61   5.93      d  ReLU-only pre-activation   6.71   5.91
  b  BN after the addition         8.17   6.50      e  full pre-activation        6.37   5.46
  c  ReLU before the addition      7.84   6.14

and of ResNet-110 with ordering a, by what every unit has on its shortcut ("fail": above 20 %):

  shortcut x 0, branch x 1      fail       gate 1-g, branch g          fail; b_g = -6 8.70, -7 9.81
  shortcut x 0.5, branch x 1    fail       gate 1-g, branch x 1        b_g = 0 12.86, -6 6.91
  shortcut x 0.5, branch x 0.5  12.35      dropout 0.5                 fail
  1x1 convolution               12.22

The paper's: all of these, g = σ(W x + b_g) being a 1x1 convolution with one gate for each channel
and pixel; BN behind every convolution, and none in a gate. Ours, where the paper is silent: a unit
that changes the shape gates what its parameter-free shortcut puts out, and the gate takes the
unit's stride.
"""

from functools import partial
from typing import NamedTuple

import jax
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.conv import Constructor

Steps = list[tuple[str, int]]


class Ordering(NamedTuple):
    """In what order a convolution (W), its BN (B) and its ReLU (R) stand.

    Attributes:
      layer: of one layer; a branch is as many of them as it has convolutions.
      behind: how many of the branch's last steps stand behind the addition.
    """

    layer: str
    behind: int = 0

    @property
    def preactivation(self) -> str:
        """What stands in front of a convolution."""
        return self.layer[: self.layer.index("W")]

    @property
    def postactivation(self) -> str:
        """What stands behind a convolution."""
        return self.layer[self.layer.index("W") + 1 :]

    def steps(self, convolutions: int) -> tuple[Steps, Steps, Steps]:
        """Returns the steps of a unit: its pre-activation, its branch, behind the addition.

        A step is a letter and the number, from 1, of the layer that it belongs to.
        """
        steps = [(kind, i + 1) for i in range(convolutions) for kind in self.layer]
        start, end = len(self.preactivation), len(steps) - self.behind
        return steps[:start], steps[start:end], steps[end:]


ORDERINGS = {
    "a": Ordering("WBR", behind=1),
    "b": Ordering("WBR", behind=2),
    "c": Ordering("WBR"),
    "d": Ordering("RWB"),
    "e": Ordering("BRW"),
}
GATES = ("none", "exclusive", "shortcut")


def check_ordering(ordering: str, zero_init_last: bool) -> None:
    """Raises `UserError` for an ordering that does not exist, or with which nothing is learnt."""
    if ordering not in ORDERINGS:
        raise UserError(f"no ordering {ordering!r}: {nearest(ordering, ORDERINGS)}")
    if zero_init_last and ordering == "c":
        raise UserError(
            "zero_init_last under the ReLU that ends the branches of ordering c leaves them no "
            "gradient and nothing can be learnt: leave it out"
        )


class Join(nn.Module):
    """Branch and shortcut, each times what the fields say, added.

    Attributes:
      strides: of the unit.
      gate: "shortcut" multiplies the shortcut by 1-g, "exclusive" the branch by g as well.
      gate_bias: b_g to start from; the gate's own convolution is `gate`.
      shortcut_scale: constant factor of the shortcut.
      residual_scale: constant factor of the branch.
      dropout: of the shortcut; None leaves it out.
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
        """Returns the sum, shaped as `branch` and `shortcut` are; `x` is the unit's input."""
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


def make_join(
    shortcut: str,
    *,
    gate: str,
    gate_bias: float,
    shortcut_scale: float,
    residual_scale: float,
    dropout: Constructor | None,
) -> Constructor | None:
    """Returns what adds branch and `shortcut`: a `Join` of these fields, None if that is the sum.

    Raises:
      UserError: if there is no shortcut to do it to.
    """
    if (gate, shortcut_scale, residual_scale, dropout) == ("none", 1.0, 1.0, None):
        return None
    if shortcut == "none":
        raise UserError("shortcut=none leaves nothing to gate, scale or drop: choose another")
    return partial(
        Join,
        gate=gate,
        gate_bias=gate_bias,
        shortcut_scale=shortcut_scale,
        residual_scale=residual_scale,
        dropout=dropout,
    )

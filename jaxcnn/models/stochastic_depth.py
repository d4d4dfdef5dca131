"""ResNet with stochastic depth.

Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", 2016, arXiv
1603.09382.

The paper's: in training each unit is ReLU(b·f(x) + id(x)), where b is 1 with the unit's survival
probability p, drawn once per unit and mini-batch, and a unit with b = 0 is not computed; at test
time it is ReLU(p·f(x) + id(x)). p falls linearly from 1 at the input to p_L in the last unit, or is
the same for all. With p_L = 0.5 and L units, (3L-1)/4 of them are alive on average: 40 of the 54 of
ResNet-110. From the released code (yueatsprograms/Stochastic_Depth): the shortcut averages 2x2
before zero channels are appended. Ours: BN's statistics in a dropped unit do not change, whether it
is computed or not.

CIFAR-10 / CIFAR-100, test error in the paper (%; in brackets with constant depth), exact
parameters, the same as in `cifar_resnet110` and `cifar_resnet1202`:

  cifar_resnet110_sd    5.25 / 24.98 (6.41 / 27.76)    1,727,962
  cifar_resnet1202_sd   4.91 / –                      19,421,274

A later version of the paper has 5.23 / 24.58 for 110.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.residual import Drop, ResidualUnit
from jaxcnn.models.resnet import ResNet, cifar_resnet

SURVIVALS = ("linear", "uniform")


def scaled(unit: ResidualUnit, x: jax.Array, probability: jax.Array) -> jax.Array:
    """Returns p·f(x), as at test time."""
    y = unit.residual(x)
    return probability.astype(y.dtype) * y


def computed(unit: ResidualUnit, x: jax.Array, alive: jax.Array) -> jax.Array:
    """Returns b·f(x); a dropped branch is computed but does not update statistics."""
    before = jax.tree.map(lambda leaf: leaf, unit.variables.get("batch_stats", {}))
    y = unit.residual(x)
    if unit.is_mutable_collection("batch_stats"):
        after = unit.variables.get("batch_stats", {})
        kept = jax.tree.map(lambda new, old: jnp.where(alive, new, old), after, before)
        for name, value in kept.items():
            unit.put_variable("batch_stats", name, value)
    return jnp.where(alive, y, 0)


def skipped(unit: ResidualUnit, x: jax.Array, alive: jax.Array) -> jax.Array:
    """Returns b·f(x); a dropped branch is not computed, forwards and backwards."""
    batch, height, width, _ = x.shape
    shape = (batch, -(-height // unit.strides), -(-width // unit.strides))
    zeros = partial(jnp.zeros, (*shape, unit.expansion * unit.features), x.dtype)
    return nn.cond(alive, lambda unit, x: unit.residual(x), lambda unit, x: zeros(), unit, x)


class StochasticDepthResNet(ResNet):
    """`ResNet` whose units are dropped at random in training.

    `apply(variables, images, train=True, rngs={"drop_path": key}, mutable=["batch_stats"])`. The
    draws depend only on the key, so replicas with the same key drop the same units. `apply({},
    method="alive", rngs={"drop_path": key})` returns them.

    Attributes:
      survival_probability: p_L, of the last unit. 1 drops nothing and needs no rng.
      survival: "linear" falls from the input to p_L, "uniform" is p_L for all units.
      skip_dropped: whether to omit the computation of a dropped unit, instead of only its result.
        Both give the same numbers. Intermediates of units cannot be captured with it.

    Raises:
      UserError: see `ResNet`; also if the probability is outside (0, 1], `survival` is unknown, or
        the network has no shortcuts.
    """

    survival_probability: float = 0.5
    survival: str = "linear"
    skip_dropped: bool = False

    def survival_probabilities(self) -> Sequence[float]:
        """Returns p of every unit, from the first to the last."""
        last, units = self.survival_probability, sum(self.stage_sizes)
        if self.survival == "uniform":
            return [last] * units
        return [1 - unit / units * (1 - last) for unit in range(1, units + 1)]

    def alive(self) -> jax.Array:
        """Draws the surviving units: booleans [units], unit by unit from the rng `drop_path`."""
        key = self.make_rng("drop_path")
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(sum(self.stage_sizes)))
        probabilities = jnp.asarray(self.survival_probabilities(), jnp.float32)
        return jax.vmap(jax.random.bernoulli)(keys, probabilities)

    def drops(self, train: bool) -> tuple[Drop, jax.Array] | None:
        """Returns the function for every branch, and each unit's survival or probability."""
        if not 0 < self.survival_probability <= 1:
            raise UserError(
                f"survival_probability={self.survival_probability} is no probability that leaves "
                "something to train: above 0, at most 1"
            )
        if self.survival not in SURVIVALS:
            raise UserError(f"no survival {self.survival!r}: {nearest(self.survival, SURVIVALS)}")
        if self.shortcut == "none":
            raise UserError("without shortcuts nothing is left of a dropped unit: choose another")
        if self.survival_probability == 1:
            return None
        if not train:
            return scaled, jnp.asarray(self.survival_probabilities())
        if self.is_initializing():
            return None
        # Without the barrier XLA:CPU draws again in every kernel that uses the draw.
        alive = jax.lax.optimization_barrier(self.alive())
        return (skipped if self.skip_dropped else computed), alive


def cifar_stochastic_depth(depth: int, **fields: Any) -> ResNet:
    """Returns the CIFAR network of depth 6n+2; `fields` are those of `StochasticDepthResNet`.

    Raises:
      UserError: for any other depth.
    """
    return cifar_resnet(depth, StochasticDepthResNet, **{"shortcut": "average", **fields})

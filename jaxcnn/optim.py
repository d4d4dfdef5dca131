"""Optimizers of the papers, as functions of a learning rate, made of optax."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax

from jaxcnn.errors import UserError, nearest
from jaxcnn.schedules import Schedule

OPTIMIZERS = ("sgd", "rmsprop", "adamw", "lars", "lamb")


class Optimizer(NamedTuple):
    """What a step needs to update parameters.

    Attributes:
      transform: (learning rate, a traced scalar) → optax transformation. Its state does not depend
        on the rate, so the rate is an argument of the step and not something to save.
      learning_rate: step → rate, before the plateau's scale.
      plateau: an optax transformation that watches a metric, or None. Its state stands beside the
        optimizer's: `opt_state = {"transform": …, "plateau": …}`.
    """

    transform: Callable[[jax.typing.ArrayLike], optax.GradientTransformation]
    learning_rate: Schedule
    plateau: optax.GradientTransformationExtraArgs | None

    def init(self, params: Any) -> dict[str, Any]:
        """Returns the state of a fresh run."""
        plateau = () if self.plateau is None else self.plateau.init(params)
        return {"transform": self.transform(0.0).init(params), "plateau": plateau}

    def rate(self, step: jax.typing.ArrayLike, opt_state: dict[str, Any]) -> jax.Array:
        """The learning rate of a step, a scalar."""
        rate = self.learning_rate(step)
        return rate if self.plateau is None else rate * opt_state["plateau"].scale

    def observe(self, plateau_state: Any, value: float) -> Any:
        """Returns the plateau's state after a new value (lower is better), once per evaluation.

        Raises:
          ValueError: if there is no plateau.
        """
        if self.plateau is None:
            raise ValueError("this schedule watches no metric")
        return self.plateau.update({}, plateau_state, value=value)[1]


def decay_mask(patterns: Sequence[str]) -> Callable[[Any], Any]:
    """Returns params → tree of bools: which leaves decay.

    Args:
      patterns: regular expressions, searched in "stage1/block2/conv1/kernel".

    Raises:
      UserError: for a pattern that is not a regular expression.
    """
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise UserError(f"optimizer.decay_mask: {error.pattern!r}: {error}") from None

    def mask(params: Any) -> Any:
        def matches(path: Any, _: Any) -> bool:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return any(pattern.search(name) for pattern in compiled)

        return jax.tree_util.tree_map_with_path(matches, params)

    return mask


def make_transform(
    name: str,
    *,
    momentum: float,
    nesterov: bool,
    rms_decay: float,
    epsilon: float,
    betas: tuple[float, float],
    weight_decay: float,
    mask: Callable[[Any], Any],
    clip_norm: float,
) -> Callable[[jax.typing.ArrayLike], optax.GradientTransformation]:
    """Returns rate → transformation; see `recipes.base_config` for the arguments.

    Weight decay is L2 in the gradient for "sgd" and "rmsprop" (the papers'), decoupled for "adamw"
    and part of the layer-wise rate for "lars" and "lamb". "rmsprop" is TensorFlow's: epsilon inside
    the root, mean square starting at 1, the rate inside the momentum.

    Raises:
      UserError: for an unknown name.
    """
    if name not in OPTIMIZERS:
        raise UserError(f"no optimizer named {name!r}: {nearest(name, OPTIMIZERS)}")

    def transform(rate: jax.typing.ArrayLike) -> optax.GradientTransformation:
        parts = [optax.clip_by_global_norm(clip_norm)] if clip_norm > 0 else []
        if name in ("sgd", "rmsprop") and weight_decay > 0:
            parts.append(optax.add_decayed_weights(weight_decay, mask))
        if name == "sgd":
            parts.append(optax.sgd(rate, momentum or None, nesterov))
        elif name == "rmsprop":
            parts.append(
                optax.rmsprop(
                    rate,
                    rms_decay,
                    epsilon,
                    initial_scale=1.0,
                    eps_in_sqrt=True,
                    momentum=momentum or None,
                    nesterov=nesterov,
                )
            )
        elif name == "adamw":
            parts.append(optax.adamw(rate, *betas, epsilon, weight_decay=weight_decay, mask=mask))
        elif name == "lars":
            parts.append(
                optax.lars(
                    rate,
                    weight_decay,
                    mask,
                    trust_ratio_mask=mask,
                    momentum=momentum,
                    nesterov=nesterov,
                )
            )
        else:
            parts.append(optax.lamb(rate, *betas, epsilon, weight_decay=weight_decay, mask=mask))
        return optax.chain(*parts)

    return transform

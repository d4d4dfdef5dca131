"""The papers' optimizers as optax transformations with the learning rate as argument."""

import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcnn.errors import UserError
from jaxcnn.training.fields import OptimizerConfig, ScheduleConfig
from jaxcnn.training.schedules import Schedule, make_plateau, make_schedule


class Optimizer(NamedTuple):
    """Transformation, learning rate and plateau of a run.

    Attributes:
      transform: (learning rate, a traced scalar) → optax transformation. Its state does not depend
        on the rate, so the rate is an argument of the step and is not saved.
      learning_rate: step → rate, before the plateau's scale.
      plateau: optax transformation that watches a metric, or None. Its state is kept beside the
        optimizer's: `opt_state = {"transform": …, "plateau": …}`.
      frozen: name → whether training leaves the parameter or statistic of this name, such as
        "stem/norm/mean", unchanged. Frozen parameters have no state in `transform`.
    """

    transform: Callable[[jax.typing.ArrayLike], optax.GradientTransformation]
    learning_rate: Schedule
    plateau: optax.GradientTransformationExtraArgs | None
    frozen: Callable[[str], bool] | None = None

    def freezes(self, name: str) -> bool:
        """Returns whether training leaves a parameter or statistic unchanged."""
        return self.frozen is not None and self.frozen(name)

    def init(self, params: Any) -> dict[str, Any]:
        """Returns the initial optimizer state.

        Raises:
          UserError: if a pattern matches no parameter.
        """
        plateau = () if self.plateau is None else self.plateau.init(params)
        return {"transform": self.transform(0.0).init(params), "plateau": plateau}

    def rate(self, step: jax.typing.ArrayLike, opt_state: dict[str, Any]) -> jax.Array:
        """Returns the learning rate of a step, a scalar."""
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


def decay_mask(patterns: Sequence[str], field: str = "decay_mask") -> Callable[[Any], Any]:
    """Returns params → tree of booleans: whether weight decay applies to each leaf.

    Args:
      patterns: regular expressions, searched in names such as "stage1/block2/conv1/kernel".
      field: name of the field in section `optimizer`, for the error message.

    Raises:
      UserError: if a pattern is not a regular expression.
    """
    matches = matcher(patterns, field)
    return lambda params: tree_of_names(matches, params)


def matcher(patterns: Sequence[str], field: str) -> Callable[[str], bool]:
    """Returns name → whether any of the regular expressions is found in the name.

    Raises:
      UserError: if a pattern is not a regular expression.
    """
    compiled = [_compiled(pattern, field) for pattern in patterns]
    return lambda name: any(pattern.search(name) for pattern in compiled)


def tree_of_names(function: Callable[[str], Any], tree: Any) -> Any:
    """Returns a tree with the function's value for the name of each leaf."""
    return jax.tree_util.tree_map_with_path(lambda path, _: function(_name(path)), tree)


def _compiled(pattern: str, field: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"optimizer.{field}: {pattern!r}: {error}") from None


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def layer_factors(parameters: Sequence[str], decay: float) -> tuple[tuple[str, float], ...]:
    """Returns factors of the learning rate that decay from the classifier towards the input.

    "Discriminative fine-tuning" of Howard and Ruder, "Universal Language Model Fine-tuning for Text
    Classification", 2018, arXiv 1801.06146, §3.1: early layers, which are general, change less.

    The last submodule of the network has the factor 1, and each one before it `decay` times that of
    the next. Parameters that are not given, such as those of auxiliary heads, keep the factor 1.

    >>> layer_factors(["stem/kernel", "stage1/conv/kernel", "classifier/bias"], 0.5)
    (('^stem(/|$)', 0.25), ('^stage1(/|$)', 0.5), ('^classifier(/|$)', 1.0))

    Args:
      parameters: names of the parameters to train, in the order of their use.
      decay: factor between neighbours.

    Returns:
      Pairs for `scale_by_factors`.
    """
    submodules = list(dict.fromkeys(name.split("/")[0] for name in parameters))
    last = len(submodules) - 1
    return tuple(
        (f"^{re.escape(name)}(/|$)", decay ** (last - number))
        for number, name in enumerate(submodules)
    )


def scale_by_factors(
    factors: Sequence[tuple[str, float]],
) -> optax.GradientTransformation:
    """Returns a transformation that multiplies updates by factors: a learning rate per parameter.

    At the end of a chain it scales the final update. This is exactly equivalent to scaling the
    learning rate, also with momentum, weight decay and adaptive rates.

    Args:
      factors: pairs (regular expression, factor), searched as in `decay_mask`. If several match a
        leaf, their factors are multiplied.

    Raises:
      UserError: if a factor is not such a pair, or a pattern is not a regular expression; in
        `init`, if a pattern matches no parameter.
    """
    pairs = []
    for pair in factors:
        match pair:
            case (str(pattern), float() | int() as factor) if factor >= 0:
                pairs.append((_compiled(pattern, "lr_multipliers"), float(factor)))
            case _:
                raise UserError(
                    f"optimizer.lr_multipliers: {pair!r} is not (regular expression, factor from"
                    " 0), as ('bias$', 2.0)"
                )

    def init(params: Any) -> optax.EmptyState:
        names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for pattern, _ in pairs:
            if not any(map(pattern.search, names)):
                raise UserError(
                    f"optimizer.lr_multipliers: no parameter matches {pattern.pattern!r}, and one"
                    f" is {names[0]!r}"
                )
        return optax.EmptyState()

    def update(updates: Any, state: optax.EmptyState, params: Any = None) -> Any:
        def scaled(path: Any, leaf: jax.Array) -> jax.Array:
            name = _name(path)
            return leaf * math.prod(factor for pattern, factor in pairs if pattern.search(name))

        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(init, update)


def freeze(
    transform: optax.GradientTransformation, patterns: Sequence[str]
) -> optax.GradientTransformation:
    """Returns a transformation that has no state for the frozen parameters.

    The updates of frozen parameters pass through unchanged; their gradients are zero in `steps`.

    Args:
      transform: transformation of the other parameters.
      patterns: regular expressions, searched as in `decay_mask`.

    Raises:
      UserError: if a pattern is not a regular expression; in `init`, if a pattern matches no
        parameter or no parameter is left to train.
    """
    frozen = matcher(patterns, "freeze")
    others = optax.masked(
        transform, lambda params: tree_of_names(lambda name: not frozen(name), params)
    )

    def init(params: Any) -> Any:
        names = jax.tree.leaves(tree_of_names(lambda name: name, params))
        for pattern in patterns:
            if not any(map(matcher((pattern,), "freeze"), names)):
                raise UserError(
                    f"optimizer.freeze: no parameter matches {pattern!r}, and one is {names[0]!r}"
                )
        if all(map(frozen, names)):
            raise UserError("optimizer.freeze matches every parameter: nothing is left to train")
        return others.init(params)

    return optax.GradientTransformation(init, others.update)


def limit_rms(limit: float, mask: Callable[[Any], Any]) -> optax.GradientTransformation:
    """Returns a transformation that limits the root mean square of every filter.

    A filter is the slice of a kernel for one output channel, the last axis. A filter that an update
    takes above the limit is scaled down to it (Zeiler and Fergus, "Visualizing and Understanding
    Convolutional Networks", §3).

    Args:
      limit: largest root mean square, positive.
      mask: params → tree of booleans: whether each leaf holds filters.

    Raises:
      UserError: in `init`, if the mask selects no leaf.
      ValueError: in `update`, if the parameters are missing.
    """

    def init(params: Any) -> optax.EmptyState:
        if not any(jax.tree.leaves(mask(params))):
            raise UserError("optimizer.max_rms_mask matches no parameter: nothing would be limited")
        return optax.EmptyState()

    def limited(chosen: bool, update: jax.Array, leaf: jax.Array) -> jax.Array:
        if not chosen:
            return update
        new = leaf + update
        squares = jnp.mean(jnp.square(new), axis=range(new.ndim - 1), keepdims=True)
        scale = limit / jnp.sqrt(jnp.maximum(squares, limit**2))
        return jnp.where(squares > limit**2, new * scale - leaf, update)

    def update(updates: Any, state: optax.EmptyState, params: Any = None) -> Any:
        if params is None:
            raise ValueError("limit_rms needs the parameters")
        return jax.tree.map(limited, mask(updates), updates, params), state

    return optax.GradientTransformation(init, update)


def make_transform(
    config: OptimizerConfig, parameters: Sequence[str] = ()
) -> Callable[[jax.typing.ArrayLike], optax.GradientTransformation]:
    """Returns learning rate → transformation.

    Weight decay is an L2 term in the gradient for "sgd", "rmsprop" and "adam" (as in the papers),
    decoupled for "adamw" and part of the layer-wise rate for "lars" and "lamb". "rmsprop" follows
    TensorFlow: epsilon inside the root, mean square starting at 1, rate inside the momentum.

    Args:
      config: the section `optimizer`.
      parameters: names in the order of their use, for `layer_decay`.

    Raises:
      UserError: if a pattern is not valid.
    """
    mask = decay_mask(config.decay_mask)
    first = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm > 0 else []
    if config.name in ("sgd", "rmsprop", "adam") and config.weight_decay > 0:
        first.append(optax.add_decayed_weights(config.weight_decay, mask))
    last = [scale_by_factors(config.lr_multipliers)] if config.lr_multipliers else []
    if config.layer_decay < 1:
        frozen = matcher(config.freeze, "freeze")
        trained = [name for name in parameters if not frozen(name)]
        last.append(scale_by_factors(layer_factors(trained, config.layer_decay)))
    if config.max_rms > 0:
        last.append(limit_rms(config.max_rms, decay_mask(config.max_rms_mask, "max_rms_mask")))

    def transform(rate: jax.typing.ArrayLike) -> optax.GradientTransformation:
        whole = optax.chain(*first, _update_rule(config, rate, mask), *last)
        return freeze(whole, config.freeze) if config.freeze else whole

    return transform


def _update_rule(
    config: OptimizerConfig, rate: jax.typing.ArrayLike, mask: Callable[[Any], Any]
) -> optax.GradientTransformation:
    """Returns optax's update rule for `config.name`."""
    decay, nesterov = config.weight_decay, config.nesterov
    adam = (config.beta1, config.beta2, config.epsilon)
    match config.name:
        case "sgd":
            return optax.sgd(rate, config.momentum or None, nesterov)
        case "rmsprop":
            return optax.rmsprop(
                rate,
                config.rms_decay,
                config.epsilon,
                initial_scale=1.0,
                eps_in_sqrt=True,
                momentum=config.momentum or None,
                nesterov=nesterov,
            )
        case "adam":
            return optax.adam(rate, *adam)
        case "adamw":
            return optax.adamw(rate, *adam, weight_decay=decay, mask=mask)
        case "lars":
            return optax.lars(
                rate,
                decay,
                mask,
                trust_ratio_mask=mask,
                momentum=config.momentum,
                nesterov=nesterov,
            )
    return optax.lamb(rate, *adam, weight_decay=decay, mask=mask)


def make_optimizer(
    config: OptimizerConfig,
    schedule: ScheduleConfig,
    *,
    total_steps: int,
    steps_per_epoch: Fraction,
    batch_size: int,
    parameters: Sequence[str] = (),
) -> Optimizer:
    """Returns the optimizer that the sections `optimizer` and `schedule` describe.

    Args:
      config: the section `optimizer`.
      schedule: the section `schedule`.
      total_steps: length of the run.
      steps_per_epoch: see `lengths.length_in_steps`.
      batch_size: global batch size.
      parameters: see `make_transform`.

    Raises:
      UserError: if a pattern is not valid, or fields exclude each other.
    """
    rate = make_schedule(
        schedule, total_steps=total_steps, steps_per_epoch=steps_per_epoch, batch_size=batch_size
    )
    frozen = matcher(config.freeze, "freeze") if config.freeze else None
    return Optimizer(make_transform(config, parameters), rate, make_plateau(schedule), frozen)

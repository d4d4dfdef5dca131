"""Fits BatchNorm's momentum to the length of a run; warns if an average would not settle."""

import math

import jax
from flax import linen as nn

from jaxcnn.config import build
from jaxcnn.config.schema import RunConfig
from jaxcnn.training.optim import matcher, tree_of_names
from jaxcnn.training.schedules import Plan
from jaxcnn.training.state import TrainState

# Largest share of its initial value that an average may still have at the end of a run. A variance
# starts at 1; the variances of MobileNet's depthwise layers are between 0.001 and 0.01. The errors
# of the layers multiply: a share of 0.001 cost 10 % of the test accuracy.
INITIAL_SHARE = 1e-5
# The decay of most networks. Statistics with this decay settle within 110 steps.
USUAL_MOMENTUM = 0.9


def norm_momentum(config: RunConfig, own: float, total_steps: int) -> float:
    """Returns the decay of BatchNorm's statistics for a run of `total_steps`.

    Keeps the network's own decay if it leaves at most `INITIAL_SHARE` of the initial statistics.
    Otherwise returns `USUAL_MOMENTUM`, or the largest decay within this limit if that is smaller.
    The result depends only on the config and the number of examples, so a continued run gets the
    same decay. A value in `model.overrides` is never changed. The network's own decay is also kept
    if each evaluation recalibrates the raw weights' statistics.

    Args:
      config: the whole config.
      own: the network's own decay.
      total_steps: length of the run.
    """
    if "norm_momentum" in config.model.overrides or _measured_anew(config):
        return own
    updates = _updates(config, total_steps)
    if own**updates <= INITIAL_SHARE:
        return own
    return min(own, USUAL_MOMENTUM, INITIAL_SHARE ** (1 / updates))


def fit(model: nn.Module, config: RunConfig, total_steps: int) -> nn.Module:
    """Returns the network with the `norm_momentum` of a run of `total_steps`."""
    own = getattr(model, "norm_momentum", None)
    if own is None or (fitted := norm_momentum(config, own, total_steps)) == own:
        return model
    return model.clone(norm_momentum=fitted)


def lines(
    config: RunConfig, state_shape: TrainState, num_classes: int, plan: Plan
) -> dict[str, str]:
    """Returns notes and warnings about the averages of a run, by title.

    Args:
      config: the whole config.
      state_shape: shapes and dtypes of the state; see `state.Initial`.
      num_classes: number of classes in the data.
      plan: lengths of the run.
    """
    found = {}
    own = getattr(build.make_model(config, num_classes), "norm_momentum", None)
    if own is not None and _statistics_move(config, state_shape):
        found["statistics"] = _statistics_line(config, own, plan.total)
    if config.train.ema_decay and not config.train.ema_warmup:
        left = config.train.ema_decay**plan.total
        if left > INITIAL_SHARE:
            found["averages"] = (
                f"warning: with train.ema_decay={config.train.ema_decay:g} and no train.ema_warmup"
                f" the averaged weights are still {100 * left:.3g} % the initial ones after"
                f" {plan.total:,} steps: set --config.train.ema_warmup=True"
            )
    return {title: line for title, line in found.items() if line}


def _statistics_line(config: RunConfig, own: float, total: int) -> str:
    fitted = norm_momentum(config, own, total)
    left = own ** _updates(config, total)
    if fitted != own:
        return (
            f"norm_momentum {fitted:.4g}, not the network's {own:g}, which is for longer runs and"
            f" would leave {100 * left:.3g} % of the initial statistics after {total:,} steps"
        )
    if left <= INITIAL_SHARE or _measured_anew(config):
        return ""
    settled = math.floor(1e4 * INITIAL_SHARE ** (1 / _updates(config, total))) / 1e4
    return (
        f"warning: with norm_momentum={own:g} {100 * left:.3g} % of the initial statistics are left"
        f" after {total:,} steps, and evaluation uses them: lower it to {settled:g} or less, or set"
        " --config.eval.recalibrate_batches"
    )


def _measured_anew(config: RunConfig) -> bool:
    return bool(config.eval.recalibrate_batches) and not config.train.ema_decay


def _updates(config: RunConfig, total_steps: int) -> int:
    """Returns the number of updates of the statistics: one per microbatch."""
    return total_steps * config.train.grad_accum_steps


def _statistics_move(config: RunConfig, state_shape: TrainState) -> bool:
    """Returns whether the network has statistics that are not frozen."""
    if not config.optimizer.freeze:
        return bool(state_shape.batch_stats)
    frozen = matcher(config.optimizer.freeze, "freeze")
    return not all(jax.tree.leaves(tree_of_names(frozen, state_shape.batch_stats)))

"""Selects the best checkpoint and updates the learning-rate plateau from evaluations."""

from typing import Any

from jaxcnn.config.schema import RunConfig
from jaxcnn.evaluation.evaluator import Results
from jaxcnn.run import distributed
from jaxcnn.training.optim import Optimizer
from jaxcnn.training.state import TrainState


def chosen(config: RunConfig) -> list[str]:
    """Returns what a run selects by its evaluations: "the learning rate", "the best checkpoint"."""
    by_plateau = ["the learning rate"] if config.schedule.name == "plateau" else []
    return by_plateau + ["the best checkpoint"] * bool(config.checkpoint.keep_best)


def warning(config: RunConfig, validation: str, reported: str) -> str:
    """Returns a warning if the reported split is also the one used for selection; "" otherwise.

    Args:
      config: the whole config.
      validation: the split that is evaluated during training.
      reported: the split of the reported result.
    """
    if validation != reported:
        return ""
    names = chosen(config)
    are = "are" if len(names) > 1 else "is"
    line = f"{' and '.join(names)} {are} chosen on the {validation} split, which is also reported"
    if reported == "validation":
        none = "there is no test split"
        return f"{line}: {none}" if names else f"{none}: the validation split is reported"
    if not names:
        return ""
    if config.data.holdout:  # class folders without splits: `holdout` is the test split
        return f"{line}: make folders train, val and test to choose on other images"
    return f"{line}: set --config.data.holdout=N to choose on other images"


def description(config: RunConfig, validation: str) -> dict[str, Any]:
    """Returns how the best checkpoint is selected, as JSON for the checkpoint."""
    return {"split": validation, "metric": config.checkpoint.metric, "of": chosen(config)}


def is_better(value: float | None, best: float) -> bool:
    """Returns whether the current checkpoint is the best so far.

    `run.retention` keeps the best checkpoints by their saved metrics.

    Args:
      value: the result of `key`, higher is better; None if nothing was evaluated.
      best: best value of all earlier checkpoints, -inf if there is none.
    """
    return value is not None and value > best


def bias(selection: dict[str, Any], checkpoint: str, split: str | None = None) -> str:
    """Returns a warning if a checkpoint was selected on the evaluated split; "" otherwise.

    Args:
      selection: the run's `description`.
      checkpoint: "latest", "best" or a step.
      split: the evaluated split; None checks the test split.
    """
    if selection["split"] != (split or "test"):
        return ""
    which = f"this split, {split}" if split else "the test split"
    if checkpoint == "best":
        return f"best was selected on {which}: its results there are too good"
    if split and "the learning rate" in selection["of"]:
        return f"the learning rate was chosen on {which}: results there are too good"
    return ""


def observe(state: TrainState, optimizer: Optimizer, value: float) -> TrainState:
    """Returns the state with the plateau updated by the result of an evaluation."""
    if optimizer.plateau is None:
        return state
    plateau = optimizer.observe(distributed.fetch(state.opt_state["plateau"]), value)
    return state.replace(opt_state={**state.opt_state, "plateau": distributed.replicate(plateau)})


def key(config: RunConfig, split: str, metric: str = "") -> str:
    """Returns the name of a result; of the averaged weights if the run keeps them."""
    averaged = "_ema" if config.train.ema_decay > 0 else ""
    return f"{split}/{metric or config.checkpoint.metric}{averaged}"


def plateau_value(config: RunConfig, results: Results, split: str) -> float:
    """Returns the validation metric of the plateau; lower is better."""
    metric = config.schedule.metric
    value = results[key(config, split, metric)]
    return value if metric == "loss" else 1 - value

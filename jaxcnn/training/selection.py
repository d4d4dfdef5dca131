"""Chooses by evaluations: whether a checkpoint is the best, when the rate of a plateau drops."""

from typing import Any

from jaxcnn.config.schema import RunConfig
from jaxcnn.evaluation.evaluator import Results
from jaxcnn.run import distributed
from jaxcnn.training.optim import Optimizer
from jaxcnn.training.state import TrainState


def chosen(config: RunConfig) -> list[str]:
    """Returns the names of the choices that a run makes by its evaluations."""
    by_plateau = ["the learning rate"] if config.schedule.name == "plateau" else []
    return by_plateau + ["the best checkpoint"] * bool(config.checkpoint.keep_best)


def warning(config: RunConfig, validation: str, reported: str) -> str:
    """Returns what to say where the split that is reported is also chosen on; "" elsewhere.

    Args:
      config: the whole config.
      validation: the split that is evaluated during training.
      reported: the split of the result.
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
    if config.data.holdout:  # of class folders without splits, whose test split it is
        return f"{line}: make folders train, val and test to choose on other images"
    return f"{line}: set --config.data.holdout=N to choose on other images"


def description(config: RunConfig, validation: str) -> dict[str, Any]:
    """Returns how the best checkpoint is chosen, as JSON for the checkpoint."""
    return {"split": validation, "metric": config.checkpoint.metric, "of": chosen(config)}


def is_better(value: float | None, best: float) -> bool:
    """Returns whether an evaluation makes the present checkpoint the best one.

    `run.retention` keeps the best ones by the values that are saved with them.

    Args:
      value: the result of `key`, higher is better; None if nothing was evaluated.
      best: of all checkpoints before, -inf if there is none.
    """
    return value is not None and value > best


def bias(selection: dict[str, Any], checkpoint: str, split: str | None = None) -> str:
    """Returns what to say of a checkpoint's results on a split that it was chosen on; else "".

    Args:
      selection: of the run; see `description`.
      checkpoint: "latest", "best" or a step.
      split: that is evaluated; None if none is, for which the test split counts.
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
    """Shows the plateau an evaluation; its state lives beside the optimizer's."""
    if optimizer.plateau is None:
        return state
    plateau = optimizer.observe(distributed.fetch(state.opt_state["plateau"]), value)
    return state.replace(opt_state={**state.opt_state, "plateau": distributed.replicate(plateau)})


def key(config: RunConfig, split: str, metric: str = "") -> str:
    """Returns the name of a result, of the averaged weights where the run keeps any."""
    averaged = "_ema" if config.train.ema_decay > 0 else ""
    return f"{split}/{metric or config.checkpoint.metric}{averaged}"


def plateau_value(config: RunConfig, results: Results, split: str) -> float:
    """The validation metric, lower is better."""
    metric = config.schedule.metric
    value = results[key(config, split, metric)]
    return value if metric == "loss" else 1 - value

"""What is chosen during training by an evaluation: the best checkpoint, the drops of a plateau."""

from ml_collections import ConfigDict

from jaxcnn import parallel
from jaxcnn.optim import Optimizer
from jaxcnn.passes import Results
from jaxcnn.state import TrainState


def observe(state: TrainState, optimizer: Optimizer, value: float) -> TrainState:
    """Shows the plateau an evaluation; its state lives beside the optimizer's."""
    if optimizer.plateau is None:
        return state
    plateau = optimizer.observe(parallel.fetch(state.opt_state["plateau"]), value)
    return state.replace(opt_state={**state.opt_state, "plateau": parallel.replicate(plateau)})


def key(config: ConfigDict, split: str, metric: str = "") -> str:
    """Returns the name of a result, of the averaged weights where the run keeps any."""
    averaged = "_ema" if config.train.ema_decay > 0 else ""
    return f"{split}/{metric or config.checkpoint.metric}{averaged}"


def plateau_value(config: ConfigDict, results: Results, split: str) -> float:
    """The watched metric, lower is better."""
    metric = config.schedule.metric
    value = results[key(config, split, metric)]
    return value if metric == "loss" else 1 - value

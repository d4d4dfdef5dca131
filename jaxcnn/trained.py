"""A trained network, from the workdir of its run."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from flax import linen as nn
from ml_collections import ConfigDict

from jaxcnn import factories
from jaxcnn.checkpoint import Checkpoints
from jaxcnn.errors import UserError
from jaxcnn.state import TrainState, initial_state


class Trained(NamedTuple):
    """A network and one of its checkpoints.

    Attributes:
      model: the network.
      state: NumPy arrays.
      step: of the checkpoint.
      num_classes: of the data that it was trained on.
    """

    model: nn.Module
    state: TrainState
    step: int
    num_classes: int

    @property
    def variables(self) -> dict[str, Any]:
        """What `model.apply` takes: averaged weights where the run keeps them."""
        return self.state.variables(averaged=self.state.ema is not None)


def restore(
    directory: Path,
    config: ConfigDict,
    *,
    checkpoint: str = "latest",
    check: Callable[[dict[str, Any]], None] = lambda meta: None,
) -> Trained:
    """Returns a checkpoint of a workdir; the data that it was trained on are not needed.

    Args:
      directory: the workdir.
      config: of its run; see `workdir.read_config`.
      checkpoint: "latest", "best" or a step.
      check: see `Checkpoints.restore`.

    Raises:
      UserError: no such checkpoint, a damaged one, or one of another network than the config's.
    """

    def network(meta: dict[str, Any]) -> nn.Module:
        return factories.make_model(config, meta["num_classes"])

    def form(meta: dict[str, Any]) -> TrainState:
        optimizer = factories.make_optimizer(
            config, total_steps=1, steps_per_epoch=Fraction(1), batch_size=config.train.batch_size
        )
        averaged = config.train.ema_decay > 0
        return initial_state(network(meta), optimizer, image_shape(config), averaged).form

    checkpoints = Checkpoints(
        directory / "checkpoints", metric=config.checkpoint.metric, read_only=True
    )
    try:
        found = checkpoints.restore(form, check, _chosen_step(checkpoints, checkpoint, directory))
    finally:
        checkpoints.close()
    if found is None:
        raise UserError(f"there is no checkpoint in {directory} yet")
    return Trained(network(found.meta), found.state, found.step, found.meta["num_classes"])


def image_shape(config: ConfigDict) -> tuple[int, int, int]:
    """Returns (H, W, C) of what the network gets, which is the same for every kind of data."""
    return (config.data.image_size, config.data.image_size, config.data.channels)


def _chosen_step(checkpoints: Checkpoints, choice: str, directory: Path) -> int | None:
    if choice == "latest":
        return None
    if choice == "best":
        step = checkpoints.best()
        if step is None:
            raise UserError(f"no checkpoint in {directory} was evaluated: use --checkpoint=latest")
        return step
    if not choice.isdecimal():
        raise UserError(f"--checkpoint={choice}: choose latest, best or a step")
    return int(choice)

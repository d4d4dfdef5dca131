"""Restores a trained network from the workdir of its run."""

import argparse
import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from flax import linen as nn

from jaxcnn.config import build, build_data, user_modules
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.normalization import Statistics
from jaxcnn.errors import UserError, check_whole
from jaxcnn.run import workdir
from jaxcnn.run.checkpoint.checkpoints import Checkpoints
from jaxcnn.run.precision import set_precision
from jaxcnn.training.selection import bias, description
from jaxcnn.training.state import TrainState, initial_state

LOG = logging.getLogger("jaxcnn")


class Weights(Protocol):
    """Variables of a network and statistics of its training images."""

    @property
    def variables(self) -> dict[str, Any]:
        """Variables for `model.apply`."""

    @property
    def statistics(self) -> Statistics | None:
        """Statistics of the training images, if normalisation needs them."""


class RestoredModel(NamedTuple):
    """A network and one of its checkpoints.

    Attributes:
      model: the network.
      state: NumPy arrays.
      step: step of the checkpoint.
      num_classes: number of classes in the training data.
      class_names: one name per class, if the run kept them.
      statistics: statistics of the training images, if normalisation needs them.
      selection: how the best checkpoint was chosen; see `selection.description`.
    """

    model: nn.Module
    state: TrainState
    step: int
    num_classes: int
    class_names: tuple[str, ...] | None
    statistics: Statistics | None
    selection: dict[str, Any]

    @property
    def variables(self) -> dict[str, Any]:
        """Variables for `model.apply`; averaged weights if the run keeps them."""
        return self.state.variables(averaged=self.state.ema is not None)


def read_config(directory: Path, checkpoint: str = "latest", model: str = "") -> RunConfig:
    """Returns the config that a checkpoint was trained with, which is sealed within it.

    Args:
      directory: the workdir.
      checkpoint: "latest", "best" or a step.
      model: the network's name, which must be the run's. The user's own network,
        `MODULE:ATTRIBUTE`, is imported only if it is given here.

    Raises:
      UserError: if workdir or checkpoint is missing, or the model is another or cannot be imported.
    """
    config = _read_config(directory, checkpoint)
    if model:
        if model != config.model.name:
            raise UserError(f"--model={model} is not the run's, which is {config.model.name}")
        user_modules.import_model(model)
    return config


def _read_config(directory: Path, checkpoint: str) -> RunConfig:
    choice = _choice(checkpoint)
    place = directory / "checkpoints"
    described = Checkpoints(place, read_only=True).describe()
    if described is None:
        return workdir.read_config(directory)
    config = workdir.config_of(described.meta, directory)
    if choice == "latest":
        return config
    checkpoints = Checkpoints(place, metric=config.checkpoint.metric, read_only=True)
    chosen = checkpoints.describe(choice)
    if chosen is None or chosen.meta.get("config") == described.meta.get("config"):
        return config
    return workdir.config_of(chosen.meta, directory)


def check_workdir(directory: Path) -> None:
    """Raises an error if the folder is not a workdir, before images are read.

    Raises:
      UserError: with the folder's name.
    """
    if not any((directory / name).exists() for name in ("config.json", "checkpoints")):
        raise UserError(f"{directory} is not the workdir of a run: it has no config.json")


def restore(
    directory: Path,
    config: RunConfig,
    *,
    checkpoint: str = "latest",
    check: Callable[[dict[str, Any]], None] = lambda meta: None,
    split: str | None = None,
) -> RestoredModel:
    """Returns a checkpoint of a workdir; its training data are not needed.

    Logs a warning if the checkpoint was chosen on the evaluated split.

    Args:
      directory: the workdir.
      config: result of `read_config`.
      checkpoint: "latest", "best" or a step.
      check: see `Checkpoints.restore`.
      split: the evaluated split, if any.

    Raises:
      UserError: if the checkpoint is missing, damaged, or of another network than the config's.
    """

    def network(meta: dict[str, Any]) -> nn.Module:
        return build.make_model(config, meta["num_classes"])

    def state_shape(meta: dict[str, Any]) -> TrainState:
        optimizer = build.make_optimizer(config, total_steps=1, steps_per_epoch=Fraction(1))
        averaged = config.train.ema_decay > 0
        size = config.data.image_size
        shape = (size, size, config.data.channels)
        return initial_state(network(meta), optimizer, shape, averaged).state_shape

    checkpoints = Checkpoints(
        directory / "checkpoints", metric=config.checkpoint.metric, read_only=True
    )
    with set_precision(config):
        restored = checkpoints.restore(state_shape, check, _choice(checkpoint))
    if restored is None:
        raise UserError(f"there is no checkpoint in {directory} yet")
    selection = restored.meta.get("selection")
    model = RestoredModel(
        network(restored.meta),
        restored.state,
        restored.step,
        restored.meta["num_classes"],
        workdir.class_names_of(restored.meta, directory),
        workdir.read_statistics(directory, config, restored.meta.get("statistics", "")),
        selection or description(config, build_data.validation_split(config)),
    )
    if line := bias(model.selection, checkpoint, split):
        LOG.warning("%s: %s", directory, line)
    return model


def on_images(
    config: RunConfig, restored: Weights, compute: Callable[[dict[str, Any], jax.Array], Any]
) -> Callable[[np.ndarray], Any]:
    """Returns uint8 images → result of `compute`; compiled once.

    Args:
      config: config of the run.
      restored: weights of its network.
      compute: pure function of (variables, normalised images).
    """
    normalize = build_data.make_normalize(config)

    @jax.jit
    def program(variables: Any, statistics: Statistics | None, images: jax.Array) -> Any:
        return compute(variables, normalize(images, statistics=statistics))

    with set_precision(config):
        fixed = jax.device_put((restored.variables, restored.statistics))

    def run(images: np.ndarray) -> Any:
        with set_precision(config):
            return program(*fixed, images)

    return run


def image_shape(config: RunConfig) -> tuple[int, int, int]:
    """Returns (H, W, C) of the network's input in evaluation, for every kind of data."""
    size = build_data.eval_size(config)
    return (size, size, config.data.channels)


def _choice(text: str) -> str | int:
    if text in ("latest", "best"):
        return text
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise UserError(f"--checkpoint={text}: choose latest, best or a step")
    return int(text)


def class_names(directory: Path, restored: RestoredModel) -> tuple[str, ...]:
    """Returns the run's class names; warns and returns numbers if it kept none."""
    if restored.class_names and len(restored.class_names) == restored.num_classes:
        return restored.class_names
    LOG.warning(
        "classes are shown as numbers: %s has no classes.json with %d names; start its run again,"
        " which writes them, or write that list yourself",
        directory,
        restored.num_classes,
    )
    return tuple(map(str, range(restored.num_classes)))


def check_positive(flags: argparse.Namespace, *names: str) -> None:
    """Checks that numbers of the command line are in range.

    Raises:
      UserError: if a number is below 1 or absurdly large.
    """
    for name in names:
        check_whole(f"--{name}", getattr(flags, name))

"""Builds the pure functions of a run from its config and data."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

from flax import linen as nn

from jaxcnn.config import build, build_data
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.augmentation.gather import gather_images
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.normalization import Statistics
from jaxcnn.evaluation.evaluate import check_size, check_train_size
from jaxcnn.evaluation.evaluator import Evaluator, images_on_device, make_evaluator
from jaxcnn.evaluation.multicrop import applied
from jaxcnn.models.registry import is_users
from jaxcnn.run import compiler_options, distributed
from jaxcnn.run.fields import CheckpointConfig, LogConfig
from jaxcnn.run.program_cache import open_cache
from jaxcnn.training import averages
from jaxcnn.training.initialize import check_memory
from jaxcnn.training.optim import Optimizer
from jaxcnn.training.schedules import Plan
from jaxcnn.training.state import Initial, TrainState, initial_state
from jaxcnn.training.steps import (
    Batch,
    Metrics,
    StepParts,
    make_train_step,
    make_train_steps,
)

LOG = logging.getLogger("jaxcnn")


class Programs(NamedTuple):
    """The functions of a run, shared by runs with other seeds.

    Attributes:
      model: the network.
      optimizer: see `build.make_optimizer`.
      train_step: (replicated state, batch) → (state, metrics); see `distributed.pmap_train_step`.
      train_steps: the same for several stacked steps; see `steps.make_train_steps`.
      evaluate: see `evaluator.make_evaluator`.
      initial: creates the state at step 0; see `state.initial_state`.
    """

    model: nn.Module
    optimizer: Optimizer
    train_step: distributed.Program
    train_steps: distributed.Program
    evaluate: Evaluator
    initial: Initial


MakePrograms = Callable[[RunConfig, Dataset, Dataset, Plan, Statistics | None], Programs]


class Facts(NamedTuple):
    """What the training step and the initial state depend on besides the config.

    Attributes:
      num_classes: of the data set.
      image_shape: (H, W, C) of the training images.
      class_weights: see `build.class_weights`.
      total_steps: length of the run.
      steps_per_epoch: see `Plan`.
    """

    num_classes: int
    image_shape: tuple[int, int, int]
    class_weights: Sequence[Any]
    total_steps: int
    steps_per_epoch: Fraction


def make_programs(
    config: RunConfig,
    dataset: Dataset,
    validation: Dataset,
    plan: Plan,
    statistics: Statistics | None = None,
    *,
    cached: bool = False,
) -> Programs:
    """Returns the pure functions of a run.

    Args:
      config: see `config_dict.base_config`.
      dataset: the training split.
      validation: the split evaluated during training, with the evaluation crop.
      plan: lengths of the run in steps.
      statistics: statistics of the training split; see `build_data.measure_statistics`.
      cached: whether to take traced programs from files, and to keep them; see `program_cache`. A
        process that has changed functions of this package must not.

    Raises:
      UserError: if the network, optimizer, loss or augmentation is not valid.
    """
    facts = Facts(
        dataset.num_classes,
        dataset.image_shape,
        build.class_weights(config, dataset),
        plan.total,
        plan.steps_per_epoch,
    )
    # Nothing else is handed down, so that `made_of` names all that the programs are made of.
    same = dataclasses.replace(config, seed=0, log=LogConfig(), checkpoint=CheckpointConfig())
    parts = _step_parts(same, facts)
    traced = _traced(same, f"{same} {facts}") if cached else _as_it_is
    model, optimizer = parts.model, parts.optimizer
    remat = getattr(model, "remat", False)
    if remat and not compiler_options.recomputes():
        LOG.warning("model.overrides.remat %s", compiler_options.NO_RECOMPUTATION)
    evaluate = make_evaluator(build_data.during_training(config), model, validation, statistics)
    with build.network_of(config):
        applied(model, build_data.make_test_protocol(config))  # refuses a run that cannot be tested
        averaged = same.train.ema_decay > 0
        initial = initial_state(model, optimizer, facts.image_shape, averaged, traced)
    check_memory(initial.state_shape)
    if validation.image_shape != dataset.image_shape:
        check_size(model, initial.state_shape.variables(), validation)
    for _, size in plan.sizes:
        if size != config.data.image_size:
            check_train_size(model, initial.state_shape.variables(), size, config.data.channels)
    fixed = distributed.replicate((statistics, images_on_device(dataset)))  # for both programs
    augment = build_data.make_augment(same)
    train_step, train_steps = (
        distributed.pmap_train_step(
            _train_step(parts, augment, several),
            *fixed,
            compiler_options=compiler_options.for_train_step(remat),
            traced=traced,
        )
        for several in (False, True)
    )
    return Programs(model, optimizer, train_step, train_steps, evaluate, initial)


def _step_parts(config: RunConfig, facts: Facts) -> StepParts:
    with build.network_of(config):
        model = build.make_model(config, facts.num_classes)
        model = averages.fit(model, config, facts.total_steps)
        parameters = build.parameters_by_depth(config, model, facts.image_shape)
    optimizer = build.make_optimizer(
        config,
        total_steps=facts.total_steps,
        steps_per_epoch=facts.steps_per_epoch,
        parameters=parameters,
    )
    return StepParts(
        model,
        optimizer,
        build.make_loss(config, facts.class_weights),
        build_data.make_augment(config),
        total_steps=facts.total_steps,
        mixup=build_data.make_mixup(config),
        semi_supervised=config.data.unlabelled_per_labelled > 0,
        grad_accum_steps=config.train.grad_accum_steps,
        ema_decay=config.train.ema_decay,
        ema_warmup=config.train.ema_warmup,
        axis_name=distributed.AXIS,
    )


def _train_step(
    parts: StepParts, augment: Any, several: bool
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Returns (state, batch, statistics, images) → (state, metrics)."""

    def train_step(
        state: TrainState, batch: Batch, statistics: Statistics | None, images: Any
    ) -> tuple[TrainState, Metrics]:
        own = partial(augment, statistics=statistics)
        one = make_train_step(dataclasses.replace(parts, augment=own))

        def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            return one(state, gather_images(batch, images))

        return (make_train_steps(step) if several else step)(state, batch)

    return train_step


def _traced(config: RunConfig, made_of: str) -> Callable[[Callable], Callable]:
    """Returns `ProgramCache.traced`, unless the programs depend on more than is known here."""
    name = config.model.name.rpartition("/")[2]
    # A user's module may change; a program from a file does not know the line of a NaN.
    if is_users(name) or config.debug_nans or not (cache := open_cache(made_of)):
        return _as_it_is
    return cache.traced


def _as_it_is(function: Callable) -> Callable:
    return function

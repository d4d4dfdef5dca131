"""Builds the pure functions of a run from its config and data."""

import dataclasses
import logging
from collections.abc import Callable
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
from jaxcnn.run import compiler_options, distributed
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
      train_step: (replicated state, batch) → (state, metrics), for one step or for
        `train.steps_per_call` stacked steps; see `distributed.pmap_train_step`.
      evaluate: see `evaluator.make_evaluator`.
      initial: creates the state at step 0; see `state.initial_state`.
    """

    model: nn.Module
    optimizer: Optimizer
    train_step: Callable[..., Any]
    evaluate: Evaluator
    initial: Initial


MakePrograms = Callable[[RunConfig, Dataset, Dataset, Plan, Statistics | None], Programs]


def make_programs(
    config: RunConfig,
    dataset: Dataset,
    validation: Dataset,
    plan: Plan,
    statistics: Statistics | None = None,
) -> Programs:
    """Returns the pure functions of a run.

    Args:
      config: see `config_dict.base_config`.
      dataset: the training split.
      validation: the split evaluated during training, with the evaluation crop.
      plan: lengths of the run in steps.
      statistics: statistics of the training split; see `build_data.measure_statistics`.

    Raises:
      UserError: if the network, optimizer, loss or augmentation is not valid.
    """
    with build.network_of(config):
        model = averages.fit(build.make_model(config, dataset.num_classes), config, plan.total)
        parameters = build.parameters_by_depth(config, model, dataset.image_shape)
    optimizer = build.make_optimizer(
        config,
        total_steps=plan.total,
        steps_per_epoch=plan.steps_per_epoch,
        parameters=parameters,
    )
    augment = build_data.make_augment(config)
    remat = getattr(model, "remat", False)
    if remat and not compiler_options.recomputes():
        LOG.warning("model.overrides.remat %s", compiler_options.NO_RECOMPUTATION)
    parts = StepParts(
        model,
        optimizer,
        build.make_loss(config, dataset),
        augment,
        total_steps=plan.total,
        mixup=build_data.make_mixup(config),
        semi_supervised=config.data.unlabelled_per_labelled > 0,
        grad_accum_steps=config.train.grad_accum_steps,
        ema_decay=config.train.ema_decay,
        ema_warmup=config.train.ema_warmup,
        axis_name=distributed.AXIS,
    )
    several = config.train.steps_per_call > 1

    def train_step(
        state: TrainState, batch: Batch, statistics: Statistics | None, images: Any
    ) -> tuple[TrainState, Metrics]:
        own = partial(augment, statistics=statistics)
        one = make_train_step(dataclasses.replace(parts, augment=own))

        def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            return one(state, gather_images(batch, images))

        return (make_train_steps(step) if several else step)(state, batch)

    evaluate = make_evaluator(build_data.during_training(config), model, validation, statistics)
    with build.network_of(config):
        applied(model, build_data.make_test_protocol(config))  # refuses a run that cannot be tested
        initial = initial_state(model, optimizer, dataset.image_shape, config.train.ema_decay > 0)
    check_memory(initial.state_shape)
    if validation.image_shape != dataset.image_shape:
        check_size(model, initial.state_shape.variables(), validation)
    for _, size in plan.sizes:
        if size != config.data.image_size:
            check_train_size(model, initial.state_shape.variables(), size, config.data.channels)
    images = images_on_device(dataset)
    options = compiler_options.for_train_step(remat)
    mapped = distributed.pmap_train_step(train_step, statistics, images, compiler_options=options)
    return Programs(model, optimizer, mapped, evaluate, initial)

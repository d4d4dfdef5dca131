"""The pure functions of a run, made of its config and data."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from flax import linen as nn
from ml_collections import ConfigDict

from jaxcnn import averages, factories, inputs, parallel
from jaxcnn.data.source import DataSource
from jaxcnn.data.whitening import Statistics
from jaxcnn.evaluate import check_size, check_train_size
from jaxcnn.optim import Optimizer
from jaxcnn.passes import Evaluator, make_evaluator
from jaxcnn.protocols import applied
from jaxcnn.schedules import Plan
from jaxcnn.state import Initial, TrainState, check_memory, initial_state
from jaxcnn.steps import Batch, Metrics, make_train_step, make_train_steps


class Programs(NamedTuple):
    """What a run computes: the same for all its seeds.

    Attributes:
      model: the network.
      optimizer: see `factories.make_optimizer`.
      train_step: (replicated state, batch) → the same and metrics, of one step or of the stacked
        `train.steps_per_call`; see `parallel.pmap_train_step`.
      evaluate: see `passes.make_evaluator`.
      initial: makes the state at step 0; see `state.initial_state`.
    """

    model: nn.Module
    optimizer: Optimizer
    train_step: Callable[..., Any]
    evaluate: Evaluator
    initial: Initial


Build = Callable[[ConfigDict, DataSource, DataSource, Plan, Statistics | None], Programs]


def build(
    config: ConfigDict,
    source: DataSource,
    watched: DataSource,
    plan: Plan,
    statistics: Statistics | None = None,
) -> Programs:
    """Returns the pure functions of a run.

    Args:
      config: see `recipes.base_config`.
      source: the training split.
      watched: the split that is evaluated during training, by the crop of evaluation.
      plan: lengths, in steps.
      statistics: of the training split; see `inputs.measure_statistics`.

    Raises:
      UserError: for a network, optimizer, loss or augmentation that cannot be.
    """
    with factories.network_of(config):
        model = averages.fit(factories.make_model(config, source.num_classes), config, plan.total)
    optimizer = factories.make_optimizer(
        config,
        total_steps=plan.total,
        steps_per_epoch=plan.steps_per_epoch,
        batch_size=config.train.batch_size,
    )
    augment = inputs.make_augment(config)
    make_step = partial(
        make_train_step,
        model,
        optimizer,
        factories.make_loss(config),
        mix=inputs.make_mix(config),
        total_steps=plan.total,
        semi_supervised=config.data.unlabelled_per_labelled > 0,
        accumulate=config.train.accumulate,
        ema_decay=config.train.ema_decay,
        ema_warmup=config.train.ema_warmup,
        axis_name=parallel.AXIS,
    )
    several = config.train.steps_per_call > 1

    def train_step(
        state: TrainState, batch: Batch, statistics: Statistics | None
    ) -> tuple[TrainState, Metrics]:
        step = make_step(partial(augment, statistics=statistics))
        return (make_train_steps(step) if several else step)(state, batch)

    evaluate = make_evaluator(inputs.during_training(config), model, watched, statistics)
    with factories.network_of(config):
        applied(model, inputs.make_test_protocol(config))  # what cannot be tested is not begun
        initial = initial_state(model, optimizer, source.image_shape, config.train.ema_decay > 0)
    check_memory(initial.form)
    if watched.image_shape != source.image_shape:
        check_size(model, initial.form.variables(), watched)
    for _, size in plan.sizes:
        if size != config.data.image_size:
            check_train_size(model, initial.form.variables(), size, config.data.channels)
    mapped = parallel.pmap_train_step(train_step, statistics)
    return Programs(model, optimizer, mapped, evaluate, initial)

"""A training run, from top to bottom."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from jaxcnn import factories, inputs, parallel, pretrained, report, workdir
from jaxcnn.checkpoint import Checkpoints
from jaxcnn.data.pipeline import staged_batches
from jaxcnn.data.source import DataSource
from jaxcnn.data.whitening import Statistics
from jaxcnn.errors import EXIT_BAD_DATA, UserError
from jaxcnn.evaluate import (
    check_classes,
    check_size,
    check_train_size,
    evaluate_state,
    recalibrated,
)
from jaxcnn.logbook import Logbook, Record
from jaxcnn.numerics import numerics
from jaxcnn.optim import Optimizer
from jaxcnn.passes import Evaluator, Results, make_evaluator, make_recalibrator
from jaxcnn.protocols import CENTER, applied
from jaxcnn.schedules import Plan, is_due
from jaxcnn.signals import stop_request
from jaxcnn.state import (
    Initial,
    TrainState,
    initial_state,
    prepare_state,
    state_sha256,
    with_weights,
)
from jaxcnn.steps import make_train_step, make_train_steps

PROFILED_STEPS = (10, 15)  # counted from the first step of this process


class InterruptedRunError(UserError):
    """A signal ended the run after its state was saved."""


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
    model = factories.make_model(config, source.num_classes)
    optimizer = factories.make_optimizer(
        config,
        total_steps=plan.total,
        steps_per_epoch=plan.steps_per_epoch,
        batch_size=config.train.batch_size,
    )
    train_step = make_train_step(
        model,
        optimizer,
        factories.make_loss(config),
        inputs.make_augment(config, statistics),
        mix=inputs.make_mix(config),
        total_steps=plan.total,
        semi_supervised=config.data.unlabelled_per_labelled > 0,
        accumulate=config.train.accumulate,
        ema_decay=config.train.ema_decay,
        ema_warmup=config.train.ema_warmup,
        axis_name=parallel.AXIS,
    )
    if config.train.steps_per_call > 1:
        train_step = make_train_steps(train_step)
    train_step = parallel.pmap_train_step(train_step)
    evaluate = make_evaluator(inputs.during_training(config), model, watched, statistics)
    applied(model, inputs.make_test_protocol(config))  # what cannot be tested is not begun
    initial = initial_state(model, optimizer, source.image_shape, config.train.ema_decay > 0)
    if watched.image_shape != source.image_shape:
        check_size(model, initial.form.variables(), watched)
    for _, size in plan.sizes:
        if size != config.data.image_size:
            check_train_size(model, initial.form.variables(), size, config.data.channels)
    return Programs(model, optimizer, train_step, evaluate, initial)


def run(
    config: ConfigDict, directory: Path, *, profile: bool = False, build: Build = build
) -> Record:
    """Trains in a workdir, or continues there, until the config's length is reached.

    Args:
      config: see `recipes.base_config`.
      directory: the workdir; made if missing.
      profile: write a trace of a few steps to workdir/profile, for TensorBoard or Perfetto.
      build: makes the programs; one that remembers them serves runs of several seeds.

    Returns:
      The last record: step, epoch, the metrics of the final evaluation and `state_sha256`.

    Raises:
      UserError: for whatever the user can put right.
      InterruptedRunError: after SIGTERM or Ctrl-C; the same call continues.
    """
    with contextlib.ExitStack() as scope:
        # Workdir: held by one run at a time.
        writes = jax.process_index() == 0
        if writes:
            scope.enter_context(workdir.locked(directory))
        parallel.barrier("workdir")
        scope.enter_context(numerics(config))
        log = Logbook(directory, active=writes, tensorboard=config.log.tensorboard)
        scope.callback(log.close)
        stop = scope.enter_context(stop_request(log.say))
        checkpoints = Checkpoints(
            directory / "checkpoints",
            keep_latest=config.checkpoint.keep_latest,
            keep_best=config.checkpoint.keep_best,
            metric=config.checkpoint.metric,
        )
        scope.callback(checkpoints.close)
        if checkpoints.latest() is not None:
            saved = workdir.read_config(directory)
            workdir.check_unchanged(config, saved, str(directory))

        # Data: batches are functions of (seed, step), so nothing of them is saved.
        source = inputs.load_data(config, "train")
        begun = checkpoints.latest() is not None
        if begun:
            workdir.check_class_names(directory, source.class_names)
        if writes and not (begun and workdir.read_class_names(directory)):
            workdir.write_class_names(directory, source.class_names)
        watched = inputs.load_data(config, inputs.watched_split(config))
        batch_size = config.train.batch_size
        plan = factories.make_plan(config, source.num_examples)
        unlabelled = config.data.unlabelled_per_labelled
        parallel.check_batch(
            "train.batch_size",
            batch_size,
            config.train.accumulate,
            group=1 + unlabelled,
            pairs=inputs.mixes(config),
        )
        if finished := _finished(log, checkpoints, plan):
            log.say(f"{directory} is finished: nothing left to train")
            return report.say_result(log, finished, directory)

        if writes:
            workdir.keep_statistics(directory, config, source, log.say)
        parallel.barrier("statistics")
        statistics = workdir.read_statistics(directory, config)

        # Network, optimizer, steps: pure functions.
        model, optimizer, train_step, evaluate, initial = build(
            config, source, watched, plan, statistics
        )
        recalibrate = make_recalibrator(config, model, source, statistics)

        # State: the newest whole checkpoint, or a fresh one, with given weights if there are any.
        form = initial.form
        report.say_start(log, config, directory, model, form, [source, watched], plan)

        def check(meta: dict[str, Any]) -> None:
            workdir.check_unchanged(config, meta["config"], f"the checkpoint in {directory}")
            check_classes(source, meta, directory)

        restored, given = checkpoints.restore(form, check), None
        if restored is None:
            if config.init_map and not config.init_from:
                raise UserError("init_map says what to take of init_from, which is not set")
            if config.init_from:
                given, title, done = pretrained.load(config, model, form.variables())
                report.say_taken(log, title, form, done)
        else:
            report.say_restored(log, restored.step, restored.meta, config)
        if writes:
            workdir.write_config(directory, config)
            log.rewind(0 if restored is None else restored.step)
        meta = workdir.describe_run(config, source.num_classes)
        start = 0 if restored is None else restored.step
        if start > plan.total:
            raise UserError(f"{directory} is at step {start}, past train.length={plan.total}steps")

        # Loop: step; log; recalibrate; evaluate; show the plateau; save; stop if asked to.
        window = report.Window(config, source, plan, start)
        watchdog = scope.enter_context(parallel.watchdog(_patience(config), log.say))
        trace = scope.enter_context(_tracing(directory / "profile", start, profile and writes))
        best = checkpoints.best_value()
        results: Results = {}
        batches = staged_batches(
            inputs.load_stages(config, source, plan),
            batch_size=batch_size,
            seed=config.seed,
            start_step=start,
            num_steps=plan.total,
            unlabelled=unlabelled,
            repeats=config.data.repeats,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            num_workers=config.data.num_workers,
            max_bad_fraction=config.data.max_bad_fraction,
        )
        scope.enter_context(contextlib.closing(batches))
        most = config.train.steps_per_call
        called = window.timed(_by_call(batches, plan, start, most))
        if restored is None:  # beside the first batch and the compiler
            fresh = prepare_state(initial, jax.random.key(config.seed))
        if start < plan.total:
            log.say("compiling the training step, a minute for a deep network on a CPU …")
            batch_form, called = parallel.peek(called)
            parallel.compile_train_step(train_step, form, batch_form)
        state = fresh() if restored is None else restored.state
        state = parallel.replicate(state if given is None else with_weights(state, given))
        watchdog.feed()
        for steps, batch in zip(plan.calls(start, most), called, strict=True):
            if steps[0] - 1 in plan.resized and steps[0] - 1 > start:
                log.say(f"from step {steps[0]} images of another size: compiling for them …")
            state, metrics = train_step(state, batch)
            window.add(steps, metrics)
            step = steps[-1]
            watchdog.feed()
            trace(step, metrics)

            # Processes agree only where they wait for each other anyway.
            evaluation_due = is_due(step, plan.evaluate) or step == plan.total
            log_due = is_due(step, plan.log) or evaluation_due
            alone = jax.process_count() == 1
            stopping = bool(stop) if alone else log_due and parallel.agree(bool(stop))
            if log_due or stopping:
                log.record(window.close(step))
                if not evaluation_due:
                    log.progress(window.line)
            results = {}
            if evaluation_due:
                state = recalibrated(recalibrate, state, step)
                watchdog.feed()
                results = evaluate_state(evaluate, state, watched.split)
                watchdog.feed()
                log.record(plan.stamp(step) | results)
                log.say(f"{window.line}  {report.score(results)}")
                state = _observe(state, optimizer, _plateau_value(config, results, watched.split))
            value = results.get(_key(config, watched.split))
            better = value is not None and config.checkpoint.keep_best and value > best
            save_due = is_due(step, plan.save) or step == plan.total
            if save_due or better or stopping:
                best = max(best, value or best)
                checkpoints.save(
                    step,
                    _finite(parallel.fetch(state), step),
                    meta,
                    None if value is None else {config.checkpoint.metric: value},
                    final=stopping or step == plan.total,
                )
            if results or save_due:
                window.resume()
            if stopping and step < plan.total:
                raise InterruptedRunError(
                    f"stopped by {stop.name} at step {step}, saved in {directory}: the same command"
                    " continues",
                    stop.exit_code,
                )

        # Result: the last step's, on the test split, by the protocol of the config.
        checkpoints.wait()
        protocol = inputs.make_test_protocol(config)
        if watched.split != "test" or not results or protocol != CENTER:
            if protocol != CENTER:
                log.say(f"testing by the protocol {protocol.name} …")
            test = inputs.load_test_data(config, "test")
            evaluate = make_evaluator(config, model, test, statistics, feed=watchdog.feed)
            results |= evaluate_state(evaluate, state, "test")
        digest = state_sha256(parallel.fetch(state.variables()))
        record = plan.stamp(plan.total) | results | {"state_sha256": digest}
        log.record(record)
        return report.say_result(log, record, directory)


def _by_call(
    batches: Iterator[Any], plan: Plan, start: int, most: int
) -> Iterator[dict[str, jax.Array]]:
    """Yields what the training step is called with, on its way to the devices ahead of use."""
    if most == 1:
        return parallel.prefetch(batches)
    stacks = ([next(batches) for _ in steps] for steps in plan.calls(start, most))
    return parallel.prefetch(stacks, shard=partial(parallel.shard_steps, most=most))


@contextlib.contextmanager
def _tracing(directory: Path, start: int, wanted: bool) -> Iterator[Callable[[int, Any], None]]:
    """Yields (step, metrics) → None, which starts and stops the profiler at the right steps."""
    running, done = False, not wanted
    first, last = (start + step for step in PROFILED_STEPS)

    def trace(step: int, metrics: Any) -> None:
        nonlocal running, done
        if done or step < first:
            return
        if not running:
            jax.block_until_ready(metrics)
            jax.profiler.start_trace(str(directory))
            running = True
        elif step >= last:
            jax.block_until_ready(metrics)
            jax.profiler.stop_trace()
            running, done = False, True

    try:
        yield trace
    finally:
        if running:
            jax.profiler.stop_trace()


def _patience(config: ConfigDict) -> float:
    return config.train.watchdog_seconds if jax.process_count() > 1 else 0.0


def _finite(state: TrainState, step: int) -> TrainState:
    """Returns a state that may be saved.

    Raises:
      UserError: if a parameter or statistic is not finite, though loss and gradients were.
    """
    for leaf in jax.tree.leaves((state.params, state.batch_stats)):
        if not np.all(np.isfinite(leaf)):
            raise UserError(
                f"parameters or statistics are not finite after step {step}, so they are not saved;"
                " lower the rate and start again from the last checkpoint, with"
                " --config.allow_change=schedule.learning_rate",
                EXIT_BAD_DATA,
            )
    return state


def _observe(state: TrainState, optimizer: Optimizer, value: float) -> TrainState:
    """Shows the plateau an evaluation; its state lives beside the optimizer's."""
    if optimizer.plateau is None:
        return state
    plateau = optimizer.observe(parallel.fetch(state.opt_state["plateau"]), value)
    return state.replace(opt_state={**state.opt_state, "plateau": parallel.replicate(plateau)})


def _key(config: ConfigDict, split: str, metric: str = "") -> str:
    averaged = "_ema" if config.train.ema_decay > 0 else ""
    return f"{split}/{metric or config.checkpoint.metric}{averaged}"


def _plateau_value(config: ConfigDict, results: Results, split: str) -> float:
    """The watched metric, lower is better."""
    metric = config.schedule.metric
    value = results[_key(config, split, metric)]
    return value if metric == "loss" else 1 - value


def _finished(log: Logbook, checkpoints: Checkpoints, plan: Plan) -> Record | None:
    """The last record, if it is the result of the last step."""
    last = (log.records() or [{}])[-1]
    whole = "state_sha256" in last and last["step"] == plan.total == checkpoints.latest()
    return last if whole else None

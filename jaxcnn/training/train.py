"""Trains a network: opens the workdir and the data, restores, runs the loop, tests."""

import contextlib
import hashlib
import itertools
import json
import signal
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxcnn.config import build, build_data, config_dict, resume
from jaxcnn.config.programs import MakePrograms, Programs, make_programs
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.normalization import Statistics
from jaxcnn.data.pipeline import staged_batches
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluate import check_number_of_classes, evaluate_state
from jaxcnn.evaluation.evaluator import Results, make_evaluator, make_recalibrator
from jaxcnn.evaluation.multicrop import CENTER
from jaxcnn.reporting.report import write_at_end
from jaxcnn.run import distributed, progress, workdir
from jaxcnn.run.checkpoint import init_from
from jaxcnn.run.checkpoint.checkpoint_files import variables_sha256
from jaxcnn.run.checkpoint.checkpoints import Checkpoints, Restored
from jaxcnn.run.metric_writer import MetricWriter, Record
from jaxcnn.run.precision import check_environment, describe_environment, environment, set_precision
from jaxcnn.run.preemption import Stopped, stop_request
from jaxcnn.run.profiling import tracing
from jaxcnn.training import selection, steps_per_call
from jaxcnn.training.initialize import prepare_state
from jaxcnn.training.loop import InterruptedRunError, Loop, Run, StepHooks, fed, stop_message
from jaxcnn.training.schedules import Plan
from jaxcnn.training.state import TrainState, state_sha256, with_weights


class Data(NamedTuple):
    """The splits and the plan of a run.

    Attributes:
      train: the training split.
      validation: the split evaluated during training; "test" if there is no validation split.
      reported: the split of the reported result.
      plan: lengths of the run in steps.
    """

    train: Dataset
    validation: Dataset
    reported: Dataset
    plan: Plan

    def kept(self, config: RunConfig) -> "Data":
        """Returns the same data, with the images that training reads kept; see `data.cache`."""
        train, validation = (build_data.keep(config, part) for part in self[:2])
        reported = validation if self.reported is self.validation else self.reported
        return Data(train, validation, reported, self.plan)

    def contents(self) -> dict[str, Any]:
        """Returns the contents of each data set that can change, as JSON."""
        splits = {part.split: part for part in (self.train, self.validation, self.reported)}
        return {name: part.contents() for name, part in splits.items() if part.contents}


class Start(NamedTuple):
    """State, weights and step at which the loop begins.

    Attributes:
      restored: the newest intact checkpoint; None in a fresh run.
      weights: initial weights of a fresh run, if any.
      step: number of steps taken.
    """

    restored: Restored | None
    weights: Any
    step: int


def run(
    config: RunConfig,
    directory: Path | str,
    *,
    profile: bool = False,
    make_programs: MakePrograms = make_programs,
) -> Record:
    """Trains in a workdir, or continues there, until the configured length is reached.

    Args:
      config: see `config_dict.base_config`.
      directory: the workdir; created if missing.
      profile: whether to write a trace to workdir/profile, for TensorBoard or Perfetto.
      make_programs: creates the programs; a caching one can serve runs of several seeds.

    Returns:
      The last record: step, epoch, the metrics of the final evaluation and `state_sha256`.

    Raises:
      UserError: for errors that the user can fix.
      InterruptedRunError: after SIGTERM or Ctrl-C; the same call continues the run.
    """
    if not isinstance(config, RunConfig):
        raise UserError("the config is not frozen: jaxcnn.config.config_dict.freeze(config) is")
    with contextlib.ExitStack() as scope:
        run = _open(config, Path(directory), scope)
        try:
            return _run(run, scope, profile, make_programs)
        except Stopped:  # outside the loop; the state is saved
            step = run.checkpoints.latest() or 0
            raise InterruptedRunError(stop_message(run, step), run.stop.exit_code) from None


def _run(
    run: Run, scope: contextlib.ExitStack, profile: bool, make_programs: MakePrograms
) -> Record:
    config, directory = run.config, run.directory
    data = _load(run)
    finished = _finished(run, data)
    if not distributed.agree(finished is None) and finished:
        run.log.say(f"{directory} is finished: nothing left to train")
        if not (directory / workdir.REPORT).exists():
            _report(run)
        return _say_result(run, data, finished)
    data = data.kept(config)
    statistics = distributed.replicate(_measure(run, data))  # one copy for all programs
    data = data._replace(train=build_data.place(config, data.train))
    programs = make_programs(config, data.train, data.validation, data.plan, statistics)
    start = _begin(run, data, programs)
    watchdog = scope.enter_context(distributed.watchdog(_patience(config), run.log.say))
    trace = scope.enter_context(tracing(directory / "profile", start.step, profile and run.writes))
    batches = _batches(run, data, start.step)
    scope.enter_context(contextlib.closing(batches))
    hooks = StepHooks(watchdog.feed, trace)
    state, results = _train(run, data, programs, statistics, start, batches, hooks)
    return _finish(run, data, programs, statistics, state, results, watchdog.feed)


def _open(config: RunConfig, directory: Path, scope: contextlib.ExitStack) -> Run:
    """Locks the workdir; refuses to continue a run with another config."""
    writes = distributed.is_main_process()
    if writes:
        scope.enter_context(workdir.locked(directory))
    distributed.barrier("workdir")
    scope.enter_context(set_precision(config))
    log = MetricWriter(directory, active=writes, tensorboard=config.log.tensorboard)
    scope.callback(log.close)
    stop = scope.enter_context(stop_request(log.say))
    log.reader_gone = partial(stop.ask, signal.SIGPIPE)
    checkpoints = Checkpoints(
        directory / "checkpoints",
        keep_latest=config.checkpoint.keep_latest,
        keep_best=config.checkpoint.keep_best,
        metric=config.checkpoint.metric,
    )
    scope.callback(checkpoints.close)
    if described := checkpoints.describe():
        saved = workdir.config_of(described.meta, directory)
        resume.check_unchanged(config, config_dict.to_saved(saved), str(directory))
    return Run(config, directory, writes, log, checkpoints, stop)


def _load(run: Run) -> Data:
    """Opens the data. Batches are functions of (seed, step), so they need no saved state."""
    config, directory = run.config, run.directory
    with run.log.waiting("reading what the data are"):
        dataset = build_data.load_data(config, "train")
    if described := run.checkpoints.describe():
        known = workdir.class_names_of(described.meta, directory)
        workdir.check_class_names(known, dataset.class_names, directory)
    if run.writes:
        workdir.write_class_names(directory, dataset.class_names)
    with run.log.waiting("reading what the data are"):
        validation = build_data.load_data(config, build_data.validation_split(config))
    plan = build.make_plan(config, dataset.num_examples)
    distributed.check_batch(
        "train.batch_size",
        config.train.batch_size,
        config.train.grad_accum_steps,
        group=1 + config.data.unlabelled_per_labelled,
        pairs=build_data.uses_mixup(config),
    )
    data = Data(dataset, validation, build_data.load_reported(config, validation), plan)
    if described := run.checkpoints.describe():
        resume.check_data(config, described.meta.get("data"), data.contents(), directory)
    return data


def _measure(run: Run, data: Data) -> Statistics | None:
    """Returns the statistics of the training images if normalisation needs them."""
    if run.writes:
        described = run.checkpoints.describe()
        sealed = described.meta.get("statistics", "") if described else ""
        workdir.keep_statistics(run.directory, run.config, data.train, run.log.say, sealed)
    distributed.barrier("statistics")
    return workdir.read_statistics(run.directory, run.config)


def _begin(run: Run, data: Data, programs: Programs) -> Start:
    """Restores the newest intact checkpoint, or prepares a fresh run."""
    config, directory, log, state_shape = (
        run.config,
        run.directory,
        run.log,
        programs.initial.state_shape,
    )
    splits = [data.train, data.validation]
    progress.say_start(log, config, directory, programs.model, state_shape, splits, data.plan)
    if line := selection.warning(config, data.validation.split, data.reported.split):
        log.say(f"{'selection':<10} {line}")
    if found := describe_environment():
        log.say(f"{'variables':<10} {'; '.join(found)}")

    def check(meta: dict[str, Any]) -> None:
        resume.check_unchanged(config, meta["config"], f"the checkpoint in {directory}")
        check_environment(meta.get("numerics"), config.allow_change, str(directory))
        check_number_of_classes(data.train, meta, directory)

    with log.waiting("reading the checkpoint"):
        restored, weights = run.checkpoints.restore(state_shape, check), None
    if restored is None:
        if config.init_map and not config.init_from:
            raise UserError("init_map selects weights of init_from, and init_from is not set")
        if config.init_from:
            weights, title, transferred = init_from.load(
                config, programs.model, state_shape.variables()
            )
            progress.say_transferred(log, title, state_shape, transferred)
    else:
        progress.say_restored(log, restored.step, restored.meta, config)
    step = 0 if restored is None else restored.step
    if run.writes:
        workdir.write_config(directory, config)
        log.rewind(step, result=step < data.plan.total)
    if step > data.plan.total:
        raise UserError(
            f"{directory} is at step {step}, past the end of the run at step {data.plan.total}"
            f" (train.length={config.train.length}): lengthen it, or use another --workdir"
        )
    return Start(restored, weights, step)


def _batches(run: Run, data: Data, start: int) -> Generator[Any, None, None]:
    config = run.config
    return staged_batches(
        build_data.load_stages(config, data.train, data.plan),
        config.data,
        batch_size=config.train.batch_size,
        seed=config.seed,
        start_step=start,
        num_steps=data.plan.total,
        process_index=distributed.process_index(),
        process_count=distributed.process_count(),
    )


def _ready(
    run: Run, plan: Plan, programs: Programs, start: Start, batches: Iterator[Any]
) -> tuple[TrainState, Iterator[Any], int]:
    """Compiles the training step.

    Returns:
      The replicated state, an iterator of all batches, and the largest number of steps of a call.
    """
    most, log, begun = run.config.train.steps_per_call, run.log, time.monotonic()
    state_shape = programs.initial.state_shape
    if start.restored is None:  # while the first batch is read and the step compiles
        fresh = prepare_state(programs.initial, jax.random.key(run.config.seed))
    left = plan.total - start.step
    if left:
        with log.waiting("reading the first batch"):
            first = next(batches)
        batches = itertools.chain([first], batches)
        step = programs.train_step if most < 2 else programs.train_steps
        form = distributed.shapes(steps_per_call.shard([first], most))
        with log.waiting("compiling the training step"):
            distributed.compile_train_step(step, state_shape, form)
    with log.waiting("making the initial state"):
        state = fresh() if start.restored is None else start.restored.state
    state = state if start.weights is None else with_weights(state, start.weights)
    state = distributed.replicate(state)
    if left and most == 0:
        with log.waiting("measuring how many steps a call should have"):
            started = time.monotonic() - begun
            most = steps_per_call.choose(programs, state, first, left, started)
        if most > 1:
            log.say(f"{'calls':<10} of {most} steps: measured to be faster than one by one")
    return state, batches, max(most, 1)


def _train(
    run: Run,
    data: Data,
    programs: Programs,
    statistics: Statistics | None,
    start: Start,
    batches: Iterator[Any],
    hooks: StepHooks,
) -> tuple[TrainState, Results]:
    """Returns the state after the last step and its evaluation."""
    config, plan = run.config, data.plan
    recalibrate = make_recalibrator(config, programs.model, data.train, statistics)
    saved = start.restored.meta if start.restored else {}
    meta = workdir.describe_run(config, data.train.num_classes, data.train.class_names, statistics)
    meta["numerics"] = environment()
    meta["selection"] = selection.description(config, data.validation.split)
    meta["data"] = data.contents()
    meter = progress.ProgressMeter(config, data.train, plan, start.step, saved.get("window"))
    state, batches, most = _ready(run, plan, programs, start, batches)
    if most > 1:
        programs = programs._replace(train_step=programs.train_steps)
    loop = Loop(run, plan, data.validation.split, programs, recalibrate, meter, meta, hooks)
    hooks.feed()
    loop.begin(state, start.step, saved.get("evaluated", True))
    del state  # the step donates its buffers
    called = steps_per_call.by_call(batches, plan, start.step, most)
    loop.run(meter.timed(called), most)
    return loop.state, loop.results


def _finish(
    run: Run,
    data: Data,
    programs: Programs,
    statistics: Statistics | None,
    state: TrainState,
    results: Results,
    feed: Callable[[], None],
) -> Record:
    """Tests the last state with the configured protocol and records the result."""
    config, plan = run.config, data.plan
    run.checkpoints.wait()
    with run.stop.deferred() if distributed.process_count() > 1 else contextlib.nullcontext():
        results = _test(run, data, programs, statistics, state, results, fed(feed, run.stop))
    digest = state_sha256(distributed.fetch(state.variables()))
    record = plan.stamp(plan.total) | results
    record |= {"protocol": _protocol(config), "state_sha256": digest}
    record |= {"record_sha256": _record_sha256(record)}
    run.log.record(record)
    _report(run)
    return _say_result(run, data, record)


def _report(run: Run) -> None:
    """Writes report.html if the config asks for it; an error does not stop the run."""
    if run.config.log.report and run.writes:
        with run.log.waiting("writing the report"):
            write_at_end(run.directory)


def _test(
    run: Run,
    data: Data,
    programs: Programs,
    statistics: Statistics | None,
    state: TrainState,
    results: Results,
    feed: Callable[[], None],
) -> Results:
    """Returns the results, after adding the test by the configured protocol if it is missing."""
    config = run.config
    if not results:  # the run was killed between its last checkpoint and here
        with run.log.waiting(f"evaluating {data.validation.split}"):
            results = evaluate_state(programs.evaluate, state, data.validation.split, feed)
    protocol = build_data.make_test_protocol(config)
    if data.validation.split != data.reported.split or protocol != CENTER:
        test = build_data.load_test_data(config, data.reported.split)
        evaluate = make_evaluator(config, programs.model, test, statistics)
        with run.log.waiting(f"testing by the protocol {protocol.name}"):
            results = results | evaluate_state(evaluate, state, data.reported.split, feed)
    return results


def _say_result(run: Run, data: Data, record: Record) -> Record:
    if line := selection.warning(run.config, data.validation.split, data.reported.split):
        run.log.say(line)
    return progress.say_result(run.log, record, run.directory, data.reported.split)


def _patience(config: RunConfig) -> float:
    return config.train.watchdog_seconds if distributed.process_count() > 1 else 0.0


def _protocol(config: RunConfig) -> str:
    """Returns the name of the test protocol: "dense" or "dense 256 384 512"."""
    return " ".join(map(str, (config.eval.protocol, *config.eval.scales)))


def _record_sha256(record: Record) -> str:
    """Returns a digest of a result, which reveals changes in metrics.jsonl."""
    rest = {key: value for key, value in record.items() if key != "record_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _finished(run: Run, data: Data) -> Record | None:
    """Returns the last record if it is the result of the last checkpoint by the configured test."""
    last = (run.log.records() or [{}])[-1]
    described = run.checkpoints.describe()
    if described is None or described.step != data.plan.total or last["step"] != data.plan.total:
        return None
    numbers = (last.get(f"{data.reported.split}/{key}") for key in ("top1", "top5"))
    whole = all(isinstance(value, float) for value in numbers)
    whole = whole and last.get("state_sha256") == variables_sha256(described)
    whole = whole and last.get("record_sha256") == _record_sha256(last)
    return last if whole and last.get("protocol") == _protocol(run.config) else None

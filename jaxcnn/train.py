"""A training run, from top to bottom."""

import contextlib
import dataclasses
import time
import traceback
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from jaxcnn import factories, parallel, workdir
from jaxcnn.checkpoint import Checkpoints
from jaxcnn.data.pipeline import train_batch, train_batches
from jaxcnn.data.source import DataSource
from jaxcnn.errors import EXIT_BAD_DATA, UserError
from jaxcnn.evaluate import Results, check_classes, evaluate_state, make_evaluator
from jaxcnn.logbook import Logbook, Record, duration
from jaxcnn.optim import Optimizer
from jaxcnn.schedules import is_due, length_in_steps
from jaxcnn.signals import stop_request
from jaxcnn.state import (
    TrainState,
    count_parameters,
    create_state,
    lower_state,
    saved_form,
    state_sha256,
)
from jaxcnn.steps import make_train_step

STEPS_IN_FLIGHT = 2  # more would only hold memory, and delay a signal
PROFILED_STEPS = (10, 15)  # counted from the first step of this process


class InterruptedRunError(UserError):
    """A signal ended the run after its state was saved."""


def run(config: ConfigDict, directory: Path, *, profile: bool = False) -> Record:
    """Trains in a workdir, or continues there, until the config's length is reached.

    Args:
      config: see `recipes.base_config`.
      directory: the workdir; made if missing.
      profile: write a trace of a few steps to workdir/profile, for TensorBoard or Perfetto.

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
        scope.enter_context(_numerics(config))
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
        source = factories.load_data(config, "train")
        watched = factories.load_data(config, "validation" if config.data.holdout else "test")
        batch_size = config.train.batch_size
        parallel.check_batch("train.batch_size", batch_size, config.train.accumulate)
        plan = _Plan(config, Fraction(source.num_examples, batch_size))
        if finished := _finished(log, checkpoints, plan):
            log.say(f"{directory} is finished: nothing left to train")
            return _say_result(log, finished, directory)

        # Network, optimizer, steps: pure functions.
        model = factories.make_model(config, source.num_classes)
        optimizer = factories.make_optimizer(
            config,
            total_steps=plan.total,
            steps_per_epoch=plan.steps_per_epoch,
            batch_size=batch_size,
        )
        train_step = parallel.pmap_train_step(
            make_train_step(
                model,
                optimizer,
                factories.make_loss(config),
                factories.make_augment(config),
                accumulate=config.train.accumulate,
                ema_decay=config.train.ema_decay,
                ema_warmup=config.train.ema_warmup,
                axis_name=parallel.AXIS,
            )
        )
        evaluate = make_evaluator(config, model, watched)

        # State: the newest whole checkpoint, or a fresh one.
        averaged = config.train.ema_decay > 0
        program = lower_state(model, optimizer, source.image_shape, averaged)
        form = saved_form(program)
        _say_start(log, config, directory, model, form, [source, watched], plan)

        def check(meta: dict[str, Any]) -> None:
            workdir.check_unchanged(config, meta["config"], f"the checkpoint in {directory}")
            check_classes(source, meta, directory)

        restored = checkpoints.restore(form, check)
        if restored is None:
            state = create_state(program, jax.random.key(config.seed))
        else:
            _say_restored(log, restored.step, restored.meta, config)
            state = restored.state
        if writes:
            workdir.write_config(directory, config)
            log.rewind(0 if restored is None else restored.step)
        meta = workdir.describe_run(config, source.num_classes)
        start = int(state.step)
        state = parallel.replicate(state)

        # Loop: step; log; evaluate; show the plateau; save; stop if asked to.
        window = _Window(config, source, plan, start)
        watchdog = scope.enter_context(parallel.watchdog(_patience(config), log.say))
        trace = scope.enter_context(_tracing(directory / "profile", start, profile and writes))
        best = checkpoints.best_value()
        results: Results = {}
        batches = train_batches(
            source,
            batch_size=batch_size,
            seed=config.seed,
            start_step=start,
            num_steps=plan.total,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            num_workers=config.data.num_workers,
            max_bad_fraction=config.data.max_bad_fraction,
        )
        scope.enter_context(contextlib.closing(batches))
        if start < plan.total:
            log.say("compiling the training step, a minute for a deep network on a CPU …")
        for step, batch in enumerate(parallel.prefetch(batches), start + 1):
            state, metrics = train_step(state, batch)
            window.add(step, metrics)
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
                results = evaluate_state(evaluate, state, watched.split)
                watchdog.feed()
                log.record(plan.stamp(step) | results)
                log.say(f"{window.line}  {_score(results)}")
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

        # Result: the last step's, on the test split.
        checkpoints.wait()
        if watched.split != "test" or not results:
            test = factories.load_data(config, "test")
            results |= evaluate_state(make_evaluator(config, model, test), state, "test")
        digest = state_sha256(parallel.fetch(state.variables()))
        record = plan.stamp(plan.total) | results | {"state_sha256": digest}
        log.record(record)
        return _say_result(log, record, directory)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The lengths of a run in steps; periods are exact and need not be whole."""

    config: ConfigDict
    steps_per_epoch: Fraction

    def _steps(self, text: str) -> Fraction | None:
        return length_in_steps(text, self.steps_per_epoch)

    @property
    def total(self) -> int:
        length = self._steps(self.config.train.length)
        if length is None or length <= 0:
            raise UserError("train.length must be positive, for example 8epochs")
        return -int(-length // 1)  # the last step is the first one that reaches the length

    @property
    def log(self) -> Fraction | None:
        return self._steps(self.config.log.every)

    @property
    def evaluate(self) -> Fraction | None:
        return self._steps(self.config.eval.every)

    @property
    def save(self) -> Fraction | None:
        return self._steps(self.config.checkpoint.every)

    def stamp(self, step: int) -> Record:
        return {"step": step, "epoch": round(float(step / self.steps_per_epoch), 4)}


class _Window:
    """Metrics since the last record; they stay on the devices until it is due."""

    def __init__(self, config: ConfigDict, source: DataSource, plan: _Plan, start: int):
        self.line = ""
        self._config, self._source, self._plan = config, source, plan
        self._metrics: list[dict[str, jax.Array]] = []
        self._skipped = 0  # in a row, up to now
        self._first = start + 1
        self._begun = self._opened = time.monotonic()

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        self._metrics.append(metrics)
        behind = self._metrics[-1 - STEPS_IN_FLIGHT :][0]
        jax.block_until_ready(metrics if step == self._first else behind)
        if step == self._first:  # leaves compilation out of the speed
            self._begun = self._opened = time.monotonic()

    def close(self, step: int) -> Record:
        """Returns the means since the last record.

        Raises:
          UserError: if too many steps in a row were not finite.
        """
        fetched = parallel.fetch(self._metrics)
        steps = range(step - len(fetched) + 1, step + 1)
        for number, metrics in zip(steps, fetched, strict=True):
            self._skipped = self._skipped + 1 if metrics["skipped"] else 0
            if self._skipped >= self._config.train.max_skipped:
                raise self._not_finite(number, metrics)
        taken = [metrics for metrics in fetched if not metrics["skipped"]] or fetched
        means = {
            f"train/{key}": float(np.mean([metrics[key] for metrics in taken]))
            for key in ("loss", "top1", "grad_norm")
        }
        now = time.monotonic()
        timed = len(fetched) - (steps[0] == self._first)
        speed = timed * self._config.train.batch_size / max(now - self._opened, 1e-9)
        per_step = (now - self._begun) / max(step - self._first, 1)
        record = self._plan.stamp(step) | means
        record["train/learning_rate"] = float(fetched[-1]["learning_rate"])
        record["train/skipped"] = len(fetched) - len(taken) if taken is not fetched else len(taken)
        record["images_per_second"] = round(speed, 1)
        left = "" if timed < 1 else f"  {duration(per_step * (self._plan.total - step))} left"
        self.line = (
            f"step {step}/{self._plan.total}  epoch {record['epoch']:.2f}"
            f"  loss {means['train/loss']:.4f}  top1 {means['train/top1']:.1%}"
            f"  {speed:,.0f} images/s{left}"
        )
        self._metrics, self._opened = [], now
        return record

    def resume(self) -> None:
        """Leaves the time since the last record out of the next speed: an evaluation, a save."""
        self._opened = time.monotonic()

    def _not_finite(self, step: int, metrics: dict[str, np.ndarray]) -> UserError:
        batch = train_batch(
            self._source,
            batch_size=self._config.train.batch_size,
            seed=self._config.seed,
            step=step - 1,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        examples = ", ".join(str(index) for index in batch["index"][:8])
        return UserError(
            f"{self._skipped} steps in a row up to step {step} were not finite (loss"
            f" {metrics['loss']:.3g}, gradient norm {metrics['grad_norm']:.3g}, learning rate"
            f" {metrics['learning_rate']:.3g}, examples {examples} …) and were skipped; lower"
            " schedule.learning_rate, or find the operation with --config.debug_nans",
            EXIT_BAD_DATA,
        )


@contextlib.contextmanager
def _numerics(config: ConfigDict) -> Iterator[None]:
    """Sets jax's number formats and checks for the run."""
    precisions = ("default", "tensorfloat32", "float32")
    if config.matmul_precision not in precisions:
        raise UserError(f"matmul_precision={config.matmul_precision!r}: choose one of {precisions}")
    with contextlib.ExitStack() as scope:
        if config.matmul_precision != "default":
            scope.enter_context(jax.default_matmul_precision(config.matmul_precision))
        if config.model.dtype == "float64":
            scope.enter_context(jax.enable_x64(True))
        if config.debug_nans:
            scope.enter_context(jax.debug_nans(True))
        try:
            yield
        except FloatingPointError as error:
            ours = [
                frame
                for frame in traceback.extract_tb(error.__traceback__)
                if Path(frame.filename).is_relative_to(Path(__file__).parent)
            ]
            raise UserError(
                f"the first NaN comes from {ours[-1].filename}:{ours[-1].lineno}: {ours[-1].line}",
                EXIT_BAD_DATA,
            ) from error


@contextlib.contextmanager
def _tracing(directory: Path, start: int, wanted: bool) -> Iterator[Callable[[int, Any], None]]:
    """Yields (step, metrics) → None, which starts and stops the profiler at the right steps."""
    running = False

    def trace(step: int, metrics: Any) -> None:
        nonlocal running
        if not wanted:
            return
        if step - start == PROFILED_STEPS[0]:
            jax.block_until_ready(metrics)
            jax.profiler.start_trace(str(directory))
            running = True
        elif step - start == PROFILED_STEPS[1]:
            jax.block_until_ready(metrics)
            jax.profiler.stop_trace()
            running = False

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
                " lower schedule.learning_rate and start again from the last checkpoint",
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


def _finished(log: Logbook, checkpoints: Checkpoints, plan: _Plan) -> Record | None:
    """The last record, if it is the result of the last step."""
    last = (log.records() or [{}])[-1]
    whole = "state_sha256" in last and last["step"] == plan.total == checkpoints.latest()
    return last if whole else None


def _score(results: Results) -> str:
    """Returns "test top1 97.50 %, top1_ema 97.78 %"."""
    shown = {key: value for key, value in results.items() if key.partition("/")[2][:4] == "top1"}
    parts = [f"{key.partition('/')[2]} {value:.2%}" for key, value in shown.items()]
    return f"{next(iter(shown)).partition('/')[0]} {', '.join(parts)}"


def _say_start(
    log: Logbook,
    config: ConfigDict,
    directory: Path,
    model: nn.Module,
    form: TrainState,
    sources: list[DataSource],
    plan: _Plan,
) -> None:
    source = sources[0]
    sizes = ", ".join(f"{part.num_examples:,} {part.split}" for part in sources)
    shape = "x".join(str(side) for side in source.image_shape)
    device = jax.devices()[0]
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    share = config.train.batch_size // jax.device_count()
    norm = "the global batch" if config.train.sync_bn else f"each device's {share}"
    precision = config.matmul_precision
    if precision == "default":
        precision = {
            "cpu": "full float32",
            "gpu": "TF32 where the GPU has it (--config.matmul_precision=float32 for full)",
            "tpu": "bfloat16 products (--config.matmul_precision=float32 for full)",
        }.get(device.platform, "the platform's default")
    lines = {
        "model": f"{config.model.name}, {count_parameters(form.params):,} parameters,"
        f" computed in {config.model.dtype}",
        "data": f"{source.name}, {sizes}, {shape}, {source.num_classes} classes",
        "devices": f"{jax.device_count()} x {device.device_kind}{processes}; float32 products:"
        f" {precision}",
        "batch": f"{config.train.batch_size}"
        + (f" in {config.train.accumulate} parts" if config.train.accumulate > 1 else "")
        + (f", BatchNorm over {norm}" if form.batch_stats else ""),
        "steps": f"{plan.total:,} ({config.train.length}, {float(plan.steps_per_epoch):.1f} each"
        " epoch)",
        "optimizer": f"{config.optimizer.name}, {config.schedule.name} schedule from"
        f" {config.schedule.learning_rate:g}"
        + (
            f" per {config.schedule.reference_batch} images"
            if config.schedule.reference_batch
            else ""
        ),
        "workdir": str(directory),
    }
    for name, line in lines.items():
        log.say(f"{name:<10} {line}")


def _say_restored(log: Logbook, step: int, meta: dict[str, Any], config: ConfigDict) -> None:
    log.say(f"{'continues':<10} from step {step:,}")
    before, now = meta["devices"], jax.device_count()
    if before != now:
        effect = (
            "the same batches, sums in another order"
            if config.train.sync_bn
            else "the same batches, but BatchNorm sees other shares of them (train.sync_bn=True"
            " would not)"
        )
        log.say(f"{'devices':<10} {before} before, {now} now: {effect}")


def _say_result(log: Logbook, record: Record, directory: Path) -> Record:
    """The last lines of a run; the very last is the accuracy with the workdir."""
    log.write_csv()
    log.say(f"state_sha256 {record['state_sha256']}")
    log.say(
        f"step {record['step']}: test top1 {record['test/top1']:.2%}, top5"
        f" {record['test/top5']:.2%}, loss {record['test/loss']:.4f}"
        + (
            f", averaged weights top1 {record['test/top1_ema']:.2%}"
            if "test/top1_ema" in record
            else ""
        )
        + f"  ({directory})"
    )
    return record

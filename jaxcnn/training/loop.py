"""The training loop: step, log, recalibrate, evaluate, update the plateau, save."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcnn.config.programs import Programs
from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import DivergedError, UserError
from jaxcnn.evaluation.evaluate import evaluate_state, recalibrated
from jaxcnn.evaluation.evaluator import Recalibrate, Results
from jaxcnn.run import distributed, progress
from jaxcnn.run.checkpoint.checkpoints import Checkpoints
from jaxcnn.run.checkpoint.retention import KEPT
from jaxcnn.run.metric_writer import MetricWriter
from jaxcnn.run.preemption import Stopped, StopRequest
from jaxcnn.training import selection
from jaxcnn.training.schedules import Plan, is_due
from jaxcnn.training.state import TrainState


class InterruptedRunError(UserError):
    """Raised when a signal ended the run, after the state was saved."""


class Run(NamedTuple):
    """A run and the resources that it holds.

    Attributes:
      config: see `config_dict.base_config`.
      directory: the workdir.
      writes: whether this process writes to the workdir; exactly one process does.
      log: prints progress and writes records.
      checkpoints: checkpoints of the workdir.
      stop: whether the run was asked to stop.
    """

    config: RunConfig
    directory: Path
    writes: bool
    log: MetricWriter
    checkpoints: Checkpoints
    stop: StopRequest


class StepHooks(NamedTuple):
    """Functions that the loop calls after each step.

    Attributes:
      feed: takes no arguments; resets the timer of `distributed.watchdog`.
      trace: takes a step and its metrics; see `profiling.tracing`.
    """

    feed: Callable[[], None]
    trace: Callable[[int, Any], None]


class Loop:
    """Runs the training steps of a run.

    A signal ends the loop between two steps, while it waits for a batch, or during an evaluation.
    Unsaved state is saved first; during a compilation, another thread saves it. A checkpoint that
    is saved before its evaluation has `evaluated=False` in its metadata, and a run that continues
    from it evaluates first.

    Args:
      run: see `Run`.
      plan: lengths of the run in steps.
      split: name of the split that is evaluated.
      programs: the compiled functions of a run.
      recalibrate: see `evaluator.make_recalibrator`.
      meter: metrics since the last record.
      meta: metadata saved with the state.
      hooks: functions called after each step.

    Attributes:
      state: replicated state after the last step and its evaluation.
      step: number of the last step.
      results: results of the evaluation at that step, if there was one.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        split: str,
        programs: Programs,
        recalibrate: Recalibrate | None,
        meter: progress.ProgressMeter,
        meta: dict[str, Any],
        hooks: StepHooks,
    ):
        self._run, self._plan, self._split, self._programs = run, plan, split, programs
        self._recalibrate, self._meter, self._meta = recalibrate, meter, meta
        self._hooks = hooks
        self._best = run.checkpoints.best_value()
        self._alone = distributed.process_count() == 1
        self._agreed = agreed_stop(run.stop)
        self._saved = 0  # step of the newest checkpoint
        self._evaluated = True  # False while an evaluation of this step is due
        self._looked = False  # True after the first evaluation, which compiles
        self._begun = 0
        self.state: TrainState
        self.step = 0
        self.results: Results = {}

    def begin(self, state: TrainState, step: int, evaluated: bool) -> None:
        """Sets the state and step at which the loop begins.

        Args:
          state: replicated state.
          step: number of steps taken.
          evaluated: False if the run was stopped during the evaluation of this step.
        """
        self.state, self.step, self._saved, self._evaluated = state, step, step, evaluated
        self._begun = step

    def run(self, batches: Iterator[Any], most: int) -> None:
        """Runs all remaining steps.

        Args:
          batches: arguments of the training step.
          most: largest number of steps per call.

        Raises:
          InterruptedRunError: after a signal; the state is saved.
          UserError: if the state or a step is not finite.
        """
        begun = self.step
        with self._run.stop.deferred():
            try:
                if not self._evaluated:
                    self._look()
                for steps in self._plan.calls(begun, most):
                    resized = steps[0] - 1 in self._plan.resized and steps[0] - 1 > begun
                    self._take(steps, self._next(batches, resized))
            except Stopped:
                self._run.stop.hold()
                raise InterruptedRunError(self._keep(), self._run.stop.exit_code) from None

    def _next(self, batches: Iterator[Any], resized: bool) -> Any:
        """Waits for a batch, and compiles the training step if the image size changed."""
        with self._waiting(compiles=resized):
            try:
                batch = next(batches)
            except Exception:
                if self._run.stop:
                    raise Stopped(self._run.stop.exit_code) from None
                # The data failed, but the state is intact.
                if self._alone and self.step > self._saved:
                    self._save(final=True)
                raise
            if resized:
                with self._run.log.waiting(
                    "compiling the training step for images of another size"
                ):
                    state_shape = self._programs.initial.state_shape
                    distributed.compile_train_step(
                        self._programs.train_step, state_shape, distributed.shapes(batch)
                    )
        return batch

    def _take(self, steps: range, batch: Any) -> None:
        """Runs the steps of one call, then records, evaluates and saves if due."""
        plan, log = self._plan, self._run.log
        first = self.step == self._begun and not self._alone  # compiles; nothing is unsaved yet
        with self._waiting(compiles=True) if first else contextlib.nullcontext():
            self.state, metrics = self._programs.train_step(self.state, batch)
        self._meter.add(steps, metrics)
        if estimate := self._meter.estimate():
            log.say(estimate)
        self.step, self.results = steps[-1], {}
        self._hooks.feed()
        self._hooks.trace(self.step, metrics)
        evaluation_due = is_due(self.step, plan.evaluate) or self.step == plan.total
        self._evaluated = not evaluation_due
        if is_due(self.step, plan.log) or evaluation_due:
            log.record(self._meter.close(self.step))
            if not evaluation_due:
                log.progress(self._meter.line)
        self._agreed()
        self._look()

    def _look(self) -> None:
        """Evaluates and saves if due."""
        config, log = self._run.config, self._run.log
        again = False  # whether the checkpoint of this step was saved before its evaluation
        if not self._evaluated:
            with (
                self._waiting(compiles=not self._looked),
                log.waiting(f"evaluating {self._split}"),
            ):
                feed = fed(self._hooks.feed, self._run.stop)
                state = recalibrated(self._recalibrate, self.state, self.step, feed)
                results = evaluate_state(self._programs.evaluate, state, self._split, feed)
            log.record(self._plan.stamp(self.step) | results)
            log.say("  ".join(filter(None, (self._meter.line, progress.score(results)))))
            shown = selection.plateau_value(config, results, self._split)
            self.state = selection.observe(state, self._programs.optimizer, shown)
            self.results, self._evaluated, self._looked = results, True, True
            again = self._saved == self.step
        value = self.results.get(selection.key(config, self._split))
        better = bool(config.checkpoint.keep_best) and selection.is_better(value, self._best)
        save_due = is_due(self.step, self._plan.save) or self.step == self._plan.total
        save_due = save_due or self.step in self._plan.keep
        if save_due or better:
            self._best = self._best if value is None else max(self._best, value)
            measured = None if value is None else {config.checkpoint.metric: value}
            self._save(measured, final=self.step == self._plan.total, again=again)
        if self.results or save_due:
            self._meter.resume()

    def _save(
        self, measured: dict[str, float] | None = None, *, final: bool, again: bool = False
    ) -> None:
        meta = self._meta | {"window": self._meter.state()}
        if not self._evaluated:
            meta["evaluated"] = False
        if self.step in self._plan.keep:
            meta[KEPT] = True
        state = _finite(distributed.fetch(self.state), self.step)
        checkpoints = self._run.checkpoints
        checkpoints.save(self.step, state, meta, measured, final=final, again=again)
        self._saved = self.step

    def _keep(self) -> str:
        """Saves the state if it is unsaved; returns the last message of the run."""
        if self.step > self._saved:
            self._save(final=True)
        return stop_message(self._run, self.step)

    def _waiting(self, compiles: bool = False) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which a signal may end the run.

        With one process, a signal saves the state and ends the run at once. Several processes must
        stop at the same call, so signals are deferred. A compilation would delay that too long:
        unsaved state is saved before it, and each process ends by itself.

        Args:
          compiles: whether the context contains a compilation.
        """
        if self._alone:
            return self._run.stop.interruptible(self._keep)
        if not compiles:
            return contextlib.nullcontext()
        if self.step > self._saved:
            self._save(final=True)
        return self._run.stop.interruptible(lambda: stop_message(self._run, self.step))


def agreed_stop(stop: StopRequest) -> Callable[[], None]:
    """Returns a function that stops all processes if one was asked to; see `Agreement`.

    It does nothing in a run of one process, which `StopRequest` ends.

    Args:
      stop: stop request of this process.
    """
    agreed = distributed.Agreement(lambda: bool(stop))

    def check() -> None:
        """Raises Stopped if any process was asked to stop."""
        if distributed.process_count() > 1 and agreed():
            raise Stopped(stop.exit_code)

    return check


def fed(feed: Callable[[], None], stop: StopRequest) -> Callable[[], None]:
    """Returns a function to call after every evaluation batch: `feed`, then `agreed_stop`."""
    check = agreed_stop(stop)

    def after_batch() -> None:
        feed()
        check()

    return after_batch


def stop_message(run: Run, step: int) -> str:
    """Returns the last message of a run that was stopped after a step."""
    if not step:
        return f"stopped by {run.stop.name} before the first step: the same command begins again"
    return (
        f"stopped by {run.stop.name} at step {step}, saved in {run.directory}: the same command"
        " continues"
    )


def _finite(state: TrainState, step: int) -> TrainState:
    """Returns the state unchanged if it is finite.

    Raises:
      DivergedError: if a parameter or statistic is not finite, although loss and gradients were.
    """
    for leaf in jax.tree.leaves((state.params, state.batch_stats)):
        if not np.all(np.isfinite(leaf)):
            raise DivergedError(
                f"parameters or statistics are not finite after step {step}, so they are not saved;"
                " lower the rate and start again from the last checkpoint, with"
                " --config.allow_change=schedule.learning_rate"
            )
    return state

"""Prints the start, the progress and the result of a run."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn

from jaxcnn.config.schema import RunConfig
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import DivergedError
from jaxcnn.interop.transfer import Transferred
from jaxcnn.run import distributed, versions
from jaxcnn.run.metric_writer import MetricWriter, Record, duration
from jaxcnn.training import averages
from jaxcnn.training.optim import decay_mask
from jaxcnn.training.schedules import Plan
from jaxcnn.training.state import TrainState, count_parameters

MEANS = ("loss", "top1", "grad_norm")  # averaged over the steps since the last record
CALLS_IN_FLIGHT = 2  # of short calls; a signal waits for them
# The run time is estimated after this many steps, or after this many seconds if that is sooner.
STEPS_TIMED, SECONDS_TIMED = 10, 20.0


class ProgressMeter:
    """Collects metrics since the last record; they are fetched for a record or a checkpoint.

    Args:
      config: the whole config.
      dataset: the training split.
      plan: lengths of the run.
      start: steps taken before this process.
      kept: saved result of `state` at that step, if any.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        plan: Plan,
        start: int,
        kept: dict[str, Any] | None = None,
    ):
        self.line = ""
        self._config, self._source, self._plan = config, dataset, plan
        self._metrics: list[tuple[range, dict[str, Any]]] = []
        self._last: dict[str, float] = {}  # metrics of the last step
        self._sums = dict(kept["sums"]) if kept else dict.fromkeys(MEANS, 0.0)
        self._finite = kept["finite"] if kept else 0  # number of steps in `_sums`
        self._skipped = kept["skipped"] if kept else 0  # steps skipped since the last record
        self._in_a_row = kept["in_a_row"] if kept else 0  # steps skipped in a row up to now
        self._closed = start  # step of the last record, or of the first step of this process
        self._start = self._timed = start  # speed counts the steps after these
        self._waited = 0.0  # seconds of waiting for data
        self._begun = self._opened = self._added = time.monotonic()
        self._in_flight = CALLS_IN_FLIGHT
        self._estimated = False

    def add(self, steps: range, metrics: dict[str, jax.Array]) -> None:
        """Adds the metrics of a call, stacked over its steps; waits for the last call but two."""
        self._metrics.append((steps, metrics))
        first = steps[0] - 1 in (self._start, *self._plan.resized)
        seconds, self._added = time.monotonic() - self._added, time.monotonic()
        self._in_flight = CALLS_IN_FLIGHT if seconds < 1 else int(seconds < 4)
        _, behind = self._metrics[-1 - self._in_flight :][0]
        jax.block_until_ready(metrics if first else behind)
        if first:  # excludes compilation from the speed
            self._timed = steps[-1]
            self._begun = self._opened = time.monotonic()
            self._waited = 0.0

    def estimate(self) -> str:
        """Returns "about 7 min for 180 steps", once, when enough steps are timed; "" otherwise.

        Call it after `add`, which has waited for the last call but two.
        """
        finished, _ = self._metrics[-1 - self._in_flight :][0]
        steps, seconds = finished[-1] - self._timed, time.monotonic() - self._begun
        if self._estimated or steps < 1 or (steps < STEPS_TIMED and seconds < SECONDS_TIMED):
            return ""
        self._estimated = True
        left = self._plan.total - self._start
        return f"about {rough(seconds / steps * left)} for {left:,} steps, besides evaluations"

    def timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yields the batches; measures the time spent waiting for data while no step is running."""
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                return
            if self._metrics and self._metrics[-1][1]["loss"].is_ready():
                self._waited += time.monotonic() - asked
            yield batch

    def close(self, step: int) -> Record:
        """Returns the record with the means since the last one.

        Raises:
          DivergedError: if too many steps in a row were not finite.
        """
        self._fetch()
        means = {
            f"train/{key}": self._sums[key] / self._finite if self._finite else self._last[key]
            for key in MEANS
        }
        now = time.monotonic()
        timed = step - max(self._closed, self._timed)
        elapsed = max(now - self._opened, 1e-9)
        speed, waiting = timed * self._config.train.batch_size / elapsed, self._waited / elapsed
        per_step = (now - self._begun) / max(step - self._timed, 1)
        record = self._plan.stamp(step) | means
        record["train/learning_rate"] = self._last["learning_rate"]
        record["train/skipped"] = self._skipped
        record["images_per_second"] = round(speed, 1)
        record["waiting_for_data"] = round(waiting, 3)
        record["peak_memory"] = distributed.peak_memory() or versions.peak_memory()
        idle = f" ({waiting:.0%} waiting for data)" if waiting > 0.1 else ""
        left = "" if timed < 1 else f"  {duration(per_step * (self._plan.total - step))} left"
        self.line = (
            f"step {step}/{self._plan.total}  epoch {record['epoch']:.2f}"
            f"  loss {means['train/loss']:.4f}  top1 {means['train/top1']:.1%}"
            f"  {speed:,.0f} images/s{idle}{left}"
        )
        self._sums, self._finite, self._skipped = dict.fromkeys(MEANS, 0.0), 0, 0
        self._closed, self._opened, self._waited = step, now, 0.0
        return record

    def state(self) -> dict[str, Any]:
        """Returns the state that a continued run needs for its next record, as JSON.

        Raises:
          DivergedError: if too many steps in a row were not finite.
        """
        self._fetch()
        counts = {"finite": self._finite, "skipped": self._skipped, "in_a_row": self._in_a_row}
        return {"sums": dict(self._sums), **counts}

    def _fetch(self) -> None:
        """Adds the metrics that are still on the devices to the sums."""
        for steps, metrics in self._metrics:
            fetched = distributed.fetch(metrics)
            for place, step in enumerate(steps):
                self._last = {key: float(values.flat[place]) for key, values in fetched.items()}
                if self._last["skipped"]:
                    self._skipped, self._in_a_row = self._skipped + 1, self._in_a_row + 1
                    if self._in_a_row >= self._config.train.max_skipped:
                        raise self._not_finite(step)
                    continue
                self._finite, self._in_a_row = self._finite + 1, 0
                for key in MEANS:
                    self._sums[key] += self._last[key]
        self._metrics = []

    def resume(self) -> None:
        """Excludes the time since the last record, such as an evaluation, from the next speed."""
        self._opened, self._waited = time.monotonic(), 0.0

    def _not_finite(self, step: int) -> DivergedError:
        batch = train_batch(
            self._source,
            self._config.data,
            batch_size=self._config.train.batch_size,
            seed=self._config.seed,
            step=step - 1,
            process_index=distributed.process_index(),
            process_count=distributed.process_count(),
        )
        examples = ", ".join(str(index) for index in batch["index"][:8])
        return DivergedError(
            f"{self._in_a_row} steps in a row up to step {step} were not finite (loss"
            f" {self._last['loss']:.3g}, gradient norm {self._last['grad_norm']:.3g}, learning rate"
            f" {self._last['learning_rate']:.3g}, examples {examples} …) and were skipped; lower"
            " schedule.learning_rate, or find the operation with --config.debug_nans"
        )


def rough(seconds: float) -> str:
    """Returns "40 s", "7 min" or "3.5 h"."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def score(results: dict[str, float]) -> str:
    """Returns "test top1 97.50 %, top1_ema 97.78 %"."""
    shown = {key: value for key, value in results.items() if key.partition("/")[2][:4] == "top1"}
    parts = [f"{key.partition('/')[2]} {value:.2%}" for key, value in shown.items()]
    return f"{next(iter(shown)).partition('/')[0]} {', '.join(parts)}"


def say_start(
    log: MetricWriter,
    config: RunConfig,
    directory: Path,
    model: nn.Module,
    state_shape: TrainState,
    datasets: list[Dataset],
    plan: Plan,
) -> None:
    """Prints the start block: model, data, devices, workdir."""
    dataset = datasets[0]
    sizes = ", ".join(f"{part.num_examples:,} {part.split}" for part in datasets)
    if dataset.labelled is not None:
        sizes += f" (labels of {len(dataset.labelled):,} {dataset.split})"
    shape = "x".join(str(side) for side in dataset.image_shape)
    device, devices = distributed.devices()[0], distributed.device_count()
    several = distributed.process_count() > 1
    processes = f" in {distributed.process_count()} processes" if several else ""
    parts = config.train.grad_accum_steps
    share = config.train.batch_size // devices
    norm = "the global batch" if config.train.sync_bn else f"each device's {share}"
    precision = config.matmul_precision
    if precision == "default":
        precision = {
            "cpu": "full float32",
            "gpu": "TF32 where the GPU has it (--config.matmul_precision=float32 for full)",
            "tpu": "bfloat16 products (--config.matmul_precision=float32 for full)",
        }.get(device.platform, "the platform's default")
    lines = {
        "model": f"{config.model.name}, {count_parameters(state_shape.params):,} parameters,"
        f" computed in {config.model.dtype}",
        "data": f"{dataset.name}, {sizes}, {shape}, {dataset.num_classes} classes",
        "devices": f"{devices} x {device.device_kind}{processes}; float32 products: {precision}",
        "batch": f"{config.train.batch_size}"
        + (f" in {parts} parts" if parts > 1 else "")
        + (f", BatchNorm over {norm}" if state_shape.batch_stats else ""),
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
    if config.optimizer.freeze:
        chosen = decay_mask(config.optimizer.freeze, "freeze")(state_shape.params)
        pairs = zip(jax.tree.leaves(chosen), jax.tree.leaves(state_shape.params), strict=True)
        frozen = count_parameters([leaf for is_frozen, leaf in pairs if is_frozen])
        lines["frozen"] = f"{frozen:,} of the parameters"
    lines |= averages.lines(config, state_shape, dataset.num_classes, plan)
    for name, line in lines.items():
        log.say(f"{name:<10} {line}")


def say_transferred(
    log: MetricWriter, title: str, state_shape: TrainState, transferred: Transferred
) -> None:
    """Prints the weights that a run starts from: copied, changed and left out."""
    total = len(jax.tree.leaves(state_shape.variables()))
    lines = {
        "taken": [f"{len(transferred.copied)} of {total} arrays from {title}"],
        "adapted": transferred.changed,
        "new": transferred.new,
        "left out": transferred.left_out,
    }
    for name, parts in lines.items():
        if parts:
            log.say(f"{name:<10} {'; '.join(parts)}")


def say_restored(log: MetricWriter, step: int, meta: dict[str, Any], config: RunConfig) -> None:
    """Prints the step at which a run continues, and the effect of a changed number of devices."""
    log.say(f"{'continues':<10} from step {step:,}")
    before, now = meta["devices"], distributed.device_count()
    if before != now:
        effect = (
            "the same batches, sums in another order"
            if config.train.sync_bn
            else "the same batches, but BatchNorm sees other shares of them (train.sync_bn=True"
            " would not)"
        )
        log.say(f"{'devices':<10} {before} before, {now} now: {effect}")


def say_result(log: MetricWriter, record: Record, directory: Path, split: str = "test") -> Record:
    """Prints the last lines of a run; the very last is the accuracy with the workdir."""
    log.write_csv()
    log.say(f"state_sha256 {record['state_sha256']}")
    own = f"{split}/"
    found = {key.removeprefix(own): value for key, value in record.items() if key.startswith(own)}
    loss = "loss" if "loss" in found else "nll"
    averaged = f", averaged weights top1 {found['top1_ema']:.2%}" if "top1_ema" in found else ""
    log.say(
        f"step {record['step']}: {split} top1 {found['top1']:.2%}, top5 {found['top5']:.2%},"
        f" {loss} {found[loss]:.4f}{averaged}  ({directory})"
    )
    return record

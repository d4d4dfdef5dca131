"""The plan of a run in steps; learning rates as functions of the step."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcnn.errors import UserError
from jaxcnn.training.fields import ScheduleConfig
from jaxcnn.training.lengths import length_in_steps

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]


def size_stages(schedule: Sequence[tuple[float, int]], total: int) -> tuple[tuple[int, int], ...]:
    """Returns (earlier steps, image size) of each stage of a run of `total` steps.

    If several stages begin at the same step, the last one is used.

    Args:
      schedule: pairs (share of the run, image size from that share on).
      total: number of steps.

    Raises:
      UserError: if the schedule is not valid.
    """
    wrong = f"data.size_schedule={tuple(schedule)}: "
    try:
        shares, sizes = zip(*((float(share), size) for share, size in schedule), strict=True)
    except (TypeError, ValueError):
        raise UserError(
            wrong + "give pairs of a share of the run and a size, ((0.0, 128), (0.5, 224))"
        ) from None
    if shares[0] != 0 or list(shares) != sorted(set(shares)) or shares[-1] >= 1:
        raise UserError(wrong + "the shares of the run begin with 0, rise, and stay below 1")
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise UserError(wrong + "sizes are whole numbers of pixels")
    pairs = zip(shares, sizes, strict=True)
    return tuple({round(share * total): size for share, size in pairs}.items())


class Plan(NamedTuple):
    """Lengths and periods of a run in steps. Periods are exact fractions; None means never.

    Attributes:
      total: number of steps.
      steps_per_epoch: see `length_in_steps`.
      log: period of records.
      evaluate: period of evaluations.
      save: period of checkpoints.
      sizes: (earlier steps, side of the training images in pixels) of each stage of the run; the
        first stage has 0 earlier steps.
      keep: steps whose checkpoints are never deleted.
    """

    total: int
    steps_per_epoch: Fraction
    log: Fraction | None
    evaluate: Fraction | None
    save: Fraction | None
    sizes: tuple[tuple[int, int], ...] = ()
    keep: tuple[int, ...] = ()

    @property
    def resized(self) -> tuple[int, ...]:
        """Steps after which the size of the training images changes."""
        return tuple(before for before, _ in self.sizes[1:])

    def stamp(self, step: int) -> dict[str, Any]:
        """Returns the fields that begin every record."""
        return {"step": step, "epoch": round(float(step / self.steps_per_epoch), 4)}

    def calls(self, start: int, most: int) -> Iterator[range]:
        """Yields the steps start + 1 … total in ranges of at most `most` steps.

        A range ends where a record, an evaluation, a checkpoint or a new image size is due.
        """
        first = start + 1
        for step in range(first, self.total + 1):
            periods = (self.log, self.evaluate, self.save)
            full = step - first + 1 == most or step == self.total
            full = full or step in self.resized or step in self.keep
            if full or any(is_due(step, period) for period in periods):
                yield range(first, step + 1)
                first = step + 1


def is_due(step: int, period: Fraction | None) -> bool:
    """Returns whether a multiple of `period` lies in (step - 1, step]: once per period."""
    return period is not None and period > 0 and step // period > (step - 1) // period


def make_schedule(
    config: ScheduleConfig, *, total_steps: int, steps_per_epoch: Fraction, batch_size: int = 0
) -> Schedule:
    """Returns the learning rate as a function of the step.

    "step" multiplies the rate by `factor` at each boundary, "exponential" after each whole `every`
    (a staircase). "cosine" and "polynomial" go from the peak to `final_fraction` of it between the
    end of the warm-up and `total_steps`. Boundaries count from step 0. "plateau" is a constant
    rate, scaled by `make_plateau`.

    Args:
      config: the section `schedule`.
      total_steps: length of the run.
      steps_per_epoch: see `length_in_steps`.
      batch_size: global batch size, by which the rate is scaled relative to `reference_batch`.

    Raises:
      UserError: if `every` is missing.
    """
    scale = batch_size / config.reference_batch if config.reference_batch else 1.0
    peak = config.learning_rate * scale
    warmup_steps = round(length_in_steps(config.warmup, steps_per_epoch) or 0)
    main = _after_warmup(config, peak, total_steps - warmup_steps, steps_per_epoch)
    shift = warmup_steps if config.name in ("cosine", "polynomial") else 0

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        rate = jnp.asarray(main(jnp.asarray(step) - shift))
        if warmup_steps == 0:
            return rate
        linear = config.warmup_kind == "linear"
        progress = jnp.asarray(step) / warmup_steps if linear else 0.0
        start = config.warmup_fraction
        warming = peak * (start + (1 - start) * progress)
        return jnp.where(jnp.asarray(step) < warmup_steps, warming, rate)

    return schedule


def _after_warmup(
    config: ScheduleConfig, peak: float, steps: int, steps_per_epoch: Fraction
) -> optax.Schedule:
    """Returns the schedule after the warm-up."""
    annealed = max(steps, 1)
    match config.name:
        case "step":
            lengths = [length_in_steps(text, steps_per_epoch) for text in config.boundaries]
            drops = {max(round(one), 1): config.factor for one in lengths if one is not None}
            return optax.piecewise_constant_schedule(peak, drops)
        case "exponential":
            every = length_in_steps(config.every, steps_per_epoch)
            if every is None:
                raise UserError(
                    "the exponential schedule needs schedule.every, for example 2epochs"
                )
            return optax.exponential_decay(
                peak, max(round(every), 1), decay_rate=config.factor, staircase=True
            )
        case "cosine":
            return optax.cosine_decay_schedule(peak, annealed, alpha=config.final_fraction)
        case "polynomial":
            return optax.polynomial_schedule(
                peak, config.final_fraction * peak, config.power, annealed
            )
    return optax.constant_schedule(peak)


def make_plateau(config: ScheduleConfig) -> optax.GradientTransformationExtraArgs | None:
    """Returns a transformation that watches a metric and scales the rate; None without a plateau.

    Raises:
      UserError: if the factor is 1 or more.
    """
    if config.name != "plateau":
        return None
    if config.factor >= 1:
        raise UserError("a plateau needs schedule.factor between 0 and 1")
    return optax.contrib.reduce_on_plateau(
        config.factor,
        config.patience,
        rtol=0.0,
        atol=config.threshold,
        min_scale=config.factor**config.max_drops,
    )

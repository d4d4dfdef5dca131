"""What each field of a config may be: one table, checked before anything else is done.

A check takes a value and returns "" or what it should have been, as the end of a message.
"""

import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import flax
from ml_collections import ConfigDict

from jaxcnn.errors import UserError, nearest
from jaxcnn.training.schedules import length_in_steps

Check = Callable[[Any], str]
LARGEST_SIDE = 4096  # pixels
LARGEST_ARRAY = 2**36  # bytes of a batch, or of a synthetic split
LARGEST_OVERRIDE = 100_000  # of a field of a network
MOST_UNITS = 2000  # of a network, which takes minutes to trace; the deepest here has 600
DEPTHS = ("bases", "depth", "stage_sizes")


def whole(least: int, most: int) -> Check:
    """Returns the check of integers from `least` to `most`."""

    def check(value: Any) -> str:
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return "" if fits else f"a whole number from {least:,} to {most:,}"

    return check


def real(least: float, most: float, *, above: bool = False, below: bool = False) -> Check:
    """Returns the check of finite numbers from `least` to `most`.

    Args:
      least: the least.
      most: the greatest.
      above: exclude the least.
      below: exclude the greatest.
    """
    low, high = (
        f"{'above' if above else 'from'} {least:g}",
        f"{'below' if below else 'to'} {most:g}",
    )

    def check(value: Any) -> str:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        outside = [least] * above + [most] * below
        fits = number and least <= value <= most and value not in outside  # NaN is not
        return "" if fits else f"a number {low} {high}"

    return check


def choice(*names: str) -> Check:
    """Returns the check of a name."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            return f"one of {', '.join(names)}"
        return "" if value in names else f"possible: {nearest(value, names)}"

    return check


def several(check_one: Check, *, least: int = 0, most: int = 1000) -> Check:
    """Returns the check of sequences of `least` to `most` values."""

    def check(value: Any) -> str:
        count = f"{least}" if least == most else f"{least} or more" if least else "any number"
        if not isinstance(value, tuple | list) or not least <= len(value) <= most:
            return f"a tuple of {count}"
        problem = next(filter(None, map(check_one, value)), "")
        return problem and f"a tuple, each value of it {problem}"

    return check


def text(value: Any) -> str:
    """Checks that a value is a line of text."""
    return "" if isinstance(value, str) and value.isprintable() else "a text of one line"


def name(value: Any) -> str:
    """Checks that a value is a text that is not empty."""
    return "" if value and not text(value) else "a name"


def flag(value: Any) -> str:
    """Checks that a value is True or False."""
    return "" if isinstance(value, bool) else "True or False"


def pattern(value: Any) -> str:
    """Checks that a value is a regular expression."""
    try:
        re.compile(value)
    except (TypeError, re.error) as error:
        return f"a regular expression ({error})"
    return ""


def factor(value: Any) -> str:
    """Checks a pair of a regular expression and a factor."""
    fits = isinstance(value, tuple | list) and len(value) == 2
    if fits and not pattern(value[0]) and not real(0, 1e6)(value[1]):
        return ""
    return "(regular expression, factor from 0 to 1e+06), as ('bias$', 2.0)"


def renaming(value: Any) -> str:
    """Checks a regular expression, or a pair of one and its replacement."""
    if isinstance(value, tuple | list):
        return "" if len(value) == 2 and not pattern(value[0]) and not text(value[1]) else "a pair"
    return pattern(value)


def weights(value: Any) -> str:
    """Checks which weights are taken: the name of a method, or patterns."""
    return text(value) if isinstance(value, str) else several(renaming)(value)


def _steps(text: str) -> Fraction | None:
    return length_in_steps(text, Fraction(1))


def length(value: Any) -> str:
    """Checks a length such as "8epochs"."""
    try:
        found = _steps(value)
    except (ValueError, TypeError, AttributeError):
        return "a length: write it as 8epochs, 1000steps or never"
    return "" if found is None or found < 2**31 else "a length below 2,147,483,648steps"


def some_length(value: Any) -> str:
    """Checks a length that is neither "never" nor nothing."""
    wrong = length(value)
    return wrong or ("" if _steps(value) else "positive, for example 8epochs")


def stage(value: Any) -> str:
    """Checks a pair of a share of the run and an image size."""
    fits = isinstance(value, tuple | list) and len(value) == 2
    if fits and not real(0, 1, below=True)(value[0]) and not whole(1, LARGEST_SIDE)(value[1]):
        return ""
    return f"(share of the run below 1, size to {LARGEST_SIDE}), as (0.5, 224)"


side, side_or_none = whole(1, LARGEST_SIDE), whole(0, LARGEST_SIDE)
share, count, decay = real(0, 1), whole(0, 10**9), real(0, 1, below=True)
strength, positive = real(0, 100), real(0, 1e6, above=True)
patterns = several(pattern)

CHECKS: dict[str, Check] = {
    "seed": whole(0, 2**32 - 1),  # JAX takes the lowest 32 bits
    "dataset": text,
    "init_from": text,
    "init_map": weights,
    "allow_change": text,
    "debug_nans": flag,
    "matmul_precision": choice("default", "tensorfloat32", "float32"),
    "model.name": text,
    "model.dtype": choice("float32", "bfloat16", "float64"),
    "model.kernel_init": text,
    "data.kind": choice("digits", "synthetic", "folder", "tfds"),
    "data.name": text,
    "data.dir": text,
    "data.image_size": side,
    "data.eval_image_size": side_or_none,
    "data.size_schedule": several(stage),
    "data.channels": whole(1, 1024),
    "data.num_classes": whole(2, 10**6),
    "data.num_examples": whole(1, 10**9),
    "data.train_split": name,
    "data.test_split": name,
    "data.holdout": count,
    "data.holdout_per_class": several(count),
    "data.labelled": count,
    "data.unlabelled_per_labelled": whole(0, 10_000),
    "data.train_crop": choice("resize", "random_resized", "scale_jitter", "frame", "none"),
    "data.eval_crop": choice("resize", "center", "frame", "none"),
    "data.resize": side_or_none,
    "data.scale_range": several(side, least=2, most=2),
    "data.mean": several(real(-1000, 1000), least=1, most=1024),
    "data.std": several(real(1e-6, 1000), least=1, most=1024),
    "data.preprocess": choice("channels", "mean_image", "gcn", "zca"),
    "data.gcn_scale": positive,
    "data.zca_epsilon": positive,
    "data.policy": choice("none", "randaugment", "trivialaugment"),
    "data.policy_operations": whole(1, 100),
    "data.policy_magnitude": real(0, 30),
    "data.color_jitter": share,
    "data.photometric": share,
    "data.lighting": strength,
    "data.pad": side_or_none,
    "data.pad_mode": choice("constant", "reflect"),
    "data.translate": share,
    "data.flip": flag,
    "data.vertical_flip": flag,
    "data.erase": share,
    "data.erase_area": several(real(0, 1, above=True), least=2, most=2),
    "data.erase_fill": choice("noise", "mean"),
    "data.mixup": strength,
    "data.cutmix": strength,
    "data.mix_probability": share,
    "data.repeats": whole(1, 10_000),
    "data.num_workers": whole(0, 1024),
    "data.max_bad_fraction": share,
    "optimizer.name": choice("sgd", "rmsprop", "adam", "adamw", "lars", "lamb"),
    "optimizer.momentum": decay,
    "optimizer.nesterov": flag,
    "optimizer.rms_decay": decay,
    "optimizer.epsilon": real(1e-30, 1000),
    "optimizer.beta1": decay,
    "optimizer.beta2": decay,
    "optimizer.weight_decay": real(0, 10),
    "optimizer.decay_mask": patterns,
    "optimizer.clip_norm": real(0, 1e6),
    "optimizer.rate_factors": several(factor),
    "optimizer.freeze": patterns,
    "optimizer.max_rms": real(0, 1e6),
    "optimizer.max_rms_mask": patterns,
    "schedule.name": choice("constant", "step", "exponential", "cosine", "polynomial", "plateau"),
    "schedule.learning_rate": real(0, 1000),
    "schedule.reference_batch": whole(0, 10**6),
    "schedule.boundaries": several(length),
    "schedule.factor": real(0, 1000, above=True),
    "schedule.every": length,
    "schedule.final_fraction": share,
    "schedule.power": real(0, 100, above=True),
    "schedule.warmup": length,
    "schedule.warmup_kind": choice("linear", "constant"),
    "schedule.warmup_fraction": share,
    "schedule.patience": whole(1, 10**6),
    "schedule.threshold": positive,
    "schedule.max_drops": whole(0, 1000),
    "schedule.metric": choice("top1", "top5", "loss"),
    "loss.name": choice("cross_entropy", "squared_hinge", "squared_error", "rbf_mse", "rbf_map"),
    "loss.label_smoothing": decay,
    "loss.aux_weight": real(0, 1000),
    "loss.aux_threshold": real(0, 1000),
    "loss.aux_decay": choice("none", "linear"),
    "train.length": some_length,
    "train.batch_size": whole(1, 10**6),
    "train.accumulate": whole(1, 10_000),
    "train.steps_per_call": whole(1, 10_000),
    "train.ema_decay": decay,
    "train.ema_warmup": flag,
    "train.sync_bn": flag,
    "train.max_skipped": whole(1, 10**6),
    "train.watchdog_seconds": real(0, 1e7),
    "eval.every": length,
    "eval.batch_size": whole(1, 10**6),
    "eval.protocol": choice(
        "center", "flip", "ten_crop", "multi_crop", "googlenet144", "dense", "multi_scale_dense"
    ),
    "eval.scales": several(side),
    "eval.recalibrate_batches": whole(0, 10**6),
    "checkpoint.every": length,
    "checkpoint.keep_latest": whole(0, 10**6),
    "checkpoint.keep_best": whole(0, 10**6),
    "checkpoint.metric": choice("top1", "top5"),
    "log.every": length,
    "log.tensorboard": flag,
}
OVERRIDES = "model.overrides."


def check(config: ConfigDict) -> None:
    """Checks the fields of a config, each by itself and then together.

    Raises:
      UserError: naming the first that is not as it should be, and what it should be.
    """
    for field, value in flatten(config).items():
        if field.startswith(OVERRIDES):
            _check_override(field, value)
        elif field in CHECKS:
            if wanted := CHECKS[field](value):
                raise UserError(f"{field}={_shown(value)} is not {wanted}")
        elif field != "model.overrides":
            raise UserError(f"the config has no field {field!r}: {nearest(field, CHECKS)}")
    _check_together(config)


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns the values of a config by their full names, `train.length` for example."""
    flat = flax.traverse_util.flatten_dict(config.to_dict(), keep_empty_nodes=True, sep=".")
    empty = flax.traverse_util.empty_node
    return {field: {} if value is empty else value for field, value in flat.items()}


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 60 else f"{shown[:57]}…"


def _check_override(field: str, value: Any) -> None:
    own = field.removeprefix(OVERRIDES).split(".")[0]
    if own in ("num_classes", "dtype", "name", "parent"):
        instead = {
            "num_classes": "the data say how many classes there are (data.num_classes)",
            "dtype": "set --config.model.dtype",
        }.get(own, "it is no field of a network")
        raise UserError(f"{field} cannot be set: {instead}")
    if re.search("survival_probability|_share$", own):
        check = real(0, 1)
    elif re.search("dropout|drop_path", own):
        check = decay
    elif own == "columns":  # each doubles the depth of a FractalNet
        check = whole(1, 10)
    elif own in DEPTHS:
        check = whole(0, MOST_UNITS)
    else:
        check = real(-LARGEST_OVERRIDE, LARGEST_OVERRIDE)
    numbers = [one for one in _leaves(value) if type(one) in (int, float)]
    if wanted := next(filter(None, map(check, numbers)), ""):
        part = "has a part that is not" if isinstance(value, tuple | list) else "is not"
        raise UserError(f"{field}={_shown(value)} {part} {wanted}")
    if own in DEPTHS and (units := sum(numbers)) > MOST_UNITS:
        raise UserError(f"{field}={_shown(value)} makes {units:,} units: {MOST_UNITS:,} at most")


def _leaves(value: Any) -> Sequence[Any]:
    if isinstance(value, tuple | list):
        return [leaf for one in value for leaf in _leaves(one)]
    return [value]


def _check_together(config: ConfigDict) -> None:
    data, train = config.data, config.train
    for field in ("mean", "std"):
        if len(data[field]) not in (1, data.channels):
            raise UserError(
                f"data.{field}={_shown(tuple(data[field]))} has {len(data[field])} numbers: give 1"
                f" or as many as data.channels={data.channels}"
            )
    if data.scale_range[0] > data.scale_range[1]:
        raise UserError(f"data.scale_range={tuple(data.scale_range)} must rise")
    if data.erase_area[0] > data.erase_area[1]:
        raise UserError(f"data.erase_area={tuple(data.erase_area)} must rise, within 0 and 1")
    image = data.image_size**2 * data.channels
    examples = data.num_examples if data.kind == "synthetic" else 0
    for field, images in (("train.batch_size", train.batch_size), ("data.num_examples", examples)):
        if images * image > LARGEST_ARRAY:
            raise UserError(
                f"{field}={images} of {data.image_size}x{data.image_size}x{data.channels} are"
                f" {math.ceil(images * image / 2**30):,} GiB: lower it, or data.image_size"
            )

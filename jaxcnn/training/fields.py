"""The sections `train`, `optimizer`, `schedule` and `loss` of a config."""

import dataclasses
from typing import Any

from jaxcnn.config import spec
from jaxcnn.training.lengths import length, some_length

OPTIMIZERS = ("sgd", "rmsprop", "adam", "adamw", "lars", "lamb")
SCHEDULES = ("constant", "step", "exponential", "cosine", "polynomial", "plateau")
LOSSES = ("cross_entropy", "squared_hinge", "squared_error", "rbf_mse", "rbf_map")


@dataclasses.dataclass(frozen=True)
class TrainConfig(spec.Section):
    """Section `train`."""

    length: str = spec.field(
        "10epochs", "length of the run, such as 90epochs or 64000steps", some_length
    )
    batch_size: int = spec.field(64, "images of one step, over all devices", spec.whole(1, 10**6))
    grad_accum_steps: int = spec.field(
        1, "parts of a batch whose gradients are summed before one update", spec.whole(1, 10_000)
    )
    steps_per_call: int = spec.field(
        0,
        "steps of one call of a program; 0 is as many as a measurement finds faster",
        spec.whole(0, 10_000),
    )
    ema_decay: float = spec.field(
        0.0, "decay of the moving average of the weights; 0 is off", spec.decay
    )
    ema_warmup: bool = spec.field(True, "a smaller ema_decay in the first steps", spec.flag)
    sync_bn: bool = spec.field(
        False, "BatchNorm over the global batch instead of each device's part", spec.flag
    )
    max_skipped: int = spec.field(
        10, "steps in a row with non-finite values before the run stops", spec.whole(1, 10**6)
    )
    watchdog_seconds: float = spec.field(
        1800.0,
        "several processes only: longest wait for another process, seconds; 0 is off",
        spec.real(0, 1e7),
    )


def _factor(value: Any) -> str:
    """Checks a pair (regular expression, factor); see `config.spec`."""
    fits = isinstance(value, tuple | list) and len(value) == 2
    if fits and not spec.pattern(value[0]) and not spec.real(0, 1e6)(value[1]):
        return ""
    return "(regular expression, factor from 0 to 1e+06), as ('bias$', 2.0)"


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(spec.Section):
    """Section `optimizer`."""

    name: str = spec.field("sgd", " | ".join(OPTIMIZERS), spec.choice(*OPTIMIZERS))
    momentum: float = spec.field(0.9, "sgd, rmsprop and lars only", spec.decay)
    nesterov: bool = spec.field(False, "Nesterov's form of the momentum", spec.flag)
    rms_decay: float = spec.field(0.9, "rmsprop only: decay of the mean square", spec.decay)
    epsilon: float = spec.field(
        1e-8,
        "rmsprop, adam, adamw and lamb only: epsilon of the denominator",
        spec.real(1e-30, 1000),
    )
    beta1: float = spec.field(0.9, "adam, adamw and lamb only: decay of the mean", spec.decay)
    beta2: float = spec.field(
        0.999, "adam, adamw and lamb only: decay of the mean square", spec.decay
    )
    weight_decay: float = spec.field(
        1e-4, "weight decay of the parameters that decay_mask matches", spec.real(0, 10)
    )
    decay_mask: tuple[str, ...] = spec.field(
        ("kernel$",), "regular expressions: parameters whose name matches any decay", spec.patterns
    )
    clip_norm: float = spec.field(
        0.0, "largest norm of the whole gradient; 0 is off", spec.real(0, 1e6)
    )
    lr_multipliers: tuple[tuple[str, float], ...] = spec.field(
        (),
        "pairs (regular expression, factor of the learning rate), such as (('bias$', 2.0),);"
        " factors of several matches are multiplied",
        spec.several(_factor),
    )
    layer_decay: float = spec.field(
        1.0,
        "factor of the learning rate from each submodule of the network, such as stage4, to the one"
        " before it; 1 is off, 0.75 is usual for fine-tuning",
        spec.real(0, 1, above=True),
    )
    freeze: tuple[str, ...] = spec.field(
        (),
        "regular expressions of parameters and BatchNorm statistics that stay unchanged, such as"
        " ('^stem/',); frozen statistics also normalise training",
        spec.patterns,
    )
    max_rms: float = spec.field(
        0.0,
        "filters with a larger root mean square are scaled to it after each step; 0 is off, ZFNet"
        " has 0.1",
        spec.real(0, 1e6),
    )
    max_rms_mask: tuple[str, ...] = spec.field(
        ("kernel$",), "regular expressions: parameters that max_rms limits", spec.patterns
    )


@dataclasses.dataclass(frozen=True)
class ScheduleConfig(spec.Section):
    """Section `schedule`: the learning rate."""

    name: str = spec.field("cosine", " | ".join(SCHEDULES), spec.choice(*SCHEDULES))
    learning_rate: float = spec.field(
        0.1, "peak learning rate, for batches of reference_batch", spec.real(0, 1000)
    )
    reference_batch: int = spec.field(
        0, "batch size that learning_rate is meant for; 0: train.batch_size", spec.whole(0, 10**6)
    )
    boundaries: tuple[str, ...] = spec.field(
        (), "step only: lengths after which the rate drops", spec.several(length)
    )
    factor: float = spec.field(
        0.1,
        "step, exponential and plateau only: factor of one drop",
        spec.real(0, 1000, above=True),
    )
    every: str = spec.field("never", "exponential only: length between drops", length)
    final_fraction: float = spec.field(
        0.0, "cosine and polynomial only: final rate as a fraction of the peak", spec.share
    )
    power: float = spec.field(1.0, "polynomial only: exponent", spec.real(0, 100, above=True))
    warmup: str = spec.field("0steps", "length of the warm-up", length)
    warmup_kind: str = spec.field("linear", "linear | constant", spec.choice("linear", "constant"))
    warmup_fraction: float = spec.field(
        0.0, "first rate of the warm-up, as a fraction of the peak", spec.share
    )
    patience: int = spec.field(
        5, "plateau only: evaluations without improvement before a drop", spec.whole(1, 10**6)
    )
    threshold: float = spec.field(
        1e-4, "plateau only: smallest change that counts as an improvement", spec.positive
    )
    max_drops: int = spec.field(3, "plateau only: maximum number of drops", spec.whole(0, 1000))
    metric: str = spec.field(
        "top1", "plateau only: top1 | top5 (as errors) | loss", spec.choice("top1", "top5", "loss")
    )


def is_balanced(class_weights: Any) -> bool:
    """Returns whether the field `class_weights` asks for weights by the number of examples."""
    return class_weights in ("balanced", ("balanced",), ["balanced"])


def _class_weights(value: Any) -> str:
    """Checks `class_weights`; see `config.spec`."""
    if is_balanced(value):
        return ""
    wanted = spec.several(spec.real(0, 1e6), most=100_000)(value)
    return wanted and f"balanced, or {wanted}"


@dataclasses.dataclass(frozen=True)
class LossConfig(spec.Section):
    """Section `loss`: the objective of training."""

    name: str = spec.field("cross_entropy", " | ".join(LOSSES), spec.choice(*LOSSES))
    label_smoothing: float = spec.field(
        0.0, "share of the label spread over all classes", spec.decay
    )
    class_weights: tuple[Any, ...] = spec.field(
        (),
        "factors of the losses of examples, one number for each class; balanced makes them"
        " inversely proportional to the training examples of the class; () is off",
        _class_weights,
    )
    aux_weight: float = spec.field(
        0.3, "weight of the loss of each auxiliary head", spec.real(0, 1000)
    )
    aux_threshold: float = spec.field(
        0.0, "loss below which an auxiliary head is ignored", spec.real(0, 1000)
    )
    aux_decay: str = spec.field(
        "none",
        "none | linear: the weight of auxiliary heads falls to zero over the run",
        spec.choice("none", "linear"),
    )

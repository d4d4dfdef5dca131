"""The sections `checkpoint` and `log` of a config, and the fields without a section."""

import dataclasses
from typing import Any

from jaxcnn.config import spec
from jaxcnn.training.lengths import length, some_length

PRECISIONS = ("default", "tensorfloat32", "float32")


def _renaming(value: Any) -> str:
    """Checks a regular expression, or a pair (regular expression, replacement)."""
    if isinstance(value, tuple | list):
        return (
            ""
            if len(value) == 2 and not spec.pattern(value[0]) and not spec.text(value[1])
            else "a pair"
        )
    return spec.pattern(value)


def _weights(value: Any) -> str:
    """Checks `init_map`: the name of a map, or patterns."""
    return spec.text(value) if isinstance(value, str) else spec.several(_renaming)(value)


@dataclasses.dataclass(frozen=True)
class RunFields(spec.Section):
    """The fields without a section."""

    seed: int = spec.field(
        0,
        "seed of the weights, the order of the data and the augmentation",
        spec.whole(0, 2**32 - 1),
    )
    dataset: str = spec.field("", "name of the data preset; part of the default workdir", spec.text)
    init_from: str = spec.field(
        "",
        "weights to start from: a name of jaxcnn.list_pretrained, a folder of"
        " jaxcnn.interop.convert, or a workdir",
        spec.text,
    )
    allow_noncommercial: bool = spec.field(
        False, "take weights by name whose licence forbids commercial use", spec.flag
    )
    init_map: str | tuple[Any, ...] = spec.field(
        (),
        "weights of init_from to use, () for all: regular expressions, pairs (pattern, name there)"
        " or vgg_a",
        _weights,
    )
    allow_change: str = spec.field(
        "", "fields or sections, with commas, that a resumed run may change", spec.text
    )
    debug_nans: bool = spec.field(False, "stop in the operation that makes a NaN (slow)", spec.flag)
    matmul_precision: str = spec.field(
        "default",
        "precision of float32 products on accelerators: " + " | ".join(PRECISIONS),
        spec.choice(*PRECISIONS),
    )


@dataclasses.dataclass(frozen=True)
class CheckpointConfig(spec.Section):
    """Section `checkpoint`."""

    every: str = spec.field("1epochs", "length between checkpoints", length)
    keep_latest: int = spec.field(
        2, "newest checkpoints that are kept; 0 counts as 1", spec.whole(0, 10**6)
    )
    keep_best: int = spec.field(
        1, "best checkpoints that are kept; a better one is saved at once", spec.whole(0, 10**6)
    )
    keep_at: tuple[str, ...] = spec.field(
        (),
        "lengths after which a checkpoint is saved that is never deleted, such as ('1epochs',"
        " '5epochs'): pictures of how features develop need several",
        spec.several(some_length),
    )
    metric: str = spec.field(
        "top1", "top1 | top5: metric of the best checkpoint", spec.choice("top1", "top5")
    )


@dataclasses.dataclass(frozen=True)
class LogConfig(spec.Section):
    """Section `log`."""

    every: str = spec.field("20steps", "length between records", length)
    tensorboard: bool = spec.field(False, "also write TensorBoard files", spec.flag)
    report: bool = spec.field(
        False, "write report.html at the end (python -m jaxcnn.report makes it later)", spec.flag
    )

"""Fields of a run as a whole, which are in no section of its config."""

import dataclasses
from typing import Any

from jaxcnn.config import spec

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

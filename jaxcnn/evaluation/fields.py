"""The section `eval` of a config."""

import dataclasses

from jaxcnn.config import spec
from jaxcnn.evaluation.multicrop import PROTOCOLS
from jaxcnn.training.lengths import length


@dataclasses.dataclass(frozen=True)
class EvalConfig(spec.Section):
    """Section `eval`."""

    every: str = spec.field("1epochs", "length between evaluations", length)
    batch_size: int = spec.field(
        256,
        "images of one evaluation step, over all devices; each view counts as an image",
        spec.whole(1, 10**6),
    )
    protocol: str = spec.field(
        "center",
        "views of the final test and of --mode=evaluate: " + " | ".join(PROTOCOLS),
        spec.choice(*PROTOCOLS),
    )
    scales: tuple[int, ...] = spec.field(
        (),
        "all protocols but center and flip: short sides, pixels; (): the paper's",
        spec.several(spec.side),
    )
    recalibrate_batches: int = spec.field(
        0,
        "before each evaluation BatchNorm's statistics become means over so many training batches;"
        " 0 is off",
        spec.whole(0, 10**6),
    )

"""Section `checkpoint` of a config."""

import dataclasses

from jaxcnn.config import spec
from jaxcnn.training.schedules import length, some_length


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

"""Section `log` of a config."""

import dataclasses

from jaxcnn.config import spec
from jaxcnn.training.schedules import length


@dataclasses.dataclass(frozen=True)
class LogConfig(spec.Section):
    """Section `log`."""

    every: str = spec.field("20steps", "length between records", length)
    tensorboard: bool = spec.field(False, "also write TensorBoard files", spec.flag)
    report: bool = spec.field(
        False, "write report.html at the end (python -m jaxcnn.report makes it later)", spec.flag
    )

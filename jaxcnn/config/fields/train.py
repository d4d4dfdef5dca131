"""Section `train` of a config."""

import dataclasses

from jaxcnn.config import spec
from jaxcnn.training.schedules import some_length


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
        1, "steps that are compiled as one program", spec.whole(1, 10_000)
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

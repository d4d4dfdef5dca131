"""Memory of a training step on the CPU as the system counts it, ours and torch's.

Each is measured in a process of its own: the largest resident memory during some steps, less that
of the process when it had loaded its libraries. It holds weights, momentum, gradients, activations,
the compiled program, and what the allocator did not give back. Compilation is over by then.
"""

import gc
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxcnn.benchmark import networks, peers
from jaxcnn.errors import UserError
from jaxcnn.models import create_model
from jaxcnn.run import versions

STEPS = 3
HEADER = """\
| | images | ours, GB | XLA's count, GB | torch, GB | ours over torch |
|---|--:|--:|--:|--:|--:|"""
RESET = Path("/proc/self/clear_refs")  # Linux: 5 makes the present memory the peak


class Step(NamedTuple):
    """A training step, with SGD and momentum.

    Attributes:
      name: of the network.
      batch: number of images.
      size: height and width of images; 0 is the network's own.
      dtype: of the computation; parameters are float32.
      fields: further fields of our network, such as `remat`.
    """

    name: str
    batch: int
    size: int
    dtype: str
    fields: Mapping[str, Any]


class Peak(NamedTuple):
    """Bytes of a network's training step.

    Attributes:
      name: of the network.
      batch: number of images.
      ours: of this package.
      counted: what XLA's compiler says of ours.
      theirs: of torch, eager, channels_last; None without it.
    """

    name: str
    batch: int
    ours: int
    counted: int | None
    theirs: int | None


def measure(step: Step, threads: int, libraries: Sequence[str]) -> Peak:
    """Runs training steps of a network, and of torch's, each in a process of its own.

    Args:
      step: what is run.
      threads: of torch.
      libraries: torch libraries in which the network is searched; none for ours alone.

    Raises:
      UserError: if the system cannot tell, the network does not take the images, or a process is
        ended.
    """
    if not RESET.exists():
        raise UserError("--mode=memory needs Linux, which tells the peak of a part of a process")
    ours, counted = _alone(_of_ours, step)
    theirs = _alone(_of_torch, step, threads, libraries) if libraries else None
    return Peak(step.name, step.batch, ours, counted, theirs)


def _alone(function: Callable[..., Any], step: Step, *arguments: Any) -> Any:
    """Returns the function's result in a new process; raises `UserError` if that is ended."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(function, step, *arguments).result()
        except BrokenProcessPool:
            raise UserError(
                f"{step.name}: the process that ran the steps was ended, most likely for want of"
                " memory: try a smaller --batch"
            ) from None


def _of_ours(step: Step) -> tuple[int, int | None]:
    name, batch, size, dtype, fields = step
    jnp.zeros(1).block_until_ready()
    before = _resident()
    model = networks.without_dropout(create_model(name, dtype=jnp.dtype(dtype), **fields))
    work = networks.make_work(name, "train", batch, size, dtype)
    contender = networks.contender("jaxcnn", model, networks.initialise(model, work), work)
    return _peak_of(contender.run) - before, contender.memory


def _of_torch(step: Step, threads: int, libraries: Sequence[str]) -> int:
    name, batch, size, dtype, _ = step
    peers.check_torch(threads)
    library, theirs = peers.their_name(name, libraries)
    peers.load(library)
    before = _resident()
    work = networks.make_work(name, "train", batch, size, dtype)
    once = peers.make_step(peers.create(library, theirs), work, "channels_last")

    def run(steps: int) -> None:
        for _ in range(steps):
            once()

    run(1)
    return _peak_of(run) - before


def _peak_of(run: Callable[[int], Any]) -> int:
    """Returns the largest resident memory while some steps run."""
    gc.collect()
    _resident()  # where the peak begins
    run(STEPS)
    return versions.peak_memory()


def _resident() -> int:
    """Returns the resident memory of this process, and makes it the peak so far."""
    RESET.write_text("5", encoding="ascii")
    return versions.peak_memory()


def row(peak: Peak) -> str:
    """Returns the row of the Markdown table."""
    ratio = "" if peak.theirs is None else f"{peak.ours / peak.theirs:.2f}"
    sizes = [_shown(peak.ours), _shown(peak.counted), _shown(peak.theirs), ratio]
    return f"| {peak.name} | {peak.batch} | {' | '.join(sizes)} |"


def _shown(size: int | None) -> str:
    return "" if size is None else f"{size / 1e9:.2f}"

"""Finds the largest batch whose training step fits a memory, from compiled programs.

XLA decides when it compiles which arrays a program holds at the same time, so nothing is run or
allocated. Besides them a process needs its libraries and, on a GPU, work space of some operations.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.benchmark import networks
from jaxcnn.benchmark.rounds import peak_memory
from jaxcnn.errors import UserError
from jaxcnn.models import create_model, input_size
from jaxcnn.run import compiler_options, distributed, versions

UNITS: Mapping[str, int] = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
FIRST = (8, 16)  # batches whose memory is known before the first guess
MOST = 65_536
CLOSE = 0.02  # of a batch: no nearer ones are compiled


class Fit(NamedTuple):
    """The largest batch that fits.

    Attributes:
      name: name of the network.
      image_shape: (H, W, C).
      memory: bytes that are there.
      batch: number of images; 0 if not even one fits.
      known: batch → bytes at the peak of a training step, of all compiled programs.
      seconds: time of all compilations.
    """

    name: str
    image_shape: tuple[int, ...]
    memory: int
    batch: int
    known: Mapping[int, int]
    seconds: float


def parse_memory(text: str) -> int:
    """Returns the bytes of "16GB", "24GiB" or "900MB"; of "", those of this machine's device.

    Raises:
      UserError: if it is none of these.
    """
    if not text:
        return distributed.device_memory() or versions.memory()
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|MiB|GiB)", text)
    if not found or not float(found[1]):
        raise UserError(f"--memory={text} is not a size such as 16GB or 900MB")
    return int(float(found[1]) * UNITS[found[2]])


def measure(name: str, memory: int, size: int, dtype: str, fields: Mapping[str, Any]) -> Fit:
    """Returns the largest batch of a network's training step (SGD with momentum).

    Args:
      name: a name in the registry.
      memory: bytes.
      size: height and width of images; 0 is the network's own.
      dtype: dtype of the computation, "float32" or "bfloat16"; parameters are float32.
      fields: further fields of the network, such as `remat`.

    Raises:
      UserError: if the network does not exist or take the images, or the compiler does not tell.
    """
    height, width, channels = input_size(name)
    shape = (size or height, size or width, channels)
    model = create_model(name, dtype=jnp.dtype(dtype), **fields)
    optimizer, step = networks.make_step(model)
    state = jax.eval_shape(
        lambda: networks.make_state(optimizer, model.init(jax.random.key(0), jnp.ones((1, *shape))))
    )
    began = time.perf_counter()

    def bytes_of(batch: int) -> int:
        images, labels = np.zeros(1, np.float32), np.zeros(1, np.int32)
        rows = networks.make_batch(
            np.broadcast_to(images, (batch, *shape)), np.broadcast_to(labels, batch)
        )
        found = peak_memory(step.lower(state, rows).compile())
        if found is None:
            raise UserError(f"the compiler of {distributed.platform()} does not tell the memory")
        return found

    batch, known = largest(memory, bytes_of)
    return Fit(name, shape, memory, batch, known, time.perf_counter() - began)


def largest(memory: int, bytes_of: Callable[[int], int]) -> tuple[int, dict[int, int]]:
    """Returns the largest batch whose bytes are at most `memory`, and batch → bytes.

    It follows the line through the nearest known batches, since memory grows with the batch, and
    halves the interval in between, until one that fits and one that does not are within 2 %, or
    neighbours.

    Args:
      memory: bytes.
      bytes_of: batch → bytes; rising.
    """
    known = {batch: bytes_of(batch) for batch in FIRST}
    while True:
        fits = max((batch for batch in known if known[batch] <= memory), default=0)
        not_fit = min((batch for batch in known if known[batch] > memory), default=MOST + 1)
        if not_fit - fits <= max(1, int(CLOSE * fits)):
            return fits, dict(sorted(known.items()))
        low, high = sorted(known, key=lambda batch: abs(known[batch] - memory))[:2]
        slope = (known[high] - known[low]) / (high - low)
        if slope > 0 and (len(known) % 2 == 0 or not_fit > MOST):
            guess = int(low + (memory - known[low]) / slope)
        else:
            guess = (fits + not_fit) // 2
        # The line may lead to a batch that is known already.
        guess = min(max(guess, fits + 1), not_fit - 1)
        known[guess] = bytes_of(guess)


def sentence(fit: Fit, dtype: str) -> str:
    """Returns the answer and what it stands on, as Markdown."""
    rows = [
        "| batch | memory | |",
        "|--:|--:|---|",
        *(
            f"| {batch:,} | {_shown(size)} | {'fits' if size <= fit.memory else ''} |"
            for batch, size in fit.known.items()
        ),
    ]
    height, width, _ = fit.image_shape
    there = _shown(fit.memory)
    what = f"{fit.name}, {height}x{width}, {dtype}"
    if not fit.batch:
        answer = f"{what}: not one image fits {there}; try a smaller --size"
        answer += ", or --remat" * compiler_options.recomputes()
    else:
        answer = (
            f"{what}: a batch of {fit.batch:,} fits {there}; a training step with SGD and momentum"
            f" holds {_shown(fit.known[fit.batch])}"
        )
    return "\n".join([*rows, "", f"{answer} ({fit.seconds:.0f} s of compiling)."])


def _shown(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def as_record(fit: Fit) -> dict[str, Any]:
    """Returns the answer as plain data."""
    return {**fit._asdict(), "known": [[batch, size] for batch, size in fit.known.items()]}

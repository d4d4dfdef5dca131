"""Measures the machine's limits; lists its processor, memory and versions."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.run import distributed, versions


class Roofline(NamedTuple):
    """The two limits of a computation.

    Attributes:
      bandwidth: bytes per second that a large copy reads and writes.
      flops: floating-point operations per second of a large matrix product.
    """

    bandwidth: float
    flops: float


def measure_roofline(dtype: Any) -> Roofline:
    """Measures both limits, within seconds."""
    large = distributed.platform() != "cpu"
    values = jnp.ones(2**28 if large else 2**26, jnp.float32)
    side = 8192 if large else 2048
    # Equal numbers would be too fast on a GPU, which draws less power for them.
    matrix = jax.random.normal(jax.random.key(0), (side, side), dtype)
    # Donated argument: otherwise the system's memory allocation would be timed.
    copy = jax.jit(lambda x: -x, donate_argnums=0)
    product = jax.jit(lambda x: x @ x)
    return Roofline(
        2 * values.nbytes / _best(copy, values), 2 * side**3 / _best(product, matrix, again=matrix)
    )


def _best(call: Callable[[jax.Array], jax.Array], x: jax.Array, again: Any = None) -> float:
    """Returns the shortest time of a call; its next argument is its result, or `again`."""
    found = []
    for _ in range(6):
        start = time.perf_counter()
        result = jax.block_until_ready(call(x))
        found.append(time.perf_counter() - start)
        x = result if again is None else again
    return min(found[1:])  # the first call compiles


def describe(threads: int) -> dict[str, str]:
    """Returns versions, processor, threads and the settings that affect the comparison."""
    found = {"python": platform.python_version(), "device": distributed.devices()[0].device_kind}
    for package in ("jax", "jaxlib", "flax", "torch", "torchvision", "timm"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    found["processor"] = versions.processor()
    found["threads"] = str(threads)
    for name in ("OMP_WAIT_POLICY", "XLA_FLAGS", "GLIBC_TUNABLES"):
        if name in os.environ:
            found[name] = os.environ[name]
    return found

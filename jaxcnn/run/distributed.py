"""Devices and processes; no other file handles them.

The state is one replicated tree without a leading device axis; a batch is split over devices along
its first axis, in the order process 0 device 0, process 0 device 1, …, process 1 device 0, ….
"""

import collections
import contextlib
import ctypes
import dataclasses
import functools
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcnn.errors import EXIT_PEER_LOST, EXIT_STUCK, UserError

AXIS = "batch"
MOST_CALLS = 50  # largest number of calls of `Agreement` without communication


def devices() -> list[jax.Device]:
    """Returns the devices of all processes."""
    return jax.devices()


def device_count() -> int:
    """Returns the number of devices of all processes."""
    return jax.device_count()


def platform() -> str:
    """Returns the default platform: "cpu", "gpu" or "tpu"."""
    return jax.default_backend()


def process_index() -> int:
    """Returns the index of this process, from 0."""
    return jax.process_index()


def process_count() -> int:
    """Returns the number of processes of the run."""
    return jax.process_count()


def is_main_process() -> bool:
    """Returns whether this is process 0, which writes and prints."""
    return jax.process_index() == 0


def is_initialized() -> bool:
    """Returns whether this process has joined others; see `initialize`."""
    return jax.distributed.is_initialized()


def initialize(coordinator: str, num_processes: int, process_id: int) -> None:
    """Joins the other processes of a run.

    Args:
      coordinator: host:port of process 0; "auto" asks SLURM, the TPU pod or Kubernetes.
      num_processes: number of processes; ignored with "auto".
      process_id: 0 … num_processes - 1; ignored with "auto".

    Raises:
      UserError: if the numbers are wrong, or the others cannot be reached (exit code 75).
    """
    if coordinator != "auto" and not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id={process_id} with --num_processes={num_processes}: it must be 0 to"
            f" {num_processes - 1}"
        )
    _exit_when_aborted()
    try:
        if coordinator == "auto":
            jax.distributed.initialize(heartbeat_timeout_seconds=30, shutdown_timeout_seconds=30)
            return
        host, _, port = coordinator.rpartition(":")
        # Without a bind address the coordinator listens on every interface without authentication;
        # a local run must stay local.
        local = host in ("127.0.0.1", "localhost", "[::1]")
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=60 if local else 300,  # a cluster starts over minutes
            heartbeat_timeout_seconds=30,
            shutdown_timeout_seconds=30,
            coordinator_bind_address=f"{host}:{port}" if local else None,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot join the other processes at {coordinator!r}: {str(error).splitlines()[0]};"
            " check --coordinator (host:port), --num_processes and --process_id",
            EXIT_PEER_LOST,
        ) from error


def _exit_when_aborted() -> None:
    """Ends the process with an exit code when jax aborts it because the coordinator is lost.

    jax aborts from a thread of its own and accepts no Python callback.
    """
    ctypes.CDLL(None).signal(signal.SIGABRT, _on_abort)


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _on_abort(number: int) -> None:
    del number
    with contextlib.suppress(OSError):
        os.write(2, b"error: this or another process is lost: start the run again\n")
    os._exit(EXIT_PEER_LOST)


def _mesh() -> Mesh:
    return Mesh(np.array(jax.local_devices()), (AXIS,))


def replicate(tree: Any) -> Any:
    """Places a tree on every local device, in the layout that a donating `pmap_step` keeps.

    Arrays that are already there are returned without a copy.
    """
    return jax.device_put(tree, NamedSharding(_mesh(), PartitionSpec()))


def fetch(tree: Any) -> Any:
    """Copies a replicated tree to NumPy arrays."""
    return jax.device_get(jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, tree))


def device_memory() -> int:
    """Returns the bytes of memory of the smallest device of this process; 0 on the CPU."""
    if jax.default_backend() == "cpu":
        return 0
    found = [device.memory_stats() or {} for device in jax.local_devices()]
    return min(stats.get("bytes_limit", 0) for stats in found)


def peak_memory() -> int:
    """Returns the largest number of bytes used so far on a device of this process.

    Returns 0 if the devices do not report it, as on the CPU.
    """
    found = [device.memory_stats() or {} for device in jax.local_devices()]
    return max(stats.get("peak_bytes_in_use", 0) for stats in found)


@dataclasses.dataclass(frozen=True)
class Program:
    """A function mapped over devices.

    Attributes:
      mapped: function returned by `jax.pmap`, or `jax.jit` of it.
      fixed: last arguments, the same in every call: trees of arrays on the devices.
    """

    mapped: Any
    fixed: tuple[Any, ...]

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function with the arguments, then the fixed ones."""
        return self.mapped(*arguments, *self.fixed)

    def lower(self, *arguments: Any) -> Any:
        """Lowers the function for a call with these arguments; see `jax.stages.Lowered`."""
        return self.mapped.lower(*arguments, *self.fixed)


def pmap_train_step(
    step: Callable,
    *fixed: Any,
    compiler_options: dict[str, Any] | None = None,
    traced: Callable[[Callable], Callable] = lambda function: function,
) -> Program:
    """Maps (state, batch, *fixed) → (state, metrics) over devices; the state is donated.

    Args:
      step: the function.
      fixed: last arguments, the same in every call: trees of arrays, copied to the devices once, or
        None.
      compiler_options: see `compiler_options.for_train_step`; not used with several processes.
      traced: see `program_cache.ProgramCache.traced`; not used with several processes.
    """
    mapped = _mapped(step, len(fixed), donate_argnums=0)
    if jax.process_count() > 1:  # arrays become global within the call of `pmap`
        return Program(mapped, replicate(fixed))

    def leaves_after_step(*arguments: Any) -> Any:
        state, metrics = mapped(*arguments)
        return jax.tree.leaves(state), metrics

    def step_in_place(state: Any, *arguments: Any) -> Any:
        leaves, metrics = traced(leaves_after_step)(state, *arguments)
        return jax.tree.unflatten(jax.tree.structure(state), leaves), metrics

    compiled = jax.jit(step_in_place, donate_argnums=0, compiler_options=compiler_options)
    return Program(compiled, replicate(fixed))


def _mapped(step: Callable, fixed: int, **options: Any) -> Any:
    in_axes = (None, 0) + (None,) * fixed
    return jax.pmap(step, axis_name=AXIS, in_axes=in_axes, out_axes=None, **options)


def compile_train_step(step: Any, state: Any, batch: Any) -> None:
    """Compiles a `pmap_train_step` ahead of its first call; freed memory goes back to the system.

    Does nothing in a run of several processes: their arrays become global within the call.

    Args:
      step: result of `pmap_train_step`; jax finds the compiled program at the first call.
      state: shapes and dtypes of the state, which need not exist yet.
      batch: see `shapes`.
    """
    if jax.process_count() == 1:
        place = NamedSharding(_mesh(), PartitionSpec())
        step.lower(jax.tree.map(functools.partial(_form, place), state), batch).compile()
        trim_heap()


def trim_heap() -> None:
    """Returns free memory of the C library's allocator to the system; numbers do not change.

    glibc keeps what is freed between blocks that stay: 0.6 GB after GoogLeNet's training step was
    compiled. Does nothing where the C library has no `malloc_trim` (macOS, musl).
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _form(place: Any, leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)


def pmap_eval_step(step: Callable, *fixed: Any) -> Program:
    """Maps (variables, batch, *fixed) → sums over devices; see `pmap_train_step` for `fixed`."""
    return Program(_mapped(step, len(fixed)), replicate(fixed))


def check_batch(name: str, size: int, parts: int = 1, group: int = 1, pairs: bool = False) -> None:
    """Checks that a global batch can be split over all devices, then into `parts` each.

    Args:
      name: name of the field.
      size: batch size.
      parts: number of parts per device.
      group: a labelled row with its unlabelled rows; a part must hold whole groups.
      pairs: whether rows are mixed in pairs; a part must hold whole pairs.

    Raises:
      UserError: if it cannot be split; the message has the nearest possible size.
    """
    devices = jax.device_count() * parts * math.lcm(group, 2 if pairs else 1)
    if size < 1 or size % devices:
        fitting = max(round(size / devices), 1) * devices
        each = f" and {parts} microbatches" if parts > 1 else ""
        each += f" in groups of 1 row with label and {group - 1} without" if group > 1 else ""
        each += " in pairs of rows to be mixed" if pairs else ""
        raise UserError(
            f"{name}={size} does not divide over {jax.device_count()} devices{each}:"
            f" set --config.{name}={fitting}"
        )


def shard(batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Splits this process's rows [b, …] over its devices, [devices, b/devices, …]."""
    devices = jax.local_device_count()
    split = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
    return jax.device_put(split, NamedSharding(_mesh(), PartitionSpec(AXIS)))


def shard_steps(batches: list[dict[str, np.ndarray]], most: int) -> dict[str, jax.Array]:
    """Splits the rows of several steps over devices, [devices, most, b/devices, …].

    An incomplete stack repeats its last batch; `count`, int32 [devices], is the number in use.
    """
    devices = jax.local_device_count()
    full = batches + batches[-1:] * (most - len(batches))

    def split(*steps: np.ndarray) -> np.ndarray:
        stack = np.stack(steps)
        return stack.reshape(most, devices, -1, *stack.shape[2:]).swapaxes(0, 1)

    stacked = jax.tree.map(split, *full) | {"count": np.full(devices, len(batches), np.int32)}
    return jax.device_put(stacked, NamedSharding(_mesh(), PartitionSpec(AXIS)))


def prefetch(
    batches: Iterable[Any], depth: int = 2, shard: Callable[[Any], dict[str, jax.Array]] = shard
) -> Iterator[dict[str, jax.Array]]:
    """Yields sharded batches; `depth` of them are transferred to the devices ahead of use."""
    queue: collections.deque = collections.deque()
    for batch in batches:
        queue.append(shard(batch))
        if len(queue) > depth:
            yield queue.popleft()
    yield from queue


def shapes(batch: Any) -> Any:
    """Returns the shapes, dtypes and placement of a batch's arrays."""
    return jax.tree.map(lambda leaf: _form(leaf.sharding, leaf), batch)


def agree(flag: bool) -> bool:
    """Returns whether the flag is set on any process. All processes must call it together."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


class Agreement:
    """Tells all processes, about once a second, whether a flag is set on any of them.

    Args:
      flag: flag of this process.
    """

    def __init__(self, flag: Callable[[], bool]):
        self._flag = flag
        self._calls = self._left = 1  # calls between two communications
        self._since = time.monotonic()

    def __call__(self) -> bool:
        """Returns whether the flag is set. All processes must make the same sequence of calls.

        Most calls communicate nothing and return False. Their number follows from the slowest
        process's time for the previous calls, so it is the same on all processes.
        """
        self._left -= 1
        if self._left:
            return False
        mine = np.array([self._flag(), time.monotonic() - self._since], np.float32)
        if jax.process_count() > 1:
            mine = multihost_utils.process_allgather(mine).max(axis=0)
        most = min(2 * self._calls, MOST_CALLS)
        self._calls = self._left = int(np.clip(self._calls / max(float(mine[1]), 1e-6), 1, most))
        self._since = time.monotonic()
        return bool(mine[0])


def barrier(name: str) -> None:
    """Waits until every process has reached this call."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


class Watchdog:
    """Ends the process if its peers hang; a collective would wait for them forever."""

    def __init__(self, seconds: float, say: Callable[[str], None]):
        self._seconds, self._say = seconds, say
        self._fed = time.monotonic()
        self._stopped = threading.Event()

    def feed(self) -> None:
        """Resets the timer."""
        self._fed = time.monotonic()

    def watch(self) -> None:
        """Ends the process with exit code 74 when `feed` is late; returns after `stop`."""
        while time.monotonic() - self._fed < self._seconds:
            if self._stopped.wait(min(self._seconds / 10, 1.0)):
                return
        self._say(
            f"no step finished in {self._seconds:.0f} s: a device or another process hangs;"
            " start the run again, it continues from its last checkpoint"
        )
        os._exit(EXIT_STUCK)

    def stop(self) -> None:
        """Stops watching."""
        self._stopped.set()


@contextlib.contextmanager
def watchdog(seconds: float, say: Callable[[str], None]) -> Iterator[Watchdog]:
    """Watches a run from another thread inside the context.

    Args:
      seconds: longest time between two calls of `feed`; 0 disables the watchdog.
      say: called with one line before the process exits.
    """
    dog = Watchdog(seconds, say)
    if seconds > 0:
        threading.Thread(target=dog.watch, daemon=True).start()
    try:
        yield dog
    finally:
        dog.stop()

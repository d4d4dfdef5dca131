"""Options of XLA, set per program and not for the whole process as XLA_FLAGS."""

import functools
import os
from typing import Any

import jax

from jaxcnn.ops.barrier import XLA_KEEPS_BARRIERS
from jaxcnn.run import distributed

# Options of XLA:CPU. Without the first a step copies the optimizer's averages before it writes
# their new values. Without the second XLA removes the barriers that `jax.checkpoint` sets, up to
# jax 0.11.0.
IN_PLACE = {"xla_cpu_copy_insertion_use_region_analysis": True}
KEEP_BARRIERS = {"xla_disable_hlo_passes": "cse_barrier_expander"}
NO_RECOMPUTATION = (
    "takes more memory on a CPU, not less, before jax 0.11.1 in a run of several processes or with"
    " your own xla_disable_hlo_passes, unless XLA_FLAGS has"
    " --xla_disable_hlo_passes=cse_barrier_expander"
)


def recomputes() -> bool:
    """Whether XLA computes again what `jax.checkpoint` does not keep, in a `pmap_train_step`.

    Else XLA:CPU takes what it has computed before, and keeps it for longer.
    """
    if distributed.platform() != "cpu" or XLA_KEEPS_BARRIERS:
        return True
    [(flag, name)] = KEEP_BARRIERS.items()
    given = [word.split("=") for word in os.environ.get("XLA_FLAGS", "").split()]
    passes = [word[1] for word in given if word[0] == f"--{flag}" and len(word) == 2]
    kept = flag in for_train_step(remat=True) and distributed.process_count() == 1
    return kept or any(name in value.split(",") for value in passes)


def for_train_step(remat: bool = False) -> dict[str, Any]:
    """Returns those for a training step, as `compiler_options` of `jax.jit`.

    They are for the CPU. Those that this version of XLA does not have are left out, and those that
    XLA_FLAGS sets.

    Args:
      remat: whether the step computes parts again; see `layers.recomputed`.
    """
    if distributed.platform() != "cpu":
        return {}
    given = os.environ.get("XLA_FLAGS", "")
    wanted = IN_PLACE | (KEEP_BARRIERS if remat else {})
    return {name: x for name, x in wanted.items() if name not in given and _has_option(name, x)}


@functools.cache
def _has_option(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:  # unknown; any other error comes again with the step
        return False
    return True

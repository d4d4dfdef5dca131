"""Number formats and jax settings of a run."""

import contextlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import EXIT_BAD_DATA, UserError

# Settings that jax would read from the environment; all published runs use these values.
FIXED: dict[str, Any] = {
    "default_prng_impl": "threefry2x32",
    "threefry_partitionable": True,
    "numpy_dtype_promotion": "standard",
}
# Variables that `set_precision` overrides, and the config field that replaces each.
OVERRULED = {
    "JAX_ENABLE_X64": "model.dtype",
    "JAX_DEFAULT_MATMUL_PRECISION": "matmul_precision",
    "JAX_DEFAULT_PRNG_IMPL": "",
    "JAX_THREEFRY_PARTITIONABLE": "",
    "JAX_NUMPY_DTYPE_PROMOTION": "",
}
# Variables that change the bits of a run; a continued run must have the same values.
RECORDED = (
    "JAXCNN_OPS",
    "JAX_DISABLE_JIT",
    "JAX_RANDOM_SEED_OFFSET",
    "LIBTPU_INIT_ARGS",
    "NPROC",
    "NVIDIA_TF32_OVERRIDE",
    "XLA_FLAGS",
)
# Parts of XLA_FLAGS that are ignored: the number of devices is recorded separately, and the others
# change no number.
HARMLESS = ("--xla_force_host_platform_device_count", "--xla_dump", "--xla_hlo_profile")


def environment() -> dict[str, str]:
    """Returns the environment variables that change the bits of a run."""
    found = {}
    for name in RECORDED:
        words = os.environ.get(name, "").split()
        if kept := [word for word in words if not word.startswith(HARMLESS)]:
            found[name] = " ".join(sorted(kept) if name == "XLA_FLAGS" else kept)
    return found


def describe_environment() -> list[str]:
    """Returns the lines about environment variables for the start of a run."""
    said = [f"{name}={value}" for name, value in environment().items()]
    for name, field in OVERRULED.items():
        if name in os.environ:
            instead = f"--config.{field} decides" if field else "a run has its own setting"
            said.append(f"{name}={os.environ[name]} has no effect: {instead}")
    return said


def check_environment(saved: dict[str, str] | None, allow_change: str, where: str) -> None:
    """Raises an error if the environment variables differ from those at the start of the run.

    Args:
      saved: result of `environment` at the start; None if the run recorded none.
      allow_change: config field with the comma-separated names that may differ.
      where: origin of `saved`, for the message.

    Raises:
      UserError: if variables differ; the message names them.
    """
    here = environment()
    allowed = {name.strip() for name in allow_change.split(",")}
    differing = [
        name
        for name in RECORDED
        if saved is not None and saved.get(name) != here.get(name) and name not in allowed
    ]
    if differing:
        changes = "; ".join(
            f"{name} {(saved or {}).get(name, 'unset')} → {here.get(name, 'unset')}"
            for name in differing
        )
        raise UserError(
            f"{where} was started in a different environment, which changes numbers: {changes}."
            f" Restore it, or continue anyway with --config.allow_change={','.join(differing)}"
        )


@contextlib.contextmanager
def set_precision(config: RunConfig) -> Iterator[None]:
    """Sets number formats and checks inside the context, overriding the environment.

    Raises:
      UserError: if the precision is unknown, or `debug_nans` finds a NaN.
    """
    precisions = ("default", "tensorfloat32", "float32")
    if config.matmul_precision not in precisions:
        raise UserError(f"matmul_precision={config.matmul_precision!r}: choose one of {precisions}")
    precision = None if config.matmul_precision == "default" else config.matmul_precision
    with contextlib.ExitStack() as scope:
        scope.enter_context(jax.default_matmul_precision(precision))
        scope.enter_context(jax.enable_x64(config.model.dtype == "float64"))
        for setting, value in FIXED.items():
            scope.enter_context(getattr(jax, setting)(value))
        if config.debug_nans:
            scope.enter_context(jax.debug_nans(True))
        try:
            yield
        except FloatingPointError as error:
            ours = [
                frame
                for frame in traceback.extract_tb(error.__traceback__)
                if Path(frame.filename).is_relative_to(Path(__file__).parents[1])
            ]
            raise UserError(
                f"the first NaN comes from {ours[-1].filename}:{ours[-1].lineno}: {ours[-1].line}",
                EXIT_BAD_DATA,
            ) from error

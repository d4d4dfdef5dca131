"""The switch that replaces every operation of this folder with plain XLA."""

import functools
import os

from jaxcnn.errors import UserError


@functools.cache
def plain_xla() -> bool:
    """Returns whether the environment has `JAXCNN_OPS=xla`, which disables our own formulas.

    Every function of `jaxcnn.ops` then uses the formula of `jax.lax`, `jax.numpy` or Flax that it
    replaces, without its own derivative rule. Values and gradients are equal up to rounding.
    Forward mode (`jax.jvp`, `jax.linearize`, `jax.jacfwd`, `jax.hessian`) works for every network.
    A bug that remains is not in our formulas. The CPU is several times slower.

    The variable is read once, when the first operation of the process is traced or run, so it must
    be set before. Unset or empty means that our formulas are used.

    Raises:
      UserError: if the value is unknown.
    """
    value = os.environ.get("JAXCNN_OPS", "")
    if value not in ("", "xla"):
        raise UserError(
            f"JAXCNN_OPS={value} names no kind of operations: set it to xla for plain XLA, or unset"
            " it for the operations of jaxcnn"
        )
    return value == "xla"

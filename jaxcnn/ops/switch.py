"""The switch that replaces every operation of this folder by its counterpart in plain XLA."""

import functools
import os

from jaxcnn.errors import UserError


@functools.cache
def plain_xla() -> bool:
    """Tells whether the environment has `JAXCNN_OPS=xla`, which turns our own forms off.

    Then every function of `jaxcnn.ops` is the formula of `jax.lax`, `jax.numpy` or Flax that it
    stands for, without a derivative rule of its own. Values and gradients are equal to rounding.
    Forward mode (`jax.jvp`, `jax.linearize`, `jax.jacfwd`, `jax.hessian`) works through every
    network, and a bug that stays is not in our forms. The CPU is several times slower.

    The variable is read once, by the first operation of the process that is traced or run: set it
    before. Unset or empty it leaves our forms on.

    Raises:
      UserError: for another value.
    """
    value = os.environ.get("JAXCNN_OPS", "")
    if value not in ("", "xla"):
        raise UserError(
            f"JAXCNN_OPS={value} names no kind of operations: set it to xla for plain XLA, or unset"
            " it for the operations of jaxcnn"
        )
    return value == "xla"

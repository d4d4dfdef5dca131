"""How a network sets its normalisation once, before handing it down."""

from functools import partial
from typing import Any

import jax.numpy as jnp

from jaxcnn.layers.conv import Constructor


def batch_norm(
    norm: Constructor,
    *,
    train: bool,
    momentum: float,
    epsilon: float,
    dtype: Any,
    param_dtype: Any,
) -> Constructor:
    """Returns `norm` with everything set that blocks should not know of.

    Statistics are kept and computed in at least float32, whatever `dtype` is.

    Args:
      norm: `nn.BatchNorm`, or a partial of it (`partial(nn.BatchNorm, axis_name="batch")`
        averages the statistics over the devices of that axis).
      train: normalise by the statistics of the batch and update the running ones.
      momentum: decay of the running average (torch's momentum is one minus this).
      epsilon: added to the variance.
      dtype: of the output.
      param_dtype: of scale and bias.
    """
    fields: dict[str, Any] = {}
    if jnp.promote_types(param_dtype, jnp.float32) == jnp.float64:
        # Flax would start the running statistics in float32 and turn them into float64 at the
        # first update, a change of type that `lax.scan` refuses and that loses precision once.
        fields["force_float32_reductions"] = False
    return partial(
        norm,
        use_running_average=not train,
        momentum=momentum,
        epsilon=epsilon,
        dtype=dtype,
        param_dtype=param_dtype,
        **fields,
    )

"""Batch normalisation, and how a network sets any normalisation once, before handing it down."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import canonicalize_dtype

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.conv import Constructor
from jaxcnn.ops.norm import batch_normalise, normalise


class BatchNorm(nn.BatchNorm):
    """Flax's `BatchNorm`: same fields, variables and values, with a faster backward pass.

    The backward pass keeps the input in its own dtype instead of float32 copies, and uses the sums
    of `jaxcnn.ops.reductions`. In training, forward mode (`jax.jvp`) needs `JAXCNN_OPS=xla` in the
    environment; see `jaxcnn.ops.switch`. With a mask, groups of devices, another axis than the
    last, or without scale or bias it is Flax's own.
    """

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Normalises (…, C); see `flax.linen.BatchNorm`."""
        usual = (
            mask is None
            and self.axis_index_groups is None
            and self.axis in (-1, x.ndim - 1)
            and self.use_fast_variance
            and self.use_scale
            and self.use_bias
        )
        if not usual:
            return super().__call__(x, use_running_average, mask=mask)
        averaged = nn.merge_param(
            "use_running_average", self.use_running_average, use_running_average
        )
        features = x.shape[-1:]
        kept_dtype = jnp.float32 if self.force_float32_reductions else self.param_dtype
        kept = (
            self.variable("batch_stats", "mean", jnp.zeros, features, kept_dtype),
            self.variable("batch_stats", "var", jnp.ones, features, kept_dtype),
        )
        scale = self.param("scale", self.scale_init, features, self.param_dtype)
        bias = self.param("bias", self.bias_init, features, self.param_dtype)
        dtype = canonicalize_dtype(x, scale, bias, dtype=self.dtype)
        if averaged:
            mean, variance = (each.value for each in kept)
            return normalise(x, mean, variance, scale, bias, self.epsilon, dtype)
        axis_name = None if self.is_initializing() else self.axis_name
        y, *statistics = batch_normalise(x, scale, bias, self.epsilon, dtype, axis_name)
        if not self.is_initializing():
            for each, found in zip(kept, statistics, strict=True):
                each.value = self.momentum * each.value + (1 - self.momentum) * found
        return y


def batch_norm(
    norm: Constructor | None,
    *,
    train: bool,
    momentum: float,
    epsilon: float,
    dtype: Any,
    param_dtype: Any,
) -> Constructor:
    """Returns `norm` with everything set that blocks should not know of.

    Each argument goes to a `norm` that has a field of that name: GroupNorm and LayerNorm have no
    momentum. What a partial sets itself stays as it is. Statistics are kept and computed in at
    least float32, whatever `dtype` is.

    Args:
      norm: `BatchNorm` or any normalisation of Flax, or a partial
        (`partial(BatchNorm, axis_name="batch")` averages the statistics over the devices of that
        axis, `partial(nn.GroupNorm, num_groups=8)`). None normalises nothing.
      train: normalise by the statistics of the batch and update the running ones.
      momentum: decay of the running average (torch's momentum is one minus this).
      epsilon: added to the variance.
      dtype: of the output.
      param_dtype: of scale and bias.

    Raises:
      UserError: for what is no constructor of a normalisation.
    """
    if norm is None:
        return _no_norm
    settings = {
        "use_running_average": not train,
        "momentum": momentum,
        "epsilon": epsilon,
        "dtype": dtype,
        "param_dtype": param_dtype,
    }
    if jnp.promote_types(param_dtype, jnp.float32) == jnp.float64:
        # Flax would start the running statistics in float32 and turn them into float64 at the
        # first update, a change of type that `lax.scan` refuses and that loses precision once.
        settings["force_float32_reductions"] = False
    parameters = _parameters(norm)
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and name not in settings
    ]
    if needed or not _takes(norm, "name"):
        reason = f"needs {needed[0]}" if needed else "has no name"
        raise UserError(f"norm={_name(norm)} {reason}: {_WANTED}")
    given = norm.keywords if isinstance(norm, partial) else {}
    return partial(
        norm, **{k: v for k, v in settings.items() if k not in given and _takes(norm, k)}
    )


NORMALIZATIONS: dict[str, Constructor | None] = {
    "none": None,
    "batch_norm": BatchNorm,
    "layer_norm": nn.LayerNorm,
    "group_norm": nn.GroupNorm,  # of 32 groups
}


def normalization(name: str) -> Constructor | None:
    """Returns a constructor of `NORMALIZATIONS`; None for "none".

    Raises:
      UserError: for a name that does not exist.
    """
    if name.lower() not in NORMALIZATIONS:  # None, as Python writes it, is "none"
        raise UserError(f"no normalisation {name!r}: {nearest(name, NORMALIZATIONS)}")
    return NORMALIZATIONS[name.lower()]


def zero_scale(norm: Constructor, name: str) -> nn.Module:
    """Returns a normalisation whose scale starts at zero.

    Raises:
      UserError: if it has no scale.
    """
    given = norm.keywords if isinstance(norm, partial) else {}
    if not _takes(norm, "scale_init") or not given.get("use_scale", True):
        raise UserError(
            "zero_init_last starts the scale of the last normalisation at zero, and this norm has"
            " no scale: set zero_init_last=False"
        )
    return norm(scale_init=nn.initializers.zeros, name=name)


def is_batch_norm(norm: Constructor | None) -> bool:
    """Tells whether a constructor makes Flax's BatchNorm, or a kind of it."""
    kind = norm.func if isinstance(norm, partial) else norm
    return isinstance(kind, type) and issubclass(kind, nn.BatchNorm)


_WANTED = (
    "give a class such as nn.BatchNorm or nn.LayerNorm, a partial such as"
    " partial(nn.GroupNorm, num_groups=8), or None"
)


def _no_norm(name: str | None = None) -> Callable[[jax.Array], jax.Array]:
    del name
    return lambda x: x


def _parameters(norm: Any) -> Mapping[str, inspect.Parameter]:
    """Returns the parameters that are still open, or have a value, of a constructor.

    Raises:
      UserError: if it cannot be called.
    """
    if not callable(norm):
        raise UserError(f"norm={norm!r} cannot be called: {_WANTED}")
    if isinstance(norm, nn.Module):
        raise UserError(f"norm={_name(type(norm))}() is a module already: {_WANTED}")
    return inspect.signature(norm).parameters


def _takes(norm: Any, name: str) -> bool:
    parameters = _parameters(norm)
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _name(norm: Any) -> str:
    kind = norm.func if isinstance(norm, partial) else norm
    return getattr(kind, "__name__", repr(kind))


def by_batch_statistics(kept: Callable[[str], bool]) -> Callable[..., Any]:
    """Returns an interceptor (`nn.intercept_methods`): norms measure in evaluation.

    They normalise by the statistics of the batch, as in training, and leave these as they are in
    `batch_stats`, which must be mutable, instead of moving an average towards them. Dropout and
    everything else are as in evaluation.

    Args:
      kept: tells by the name of a statistic, "stem/norm/mean", which norms go on as in evaluation.
    """

    def intercept(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, nn.BatchNorm) and not kept("/".join((*module.path, "mean"))):
            # A module is made anew for each call of the network; nobody else has this one.
            object.__setattr__(module, "use_running_average", False)
            object.__setattr__(module, "momentum", 0.0)
        return method(*args, **kwargs)

    return intercept


def by_running_statistics(chosen: Callable[[str], bool]) -> Callable[..., Any]:
    """Returns an interceptor (`nn.intercept_methods`): chosen norms use their running statistics.

    They normalise as in evaluation, whatever the network is told, and update nothing.

    Args:
      chosen: tells by the name of a statistic, "stem/norm/mean".
    """

    def intercept(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        training = getattr(module, "use_running_average", None) is False
        if training and chosen("/".join((*module.path, "mean"))):
            # A module is made anew for each call of the network; nobody else has this one.
            object.__setattr__(module, "use_running_average", True)
        return method(*args, **kwargs)

    return intercept

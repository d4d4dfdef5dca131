"""Batch normalisation; helpers that configure a normalisation once for all blocks."""

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
    """Flax's `BatchNorm` with the same fields, variables and values, and a faster backward pass.

    The backward pass saves the input in its own dtype instead of float32 copies, and uses the sums
    of `jaxcnn.ops.reductions`. In training, forward mode (`jax.jvp`) needs `JAXCNN_OPS=xla` in the
    environment; see `jaxcnn.ops.switch`. It uses Flax's code with a mask, groups of devices, an
    axis other than the last, or without scale or bias.
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
    """Returns `norm` with all arguments set that blocks need not know.

    Each argument is passed only if `norm` has a field of that name: GroupNorm and LayerNorm have no
    momentum. Arguments that a partial sets are kept. Statistics are stored and computed in at least
    float32, whatever `dtype` is.

    Args:
      norm: `BatchNorm`, any normalisation of Flax, or a partial of one (`partial(BatchNorm,
        axis_name="batch")` averages the statistics over the devices of that axis,
        `partial(nn.GroupNorm, num_groups=8)`). None is the identity.
      train: whether to normalise by batch statistics and update the running ones.
      momentum: decay of the running average (torch's momentum is one minus this).
      epsilon: added to the variance.
      dtype: dtype of the output.
      param_dtype: dtype of scale and bias.

    Raises:
      UserError: if `norm` is not the constructor of a normalisation.
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
        # Flax would initialise the running statistics in float32 and convert them to float64 at the
        # first update. `lax.scan` refuses this change of type, and it loses precision once.
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
    "group_norm": nn.GroupNorm,  # with 32 groups
}


def normalization(name: str) -> Constructor | None:
    """Returns the constructor of a name in `NORMALIZATIONS`; None for "none".

    Raises:
      UserError: if the name does not exist.
    """
    if name.lower() not in NORMALIZATIONS:  # Python's None is printed as "None"
        raise UserError(f"no normalisation {name!r}: {nearest(name, NORMALIZATIONS)}")
    return NORMALIZATIONS[name.lower()]


def zero_scale(norm: Constructor, name: str) -> nn.Module:
    """Returns a normalisation whose scale is initialised with zeros.

    Raises:
      UserError: if the normalisation has no scale.
    """
    given = norm.keywords if isinstance(norm, partial) else {}
    if not _takes(norm, "scale_init") or not given.get("use_scale", True):
        raise UserError(
            "zero_init_last starts the scale of the last normalisation at zero, and this norm has"
            " no scale: set zero_init_last=False"
        )
    return norm(scale_init=nn.initializers.zeros, name=name)


def is_batch_norm(norm: Constructor | None) -> bool:
    """Returns whether a constructor creates Flax's BatchNorm or a subclass of it."""
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
    """Returns a constructor's parameters, those with and without a value.

    Raises:
      UserError: if it is not callable.
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
    """Returns an interceptor (`nn.intercept_methods`) that measures statistics in evaluation.

    Norms normalise by batch statistics, as in training. They write these unaveraged to
    `batch_stats`, which must be mutable. Dropout and all other layers run in evaluation mode.

    Args:
      kept: name of a statistic, "stem/norm/mean" → whether its norm stays in evaluation mode.
    """

    def intercept(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, nn.BatchNorm) and not kept("/".join((*module.path, "mean"))):
            # Flax creates a new module for each call of the network, so no other code uses this
            # one.
            object.__setattr__(module, "use_running_average", False)
            object.__setattr__(module, "momentum", 0.0)
        return method(*args, **kwargs)

    return intercept


def by_running_statistics(chosen: Callable[[str], bool]) -> Callable[..., Any]:
    """Returns an interceptor (`nn.intercept_methods`): chosen norms use their running statistics.

    These norms run in evaluation mode, whatever the network's mode, and update nothing.

    Args:
      chosen: name of a statistic, "stem/norm/mean" → whether its norm is chosen.
    """

    def intercept(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        training = getattr(module, "use_running_average", None) is False
        if training and chosen("/".join((*module.path, "mean"))):
            # Flax creates a new module for each call of the network, so no other code uses this
            # one.
            object.__setattr__(module, "use_running_average", True)
        return method(*args, **kwargs)

    return intercept

"""The network at test time with BatchNorm folded into the layers in front of it.

A norm that follows a convolution or a dense layer x = W·z + b at once computes f·(x - mean) + bias
with f = scale / sqrt(var + epsilon): the layer with the kernel f·W and the bias f·(b - mean) + bias
does both (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2017, arXiv 1712.05877, §3.2). A norm behind anything else, such
as a sum or a concatenation in networks with pre-activation, stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jax.extend.core import JaxprEqn, Var

from jaxcnn.analysis.tracing import equations
from jaxcnn.layers.conv import ConvTranspose

LAYERS = (nn.Conv, nn.Dense, ConvTranspose)  # the last axis of their kernels is the output's
PASSING = ("name", "optimization_barrier", "copy")  # operations that change nothing
SEEN = "fold"  # collection of the outputs of layers and the inputs of norms

Path = tuple[str, ...]


class FoldedNetwork(nn.Module):
    """A network at test time with folded norms; made by `fold_batch_norm`.

    Its variables are the network's, changed. A folded norm has no statistics and no scale, and only
    adds its bias; it has none if the layer in front of it has one.

    Attributes:
      model: the network.
      folded: paths of the folded norms.
      kept: paths of the other norms.
    """

    model: nn.Module
    folded: tuple[str, ...]
    kept: tuple[str, ...] = ()

    def setup(self) -> None:
        """Gives this module the variables of the network, under the same names."""
        nn.share_scope(self, self.model)

    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the output of the network; training is not possible."""
        if train:
            raise ValueError("a network with folded norms has no statistics to train")
        folded = frozenset(self.folded)

        def add_bias(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
            module = context.module
            if context.method_name != "__call__" or "/".join(module.path) not in folded:
                return method(*args, **kwargs)
            x, bias = args[0], module.get_variable("params", "bias")
            dtype = nn.dtypes.canonicalize_dtype(x, bias, dtype=module.dtype)
            if bias is not None:
                x = x + bias.reshape((1,) * (x.ndim - 1) + bias.shape)
            return x.astype(dtype)

        with nn.intercept_methods(add_bias):
            return self.model(images)


def fold_batch_norm(
    model: nn.Module, variables: Any, input_shape: Sequence[int]
) -> tuple[FoldedNetwork, dict[str, Any]]:
    """Folds as many norms of a network as possible.

    The logits are the network's but for rounding. Kernels are computed in float64 and keep their
    dtypes.

    Args:
      model: takes an array (1, *input_shape).
      variables: of the model, with running statistics.
      input_shape: (H, W, C) of an image.

    Returns:
      The network with folded norms, and its variables.
    """
    if getattr(model, "scan_units", False):  # a loop would hide the units
        model = model.clone(scan_units=False)
    seen = _see(model, variables, input_shape)
    layers = {norm: layer for norm in seen.inputs if (layer := seen.layer_before(norm))}
    flat = traverse_util.flatten_dict(jax.tree.map(np.asarray, dict(variables)))
    for norm, layer in layers.items():
        module: Any = seen.modules[norm]
        _fold(flat, module.epsilon, tuple(norm.split("/")), tuple(layer.split("/")))
    statistics = (path for path in flat if path[0] == "batch_stats" and path[-1] == "var")
    kept = tuple("/".join(path[1:-1]) for path in statistics)
    network = FoldedNetwork(model, tuple(layers), kept)
    return network, traverse_util.unflatten_dict(flat)


class _Seen(NamedTuple):
    """The program of a network at test time.

    Attributes:
      modules: by their paths.
      inputs: of the norms, by their paths; not of those with several inputs.
      outputs: paths of the layers, by their outputs; not of those with several outputs.
      makers: equations by their outputs.
      users: the equations that use a value, and the paths of their modules.
    """

    modules: Mapping[str, nn.Module]
    inputs: Mapping[str, Var]
    outputs: Mapping[Var, str]
    makers: Mapping[Any, JaxprEqn]
    users: Mapping[Any, Sequence[tuple[JaxprEqn, str]]]

    def layer_before(self, norm: str) -> str | None:
        """Returns the layer whose output the norm takes, if nothing else uses it."""
        value: Any = self.inputs[norm]
        if any(path != norm for _, path in self.users[value]):
            return None
        while (maker := self.makers.get(value)) and maker.primitive.name in PASSING:
            value = maker.invars[maker.outvars.index(value)]
            if len(self.users[value]) > 1:
                return None
        return self.outputs.get(value)


def _see(model: nn.Module, variables: Any, input_shape: Sequence[int]) -> _Seen:
    modules: dict[str, nn.Module] = {}

    def see(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        output, module = method(*args, **kwargs), context.module
        if context.method_name == "__call__":
            if type(module) in LAYERS:
                module.sow(SEEN, "output", output)
            if isinstance(module, nn.BatchNorm) and module.axis in (-1, args[0].ndim - 1):
                module.sow(SEEN, "input", args[0])
        return output

    def call(variables: Any, images: jax.Array) -> Any:
        with nn.intercept_methods(see), nn.intercept_methods(equations.marking(modules)):
            logits, state = model.apply(variables, images, mutable=[SEEN])
        return logits, dict(state.get(SEEN, {}))

    images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    closed, form = jax.make_jaxpr(call, return_shape=True)(variables, images)
    flat = equations.flatten(closed)
    _, sown = jax.tree.unflatten(jax.tree.structure(form), flat.outputs)
    values = {
        path: calls[0]
        for path, calls in traverse_util.flatten_dict(sown).items()
        if isinstance(calls[0], Var) and all(one is calls[0] for one in calls)
    }
    inputs = {"/".join(path[:-1]): one for path, one in values.items() if path[-1] == "input"}
    outputs = {one: "/".join(path[:-1]) for path, one in values.items() if path[-1] == "output"}
    flat = flat.needed_for(flat.outputs[:1])
    makers, users = {}, dict[Any, list[tuple[JaxprEqn, str]]]()
    for eqn, place in flat.equations:
        makers.update(dict.fromkeys(eqn.outvars, eqn))
        for var in eqn.invars:
            if isinstance(var, Var):
                users.setdefault(var, []).append((eqn, place.path))
    return _Seen(modules, inputs, outputs, makers, users)


def _fold(flat: dict[Path, Any], epsilon: float, of_norm: Path, of_layer: Path) -> None:
    """Changes the variables, by their paths, to those of the folded network."""
    mean, var = (np.float64(flat.pop(("batch_stats", *of_norm, name))) for name in ("mean", "var"))
    factor = np.float64(flat.pop(("params", *of_norm, "scale"), 1)) / np.sqrt(var + epsilon)
    shift = np.float64(flat.pop(("params", *of_norm, "bias"), 0)) - factor * mean
    kernel, bias = ("params", *of_layer, "kernel"), ("params", *of_layer, "bias")
    dtype = flat[kernel].dtype
    flat[kernel] = (flat[kernel] * factor).astype(dtype)
    if bias in flat:
        flat[bias] = (flat[bias] * factor + shift).astype(dtype)
    else:
        flat["params", *of_norm, "bias"] = shift.astype(np.promote_types(dtype, np.float32))

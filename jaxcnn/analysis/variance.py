"""What theory says of the size of activations and gradients, from the weights' variance alone.

Of a layer y = Wx with independent weights of mean zero, the mean over the weights of y_i² is
Σ_j E[w²]·x_j²: the same layer with E[w²] for every weight, applied to the squares of its input
(Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
2010, eq. 5; He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015, arXiv 1502.01852, eq. 7
and 8). ReLU halves the mean square of numbers that are as often negative as positive (He et al.,
below eq. 7), and tanh changes nothing near zero (Glorot and Bengio, §4.2.1). A sum of independent
terms of mean zero has the sum of their squares. So the squares pass through a network of the same
form. Its transpose carries the squares of gradients (Glorot and Bengio, eq. 6; He et al., eq. 14).

Ours: the biases of the papers are zero. Where they are not, as in AlexNet, the outputs of a layer
are taken for Gaussian about its bias, as sums of many terms are; then the part that ReLU lets
through is known.

The theory says nothing of other layers, such as pooling or normalisation. Behind them the squares
begin again with the measured ones, and in front of them those of the gradients do.
"""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util

from jaxcnn.analysis import signal
from jaxcnn.analysis.tracing.graph import Graph, Node, Rule, trace

WEIGHTED = ("conv", "dense")
FORMS = ("concatenate", "flatten", "slice", "pad", "transpose", "reshape", "dropout")
TINY = 1e-36  # smaller squares are not exact in float32
HOMOGENEOUS = ("relu", "leaky_relu", "prelu")


class Prediction(NamedTuple):
    """Root mean squares that theory predicts, beside what is measured.

    Attributes:
      rms: of the output, predicted; nan below 1e-18.
      gradient_rms: of the gradient with respect to the output, predicted; nan below 1e-18.
      measured: moments of both.
    """

    rms: jax.Array
    gradient_rms: jax.Array
    measured: signal.Moments


class Scale(NamedTuple):
    """The size of a layer's weights.

    Attributes:
      fan_in: n, inputs of a unit.
      fan_out: n̂, kernel positions times outputs.
      variance: mean square of the weights.
      forward: n·variance; 2 keeps the size behind ReLU (He et al., eq. 10), 1 behind tanh (Glorot
        and Bengio, eq. 10).
      backward: n̂·variance; the same numbers keep the size of gradients (He et al., eq. 14; Glorot
        and Bengio, eq. 11).
    """

    fan_in: int
    fan_out: int
    variance: float
    forward: float
    backward: float


def scales(model: nn.Module, variables: Any, images: Any) -> dict[str, Scale]:
    """Returns the size of the weights of every convolution and dense layer, in order.

    Args:
      model: takes (images, train).
      variables: of the model.
      images: (N, H, W, C), an array or its shape.
    """
    graph = trace(model, variables, images)
    weights = traverse_util.flatten_dict(variables["params"], sep="/")
    found = {}
    for node in graph.nodes:
        kernels = [name for name in node.parameters if _is_kernel(weights[name])]
        if node.kind not in WEIGHTED or len(kernels) != 1:
            continue
        kernel = weights[kernels[0]]
        *window, inputs, outputs = kernel.shape
        positions = int(jnp.prod(jnp.array(window))) if window else 1
        groups = _groups(graph, node, inputs)
        fan_in, fan_out = positions * inputs, positions * outputs // groups
        variance = float(jnp.mean(jnp.square(kernel.astype(jnp.float32))))
        found[node.name] = Scale(fan_in, fan_out, variance, fan_in * variance, fan_out * variance)
    return found


def _is_kernel(array: Any) -> bool:
    return array.ndim > 1


def _groups(graph: Graph, node: Node, inputs: int) -> int:
    """Returns the groups of a convolution, from the channels that it takes and a filter's."""
    if node.kind != "conv" or node.inputs[0] not in {one.name for one in graph.nodes}:
        return 1
    return max(graph[node.inputs[0]].shape[-1] // inputs, 1)


def predictions(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    labels: jax.Array,
    *,
    batch_statistics: bool = False,
) -> dict[str, Prediction]:
    """Returns what theory predicts of every layer, beside what is measured.

    Args:
      model: takes (images, train).
      variables: of the model. At initialisation the theory applies; trained weights are neither
        independent nor of mean zero, and how far both differ shows that.
      images: (N, H, W, C), as the network takes them.
      labels: integers [N]; see `signal.moments`.
      batch_statistics: see `signal.moments`.
    """
    if batch_statistics:
        variables = signal.with_batch_statistics(model, variables, images)
    graph = trace(model, variables, images)
    measured = signal.flow(graph, variables, images, labels, batch_statistics)
    squares, gradients = _propagate(graph, variables, images, measured)
    return {
        name: Prediction(_root_mean(squares[name]), _root_mean(gradients[name]), moments)
        for name, moments in signal.of_flow(measured).items()
    }


def _root_mean(squares: jax.Array) -> jax.Array:
    mean = jnp.mean(squares, dtype=jnp.promote_types(squares.dtype, jnp.float32))
    return jnp.where(mean < TINY, jnp.nan, jnp.sqrt(mean))


def _propagate(
    graph: Graph, variables: Any, images: jax.Array, measured: signal.Flow
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Returns expected squares of all outputs, and of the gradients with respect to them."""
    names = list(measured.activations)
    weights = _expected_squares(graph, variables)
    symmetric = _symmetric(graph)
    biases = _biases(graph, variables)
    rules = {node.name: _rule(node, images, measured, symmetric, biases) for node in graph.nodes}
    zeros = {name: jnp.zeros_like(array) for name, array in measured.activations.items()}

    def energy(deltas: Mapping[str, jax.Array]) -> Any:
        squares, kept = graph.run(
            weights, jnp.square(images), keep=names, perturb=deltas, rules=rules
        )
        return jnp.vdot(squares, jnp.square(measured.logits_gradient)), kept

    gradients, squares = jax.grad(energy, has_aux=True)(zeros)
    return squares, gradients


def _expected_squares(graph: Graph, variables: Any) -> Any:
    """Returns the variables with E[w²] for every weight and b² for every bias."""
    weights = traverse_util.flatten_dict(variables["params"], sep="/")
    of_layers = {name for node in graph.nodes if node.kind in WEIGHTED for name in node.parameters}
    squared = {
        name: (
            array
            if name not in of_layers
            else jnp.full_like(array, jnp.mean(jnp.square(array)))
            if _is_kernel(array)
            else jnp.square(array)
        )
        for name, array in weights.items()
    }
    return {**variables, "params": traverse_util.unflatten_dict(squared, sep="/")}


def _biases(graph: Graph, variables: Any) -> Mapping[str, jax.Array]:
    """Returns the bias of every weighted layer that has one."""
    weights = traverse_util.flatten_dict(variables["params"], sep="/")
    return {
        node.name: weights[name]
        for node in graph.nodes
        if node.kind in WEIGHTED
        for name in node.parameters
        if not _is_kernel(weights[name])
    }


def _symmetric(graph: Graph) -> Collection[str]:
    """Returns the layers whose outputs are symmetric about their bias, over random weights."""
    found: set[str] = set()
    for node in graph.nodes:
        carries = node.kind in ("batch_norm", "add", *FORMS, "avg_pool", "global_avg_pool")
        if node.kind in WEIGHTED or (carries and all(name in found for name in node.inputs)):
            found.add(node.name)
    return found


def _rule(
    node: Node,
    images: jax.Array,
    measured: signal.Flow,
    symmetric: Collection[str],
    biases: Mapping[str, jax.Array],
) -> Rule:
    """Returns how squares pass a layer.

    Args:
      node: the layer.
      images: the network's input.
      measured: all outputs and gradients.
      symmetric: names of layers; see `_symmetric`.
      biases: of weighted layers by name.
    """
    plain = not node.parameters
    if node.kind in WEIGHTED or (plain and node.kind in (*FORMS, "add")):
        return lambda layer, *squares: layer(*squares)
    if node.kind in HOMOGENEOUS and node.inputs[0] in symmetric:
        return functools.partial(_rectified, biases.get(node.inputs[0], jnp.zeros(())))
    if node.kind == "tanh":
        return _linear_part
    outputs = {"images": images, **measured.activations}
    inputs = tuple(outputs[name] for name in node.inputs)
    return functools.partial(_measured, inputs, outputs[node.name], measured.gradients[node.name])


def _rectified(bias: jax.Array, act: Callable, square: jax.Array) -> jax.Array:
    """Returns the expected square behind a ReLU of any slope below zero, such as a.

    Without a bias that is (1 + a²)/2 of the square (He et al., eq. 15). Of a Gaussian about b with
    standard deviation s the part above zero has the expected square (b² + s²)·Φ(b/s) + b·s·φ(b/s),
    and the share Φ(b/s) of the gradient's squares passes.

    Args:
      bias: b, of the layer in front.
      act: the rectifier.
      square: b² + s².
    """
    bias, ones = jnp.broadcast_to(bias, square.shape), jnp.ones_like(square)
    above, below = jnp.square(act(ones)), jnp.square(act(-ones))
    spread = jnp.sqrt(jnp.maximum(square - jnp.square(bias), 0))
    far = jnp.where(spread > 0, bias / jnp.where(spread > 0, spread, 1), jnp.sign(bias) * jnp.inf)
    far = jnp.where(bias == 0, 0, far)  # of zeros half pass, too
    share = jax.scipy.stats.norm.cdf(far)
    beyond = bias * spread * jax.scipy.stats.norm.pdf(far)
    passed = above * (square * share + beyond) + below * (square * (1 - share) - beyond)
    factor = jax.lax.stop_gradient(above * share + below * (1 - share))
    # The value is `passed`, the gradient that of the squares times `factor`.
    return jax.lax.stop_gradient(passed) + factor * (square - jax.lax.stop_gradient(square))


def _linear_part(act: Callable, square: jax.Array) -> jax.Array:
    _, transposed = jax.vjp(act, jnp.zeros_like(square))
    return square * jnp.square(transposed(jnp.ones_like(square))[0])


def _measured(
    inputs: Sequence[jax.Array],
    output: jax.Array,
    gradient: jax.Array,
    layer: Callable,
    *squares: jax.Array,
) -> jax.Array:
    """Returns the measured squares; the gradient's begin again with the measured ones, too.

    Args:
      inputs: measured, of the layer.
      output: measured.
      gradient: measured, with respect to the output.
      layer: its function.
      *squares: expected ones of the inputs.
    """

    @jax.custom_vjp
    def begin_again(*squares: jax.Array) -> jax.Array:
        return jnp.square(output)

    def backward(_: None, expected: jax.Array) -> tuple[jax.Array, ...]:
        _, transposed = jax.vjp(layer, *inputs)
        return tuple(jnp.square(part) for part in transposed(gradient))

    begin_again.defvjp(lambda *squares: (jnp.square(output), None), backward)
    return begin_again(*squares)

"""Class activation maps: where the last maps of a network speak for a class.

All are weighted sums of the maps A_k of one layer; they differ in the weights. Below, y is the
logit of the class and g the gradient of y with respect to the maps.

  cam                 ∂y/∂(mean of A_k): the weights of the linear layer behind the pooling.
                      Zhou, Khosla, Lapedriza, Oliva and Torralba, "Learning Deep Features for
                      Discriminative Localization", 2015, eq. 2.
  grad_cam            the mean of g over the map. Selvaraju, Cogswell, Das, Vedantam, Parikh and
                      Batra, "Grad-CAM", 2016, eq. 1 and 2.
  grad_cam_plus_plus  the sum of max(g, 0) over the map, each pixel weighted by
                      g² / (2 g² + g³ · sum of A_k). Chattopadhyay, Sarkar, Howlader and
                      Balasubramanian, "Grad-CAM++", 2017, §3.2.
  layer_cam           max(g, 0), one weight for each pixel. Jiang, Zhang, Hou, Cheng and Wei,
                      "LayerCAM", 2021, §III.

All but `cam` set negative sums to zero. Where a linear layer follows global average pooling,
`grad_cam` is `cam` divided by the number of pixels of a map, but for those zeros.

Ours: Grad-CAM++ leaves out the factor exp(y) of the paper's weights: it is one positive number for
each image. The closed form of the second and third derivatives is the paper's; it is exact where
the logits are linear in the maps.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.analysis.tracing.graph import Graph, trace
from jaxcnn.attribution.targets import check_classes, check_images, jit_with_model, pick
from jaxcnn.errors import UserError

LINEAR = ("dense", "conv", "flatten", "reshape", "dropout")  # kinds that may follow the pooling


class ClassMaps(NamedTuple):
    """Maps of what speaks for a class.

    Attributes:
      maps: of the size of the images, by bilinear interpolation, float32 [N, H, W].
      coarse: of the size of the layer's maps, before negative sums are set to zero, float32
        [N, h, w].
      layer: name of the layer.
      classes: int32 [N].
    """

    maps: jax.Array
    coarse: jax.Array
    layer: str
    classes: jax.Array


def cam(model: nn.Module, variables: Any, images: Any, classes: Any = None) -> ClassMaps:
    """Returns the class activation maps of a network that ends with global average pooling.

    The mean of a coarse map plus the bias of the linear layer is the logit.

    Args:
      model: the network.
      variables: of the network.
      images: float32 [N, H, W, C].
      classes: int [N], or one number for all images; None is the likeliest of each image.

    Raises:
      UserError: if more than linear layers follows the pooling, if its input has one pixel, or for
        images or classes of another kind.
    """
    images = check_images(images)
    classes = check_classes(model, images, classes)
    pool, layer = _pooling(trace(model, variables, images))
    coarse, classes = _cam(model, variables, images, classes, pool=pool, layer=layer)
    return ClassMaps(enlarge(coarse, images), coarse, layer, classes)


def grad_cam(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any = None,
    layer: str = "",
) -> ClassMaps:
    """Returns the maps of Grad-CAM.

    Args:
      model: the network.
      variables: of the network.
      images: float32 [N, H, W, C].
      classes: int [N], or one number for all images; None is the likeliest of each image.
      layer: name of a layer with maps, see `jaxcnn.analysis.tracing.graph`; "" is the last one.

    Raises:
      UserError: for a layer that does not exist or has no maps, or for images or classes of
        another kind.
    """
    return _by_gradient(model, variables, images, classes, layer, "grad_cam")


def grad_cam_plus_plus(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any = None,
    layer: str = "",
) -> ClassMaps:
    """Returns the maps of Grad-CAM++. For the arguments see `grad_cam`."""
    return _by_gradient(model, variables, images, classes, layer, "grad_cam_plus_plus")


def layer_cam(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any = None,
    layer: str = "",
) -> ClassMaps:
    """Returns the maps of Layer-CAM. For the arguments see `grad_cam`."""
    return _by_gradient(model, variables, images, classes, layer, "layer_cam")


def _by_gradient(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any,
    layer: str,
    method: str,
) -> ClassMaps:
    images = check_images(images)
    classes = check_classes(model, images, classes)
    layer = layer_with_maps(trace(model, variables, images), layer)
    coarse, classes = _sums(model, variables, images, classes, layer=layer, method=method)
    return ClassMaps(enlarge(jax.nn.relu(coarse), images), coarse, layer, classes)


@jit_with_model("layer", "method")
def _sums(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    classes: jax.Array | None,
    *,
    layer: str,
    method: str,
) -> tuple[jax.Array, jax.Array]:
    """Returns the weighted sums of maps [N, h, w] and the classes."""
    graph = trace(model, variables, images)
    gradient, maps, chosen = _gradient(graph, variables, images, classes, layer)
    return jnp.sum(_weights(method, maps, gradient) * maps, axis=-1), chosen


def _weights(method: str, maps: jax.Array, gradient: jax.Array) -> jax.Array:
    """Returns the weights of maps [N, h, w, K], one for each pixel or for each map."""
    if method == "grad_cam":
        return jnp.mean(gradient, axis=(1, 2), keepdims=True)
    positive = jax.nn.relu(gradient)
    if method == "layer_cam":
        return positive
    below = 2 * gradient**2 + gradient**3 * jnp.sum(maps, axis=(1, 2), keepdims=True)
    alpha = jnp.where(below != 0, gradient**2 / jnp.where(below != 0, below, 1), 0)
    return jnp.sum(alpha * positive, axis=(1, 2), keepdims=True)


def _gradient(
    graph: Graph, variables: Any, images: jax.Array, classes: jax.Array | None, layer: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns ∂logit/∂output and the output of a layer, float32 [N, …], and the classes [N]."""
    node = graph[layer]

    def total(delta: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        logits, kept = graph.run(variables, images, keep=(layer,), perturb={layer: delta})
        chosen = jnp.argmax(logits, axis=-1) if classes is None else classes
        return jnp.sum(pick(logits, chosen)), (kept[layer], chosen)

    nothing = jnp.zeros((images.shape[0], *node.shape), node.dtype)
    gradient, (output, chosen) = jax.grad(total, has_aux=True)(nothing)
    return gradient.astype(jnp.float32), output.astype(jnp.float32), chosen.astype(jnp.int32)


@jit_with_model("pool", "layer")
def _cam(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    classes: jax.Array | None,
    *,
    pool: str,
    layer: str,
) -> tuple[jax.Array, jax.Array]:
    graph = trace(model, variables, images)
    weights, _, chosen = _gradient(graph, variables, images, classes, pool)
    maps = graph.run(variables, images, keep=(layer,))[1][layer].astype(jnp.float32)
    return jnp.sum(weights.reshape(len(images), 1, 1, -1) * maps, axis=-1), chosen


def _pooling(graph: Graph) -> tuple[str, str]:
    """Returns the names of the global average pooling in front of the logits and of its input.

    Raises:
      UserError: if there is none, or if more than linear layers follows it.
    """
    nodes = {node.name: node for node in graph.nodes}
    name = graph.output
    while name in nodes and nodes[name].kind in LINEAR and len(nodes[name].inputs) == 1:
        (name,) = nodes[name].inputs
    node = nodes.get(name)
    source = nodes.get(node.inputs[0]) if node and node.inputs else None
    if node is None or source is None or node.kind != "global_avg_pool" or len(source.shape) != 3:
        found = f"{name} ({node.kind})" if node else "the images"
        raise UserError(
            "CAM needs a network whose logits are a linear layer behind global average pooling:"
            f" here that layer follows {found}; take Grad-CAM"
        )
    return name, layer_with_maps(graph, source.name)


def layer_with_maps(graph: Graph, layer: str = "") -> str:
    """Returns the name of a layer after a check that it has maps; "" is the last one that has.

    Raises:
      UserError: if it does not exist, has no maps, or has maps of one pixel.
    """
    if not layer:
        return graph.last_maps()
    shape = graph[layer].shape
    if len(shape) != 3 or shape[0] * shape[1] == 1:
        size = "x".join(map(str, shape))
        raise UserError(
            f"{layer} has no maps of more than one pixel: its output is {size}; give larger images,"
            f" or take the layer {graph.last_maps()}"
        )
    return layer


def enlarge(coarse: jax.Array, images: jax.Array) -> jax.Array:
    """Returns maps [N, h, w] of the size of images [N, H, W, C], by bilinear interpolation."""
    return jax.image.resize(coarse, images.shape[:3], "bilinear")

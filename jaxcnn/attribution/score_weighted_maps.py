"""Score-CAM: class activation maps without gradients.

Wang, Wang, Du, Yang, Zhang, Ding, Mardziel and Hu, "Score-CAM: Score-Weighted Visual Explanations
for Convolutional Neural Networks", 2019, eq. 6 to 9 and algorithm 1. Each map of a layer, enlarged
and scaled to the range from 0 to 1, masks the image; the weight of the map is the softmax, over
maps, of the logit that the masked image has. The paper subtracts the logit of a baseline image,
which the softmax cancels.

The network is computed once for each map: 512 times an image for the last maps of ResNet-18.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.analysis.tracing.graph import trace
from jaxcnn.attribution.class_activation_maps import ClassMaps, enlarge, layer_with_maps
from jaxcnn.attribution.similarity import unit_range
from jaxcnn.attribution.targets import check_classes, check_images, jit_with_model, pick


def score_cam(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any = None,
    layer: str = "",
    *,
    batch: int = 32,
) -> ClassMaps:
    """Returns the maps of Score-CAM.

    Masked pixels are 0 as inputs of the network, which is the mean colour under the usual
    normalisation.

    Args:
      model: the network.
      variables: of the network.
      images: float32 [N, H, W, C].
      classes: int [N], or one number for all images; None is the likeliest of each image.
      layer: name of a layer with maps, see `jaxcnn.analysis.tracing.graph`; "" is the last one.
      batch: masked images that the network gets at once.

    Raises:
      UserError: for a layer that does not exist or has no maps, or for images or classes of
        another kind.
    """
    images = check_images(images)
    classes = check_classes(model, images, classes)
    layer = layer_with_maps(trace(model, variables, images), layer)
    coarse, classes = _score_cam(model, variables, images, classes, layer=layer, batch=batch)
    return ClassMaps(enlarge(jax.nn.relu(coarse), images), coarse, layer, classes)


@jit_with_model("layer", "batch")
def _score_cam(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    classes: jax.Array | None,
    *,
    layer: str,
    batch: int,
) -> tuple[jax.Array, jax.Array]:
    whole = trace(model, variables, images)
    logits, kept = whole.run(variables, images, keep=(layer,))
    chosen = jnp.argmax(logits, axis=-1) if classes is None else classes
    maps = jnp.moveaxis(kept[layer].astype(jnp.float32), -1, 1)  # [N, K, h, w]
    count, channels = maps.shape[:2]
    total = count * channels
    batch = min(batch, total)
    graph = trace(model, variables, jax.ShapeDtypeStruct((batch, *images.shape[1:]), images.dtype))

    def scores(pairs: jax.Array) -> jax.Array:
        """Returns the logits of images masked by maps, [batch]; of (image, map) by number."""
        image, channel = jnp.divmod(pairs, channels)
        seen = images[image]
        masks = unit_range(enlarge(maps[image, channel], seen))
        masked = seen * masks[..., None].astype(seen.dtype)
        outputs = graph.run(variables, masked)[0]
        return pick(outputs, chosen[image])

    rounds = -(-total // batch)
    pairs = jnp.minimum(jnp.arange(rounds * batch), total - 1).reshape(rounds, batch)
    found = jax.lax.map(scores, pairs).reshape(-1)[:total].reshape(count, channels)
    weights = jax.nn.softmax(found.astype(jnp.float32), axis=-1)
    return jnp.einsum("nk,nkhw->nhw", weights, maps), chosen.astype(jnp.int32)

"""Occlusion: what a network says of an image of which a square is grey.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, arXiv 1311.2901,
§4.2 and figure 7: a grey square covers one place of the image after the other, and as a function of
the place one draws the sum of the feature map that is strongest in the whole image (b), the
probability of the class (d) and the likeliest class (e).

Ours: the squares lie within the image; the last row and column of them touch its edge, whatever the
stride is. The strongest map is the one of the largest sum.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.attribution.targets import check_classes, check_images, graph_of, jit_with_model
from jaxcnn.errors import UserError, check_whole

BATCH = 32  # occluded copies that are given to the network at once


class Occlusion(NamedTuple):
    """What `occlusion` returns; R x C squares were tried, one at a time.

    Attributes:
      probability: of the class, with each square, (N, R, C).
      likeliest: class, int (N, R, C).
      feature: sum of the strongest map, (N, R, C).
      whole_probability: of the class, without a square, (N,).
      whole_feature: sum of the strongest map without a square, (N,).
      classes: int (N,).
      channels: number of the strongest map, int (N,).
      tops: first row of the squares, int (R,).
      lefts: first column of the squares, int (C,).
      layer: name of the layer of the maps.
      size: side of the squares, in pixels.
    """

    probability: jax.Array
    likeliest: jax.Array
    feature: jax.Array
    whole_probability: jax.Array
    whole_feature: jax.Array
    classes: jax.Array
    channels: jax.Array
    tops: np.ndarray
    lefts: np.ndarray
    layer: str
    size: int


def occlusion(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any = None,
    *,
    size: int,
    stride: int | None = None,
    fill: float = 0.0,
    layer: str | None = None,
) -> Occlusion:
    """Returns the network's answers with a grey square at each place.

    It computes the network once for each square: ceil((H - size) / stride) + 1 rows of them, and
    columns likewise.

    Args:
      model: `model.apply(variables, images, train=False)` returns logits (N, K).
      variables: of the network.
      images: its inputs, normalised, float (N, H, W, C).
      classes: int (N,), or one number for all images; None is the likeliest class of each.
      size: side of the square, in pixels of the network's input.
      stride: pixels from one square to the next, at most `size`; None is half of the size.
      fill: value of the square; 0 is the mean colour of normalised inputs.
      layer: whose maps are summed; None is the last layer with maps, see `Graph.last_maps`.

    Raises:
      UserError: for images, classes, a size or a stride of another kind, or a layer without maps.
    """
    images = check_images(images)
    classes = check_classes(model, images, classes)
    height, width = images.shape[1:3]
    check_whole("size", size, most=min(height, width))
    stride = max(1, size // 2) if stride is None else stride
    check_whole("stride", stride, most=size)
    tops, lefts = _places(height, size, stride), _places(width, size, stride)
    graph = graph_of(model, variables, images[:1])
    layer = graph.last_maps() if layer is None else layer
    if len(graph[layer].shape) != 3:
        raise UserError(f"{layer} has no maps: name a layer whose output has height and width")
    arrays = _occluded(
        model,
        variables,
        images,
        classes,
        jnp.asarray(fill, images.dtype),
        places=(tuple(tops.tolist()), tuple(lefts.tolist())),
        size=size,
        layer=layer,
    )
    return Occlusion(**arrays, tops=tops, lefts=lefts, layer=layer, size=size)


def occlusion_map(result: Occlusion, height: int, width: int) -> jax.Array:
    """Returns how much the squares over each pixel lower the probability, (N, H, W).

    It is the mean of p - p' over the squares that cover the pixel, p without a square and p' with
    it.

    Args:
      result: of `occlusion`.
      height: H of the images.
      width: W of the images.
    """
    falls = result.whole_probability[:, None, None] - result.probability
    return spread(result, falls, height, width)


def spread(result: Occlusion, values: jax.Array, height: int, width: int) -> jax.Array:
    """Returns for each pixel the mean of the values of the squares that cover it, (N, H, W).

    Args:
      result: of `occlusion`.
      values: of the squares, (N, R, C).
      height: H of the images.
      width: W of the images.
    """
    rows, columns = (
        ((pixels >= starts[:, None]) & (pixels < starts[:, None] + result.size)).astype(np.float32)
        for starts, pixels in (
            (result.tops, np.arange(height)[None]),
            (result.lefts, np.arange(width)[None]),
        )
    )
    rows, columns = rows / rows.sum(0, keepdims=True), columns / columns.sum(0, keepdims=True)
    return jnp.einsum("nrc,rh,cw->nhw", values, rows, columns)


def _places(length: int, size: int, stride: int) -> np.ndarray:
    """Returns where squares start along an axis; the last one ends with it."""
    return np.minimum(np.arange(0, length - size + stride, stride), length - size)


@jit_with_model("places", "size", "layer")
def _occluded(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    classes: Any,
    fill: jax.Array,
    *,
    places: tuple[tuple[int, ...], tuple[int, ...]],
    size: int,
    layer: str,
) -> dict[str, Any]:
    """Returns the arrays of an `Occlusion`."""
    corners = np.array([(top, left) for top in places[0] for left in places[1]])
    at_once = min(BATCH, len(corners))
    turns = np.pad(corners, [(0, -len(corners) % at_once), (0, 0)], mode="edge")
    turns = turns.reshape(-1, at_once, 2)

    def answers(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns probabilities (B, K) and the sums of all maps (B, channels)."""
        graph = graph_of(model, variables, images)
        logits, kept = graph.run(variables, images, keep=(layer,))
        return jax.nn.softmax(logits), jnp.sum(kept[layer], axis=(1, 2), dtype=logits.dtype)

    whole, sums = answers(images)
    classes = jnp.argmax(whole, axis=-1) if classes is None else classes
    channels = jnp.argmax(sums, axis=-1)

    def of_image(one: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        image, label, channel = one

        def of_turn(corners: jax.Array) -> tuple[jax.Array, ...]:
            inside = jax.vmap(lambda corner: _square(image.shape, corner, size))(corners)
            probabilities, sums = answers(jnp.where(inside, fill, image[None]))
            likeliest = jnp.argmax(probabilities, axis=-1)
            return probabilities[:, label], likeliest, sums[:, channel]

        return jax.lax.map(of_turn, jnp.asarray(turns))

    probability, largest, feature = (
        one.reshape(len(images), -1)[:, : len(corners)].reshape(-1, *map(len, places))
        for one in jax.lax.map(of_image, (images, classes, channels))
    )
    return {
        "probability": probability,
        "likeliest": largest,
        "feature": feature,
        "whole_probability": jnp.take_along_axis(whole, classes[:, None], axis=1)[:, 0],
        "whole_feature": jnp.take_along_axis(sums, channels[:, None], axis=1)[:, 0],
        "classes": classes,
        "channels": channels,
    }


def _square(shape: tuple[int, ...], corner: jax.Array, size: int) -> jax.Array:
    """Returns which pixels of an image lie in a square, (H, W, 1)."""
    rows, columns = (
        (jnp.arange(shape[axis]) >= corner[axis]) & (jnp.arange(shape[axis]) < corner[axis] + size)
        for axis in (0, 1)
    )
    return rows[:, None, None] & columns[None, :, None]

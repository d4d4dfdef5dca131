"""Test-time protocols: the views of an image that the network scores, and the mean of the scores.

All protocols average the softmax probabilities of the views and of their mirror images; the score
of a class is the logarithm of the mean. Dense evaluation applies the network as convolutions to the
whole image. Networks with hidden dense layers then have a map of scores, which is averaged over
places either as probabilities or before the softmax. Networks that end in global average pooling
average places by themselves.

  center             one evaluation crop (`data.eval_crop`, `data.resize`)
  flip               the evaluation crop and its mirror image
  ten_crop           corners and centre of the central square, mirrored: 10. AlexNet, §4.1, averages
                     the predictions of the softmax
  multi_crop         a grid of 5x5 crops over the whole image, mirrored, at 3 scales: 150. VGG, §3.2
                     and §4.3, averages softmax outputs
  googlenet144       4 scales, 3 squares along the long side, in each square 4 corners, the centre
                     and the square itself resized to the crop's size, mirrored. GoogLeNet, §7,
                     averages softmax probabilities
  dense              the network as convolutions over the whole image, mirrored. VGG, §3.2,
                     averages the "class score map" over places and then the "soft-max class
                     posteriors" of both images. We take the softmax at every place, because it
                     is that network's last layer
  multi_scale_dense  the same at 5 scales, not mirrored. ResNet, §3.4, averages "scores" of scales,
                     and does not say whether before the softmax. We average the scores of a scale
                     over places and then take one softmax per scale

The papers' scales belong to crops of 224 pixels and are scaled with the network's image size. The
aspect ratios of whole images are rounded; see `data.views`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.data.views import Boxes, Views, five_crops, grid, squares_crops
from jaxcnn.errors import UserError, nearest

Scores = Callable[[dict[str, Any], jax.Array], jax.Array]  # (variables, uint8 rows) → [b, K]

PUBLISHED_SIZE = 224  # crop size to which the scales of `PROTOCOLS` belong


class Kind(NamedTuple):
    """A row of `PROTOCOLS`.

    Attributes:
      boxes: the crops; None is the evaluation crop, or the whole image.
      scales: short sides for crops of 224 pixels; () is that of the evaluation crop.
      mirrored: whether mirror images are used too.
      dense: whether the network is applied to whole images, larger than its own.
      by_place: whether the softmax is taken at every place of a dense map, not after their mean.
    """

    boxes: Boxes | None = None
    scales: tuple[int, ...] = ()
    mirrored: bool = True
    dense: bool = False
    by_place: bool = False


PROTOCOLS = {
    "center": Kind(mirrored=False),
    "flip": Kind(),
    "ten_crop": Kind(five_crops),
    "multi_crop": Kind(grid, (256, 384, 512)),
    "googlenet144": Kind(squares_crops, (256, 288, 320, 352)),
    "dense": Kind(dense=True, by_place=True),
    "multi_scale_dense": Kind(scales=(224, 256, 384, 480, 640), mirrored=False, dense=True),
}


class Protocol(NamedTuple):
    """The views of an image and how a network scores them.

    Attributes:
      name: a key of `PROTOCOLS`.
      views: the crops made on the host; None is the evaluation crop.
      mirrored: whether mirror images are used too.
      dense: whether the views are whole images, larger than the network's.
      by_place: see `Kind`.
    """

    name: str = "center"
    views: Views | None = None
    mirrored: bool = False
    dense: bool = False
    by_place: bool = False

    @property
    def cost(self) -> float:
        """Number of pixels that the host cuts from an image, in units of one network input."""
        return 1.0 if self.views is None else self.views.cost


CENTER = Protocol()


def make_protocol(
    name: str, *, size: int, channels: int, scales: Sequence[int] = (), resize: int = 0
) -> Protocol:
    """Returns a protocol for images of a size.

    Args:
      name: a key of `PROTOCOLS`.
      size: side of the network's images, in pixels.
      channels: number of channels.
      scales: short sides in pixels; () uses the paper's scales for this size.
      resize: short side before the centre crop; 0 is size · 256/224.

    Raises:
      UserError: if the name is unknown, scales are not supported, or one is smaller than the crop.
    """
    if name not in PROTOCOLS:
        raise UserError(f"no eval.protocol {name!r}: {nearest(name, PROTOCOLS)}")
    kind = PROTOCOLS[name]
    if kind.boxes is None and not kind.dense:
        if scales:
            raise UserError(
                f"eval.scales={tuple(scales)}: the protocol {name} takes the crop of evaluation;"
                " set data.resize, or another eval.protocol"
            )
        return Protocol(name, None, kind.mirrored)
    if not scales:
        scales = [round(scale * size / PUBLISHED_SIZE) for scale in kind.scales]
    if not scales:
        scales = [resize or round(size * 256 / PUBLISHED_SIZE)]
    least = 1 if kind.dense else size
    for scale in scales:
        if not isinstance(scale, int) or scale < least:
            raise UserError(
                f"the protocol {name} cannot take its views of {size}x{size} from a short side of"
                f" {scale} pixels: set eval.scales (or data.resize) to {least} or more"
            )
    views = Views(size, channels, kind.boxes, tuple(scales))
    return Protocol(name, views, kind.mirrored, kind.dense, kind.by_place)


def applied(model: nn.Module, protocol: Protocol) -> nn.Module:
    """Returns the network that a protocol applies, with the same variables.

    Dense protocols convert hidden dense layers to convolutions. A network that ends in global
    average pooling and a linear layer is unchanged: its score of the mean over places is the mean
    of the scores at places.

    Raises:
      UserError: if the network requires one size, or the scales are too small for it.
    """
    views = protocol.views
    if not protocol.dense or views is None:
        return model
    dense_model = (
        model.clone(fully_convolutional=True) if hasattr(model, "fully_convolutional") else model
    )

    def images(side: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, side, side, views.channels), jnp.float32)

    variables = jax.eval_shape(model.init, jax.random.key(0), images(views.size))
    for side in (views.size, *views.scales):
        try:
            jax.eval_shape(dense_model.apply, variables, images(side))
        except (UserError, flax.errors.ScopeParamShapeError) as error:
            ours = isinstance(error, UserError)
            reason = str(error) if ours else "its dense layers take maps of one size"
            raise UserError(
                f"eval.protocol={protocol.name}: a {type(model).__name__} of images of"
                f" {views.size}x{views.size} has no dense form at {side}x{side} ({reason}); use a"
                " protocol of crops, or other eval.scales"
            ) from error
    return dense_model


def make_scores(
    model: nn.Module,
    normalize: Callable[[jax.Array], jax.Array],
    protocol: Protocol = CENTER,
    rows: int = 0,
) -> Scores:
    """Returns (variables, images) → scores [b, K], at least float32.

    Scores are logits for "center", otherwise log-probabilities. Images are uint8 [b, H, W, C], or
    [b, n] from `protocol.views`.

    Args:
      model: the network.
      normalize: see `data.augmentation.augment.normalize`.
      protocol: see `make_protocol`.
      rows: number of images of the network's size per call, before mirroring; more views are split
        into several calls. 0 is all of them.
    """
    network = applied(model, protocol)
    views = protocol.views
    # A network converted to convolutions averages its classifier's outputs over all places.
    by_place = protocol.by_place and network is not model

    def posteriors(variables: dict[str, Any], images: jax.Array) -> jax.Array:
        """Returns log-probabilities [b, K] of images [b, H, W, C]."""
        if not by_place:
            logits: Any = network.apply(variables, images, train=False)
            return jax.nn.log_softmax(logits)
        _, kept = network.apply(
            variables,
            images,
            train=False,
            capture_intermediates=lambda module, _: module.name == "classifier",
            mutable=["intermediates"],
        )
        (of_places,) = kept["intermediates"]["classifier"]["__call__"]
        of_places = of_places.astype(jnp.promote_types(of_places.dtype, jnp.float32))
        of_places = of_places.reshape(len(images), -1, of_places.shape[-1])
        return _mean(jax.nn.log_softmax(of_places), 1)

    def log_probabilities(variables: dict[str, Any], images: jax.Array) -> jax.Array:
        x = normalize(images)
        sides = [x, x[:, :, ::-1]] if protocol.mirrored else [x]
        return _mean(jnp.stack([posteriors(variables, side) for side in sides]), 0)

    def scores(variables: dict[str, Any], images: jax.Array) -> jax.Array:
        if views is None and not protocol.mirrored:
            logits: Any = network.apply(variables, normalize(images), train=False)
            return logits
        if views is None:
            return log_probabilities(variables, images)
        found = []
        for part in views.unpack(images):
            batch, count, height, width = part.shape[:4]
            at_once = batch * count
            if rows:
                most = int(rows * views.size**2 / (height * width))
                at_once = _portion(at_once, max(most, 1))
            portions = part.reshape(-1, at_once, *part.shape[2:])
            one = jax.lax.map(lambda images: log_probabilities(variables, images), portions)
            found.append(one.reshape(batch, count, -1))
        return _mean(jnp.concatenate(found, axis=1), 1)

    return scores


def _mean(log_probabilities: jax.Array, axis: int) -> jax.Array:
    """Returns the logarithm of the mean probability along an axis."""
    total = jax.nn.logsumexp(log_probabilities, axis=axis)
    return total - jnp.log(jnp.asarray(log_probabilities.shape[axis], total.dtype))


def _portion(count: int, most: int) -> int:
    """Returns the largest divisor of `count` that is at most `most`."""
    return next(size for size in range(min(count, most), 0, -1) if count % size == 0)

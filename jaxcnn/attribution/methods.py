"""All attribution methods by name, called alike: for commands that run several of them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from jaxcnn.attribution import (
    Ascent,
    ClassMaps,
    Objective,
    cam,
    deconvnet,
    grad_cam,
    grad_cam_plus_plus,
    gradient_times_input,
    guided_backprop,
    integrated_gradients,
    largest_magnitude,
    layer_cam,
    maximize,
    occlusion,
    occlusion_map,
    saliency,
    score_cam,
    smoothgrad,
    vargrad,
)

SQUARE = 1 / 7  # side of the square of occlusion, as a share of the image's
STEPS = 40  # of activation maximisation


class Question(NamedTuple):
    """What is asked of a method.

    Attributes:
      model: the network.
      variables: of the network.
      images: its inputs, float32 [N, H, W, C].
      classes: int32 [N], the classes that are explained.
      layer: name of the layer of methods that look at one; "" is the method's default.
      key: of methods that draw random numbers.
      bounds: what a black and a white pixel are as inputs of the network, arrays that broadcast to
        [H, W, C].
    """

    model: nn.Module
    variables: Any
    images: jax.Array
    classes: jax.Array
    layer: str
    key: jax.Array
    bounds: tuple[np.ndarray, np.ndarray]


class Answer(NamedTuple):
    """What a method says.

    Attributes:
      values: maps [N, H, W], or pixels [N, H, W, C].
      layer: that the method looked at, if it looks at one.
      numbers: other results of each image by name, [N].
    """

    values: jax.Array | np.ndarray
    layer: str = ""
    numbers: Mapping[str, jax.Array | np.ndarray] = {}


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of attribution.

    Attributes:
      answer: a pure function. It raises `UserError` for a network that the method cannot explain.
      kind: "map" is a number from zero on for each pixel, shown over the image, "signed_map" one
        with a sign; "pixels" are changes of the image, shown beside it, zero being grey; "image" is
        an image of its own, from 0 to 1.
      meaning: one line: what large values mean.
    """

    answer: Callable[[Question], Answer]
    kind: str
    meaning: str


def _saliency(asked: Question) -> Answer:
    return Answer(saliency(*asked[:4]))


def _gradient_times_input(asked: Question) -> Answer:
    return Answer(gradient_times_input(*asked[:4]).sum(-1))


def _smoothgrad(asked: Question) -> Answer:
    pixels = smoothgrad(*asked[:4], key=asked.key)
    return Answer(largest_magnitude(pixels))


def _vargrad(asked: Question) -> Answer:
    return Answer(vargrad(*asked[:4], key=asked.key).mean(-1))


def _integrated_gradients(asked: Question) -> Answer:
    found = integrated_gradients(*asked[:4])
    return Answer(found.pixels.sum(-1), numbers={"gap": found.gap, "steps": found.steps})


def _occlusion(asked: Question) -> Answer:
    height, width = asked.images.shape[1:3]
    found = occlusion(*asked[:4], size=max(1, round(SQUARE * min(height, width))))
    return Answer(occlusion_map(found, height, width))


def _deconvnet(asked: Question) -> Answer:
    return Answer(deconvnet(*asked[:4]))


def _guided_backprop(asked: Question) -> Answer:
    return Answer(guided_backprop(*asked[:4]))


def _by_layer(function: Callable[..., ClassMaps]) -> Callable[[Question], Answer]:
    def answer(asked: Question) -> Answer:
        found = function(*asked[:5])
        return Answer(found.maps, found.layer)

    return answer


def _cam(asked: Question) -> Answer:
    found = cam(*asked[:4])
    return Answer(found.maps, found.layer)


def _activation_maximization(asked: Question) -> Answer:
    """Returns one image for each class, whatever the number of images of it."""
    different, place = np.unique(np.asarray(asked.classes), return_inverse=True)
    objectives = [Objective(int(label)) for label in different]
    shape = asked.images.shape[1:]
    found = maximize(
        asked.model,
        asked.variables,
        objectives,
        (shape[0], shape[1], shape[2]),
        asked.key,
        bounds=asked.bounds,
        ascent=Ascent(steps=STEPS),
    )
    return Answer(found.pixels[place], numbers={"logit": found.end[place]})


METHODS: dict[str, Method] = {
    "saliency": Method(_saliency, "map", "small changes of the pixel change the logit much"),
    "gradient_times_input": Method(
        _gradient_times_input, "signed_map", "the pixel's share of the logit, to first order"
    ),
    "smoothgrad": Method(_smoothgrad, "map", "saliency, averaged over noisy images"),
    "vargrad": Method(_vargrad, "map", "the gradient changes much under noise"),
    "integrated_gradients": Method(
        _integrated_gradients,
        "signed_map",
        "the pixel's share of the logit's rise from a grey image",
    ),
    "deconvnet": Method(
        _deconvnet, "pixels", "what the class projects to the pixels by the switches of the image"
    ),
    "guided_backprop": Method(
        _guided_backprop, "pixels", "edges that raise the logit by positive signals alone"
    ),
    "occlusion": Method(
        _occlusion, "signed_map", "the probability falls where a grey square covers the pixel"
    ),
    "cam": Method(_cam, "signed_map", "the last maps speak for the class here"),
    "grad_cam": Method(_by_layer(grad_cam), "map", "maps that raise the logit are active here"),
    "grad_cam_plus_plus": Method(
        _by_layer(grad_cam_plus_plus), "map", "as Grad-CAM, for several objects of the class"
    ),
    "layer_cam": Method(_by_layer(layer_cam), "map", "units that raise the logit are active here"),
    "score_cam": Method(
        _by_layer(score_cam), "map", "maps whose pixels alone score high are active here"
    ),
    "activation_maximization": Method(
        _activation_maximization, "image", "an image made to raise the logit of the class"
    ),
}

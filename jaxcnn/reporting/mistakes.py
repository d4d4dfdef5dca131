"""The worst mistakes of a network as pictures, and the pixels that decided."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attribution.backprop.gradient import saliency
from jaxcnn.attribution.class_activation_maps import grad_cam
from jaxcnn.config import build_data
from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.errors import UserError
from jaxcnn.figures.overlays import overlay
from jaxcnn.figures.page import Block, Card, Cards, Picture, Text
from jaxcnn.figures.tiles import as_rgb
from jaxcnn.reporting.numbers import percent
from jaxcnn.reporting.runs import Answers, Examined
from jaxcnn.run.precision import set_precision

SHOWN = 12
AT_ONCE = 8  # images that are explained together, for the memory


def worst(answers: Answers, count: int = SHOWN) -> np.ndarray:
    """Returns positions of the worst answers, int [≤ count], the worst first.

    Mistakes come first, the most confident at the front; then correct answers, the least confident
    at the front.

    Args:
      answers: of the network.
      count: at most so many.
    """
    scores = answers.predictions.log_probabilities
    confidence = scores.max(axis=1)
    return np.lexsort((np.where(answers.correct, confidence, -confidence), answers.correct))[:count]


def mistakes(run: Examined, answers: Answers) -> list[Block]:
    """Returns the worst answers: picture, attribution, classes and their probabilities."""
    wrong = int((~answers.correct).sum())
    chosen = worst(answers)
    pixels = pixels_of(run, answers, chosen)
    text = f"{wrong:,} of {len(answers.correct):,} answers are wrong"
    if wrong > len(chosen):
        text += f"; shown are the {len(chosen)} most confident of them."
    elif wrong < len(chosen):
        others = "the others shown" if wrong else "shown"
        text += f"; {others} are the least confident of the correct answers."
    else:
        text += "; all are shown, the most confident first."
    guesses, labels = answers.predicted[chosen], answers.predictions.labels[chosen]
    how, maps = explain(run, pixels, np.concatenate([guesses, labels]))
    for_guess, for_label = np.split(maps, 2)
    cards = []
    for position, image, *own in zip(chosen, pixels, for_guess, for_label, strict=True):
        guess, label = int(answers.predicted[position]), int(answers.predictions.labels[position])
        classes = [guess] if guess == label else [guess, label]
        pictures = [Picture(as_rgb(image), "image")]
        pictures += [
            Picture(overlay(image, values), f"for {run.class_names[one]}")
            for one, values in zip(classes, own, strict=False)
        ]
        cards.append(Card(pictures, _lines(run, answers, int(position))))
    return [Text(text), Text(how), Cards(cards)]


def explain(
    run: Examined, pixels: Sequence[np.ndarray], classes: np.ndarray
) -> tuple[str, np.ndarray]:
    """Returns how pixels are explained, in words, and the maps for classes, float32 [k n, H, W].

    By Grad-CAM at the last layer with maps, or by saliency where the network has none.

    Args:
      run: any.
      pixels: n images, uint8 [H, W, C].
      classes: int [k n], for all images k times.
    """
    times = len(classes) // len(pixels)
    padding = -len(classes) % AT_ONCE
    with set_precision(run.config):
        normalize = build_data.make_normalize(run.config)
        images = normalize(jnp.asarray(np.stack(pixels)), statistics=run.restored.statistics)
        images = jnp.pad(jnp.concatenate([images] * times), [(0, padding), *[(0, 0)] * 3], "edge")
        wanted = jnp.pad(jnp.asarray(classes), (0, padding), "edge")
        parts = [
            _explained(run, images[begin : begin + AT_ONCE], wanted[begin : begin + AT_ONCE])
            for begin in range(0, len(images), AT_ONCE)
        ]
    maps = np.concatenate([part for _, part in parts])[: len(classes)]
    return f"{parts[0][0]} Each map has a scale of its own.", maps


def _explained(run: Examined, images: jax.Array, classes: jax.Array) -> tuple[str, np.ndarray]:
    try:
        found = grad_cam(run.model, run.variables, images, classes)
    except UserError:
        maps = saliency(run.model, run.variables, images, classes)
        words = "Saliency: the more yellow, the more the score of the class depends on a pixel."
        return words, np.asarray(maps, np.float32)
    words = f"Grad-CAM at {found.layer}: the more yellow, the more a place speaks for the class."
    return words, np.asarray(found.maps, np.float32)


def pixels_of(run: Examined, answers: Answers, chosen: np.ndarray) -> list[np.ndarray]:
    """Returns images as the network gets them in evaluation by one crop, uint8 [H, W, C] each.

    Args:
      run: any.
      answers: of the network.
      chosen: positions in the predictions, int [n].
    """
    dataset = answers.dataset
    if build_data.make_test_protocol(run.config).views is not None:  # of whole images
        dataset = build_data.load_data(run.config, answers.split)
    found = []
    for index in answers.predictions.indices[chosen].tolist():
        try:
            image = (
                dataset.read(index, None)[0] if dataset.images is None else dataset.images[index]
            )
            found.append(image)
        except UnreadableImageError:  # since the evaluation
            found.append(np.zeros(dataset.image_shape, np.uint8))
    return found


def _lines(run: Examined, answers: Answers, position: int) -> list[tuple[str, ...]]:
    """Returns the classes of an answer with their probabilities, and where the image is from."""
    label, guess = int(answers.predictions.labels[position]), int(answers.predicted[position])
    probabilities = np.exp(answers.predictions.log_probabilities[position].astype(np.float64))
    both = [("predicted:", guess), ("true:", label)]
    lines = [
        (title, run.class_names[one], f"({percent(probabilities[one])})")
        for title, one in (both if guess != label else [("correct:", label)])
    ]
    return [*lines, (answers.dataset.describe(int(answers.predictions.indices[position])),)]

"""The worst mistakes of a network as pictures."""

from collections.abc import Sequence

import numpy as np

from jaxcnn.config import build_data
from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.figures.page import Block, Card, Cards, Picture, Text
from jaxcnn.figures.tiles import as_rgb
from jaxcnn.reporting.numbers import percent
from jaxcnn.reporting.runs import Answers, Examined

SHOWN = 12


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
    """Returns the worst answers, each with its picture, its classes and their probabilities."""
    wrong = int((~answers.correct).sum())
    chosen = worst(answers)
    cards = _cards(run, answers, chosen, pixels_of(run, answers, chosen))
    text = f"{wrong:,} of {len(answers.correct):,} answers are wrong"
    if wrong > len(chosen):
        text += f"; shown are the {len(chosen)} most confident of them."
    elif wrong < len(chosen):
        text += "; the others shown are the least confident of the correct answers."
    else:
        text += "; all are shown, the most confident first."
    return [Text(text), Cards(cards)]


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


def _cards(
    run: Examined, answers: Answers, chosen: np.ndarray, pixels: Sequence[np.ndarray]
) -> list[Card]:
    probabilities = np.exp(answers.predictions.log_probabilities[chosen].astype(np.float64))
    cards = []
    for row, position, image in zip(probabilities, chosen, pixels, strict=True):
        label, guess = int(answers.predictions.labels[position]), int(answers.predicted[position])
        index = int(answers.predictions.indices[position])
        lines: list[tuple[str, ...]] = [
            (f"{title}:", run.class_names[one], f"({percent(row[one])})")
            for title, one in (("predicted", guess), ("true", label))
        ]
        lines = lines if guess != label else [("correct", *lines[0])]
        lines.append((answers.dataset.describe(index),))
        cards.append(Card([Picture(as_rgb(image), "")], lines))
    return cards

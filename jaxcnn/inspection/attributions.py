"""Runs attribution methods on images, and writes what they say: overlays, a sheet, numbers."""

import csv
import io
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attribution.methods import METHODS, Answer, Question
from jaxcnn.errors import UserError, nearest
from jaxcnn.figures import style
from jaxcnn.figures.labels import shortened
from jaxcnn.figures.overlays import Explained, draw_contact_sheet, draw_overlay
from jaxcnn.inspection.subject import Subject
from jaxcnn.io.safe_files import csv_cell
from jaxcnn.run.precision import set_precision

COLUMNS = (
    *("file", "class", "label", "probability", "true_class", "method", "layer"),
    *("least", "greatest", "sum", "row", "column", "other", "seconds"),
)
ROWS = 12  # images of one contact sheet
LONGEST = 40  # characters of an image's name in a file's name


class Case(NamedTuple):
    """An image and the class that is explained.

    Attributes:
      name: of the image.
      pixels: uint8 [H, W, C].
      label: number of the class.
      class_name: its name.
      probability: of the class.
      truth: name of the true class; "" if it is not known.
    """

    name: str
    pixels: np.ndarray
    label: int
    class_name: str
    probability: float
    truth: str

    @property
    def words(self) -> str:
        """What is explained, in one line."""
        return ", ".join(self.lines())

    def lines(self, longest: int = 1000) -> list[str]:
        """Returns what is explained, and the true class if it is another one.

        Args:
          longest: characters of the name of a class.
        """
        name, truth = (shortened(one, longest) for one in (self.class_name, self.truth))
        name = f"class {name}" if self.class_name.isdecimal() else name
        true = [f"true: {truth}"] if self.truth and self.truth != self.class_name else []
        return [f"{name}, {self.probability:.1%}", *true]


class Result(NamedTuple):
    """What a method said of all cases, or why it cannot.

    Attributes:
      method: its name.
      answer: NumPy arrays; None if the method refuses the network.
      refusal: the reason.
      seconds: that it took, for all images.
    """

    method: str
    answer: Answer | None
    refusal: str
    seconds: float


def class_number(text: str, names: Sequence[str]) -> int | None:
    """Returns the number of a class that is given by its name, or by its number; None of "".

    Raises:
      UserError: if there is no such class.
    """
    if not text:
        return None
    if text in names:
        return names.index(text)
    if text.isascii() and text.isdecimal() and int(text) < len(names):
        return int(text)
    raise UserError(f"no class {text!r} of {len(names)}: {nearest(text, names)}")


def make_cases(
    subject: Subject,
    names: Sequence[str],
    pixels: np.ndarray,
    truths: Sequence[str],
    label: int | None = None,
) -> list[Case]:
    """Returns images with the class that is explained: one for all, or each image's likeliest.

    Args:
      subject: the network.
      names: of the images.
      pixels: uint8 [N, H, W, C], of the network's size.
      truths: names of the true classes.
      label: number of the class; None is the likeliest of each image.
    """
    shares = subject.network.probabilities(pixels)
    known = subject.network.class_names
    cases = []
    for name, image, row, truth in zip(names, pixels, shares, truths, strict=True):
        chosen = int(row.argmax()) if label is None else label
        cases.append(Case(name, image, chosen, known[chosen], float(row[chosen]), truth))
    return cases


def ask(
    subject: Subject, cases: Sequence[Case], *, layer: str = "", seed: int = 0, batch: int = 16
) -> list[Question]:
    """Returns what methods are asked of the cases, one question for each batch of them.

    Args:
      subject: the network.
      cases: at least one.
      layer: see `Question`.
      seed: of methods that draw random numbers.
      batch: images that a method gets at once.
    """
    network, variables, questions = subject.network, subject.variables, []
    with set_precision(subject.config):
        for begin in range(0, len(cases), batch):
            part = cases[begin : begin + batch]
            images = network.normalize(np.stack([case.pixels for case in part]))
            classes = jnp.array([case.label for case in part], jnp.int32)
            key, bounds = jax.random.key(seed), _bounds(subject, images)
            asked = Question(network.model, variables, images, classes, layer, key, bounds)
            questions.append(asked)
    return questions


def answer(subject: Subject, questions: Sequence[Question], method: str) -> Result:
    """Returns what a method says, or why it refuses the network.

    Args:
      subject: the network.
      questions: of `ask`.
      method: a name of `METHODS`.
    """
    begun = time.monotonic()
    try:
        with set_precision(subject.config):
            found = _joined([METHODS[method].answer(asked) for asked in questions])
    except UserError as error:
        return Result(method, None, str(error), time.monotonic() - begun)
    return Result(method, found, "", time.monotonic() - begun)


def _joined(answers: Sequence[Answer]) -> Answer:
    """Returns the answers to all parts as one, of NumPy arrays."""
    values = np.concatenate([np.asarray(one.values) for one in answers])
    numbers = {
        name: np.concatenate([np.asarray(one.numbers[name]) for one in answers])
        for name in answers[0].numbers
    }
    return Answer(values, answers[0].layer, numbers)


def _bounds(subject: Subject, images: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns black and white as inputs of the network, [1 or H, 1 or W, C].

    Where the contrast of each image is normalised, they are the least and the largest input.
    """
    shape = (2, *subject.network.image_shape)
    extremes = np.zeros(shape, np.uint8)
    extremes[1] = 255
    black, white = np.asarray(subject.network.normalize(extremes))
    if np.all(white > black):
        return black, white
    channels = (1, 1, images.shape[-1])
    return np.full(channels, np.min(images)), np.full(channels, np.max(images))


def write_overlays(folder: Path, cases: Sequence[Case], result: Result) -> list[Path]:
    """Writes a picture for each image: the image, and beside it what the method says.

    Args:
      folder: exists.
      cases: N images.
      result: of a method that did not refuse.

    Raises:
      UserError: if a file cannot be written, or matplotlib is missing.
    """
    names = file_names(case.name for case in cases)
    files = []
    for name, case, explained in zip(names, cases, explained_of(result), strict=True):
        files.append(folder / f"{name}-{result.method}.png")
        about = f"{shortened(case.name, 70)}\n{', '.join(case.lines(24))}"
        figure = draw_overlay(case.pixels, explained, about)
        style.save(figure, files[-1])
    return files


def write_sheets(folder: Path, cases: Sequence[Case], results: Sequence[Result]) -> list[Path]:
    """Writes contact sheets: a block for each image with all methods.

    Args:
      folder: exists.
      cases: N images, twelve on a sheet.
      results: of methods that did not refuse.

    Raises:
      UserError: if a file cannot be written, or matplotlib is missing.
    """
    rows = list(zip(*(explained_of(result) for result in results), strict=True))
    files = []
    for begin in range(0, len(cases), ROWS):
        shown = slice(begin, begin + ROWS)
        number = f"-{begin // ROWS + 1}" if len(cases) > ROWS else ""
        files.append(folder / f"sheet{number}.png")
        words = ["\n".join([Path(case.name).name, *case.lines(14)]) for case in cases[shown]]
        pictures = [case.pixels for case in cases[shown]]
        style.save(draw_contact_sheet(pictures, rows[shown], words), files[-1])
    return files


def explained_of(result: Result) -> list[Explained]:
    """Returns what a method says of each image, for figures."""
    if result.answer is None:
        raise ValueError(f"{result.method} has no answer")
    layer = f"layer {result.answer.layer}" if result.answer.layer else ""
    kind = METHODS[result.method].kind
    return [
        Explained(result.method, values, kind, layer) for values in np.asarray(result.answer.values)
    ]


def write_csv(file: IO[bytes], cases: Sequence[Case], results: Sequence[Result]) -> None:
    """Writes a row for each image and method; of a refusal the reason stands in `other`.

    `least`, `greatest` and `sum` are of the map; `row` and `column` are the place of the largest
    magnitude, in pixels of the network's input. `seconds` are those of one image, compilation
    included.

    Args:
      file: binary.
      cases: N images.
      results: of all methods.
    """
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="", write_through=True)
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for number, case in enumerate(cases):
        about = (case.name, case.class_name, case.label, _digits(case.probability), case.truth)
        for result in results:
            seconds = f"{result.seconds / len(cases):.3f}"
            cells = (*about, result.method, *_numbers(result, number), seconds)
            rows.writerow(map(csv_cell, cells))
    text.detach()


def _numbers(result: Result, number: int) -> tuple[object, ...]:
    if result.answer is None:
        return ("", "", "", "", "", "", result.refusal)
    values = np.asarray(result.answer.values[number], np.float64)
    magnitudes = np.abs(values) if values.ndim == 2 else np.abs(values).max(-1)
    row, column = np.unravel_index(magnitudes.argmax(), magnitudes.shape)
    other = _named(result.answer.numbers, number)
    extent = (values.min(), values.max(), values.sum())
    return (result.answer.layer, *map(_digits, extent), int(row), int(column), other)


def _named(numbers: Mapping[str, Any], number: int) -> str:
    return " ".join(f"{name}={_digits(values[number])}" for name, values in numbers.items())


def _digits(number: float) -> str:
    return f"{float(number):.6g}"


def file_names(names: Iterator[str] | Sequence[str]) -> list[str]:
    """Returns short names for files, all different, of letters, digits, points and hyphens.

    Args:
      names: of images; the folder and the ending are left out.
    """
    taken = set[str]()  # without regard to capitals, as some file systems are
    found = []
    for name in names:
        plain = re.sub(
            r"[^A-Za-z0-9.]+", "-", Path(name).stem if "/" in name or "." in name else name
        )
        plain = plain.strip("-.")[:LONGEST] or "image"
        free, number = plain, 1
        while free.lower() in taken:
            number += 1
            free = f"{plain}-{number}"
        taken.add(free.lower())
        found.append(free)
    return found

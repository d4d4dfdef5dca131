"""Adebayo's check of the methods on one network: a figure, a table, and which methods fail.

Adebayo et al., "Sanity Checks for Saliency Maps", 2018; see `jaxcnn.attribution.sanity`.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxcnn.attribution.methods import METHODS, Question
from jaxcnn.attribution.sanity import Method, Sanity, sanity_check
from jaxcnn.figures import style
from jaxcnn.figures.sanity import Panel, draw_sanity
from jaxcnn.inspection.subject import Subject
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import csv_cell
from jaxcnn.run.precision import set_precision

COLUMNS = ("method", "layer", "rank_correlation", "ssim", "two_images", "fails")
# Folded into the key, so that they are not what a run of the same seed started from.
_RANDOM_PARAMETERS = 0x5A1


def checkable(methods: Sequence[str]) -> list[str]:
    """Returns the methods that explain an image; others show no map of it."""
    return [name for name in methods if METHODS[name].kind != "image"]


def check(subject: Subject, asked: Question, methods: Sequence[str]) -> Sanity:
    """Returns how similar maps stay while the parameters become random from the top.

    Args:
      subject: the network.
      asked: images and classes.
      methods: names of `METHODS`, which do not refuse the network.
    """

    def of_method(name: str) -> Method:
        def maps(variables: Any, images: jax.Array, classes: jax.Array) -> jax.Array:
            question = asked._replace(variables=variables, images=images, classes=classes)
            return jax.numpy.asarray(METHODS[name].answer(question).values)

        return maps

    with set_precision(subject.config):
        return sanity_check(
            subject.network.model,
            asked.variables,
            asked.images,
            {name: of_method(name) for name in methods},
            jax.random.fold_in(asked.key, _RANDOM_PARAMETERS),
            classes=asked.classes,
        )


def write(folder: Path, subject: Subject, found: Sanity) -> list[Path]:
    """Writes sanity.png and sanity.csv, means over the images; returns their names.

    A row of the table is a method and a layer: all layers down to this one are random.
    `two_images` is the rank correlation of the trained network's maps of different images.

    Args:
      folder: exists.
      subject: the network.
      found: of `check`.

    Raises:
      UserError: if a file cannot be written.
    """
    correlation, ssim = found.rank_correlation.mean(-1), found.ssim.mean(-1)
    two_images = found.two_images.mean(-1)
    failing = found.failing()
    panel = Panel(subject.title, found.methods, found.layers, correlation, ssim, failing)
    files = [folder / "sanity.png", folder / "sanity.csv"]
    style.save(draw_sanity([panel]), files[0])
    with whole_file(files[1]) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        rows = csv.writer(text)
        rows.writerow(COLUMNS)
        for m, method in enumerate(found.methods):
            for place, layer in enumerate(found.layers):
                values = (correlation[m, place], ssim[m, place], two_images[m])
                numbers = (f"{value:.4f}" for value in values)
                rows.writerow(map(csv_cell, (method, layer, *numbers, method in failing)))
        text.detach()
    return files

"""Classifies images with the network of a run.

  python -m jaxcnn.predict --workdir=runs/resnet18-photos photos/ cat.jpg
  python -m jaxcnn.predict --workdir=runs/resnet18-photos photos/ --csv=predictions.csv

Images are cropped and normalised as in the run's evaluation; averaged weights are used where the
run keeps them. Images that cannot be read, or do not exist, are named in one line at the end; the
exit code is 0 as long as one image was answered. Probabilities are the softmax of the network's
outputs: those of a network that was trained by another loss than the cross entropy add up to one,
too, but are no more than scores.
"""

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcnn.data.images.files import find_images, map_images, say_problems
from jaxcnn.errors import printable
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import csv_cell
from jaxcnn.run import cli, inference, trained
from jaxcnn.run.checkpoint import restore


class Guess(NamedTuple):
    """One class for one image: its place from 1, name, number and probability."""

    rank: int
    name: str
    label: int
    probability: float


def predict(
    network: inference.LoadedModel,
    files: Sequence[Path],
    *,
    top_k: int = 5,
    batch_size: int = 64,
) -> Iterator[tuple[Path, list[Guess] | str]]:
    """Yields each file with its most probable classes, or with the reason why it cannot be read.

    Args:
      network: a trained one.
      files: images.
      top_k: how many classes; all of them if there are no more.
      batch_size: images that the network gets at once.
    """
    names = network.class_names
    for file, row in map_images(network.classify, files, network.cropper, batch_size):
        if isinstance(row, str):
            yield file, row
            continue
        best = np.argsort(-row, kind="stable")[:top_k]
        guesses = [
            Guess(rank, names[label], int(label), float(row[label]))
            for rank, label in enumerate(best, 1)
        ]
        yield file, guesses


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the command line.

    Raises:
      UserError: for a flag that does not exist or a value that it does not take.
    """
    parser = trained.parser("python -m jaxcnn.predict", __doc__)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE|DIR")
    parser.add_argument("--topk", type=int, default=5, help="classes for each image (5)")
    parser.add_argument("--csv", type=Path, help="a file for all of it, instead of lines")
    flags = parser.parse_args(argv)
    restore.check_positive(flags, "topk", "batch")
    return flags


def main(argv: Sequence[str]) -> None:
    """Predicts.

    Raises:
      UserError: for whatever the user can put right; if not one image can be read.
    """
    flags = parse(argv)
    trained.check_flags(flags)  # before images are looked for
    images = find_images(flags.images)
    network = inference.loaded(trained.of_flags(flags))
    found = predict(network, images.files, top_k=flags.topk, batch_size=flags.batch)
    number = len(images.files)
    problems = _write_csv(found, flags.csv, number) if flags.csv else _print(found)
    say_problems([*images.problems, *problems], len(images.problems) + number)


def _print(found: Iterator[tuple[Path, list[Guess] | str]]) -> list[tuple[str, str]]:
    problems = []
    for file, guesses in found:
        name = cli.shown(file)
        if isinstance(guesses, str):
            problems.append((name, guesses))
            continue
        shown = (f"{printable(guess.name)} {guess.probability:.2%}" for guess in guesses)
        print(f"{name}  " + "  ".join(shown), flush=True)
    return problems


def _write_csv(
    found: Iterator[tuple[Path, list[Guess] | str]], path: Path, total: int
) -> list[tuple[str, str]]:
    problems = []
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="", write_through=True)
        rows = csv.writer(text)
        rows.writerow(("file", "rank", "class", "label", "probability"))
        for image, guesses in cli.track(found, total, "images"):
            if isinstance(guesses, str):
                problems.append((cli.shown(image), guesses))
            else:
                rows.writerows(map(csv_cell, (str(image), *guess)) for guess in guesses)
        text.detach()
        if len(problems) == total:  # no file of no images
            say_problems(problems, total)
    count = total - len(problems)
    print(f"{printable(path)}: {count} image{'s' * (count != 1)}")
    return problems


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        cli.set_up()
        main(sys.argv[1:])

"""Trains linear classifiers on saved features: how good they are without training the network.

  python -m jaxcnn.features --weights=resnet18.tv_in1k photos/train --out=train.npz
  python -m jaxcnn.features --weights=resnet18.tv_in1k photos/test --out=test.npz
  python -m jaxcnn.probe train.npz test.npz --shots=1,5,all

The network runs once for each image, whatever is tried afterwards. The class of an image is the
name of its folder. The classifier minimises the squared error, regularised; the strength of the
regularisation is the one with the smallest error of training images that are left out. --shots
draws so many training images of each class, several times (--draws), and prints mean and standard
deviation of the accuracy; `all` takes all. The last column has the strength, of several draws the
median. There is no augmentation: features are of the crop that evaluation takes.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcnn.errors import UserError, nearest, printable, reason
from jaxcnn.evaluation.linear_probe import draw_shots, fit
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import csv_cell, read_npz
from jaxcnn.run import cli

ALL = "all"


class Examples(NamedTuple):
    """Saved features of images in class folders.

    Attributes:
      features: float64 [n, C].
      classes: name of the folder of each image.
      layer: that the features are of.
    """

    features: np.ndarray
    classes: np.ndarray
    layer: str


class Trial(NamedTuple):
    """A classifier of some of the training images.

    Attributes:
      shots: training images of each class, or `ALL`.
      draw: its number.
      examples: number of training images.
      top1: accuracy on the test images.
      strength: of the regularisation.
    """

    shots: str
    draw: int
    examples: int
    top1: float
    strength: float


def read_features(path: Path) -> Examples:
    """Returns the features of a file that `jaxcnn.features` wrote.

    Raises:
      UserError: if there is no such file, or it does not hold features of images in folders.
    """
    try:
        arrays = read_npz(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from error
    features, files = arrays.get("features"), arrays.get("files")
    if (
        features is None
        or files is None
        or features.dtype.kind != "f"
        or files.dtype.kind != "U"
        or files.shape != features.shape[:1]
        or not features.size
    ):
        raise UserError(f"{path} holds no features: write it with python -m jaxcnn.features --out")
    if not np.isfinite(features).all():
        raise UserError(f"{path} has features that are not finite: the network's weights are wrong")
    classes = np.array([Path(file).parent.name for file in files.tolist()])
    flat = features.reshape(len(features), -1).astype(np.float64)
    return Examples(flat, classes, str(arrays.get("layer", "")))


def trials(
    train: Examples, test: Examples, shots: Sequence[str], draws: int
) -> tuple[tuple[str, ...], list[Trial]]:
    """Returns the names of the classes, and the results.

    Args:
      train: training images.
      test: of the same classes.
      shots: numbers of training images of each class, or `ALL`.
      draws: how often they are drawn.

    Raises:
      UserError: if features or classes of the two do not fit, or a class has too few images.
    """
    if train.layer != test.layer or train.features.shape[1] != test.features.shape[1]:
        raise UserError(
            f"the features differ: {train.features.shape[1]} of layer {train.layer or 'the last'!r}"
            f" and {test.features.shape[1]} of {test.layer or 'the last'!r}"
        )
    names = tuple(np.unique(train.classes).tolist())
    if len(names) < 2:
        raise UserError(
            f"all training images are in one folder, {names[0]!r}: put those of each class into a"
            " folder of their own"
        )
    for name in np.unique(test.classes).tolist():
        if name not in names:
            raise UserError(f"no training images of class {name!r}: {nearest(name, names)}")
    labels, wanted = np.searchsorted(names, train.classes), np.searchsorted(names, test.classes)
    found = []
    for count in shots:
        for draw in range(1 if count == ALL else draws):
            chosen = slice(None) if count == ALL else draw_shots(labels, int(count), names, draw)
            probe = fit(train.features[chosen], labels[chosen])
            top1 = float(probe.score(test.features, wanted))
            strength = float(probe[-1].alpha_)
            found.append(Trial(count, draw, len(labels[chosen]), top1, strength))
    return names, found


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the command line.

    Raises:
      UserError: for a flag that does not exist or a value that it does not take.
    """
    parser = cli.Parser(
        prog="python -m jaxcnn.probe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("train", type=Path, metavar="TRAIN.npz", help="features for training")
    parser.add_argument("test", type=Path, metavar="TEST.npz", help="features for testing")
    parser.add_argument("--shots", default="1,5,10,all", help="of each class (1,5,10,all)")
    parser.add_argument("--draws", type=int, default=3, help="of each number of shots (3)")
    parser.add_argument("--csv", type=Path, help="a file for the results, one line for each draw")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    flags = parser.parse_args(argv)
    for one in flags.shots.split(","):
        if one != ALL and not (one.isascii() and one.isdigit() and 0 < int(one) < 10**6):
            raise UserError(f"--shots={flags.shots}: give whole numbers or all, such as 1,5,all")
    if flags.draws < 1:
        raise UserError(f"--draws={flags.draws}: give 1 or more")
    return flags


def main(argv: Sequence[str]) -> None:
    """Prints the accuracy for each number of shots.

    Raises:
      UserError: for whatever the user can put right.
    """
    flags = parse(argv)
    train, test = read_features(flags.train), read_features(flags.test)
    names, found = trials(train, test, flags.shots.split(","), flags.draws)
    layer = train.layer or "the last hidden layer"
    print(
        f"{len(names)} classes, {len(train.classes):,} training and {len(test.classes):,} test"
        f" images; {train.features.shape[1]:,} features of {printable(layer)}"
    )
    print(f"{'shots':>6}  {'top-1 %':>12}  {'strength':>9}")
    for shots in dict.fromkeys(flags.shots.split(",")):
        of_shots = [one for one in found if one.shots == shots]
        top1 = [100 * one.top1 for one in of_shots]
        spread = f" ± {np.std(top1, ddof=1):.1f}" if len(top1) > 1 else ""
        strength = np.median([one.strength for one in of_shots])
        print(f"{shots:>6}  {np.mean(top1):.1f}{spread:<7}  {strength:>9.4g}")
    if flags.csv:
        _write_csv(found, flags.csv)


def _write_csv(found: Sequence[Trial], path: Path) -> None:
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        rows = csv.writer(text)
        rows.writerow(Trial._fields)
        rows.writerows(map(csv_cell, one) for one in found)
        text.detach()
    print(f"{printable(path)}: {len(found)} results")


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        main(sys.argv[1:])

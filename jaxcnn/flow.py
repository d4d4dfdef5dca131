"""Shows how activations and gradients flow through a network.

  python -m jaxcnn.flow vgg16 --kernel-init=he_normal,glorot_normal,normal
  python -m jaxcnn.flow cifar_plain20 --override=norm=none --image-size=32
  python -m jaxcnn.flow --workdir=runs/resnet18-photos --checkpoint=all --split=test
  python -m jaxcnn.flow --workdir=runs/alexnet-photos --images=photos/ --part=dropout,dead_units

Each part is a figure and a CSV file in the folder --out:

  signal      size of activations and gradients by layer, measured and predicted from the weights
              (Glorot and Bengio, 2010; He et al., 2015)
  dead_units  share of the units of each ReLU that no image makes positive
  residual    size of F(x) and x in each residual unit
  heads       gradients that auxiliary heads give to each kernel
  reuse       weights that each layer of a DenseNet gives to the layers before it
  fields      effective receptive fields beside the theoretical ones (Luo et al., 2016)
  dropout     mean over sampled sub-networks beside the scaled network

Without --part all are made that the network has. The images are those of --images or --split, or
noise. Sizes and gradients are those of the first --batch images, dead units those of all. Classes
that are not known are drawn. With random weights BatchNorm normalises by the first images, as in
training; trained networks use their running statistics.
"""

import argparse
import ast
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxcnn.errors import UserError, check_whole, nearest, printable
from jaxcnn.figures import style
from jaxcnn.inspection import images, subject
from jaxcnn.inspection.flow import PARTS, Flowing, Part
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import csv_cell
from jaxcnn.run import cli, trained
from jaxcnn.run.checkpoint import checkpoint_files, restore


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the command line.

    Raises:
      UserError: for a flag that does not exist or a value that it does not take.
    """
    parser = cli.Parser(
        prog="python -m jaxcnn.flow",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", default="", help="of a network, random weights")
    trained.add_flags(parser)
    parser.add_argument("--kernel-init", default="", help="initialisers to compare, with commas")
    parser.add_argument("--override", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--image-size", type=int, default=0, help="pixels, with a name")
    parser.add_argument("--images", action="append", default=[], type=Path, metavar="IMAGE|DIR")
    parser.add_argument("--split", default="", help="images of the run's data: train, test …")
    parser.add_argument("--part", default="all", help="names with commas (all)")
    parser.add_argument("--out", type=Path, default=Path("flow"), help="folder (flow)")
    parser.add_argument("--batch", type=int, default=4, help="images at once (4)")
    parser.add_argument("--samples", type=int, default=64, help="sub-networks of dropout (64)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, noise and draws (0)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    flags = parser.parse_args(argv)
    _check(flags)
    return flags


def _check(flags: argparse.Namespace) -> None:
    if sum(map(bool, (flags.name, flags.workdir, flags.weights))) != 1:
        raise UserError("give the name of a network, --workdir=DIR or --weights=NAME|DIR")
    if not flags.name and (flags.kernel_init or flags.override or flags.image_size):
        raise UserError(
            "--kernel-init, --override and --image-size are of a network with random weights: give"
            " its name"
        )
    if flags.split and flags.images:
        raise UserError("give either --split or --images")
    if (flags.split or flags.checkpoint != "latest" or flags.model) and not flags.workdir:
        raise UserError("--split, --checkpoint and --model are of a run: give its --workdir")
    if not _parts(flags.part):
        raise UserError(f"--part={flags.part} names no part: give all or names with commas")
    for part in _parts(flags.part):
        if part not in PARTS:
            raise UserError(f"--part={part}: {nearest(part, [*PARTS, 'all'])}")
    for name in ("batch", "samples"):
        check_whole(f"--{name}", getattr(flags, name))
    check_whole("--seed", flags.seed, 0, 2**32 - 1)


def main(argv: Sequence[str]) -> None:
    """Writes the tables and figures.

    Raises:
      UserError: for whatever the user can put right; if a part that was named cannot be made.
    """
    flags = parse(argv)
    style.new_figure(1, 1)  # refuses a missing matplotlib before the work
    networks = list(_networks(flags))
    for name in _parts(flags.part):
        try:
            part = PARTS[name](networks)
        except UserError as error:
            if flags.part != "all":
                raise
            print(f"no {name}: {error}", flush=True)
            continue
        _write(flags.out / name, part)
    pixels = networks[-1].pixels
    if pixels is not None:
        pixels.say_problems()


def _parts(text: str) -> list[str]:
    if text == "all":
        return list(PARTS)
    return [name.strip() for name in text.split(",") if name.strip()]


def _networks(flags: argparse.Namespace) -> Iterator[Flowing]:
    """Yields the networks that are compared, in order."""
    pixels: images.Images | None = None
    for number, (name, found) in enumerate(_subjects(flags)):
        if number == 0 and flags.split:
            pixels = images.of_split(found, flags.split)
        elif number == 0 and flags.images:
            pixels = images.of_files(found, flags.images)
        yield Flowing(name, found, pixels, flags.batch, flags.seed, flags.samples)


def _subjects(flags: argparse.Namespace) -> Iterator[tuple[str, subject.Subject]]:
    if flags.weights:
        yield flags.weights, subject.of_trained(trained.of_flags(flags))
        return
    if flags.workdir:
        restore.check_workdir(flags.workdir)
        steps: Sequence[int | str] = [flags.checkpoint]
        if flags.checkpoint == "all":
            steps = checkpoint_files.steps(flags.workdir / "checkpoints") or ["latest"]
        for step in steps:
            found = subject.of_run(flags.workdir, str(step), flags.model)
            yield f"step {found.network.step:,}", found
        return
    fields = dict(_override(text) for text in flags.override)
    for name in flags.kernel_init.split(","):
        chosen = {**fields, "kernel_init": name.strip()}
        found = subject.of_name(flags.name, flags.image_size, flags.seed, chosen)
        yield name.strip() or flags.name, found


def _override(text: str) -> tuple[str, Any]:
    field, _, value = text.partition("=")
    if not field or not value:
        raise UserError(f"--override={text}: write FIELD=VALUE, such as norm=none")
    try:
        return f"overrides.{field}", ast.literal_eval(value)
    except (SyntaxError, ValueError):  # a text
        return f"overrides.{field}", value


def _write(path: Path, part: Part) -> None:
    table, figure = path.with_suffix(".csv"), path.with_suffix(".png")
    with whole_file(table) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        rows = csv.writer(text)
        rows.writerow(("network", *part.columns))
        rows.writerows(map(csv_cell, row) for row in part.rows)
        text.detach()
    style.save(part.figure, figure)
    print(printable(f"{figure} and {table}: {part.said}"), flush=True)


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        cli.set_up()
        main(sys.argv[1:])

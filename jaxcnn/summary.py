"""Prints the layers of a network: output, parameters, multiply-adds, receptive field.

  python -m jaxcnn.summary resnet50
  python -m jaxcnn.summary resnet50 --depth=2
  python -m jaxcnn.summary vgg16 --image-size=160 --csv=vgg16.csv --html=vgg16.html
  python -m jaxcnn.summary --workdir=runs/densenet121-digits

The network is one of `jaxcnn.list_models()`, one of your own, MODULE:NETWORK, or that of a run.
Nothing is computed or allocated. The CSV file has a line for each layer, in the order of
computation; the sums of its columns are those of the network. The page shows the same table, and
the structure of the network as a diagram whose parts open.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxcnn.analysis import layer_table
from jaxcnn.analysis.layer_table import Summary
from jaxcnn.analysis.tracing.graph import Graph, trace_shapes
from jaxcnn.config import user_modules
from jaxcnn.errors import UserError, check_whole, printable
from jaxcnn.figures import layers, page, structure
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import csv_cell
from jaxcnn.models import create_model, model_info
from jaxcnn.run import cli
from jaxcnn.run.inference import load


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the command line.

    Raises:
      UserError: for a flag that does not exist or a value that it does not take.
    """
    parser = cli.Parser(
        prog="python -m jaxcnn.summary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", default="", help="of the network")
    parser.add_argument("--workdir", type=Path, help="of a run, instead of a name")
    parser.add_argument("--checkpoint", default="latest", help="latest, best or a step (latest)")
    parser.add_argument("--model", default="", help="a network of your own, of the run")
    parser.add_argument("--image-size", type=int, help="height and width of images, pixels")
    parser.add_argument("--depth", type=int, default=0, help="1: stages, 2: units, 0: layers (0)")
    parser.add_argument("--csv", type=Path, help="a file for the table")
    parser.add_argument("--html", type=Path, help="a file for the page")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    flags = parser.parse_args(argv)
    if bool(flags.name) == bool(flags.workdir):
        raise UserError("give the name of a network or --workdir=DIR")
    if (flags.checkpoint != "latest" or flags.model) and not flags.workdir:
        raise UserError("--checkpoint and --model are of a run: give its --workdir")
    if flags.depth < 0:
        raise UserError(f"--depth={flags.depth}: give 0 or more")
    if flags.image_size is not None:
        check_whole("--image-size", flags.image_size)
    return flags


def main(argv: Sequence[str]) -> None:
    """Prints the table, and writes the files that are asked for.

    Raises:
      UserError: for whatever the user can put right.
    """
    flags = parse(argv)
    if flags.html:
        page.check_installed()
        structure.check_installed()
    title, graph = _graph(flags)
    summary = layer_table.of_graph(graph)
    print(printable(title))
    print(layers.text(summary, flags.depth))
    if flags.csv:
        _write_csv(summary, flags.csv)
    if flags.html:
        sections = [
            page.Section("Structure", structure.blocks(graph)),
            page.Section("Layers", layers.blocks(summary)),
        ]
        content = page.render(page.Page(title, "", sections))
        with whole_file(flags.html) as file:
            file.write(content.encode("utf-8"))
        print(printable(flags.html))


def _graph(flags: argparse.Namespace) -> tuple[str, Graph]:
    """Returns a title, and the network for the images that are asked for."""
    if flags.workdir:
        loaded = load(flags.workdir, checkpoint=flags.checkpoint, model=flags.model)
        model, shape, name = loaded.model, loaded.image_shape, str(flags.workdir)
    else:
        user_modules.import_model(flags.name)
        model, name = create_model(flags.name), flags.name
        shape = model_info(flags.name).input_size
    side = flags.image_size
    shape = (side, side, shape[2]) if side else shape
    return f"{name}, images {'×'.join(map(str, shape))}", trace_shapes(model, shape)


def _write_csv(summary: Summary, path: Path) -> None:
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        rows = csv.writer(text)
        rows.writerow(layers.COLUMNS)
        rows.writerows(map(csv_cell, row) for row in layers.csv_rows(summary))
        text.detach()
    print(f"{printable(path)}: {len(summary.rows)} layers")


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        cli.set_up()
        main(sys.argv[1:])

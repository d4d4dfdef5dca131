"""Saves the activations of a layer of a run's network, and finds similar images.

  python -m jaxcnn.features --workdir=runs/resnet18-photos --layer=list
  python -m jaxcnn.features --workdir=runs/resnet18-photos --layer=stage3 photos/ --out=features.npz
  python -m jaxcnn.features --workdir=runs/resnet18-photos photos/ --query=cat.jpg --figure=near.png

Without --layer it is the classifier's input, the last hidden layer. Maps are averaged over space,
or kept whole with --no-pool. The file holds `files` [n], `features` [n, …] and `layer`, for
`numpy.load`. --query lists the nearest of the images by the Euclidean distance of their features,
and --figure draws them with names and distances, a row for each query, as figure 4 of Krizhevsky et
al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012, §6.1. Images that
cannot be read, or do not exist, are named at the end; the exit code is 0 as long as there is an
answer.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.analysis.neighbours import nearest_rows
from jaxcnn.config import build_data
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.images.decode import IMAGE_BYTES
from jaxcnn.data.images.files import find_images, map_images, say_problems
from jaxcnn.data.images.transforms import Cropper
from jaxcnn.errors import UserError, nearest, printable
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import read_bytes
from jaxcnn.run import cli, trained
from jaxcnn.run.checkpoint import restore
from jaxcnn.run.precision import set_precision

LAST_HIDDEN = ""  # the layer without a name of its own
GAP, BORDER = 16, 4  # pixels of a figure: behind the queries, around each image
SIDE, LINE = 128, 15  # at least, of an image in a figure; height of a line of text


class Features(NamedTuple):
    """Activations of a layer.

    Attributes:
      files: [n], those that could be read.
      values: [n, C], or [n, H, W, C] of a map that is kept whole.
      problems: name and reason of each file that could not be read.
    """

    files: list[Path]
    values: np.ndarray
    problems: list[tuple[str, str]]


def layer_shapes(config: RunConfig, found: trained.Found) -> dict[str, tuple[int, ...]]:
    """Returns the shape, for one image, of what each named layer puts out, in the order of use."""
    images = jax.ShapeDtypeStruct((1, *restore.image_shape(config)), jnp.float32)
    model, order = _with_named_units(found.model), list[str]()

    def wanted(module: Any, method: str) -> bool:
        if method == "__call__" and module.path:
            order.append("/".join(module.path))
        return method == "__call__"

    def all_layers(variables: Any, images: jax.Array) -> Any:
        return model.apply(
            variables, images, train=False, capture_intermediates=wanted, mutable=["intermediates"]
        )[1]["intermediates"]

    with set_precision(config):
        shapes = jax.eval_shape(all_layers, found.variables, images)
    last = {
        "/".join(path[:-1]): outputs[-1]
        for path, outputs in traverse_util.flatten_dict(shapes).items()
    }
    return {
        name: last[name].shape[1:]
        for name in dict.fromkeys(order)
        if isinstance(last.get(name), jax.ShapeDtypeStruct) and last[name].ndim > 1
    }


def make_layer(
    config: RunConfig, found: trained.Found, layer: str = LAST_HIDDEN, *, pool: bool = True
) -> Callable[[np.ndarray], jax.Array]:
    """Returns images, uint8 [b, H, W, C] of the evaluation's size → features, float32 [b, …].

    A layer that is used several times gives the last of its outputs.

    Args:
      config: of the run.
      found: its network.
      layer: a name of `layer_shapes`, or `LAST_HIDDEN`: the input of the classifier.
      pool: average maps over space.

    Raises:
      UserError: for a name that does not exist.
    """

    def outputs(variables: Any, images: jax.Array) -> Any:
        if layer == LAST_HIDDEN:
            headless = found.model.clone(num_classes=0)
            return headless.apply(variables, images, train=False)
        kept = _with_named_units(found.model).apply(
            variables,
            images,
            train=False,
            capture_intermediates=lambda module, method: (
                method == "__call__" and "/".join(module.path) == layer
            ),
            mutable=["intermediates"],
        )[1]
        (of_calls,) = traverse_util.flatten_dict(kept["intermediates"]).values()
        return of_calls[-1]

    def features(variables: Any, images: jax.Array) -> jax.Array:
        values = outputs(variables, images).astype(jnp.float32)
        return values.mean((1, 2)) if pool and values.ndim == 4 else values

    if layer != LAST_HIDDEN and layer not in (known := layer_shapes(config, found)):
        raise UserError(f"no layer {layer!r}: {nearest(layer, known)}; --layer=list names all")
    return restore.on_images(config, found, features)


def _with_named_units(model: nn.Module) -> nn.Module:
    """Returns the network without its loop over units, in which they have no names."""
    return model.clone(scan_units=False) if getattr(model, "scan_units", False) else model


def extract(
    function: Callable[[np.ndarray], jax.Array],
    files: Sequence[Path],
    cropper: Cropper,
    batch_size: int = 64,
) -> Features:
    """Returns the activations of image files by a function of `make_layer`.

    Raises:
      UserError: if not one of them can be read.
    """
    kept, rows, problems = [], [], []
    found = map_images(function, files, cropper, batch_size)
    for file, row in cli.track(found, len(files), "images"):
        if isinstance(row, str):
            problems.append((cli.shown(file), row))
        else:
            kept.append(file)
            rows.append(row)
    if not rows:
        say_problems(problems, len(files))
    return Features(kept, np.stack(rows), problems)


class Tile(NamedTuple):
    """An image of a figure: uint8 [H, W, C], C being 1 or 3, and the lines below it."""

    pixels: np.ndarray
    lines: Sequence[str]


def draw(rows: Sequence[Sequence[Tile]], title: str) -> Any:
    """Returns a Pillow image of rows of images, the first of each set apart.

    Small images are drawn several times as large, pixel by pixel; long lines lose their middle.

    Args:
      rows: of images of one size, with equally many lines.
      title: above all.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=12)
    height, width, _ = rows[0][0].pixels.shape
    times = -(-SIDE // min(height, width))
    wide, high = times * width, times * height
    pitch = wide + 2 * BORDER, high + 2 * BORDER + LINE * len(rows[0][0].lines)
    columns = max(map(len, rows))
    size = (columns * pitch[0] + GAP, LINE + 2 * BORDER + len(rows) * pitch[1])
    figure = Image.new("RGB", size, "white")
    text = ImageDraw.Draw(figure)
    text.text((BORDER, BORDER), _fitting(title, size[0] - 2 * BORDER, font), "black", font)
    for down, row in enumerate(rows):
        top = LINE + 2 * BORDER + down * pitch[1]
        for across, (pixels, lines) in enumerate(row):
            left = across * pitch[0] + BORDER + GAP * (across > 0)
            image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
            figure.paste(image.resize((wide, high), Image.Resampling.NEAREST), (left, top))
            for number, line in enumerate(lines):
                place = (left, top + high + number * LINE)
                text.text(place, _fitting(line, wide, font), "black", font)
    return figure


def _fitting(line: str, width: int, font: Any) -> str:
    """Returns a text that is no wider than so many pixels, its middle left out if need be."""
    line = printable(line)
    kept = len(line)
    short = line
    while kept > 1 and font.getlength(short) > width:
        kept -= 1
        short = f"{line[: kept // 3]}...{line[len(line) - (kept - kept // 3) :]}"
    return short


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the command line.

    Raises:
      UserError: for a flag that does not exist or a value that it does not take.
    """
    parser = trained.parser("python -m jaxcnn.features", __doc__)
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE|DIR")
    parser.add_argument("--layer", default=LAST_HIDDEN, help="a layer's name, or list")
    parser.add_argument("--no-pool", action="store_true", help="keep maps whole")
    parser.add_argument("--out", type=Path, help="an .npz file for the features")
    parser.add_argument("--query", action="append", default=[], type=Path, metavar="IMAGE")
    parser.add_argument("--neighbours", type=int, help="of each query (6)")
    parser.add_argument("--figure", type=Path, help="a .png file for queries and neighbours")
    flags = parser.parse_args(argv)
    counted = flags.neighbours is not None
    flags.neighbours = flags.neighbours if counted else 6
    restore.check_positive(flags, "neighbours", "batch")
    if counted and not flags.query:
        raise UserError("--neighbours counts those of a --query=IMAGE")
    if flags.layer == "list":
        if flags.out or flags.query or flags.figure or flags.no_pool:
            raise UserError("--layer=list takes no --out, --query, --figure or --no-pool")
        return flags
    if not flags.images:
        raise UserError("name images, or folders of them; --layer=list needs none")
    if not flags.out and not flags.query:
        raise UserError("nothing to do: set --out=features.npz, --query=IMAGE or both")
    if flags.figure and not flags.query:
        raise UserError("--figure draws the neighbours of a --query=IMAGE")
    return flags


def main(argv: Sequence[str]) -> None:
    """Extracts features, and finds neighbours.

    Raises:
      UserError: for whatever the user can put right; if not one image, or query, can be read.
    """
    flags = parse(argv)
    trained.check_flags(flags)
    files, problems = find_images(flags.images) if flags.images else ([], [])
    queries, unasked = find_images(flags.query) if flags.query else ([], [])
    opened = trained.of_flags(flags)
    config, found = opened.config, opened.found
    if flags.layer == "list":
        for name, shape in layer_shapes(config, found).items():
            print(f"{printable(name)}  {'x'.join(map(str, shape))}")
        return
    function = make_layer(config, found, flags.layer, pool=not flags.no_pool)
    cropper = build_data.make_cropper(config)
    with contextlib.ExitStack() as scope:
        figure = scope.enter_context(whole_file(flags.figure)) if flags.figure else None
        out = whole_file(flags.out) if flags.out else contextlib.nullcontext()
        with out as file:
            asked = extract(function, queries, cropper, flags.batch) if queries else None
            kept = extract(function, files, cropper, flags.batch)
            if file:
                names = np.array([str(name) for name in kept.files])
                np.savez(file, files=names, features=kept.values, layer=np.array(flags.layer))
        if flags.out:
            size = "x".join(map(str, kept.values.shape))
            layer = flags.layer or "the last hidden layer"
            print(printable(f"{flags.out}: features {size} of {layer}"))
        if asked:
            pairs = zip(asked.files, asked.values, strict=True)
            rows = [_near(query, value, kept, flags.neighbours) for query, value in pairs]
        if figure:
            layer = flags.layer or "the last hidden layer"
            title = f"{opened.title}: nearest by {layer}, Euclidean distance"
            tiles = [[_tile(file, below, cropper) for file, below in row] for row in rows]
            draw(tiles, title).save(figure, "PNG")
    if flags.figure:
        print(f"{printable(flags.figure)}: {len(rows)} x {len(rows[0])} images")
    say_problems([*problems, *kept.problems], len(problems) + len(files))
    if asked:
        say_problems([*unasked, *asked.problems], len(unasked) + len(queries))


def _tile(file: Path, below: str, cropper: Cropper) -> Tile:
    return Tile(cropper(read_bytes(file, IMAGE_BYTES), None, str(file)), (file.name, below))


def _near(query: Path, value: np.ndarray, kept: Features, count: int) -> list[tuple[Path, str]]:
    """Prints the neighbours of a query, which is none itself; returns it and them, with a line."""
    others = [number for number, file in enumerate(kept.files) if not file.samefile(query)]
    if not others:
        raise UserError(f"{query} is the only image: name more, or a folder of them")
    flat = kept.values.reshape(len(kept.values), -1)
    order, distances = nearest_rows(value.ravel(), flat[others], count)
    near = [kept.files[others[place]] for place in order]
    pairs = [(file, f"{distance:.4g}") for file, distance in zip(near, distances, strict=True)]
    said = (f"{cli.shown(file)} {distance}" for file, distance in pairs)
    print(f"{cli.shown(query)}  " + "  ".join(said), flush=True)
    return [(query, "query"), *pairs]


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        cli.set_up()
        main(sys.argv[1:])

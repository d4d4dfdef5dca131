"""Shows a training batch as the network sees it, on one sheet.

  python -m jaxcnn.preview --config=configs/resnet50_modern.py:imagenet2012
  python -m jaxcnn.preview --config=configs/lenet5.py --config.data.mixup=0.4 --step=10

Any field of the config can be set. The images are those of the run with the config's seed; their
normalisation is undone, and where that cannot be, after contrast normalisation, each is stretched
to the range of its values. Mixed images tell the share of each label.
"""

import io
import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from jaxcnn.config import build, build_data
from jaxcnn.config.flags import config_name, read_config, run
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.augmentation import augment
from jaxcnn.data.normalization import Statistics
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import EXIT_WORKDIR, check_whole, printable
from jaxcnn.io.atomic import whole_file
from jaxcnn.run import cli

FLAGS = flags.FLAGS
SIDE = 96  # pixels that an image is enlarged to, at least
LINE = 13  # pixels of a line of text
GAP = 4


class Cell(NamedTuple):
    """One image of the sheet.

    Attributes:
      pixels: uint8 [H, W, C], C 1 or 3.
      caption: one or two lines.
    """

    pixels: np.ndarray
    caption: str


def cells(config: RunConfig, step: int = 0, count: int = 64) -> list[Cell]:
    """Returns the first rows of a training batch, after all augmentation.

    Args:
      config: see `config_dict.base_config`.
      step: from 0.
      count: of rows; no more than the batch has.

    Raises:
      UserError: for data or augmentation that cannot be, or a number out of range.
    """
    check_whole("--step", step, 0)
    check_whole("--count", count)
    dataset = build_data.load_data(config, "train")
    build.make_plan(config, dataset.num_examples)  # refuses fields that a run would
    statistics = build_data.measure_statistics(config, dataset)
    batch = train_batch(
        dataset,
        config.data,
        batch_size=config.train.batch_size,
        seed=config.seed,
        step=step,
    )
    root = jax.random.fold_in(jax.random.key(config.seed), augment.ROOT)
    places = (jnp.asarray(batch[name]) for name in ("epoch", "index", "repeat"))
    keys = augment.example_keys(root, *places)
    augmented = jax.jit(build_data.make_augment(config))
    images = augmented(batch["image"], keys, statistics=statistics)
    labels, partners, shares = batch["label"], batch["label"], np.ones(len(keys))
    mixup = build_data.make_mixup(config)
    if mixup is not None:
        mixed = jax.jit(mixup)(images, labels, batch["weight"], keys)
        images, partners, shares = mixed.images, mixed.partners, np.asarray(mixed.shares)
    pixels = displayed(np.asarray(images[:count]), config.data.mean, config.data.std, statistics)
    names = ("unlabelled", *dataset.class_names)

    def caption(row: int) -> str:
        if not batch["weight"][row]:
            return "unreadable"
        own, other = (names[int(label[row]) + 1] for label in (labels, partners))
        if shares[row] == 1:
            return own
        return f"{own}: {shares[row]:.2f}\n{other}: {1 - shares[row]:.2f}"

    return [Cell(image, caption(row)) for row, image in enumerate(pixels)]


def displayed(
    images: np.ndarray,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    statistics: Statistics | None,
) -> np.ndarray:
    """Returns the network's input, float32 [b, H, W, C], as pictures, uint8 [b, H, W, 1 or 3]."""
    if statistics is None or statistics.kind == "mean_image":
        centre = np.array(mean, np.float32) if statistics is None else statistics.mean
        images = images * np.array(std, np.float32) + centre
    else:
        low, high = (f(images, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
        images = (images - low) / np.maximum(high - low, 1e-6)
    if images.shape[-1] not in (1, 3):
        images = images.mean(-1, keepdims=True)
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)


def sheet(shown: list[Cell], title: str) -> bytes:
    """Returns a PNG file with all images, a title above and a caption below each."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=11)
    height, width, channels = shown[0].pixels.shape
    scale = max(1, math.ceil(SIDE / width))
    cell = width * scale + GAP, height * scale + 2 * LINE + GAP
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    size = max(columns * cell[0] + GAP, int(font.getlength(title)) + 2 * GAP)
    canvas = Image.new("RGB", (size, rows * cell[1] + LINE + 2 * GAP), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, GAP), title, fill="black", font=font)
    for number, (pixels, caption) in enumerate(shown):
        down, across = divmod(number, columns)
        left, top = GAP + across * cell[0], LINE + 2 * GAP + down * cell[1]
        image = Image.fromarray(pixels if channels == 3 else pixels[..., 0]).convert("RGB")
        canvas.paste(
            image.resize((width * scale, height * scale), Image.Resampling.NEAREST), (left, top)
        )
        for line, text in enumerate(caption.split("\n")):
            while font.getlength(text) > width * scale and len(text) > 1:
                text = text[:-2] + "…"
            draw.text((left, top + height * scale + line * LINE), text, fill="black", font=font)
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string("out", "preview.png", "The sheet, a PNG file.")
    flags.DEFINE_integer("step", 0, "The training step whose batch is shown.")
    flags.DEFINE_integer("count", 64, "Number of images, from the first one of the batch.")


def main(argv: list[str]) -> None:
    """Writes the sheet and says where."""
    del argv
    config = read_config()
    cli.set_up()
    with whole_file(Path(FLAGS.out), EXIT_WORKDIR) as file:
        shown = cells(config, FLAGS.step, FLAGS.count)
        title = f"{config_name()}:{config.dataset}, step {FLAGS.step}, seed {config.seed}"
        file.write(sheet(shown, title))
    side = "x".join(map(str, shown[0].pixels.shape))
    print(printable(f"{FLAGS.out}: {len(shown)} images of {side}; {title}"))


if __name__ == "__main__":
    run(main, define_flags)

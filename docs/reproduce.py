"""Writes the tables of docs/reproduce.md: the command for each published result, and what it costs.

python docs/reproduce.py

An estimate of GPU hours is the number of multiply-adds of the whole run, at the rate of the nearest
network that was measured; see docs/performance.md. Images of other sizes count by their area.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.config import build
from jaxcnn.config.config_dict import freeze
from jaxcnn.config.recipes import NETWORKS, recipe, recipes_of
from jaxcnn.models import published

DOCS = Path(__file__).parent
MARKS = "<!-- python docs/reproduce.py -->", "<!-- end of the tables -->"
BENCHMARKS = {
    "ImageNet-1k val": ("imagenet2012", 1_281_167),
    "CIFAR-10 test": ("cifar10", 50_000),
    "CIFAR-100 test": ("cifar100", 50_000),
    "SVHN test": ("svhn", 604_388),
    "MNIST test": ("mnist", 60_000),
}
# Images per second of training in bfloat16 at 224x224 on an H100; docs/performance.md.
MEASURED = {
    "resnet50": 5838,
    "mobilenet_v1_100": 13_250,
    "vgg16": 4631,
    "resnext50_32x4d": 4638,
    "densenet121": 4057,
}
# By paper the network whose rate an estimate takes; else that of resnet50.
NEAREST = {
    **dict.fromkeys(("alexnet", "owt", "zfnet", "vgg"), "vgg16"),
    "resnext": "resnext50_32x4d",
    "densenet": "densenet121",
    "mobilenet": "mobilenet_v1_100",
}
# What was trained to the end of its recipe, by config.
RUN = {
    "lenet5_1998": "2.16 ± 0.20 (5 seeds), trained on 8,000 images, tested on 2,000",
}


class Result(NamedTuple):
    """A published result and its command.

    Attributes:
      config: name of the file in configs/.
      dataset: as the config names it.
      error: published, in percent, with what it is of.
      protocol: how the paper tests.
      epochs: of the recipe.
      hours: on one GPU.
      measured: whether the rate of this network was measured, at this size.
    """

    config: str
    dataset: str
    error: str
    protocol: str
    epochs: float
    hours: float
    measured: bool


def results() -> Iterator[Result]:
    """Returns all published results for whose data there is a published recipe."""
    networks = published.networks()
    names = {network: config for config, network in NETWORKS.items() if "modern" not in config}
    for network, row in networks.items():
        name = names.get(network, network)
        dataset, count = BENCHMARKS[row["dataset"]]
        if _error(row) == "" or dataset not in recipes_of(name).published:
            continue
        config = freeze(recipe(name, dataset))
        plan = build.make_plan(config, count - config.data.holdout)
        images = plan.total * config.train.batch_size
        measured = network in MEASURED and config.data.image_size == 224
        area = Fraction(config.data.image_size, row["input_size"][0]) ** 2
        near = NEAREST.get(row["paper"], "resnet50")
        speed = MEASURED[near] * networks[near]["macs"] / float(row["macs"] * area)
        yield Result(
            name,
            dataset,
            _error(row),
            row["crop_protocol"] or "",
            images / count,
            images / speed / 3600,
            measured,
        )


def _error(row: dict[str, Any]) -> str:
    top1, top5 = row["top1_err"], row["top5_err"]
    if isinstance(top1, dict):
        return ", ".join(f"{error} at {size}" for size, error in top1.items())
    if top1 is None and top5 is None:
        return ""
    return f"{'–' if top1 is None else top1}" + ("" if top5 is None else f" / {top5}")


def markdown() -> str:
    """Returns a table for each data set."""
    found = list(results())
    parts = []
    for title, (dataset, count) in BENCHMARKS.items():
        rows = [one for one in found if one.dataset == dataset]
        if not rows:
            continue
        parts += [
            f"### {title}\n",
            f"`--config=configs/NAME.py:{dataset}`, {count:,} images for training.\n",
            "| NAME | published error, % | its protocol | epochs | H100 hours | run here |",
            "|---|--:|---|--:|--:|---|",
            *(
                f"| `{one.config}` | {one.error} | {one.protocol} | {one.epochs:,.0f}"
                f" | {'' if one.measured else '~'}{_hours(one.hours)}"
                f" | {RUN.get(one.config, 'no')} |"
                for one in rows
            ),
            "",
        ]
    return "\n".join(parts)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else "<0.1"


def insert(text: str) -> str:
    """Returns docs/reproduce.md with the tables of today between its marks."""
    before, after = MARKS
    pattern = f"(?<={re.escape(before)}).*(?={re.escape(after)})"
    return re.sub(pattern, lambda _: f"\n\n{markdown()}\n", text, flags=re.DOTALL)


if __name__ == "__main__":
    page = DOCS / "reproduce.md"
    page.write_text(insert(page.read_text(encoding="utf-8")), encoding="utf-8")

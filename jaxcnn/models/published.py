"""Published facts of every network: paper, counts, errors, and verification.

The figures are in `published.json`, one network per line. The tests check the counts, and `python
-m jaxcnn.models.table` makes the table of docs/networks/all.md from it.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest

# For pixels in [0, 1], by the first word of the data set's name; as in the configs.
_MEAN_STD = {
    "ImageNet-1k": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "MNIST": ((0.1307,), (0.3081,)),
    "SVHN": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}
_SHORT_SIDE = {224: 256, 227: 256, 299: 342, 320: 320}  # short side before a crop of this size
_TEST_SIZE = {"resnet_v2": 320}  # papers that test on larger images than they train on


class Crop(NamedTuple):
    """The crop of a photograph for a test with one crop."""

    short_side: int  # in pixels, after resizing
    size: int  # of the square in the centre

    @property
    def fraction(self) -> float:
        """Remaining share of the short side."""
        return self.size / self.short_side


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """Published facts of a network.

    For a user's registered network `name`, `input_size`, `num_classes` and the parameter counts are
    known; every other field is None or empty.

    Attributes:
      name: name in the registry.
      aliases: other names of the network.
      paper: title of the paper.
      year: year of the paper.
      url: address of the paper.
      layers: number of weighted layers on the longest path from image to logits. For a Wide ResNet
        as in its name: with projections, without the classifier.
      input_size: (H, W, C) of the published results.
      num_classes: number of classes in the paper's data set.
      mean: mean of pixels in [0, 1], subtracted per channel; 0.5 for networks with inputs in [-1,
        1]. LeNet-5's are scaled to [-0.1, 1.175].
      std: divisor after the subtraction.
      preprocess: value of `data.preprocess` in the paper's recipe: "channels" subtracts and divides
        by `mean` and `std`; "mean_image" subtracts the mean image of the training data instead;
        "gcn" and "zca" normalise the contrast of each image, "zca" also whitens it.
      crop: crop of photographs; None if images are used whole.
      params: trainable scalars, without auxiliary heads.
      params_with_aux: trainable scalars with auxiliary heads; None if it has none.
      macs: multiply-adds of one image at `input_size`, without auxiliary heads.
      dataset: data set of the errors.
      top1_err: in percent; None if not published. At `input_size` if there are several.
      top5_err: in percent; None if not published.
      crop_protocol: test protocol of the errors.
      verified: "counts", and the library whose logits, gradients and training it reproduces.
      notes: one line, or None.
    """

    name: str
    aliases: tuple[str, ...]
    paper: str | None
    year: int | None
    url: str | None
    layers: int | None
    input_size: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    preprocess: str | None
    crop: Crop | None
    params: int
    params_with_aux: int | None
    macs: int | None
    dataset: str | None
    top1_err: float | None
    top5_err: float | None
    crop_protocol: str | None
    verified: str | None
    notes: str | None


@functools.cache
def _published() -> dict[str, dict[str, Any]]:
    return json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))


def networks() -> dict[str, dict[str, Any]]:
    """Returns the rows of the networks by name, in the order of their papers."""
    return _published()["networks"]


def papers() -> dict[str, dict[str, Any]]:
    """Returns authors, title, year, arXiv number and address of the papers named in the rows."""
    return _published()["papers"]


def registered_info(name: str, network: nn.Module, input_size: tuple[int, int, int]) -> ModelInfo:
    """Returns the facts of a user's registered network, without computing anything.

    Args:
      name: name in the registry.
      network: network with the registered number of classes.
      input_size: registered (H, W, C).
    """
    images = jax.ShapeDtypeStruct((1, *input_size), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    params = sum(leaf.size for leaf in jax.tree.leaves(variables.get("params", {})))
    known = {
        "name": name,
        "aliases": (),
        "input_size": input_size,
        "num_classes": network.num_classes,
        "params": params,
    }
    fields: dict[str, Any] = dict.fromkeys(one.name for one in dataclasses.fields(ModelInfo))
    return ModelInfo(**(fields | known))


def published_info(name: str) -> ModelInfo:
    """Returns the facts of a network of the papers.

    Args:
      name: a name or alias in the registry.

    Raises:
      UserError: if the name does not exist.
    """
    rows = networks()
    names = {alias: own for own, row in rows.items() for alias in (own, *row["aliases"])}
    if name not in names:
        raise UserError(f"no model named {name!r}: {nearest(name, names)}")
    row = rows[names[name]]
    paper = papers()[row["paper"]]
    height, width, channels = row["input_size"]
    benchmark = row["dataset"].split()[0]
    mean, std = _MEAN_STD[benchmark]
    if row["scaled"]:  # to [low, high]; true means [-1, 1]
        low, high = (-1, 1) if row["scaled"] is True else row["scaled"]
        mean, std = (-low / (high - low),) * channels, (1 / (high - low),) * channels
    top1_err = row["top1_err"]
    size = _TEST_SIZE.get(row["paper"], height)
    return ModelInfo(
        name=names[name],
        aliases=tuple(row["aliases"]),
        paper=paper["title"],
        year=paper["year"],
        url=paper["url"],
        layers=row["layers"],
        input_size=(height, width, channels),
        num_classes=row["num_classes"],
        mean=mean,
        std=std,
        preprocess=row["preprocess"],
        crop=Crop(_SHORT_SIDE[size], size) if benchmark == "ImageNet-1k" else None,
        params=row["params"],
        params_with_aux=row["params_with_aux"],
        macs=row["macs"],
        dataset=row["dataset"],
        top1_err=top1_err[str(height)] if isinstance(top1_err, dict) else top1_err,
        top5_err=row["top5_err"],
        crop_protocol=row["crop_protocol"],
        verified=row["verified"],
        notes=row["notes"],
    )

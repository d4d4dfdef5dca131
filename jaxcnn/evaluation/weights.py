"""Evaluates trained weights on ImageNet, its variants, and any data with classes of theirs."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxcnn.config import build_data
from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.datasets import folder
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import make_evaluator, make_predictor
from jaxcnn.evaluation.several_labels import hits_of_several, image_numbers, several_labels
from jaxcnn.evaluation.statistics import wilson
from jaxcnn.io import paths
from jaxcnn.io.safe_files import csv_cell
from jaxcnn.pretrained.weights_info import WeightsInfo, imagenet_classes, imagenet_synsets
from jaxcnn.run import distributed, trained
from jaxcnn.run.precision import set_precision

COLUMNS = (
    *("weights", "data", "labels", "split", "images", "classes", "image_size"),
    *("top1", "low", "high", "top5"),
    *("published_top1", "measured_by", "published_image_size"),
)


class Measured(NamedTuple):
    """What an evaluation of weights found; see `COLUMNS`.

    Attributes:
      results: `<split>/<metric>`.
      row: a value for each of `COLUMNS`.
    """

    results: dict[str, float]
    row: dict[str, Any]


def run_pretrained(
    source: str, config: RunConfig, *, split: str = "test", labels: Path | None = None
) -> Measured:
    """Evaluates trained weights on the data of a config.

    Images are prepared as for the published accuracy, or as the weights' preprocessing says; the
    config names the data alone. Only the classes of the data are compared: ImageNet-A and -R have
    200 of the 1,000. In a folder of class folders without `train` and `test` all images count.

    Args:
      source: see `trained.open_trained`.
      config: of the data; its `allow_noncommercial` holds for the weights.
      split: "test", "validation" or "train".
      labels: file of the right outputs of each image, in place of the data's own labels; see
        `several_labels`. Then all outputs are compared.

    Raises:
      UserError: if weights, data or labels are missing, or the data have classes that the weights
        lack.
    """
    opened = trained.open_trained(source, allow_noncommercial=config.allow_noncommercial)
    info = opened.info
    if info is not None and info.measured is not None:
        prepared = trained.preprocessing_config(info.model, info.measured)
    else:
        prepared = opened.config
    config = _with_preprocessing(config, prepared)
    is_folder = config.data.kind == "folder" and config.data.dir
    if is_folder and folder.is_flat(Path(paths.expand(config.data.dir))):
        config, split = changed(config, {"data.holdout": 0}), "train"
    with set_precision(config):
        dataset = build_data.load_test_data(config, split)
        if labels is None:
            found = _measure(config, opened, dataset)
        else:
            found = _measure_several(config, opened, dataset, labels)
    low, high = wilson(round(found.means["top1"] * found.images), found.images)
    row = {
        "weights": opened.title,
        "data": dataset.name,
        "labels": labels.name if labels else "",
        "split": split,
        "images": found.images,
        "classes": found.classes,
        "image_size": config.data.image_size,
        "top1": found.means["top1"],
        "low": low,
        "high": high,
        "top5": found.means.get("top5", ""),
        **_published(None if labels else info),
    }
    return Measured({f"{split}/{name}": value for name, value in found.means.items()}, row)


class _Means(NamedTuple):
    """Means over images, and how many images and classes were compared."""

    means: dict[str, float]
    images: int
    classes: int


def _measure(config: RunConfig, opened: trained.Trained, dataset: Dataset) -> _Means:
    """Compares the outputs of the data's classes with the data's own labels."""
    places = class_places(dataset.class_names, opened.class_names)
    model = opened.found.model.clone(num_classes=len(places))
    variables = of_classes(opened.found.variables, places)
    evaluate = make_evaluator(config, model, dataset, None, show_progress=True)
    means = evaluate(distributed.replicate({"batch_stats": {}, **variables}))
    return _Means(means, dataset.num_examples, len(places))


def _measure_several(
    config: RunConfig, opened: trained.Trained, dataset: Dataset, labels: Path
) -> _Means:
    """Compares the likeliest of all outputs with the labels of a file; see `several_labels`."""
    num_classes = len(opened.class_names)
    right = several_labels(labels, num_classes)
    predict = make_predictor(config, opened.found.model, dataset, None, show_progress=True)
    found = predict(distributed.replicate({"batch_stats": {}, **opened.found.variables}))
    numbers = image_numbers(dataset, found.indices)
    hits = hits_of_several(found.log_probabilities.argmax(axis=1), numbers, right)
    return _Means({"top1": float(hits.mean())}, len(hits), num_classes)


def _published(info: WeightsInfo | None) -> dict[str, Any]:
    if info is None or info.top1 is None:
        return {"published_top1": "", "measured_by": "", "published_image_size": ""}
    size = (info.measured or info.preprocessing).image_size
    return {
        "published_top1": info.top1 / 100,
        "measured_by": info.measured_by,
        "published_image_size": size,
    }


def _with_preprocessing(config: RunConfig, prepared: RunConfig) -> RunConfig:
    """Returns a config of data with the preprocessing of another one."""
    names = ("channels", "image_size", "eval_crop", "resize", "interpolation", "mean", "std")
    fields = {f"data.{name}": getattr(prepared.data, name) for name in names}
    return changed(config, {**fields, "data.eval_image_size": 0, "data.preprocess": "channels"})


def class_places(given: Sequence[str], known: Sequence[str]) -> list[int]:
    """Returns the output of the weights for each class of the data.

    Args:
      given: names of the data's classes: those of the weights, ImageNet's synsets ("n01440764"), or
        the numbers of the outputs.
      known: names of the weights' classes.

    Raises:
      UserError: if a class is none of the weights'.
    """
    ways = [{name: place for place, name in enumerate(known)}]
    if tuple(known) == imagenet_classes():
        ways.append({name: place for place, name in enumerate(imagenet_synsets())})
    ways.append({str(place): place for place in range(len(known))})
    for way in ways:
        if all(name in way for name in given):
            return [way[name] for name in given]
    best = max(ways, key=lambda way: sum(name in way for name in given))
    unknown = next(name for name in given if name not in best)
    raise UserError(
        f"the data have a class {unknown!r}, which is none of the weights': name the class folders"
        " by ImageNet's synsets, such as n01440764, by the weights' class names, or by the numbers"
        " of their outputs"
    )


def of_classes(variables: dict[str, Any], places: Sequence[int]) -> dict[str, Any]:
    """Returns variables whose classifier has these outputs alone, in this order."""
    params = variables["params"]
    outputs = jax.numpy.asarray(places)
    chosen = jax.tree.map(lambda leaf: leaf[..., outputs], params["classifier"])
    return {**variables, "params": {**params, "classifier": chosen}}


def append_row(file: Path, row: dict[str, Any]) -> None:
    """Appends a row to a CSV file, which begins with the columns.

    Raises:
      UserError: if the file cannot be written, or has other columns.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    header = ",".join(COLUMNS)
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if before and before.splitlines()[0] != header:
            raise UserError(f"{file} has other columns: name another file")
        if not before:
            rows.writerow(COLUMNS)
        rows.writerow([csv_cell(row[name]) for name in COLUMNS])
        with file.open("a", encoding="utf-8", newline="") as out:
            out.write(text.getvalue())
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}") from None

"""Evaluates every example of a split exactly once, masking the padding of the last batch.

BatchNorm's statistics may be recalibrated before the pass.
"""

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcnn.config import build, build_data
from jaxcnn.data.augmentation.gather import gather_images
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.normalization import Statistics
from jaxcnn.data.pipeline import eval_batches, train_batches
from jaxcnn.data.views import Views, aspects, with_views
from jaxcnn.errors import UserError
from jaxcnn.evaluation.multicrop import Protocol, applied
from jaxcnn.evaluation.report import Predictions
from jaxcnn.run import distributed
from jaxcnn.training.optim import matcher
from jaxcnn.training.steps import (
    Batch,
    make_eval_step,
    make_predict_step,
    make_statistics_step,
)

Results = dict[str, float]
Evaluator = Callable[..., Results]
Recalibrate = Callable[..., Any]
Outputs = Callable[[Any], Iterator[dict[str, np.ndarray]]]


class _Evaluation(NamedTuple):
    """Arguments of an evaluation.

    Attributes:
      make_step: `make_eval_step` or `make_predict_step`.
      config: the whole config.
      model: the network.
      dataset: the split.
      statistics: statistics of the training split.
    """

    make_step: Callable[..., Any]
    config: Any
    model: Any
    dataset: Dataset
    statistics: Statistics | None


class _Part(NamedTuple):
    """Examples of one shape.

    Attributes:
      dataset: only these examples.
      positions: their indices in the split, int [n]; None for the whole split.
      batch_size: global batch size.
      step: (replicated variables, batch) → outputs of a batch.
    """

    dataset: Dataset
    positions: np.ndarray | None
    batch_size: int
    step: Callable[..., Any]


def make_evaluator(
    config: Any,
    model: Any,
    dataset: Dataset,
    statistics: Statistics | None = None,
    *,
    show_progress: bool = False,
) -> Evaluator:
    """Returns (replicated variables, feed) → means over the split; compiled at the first call.

    Results are `loss` (the main term of the objective), `nll` (cross-entropy of the softmax of the
    scores, nats), `top1` and `top5` (fractions) over the readable examples; see
    `build.make_test_loss`. The optional `feed` is called after every batch, on all processes at the
    same batches, and may raise to end the evaluation.

    Args:
      config: the whole config; the batch size is rounded up to a multiple of the devices.
      model: the network.
      dataset: the split, from `build_data.load_test_data`.
      statistics: statistics of the training split; see `build_data.measure_statistics`.
      show_progress: whether to show a progress bar on the terminal.
    """
    evaluation = _Evaluation(make_eval_step, config, model, dataset, statistics)
    outputs = _make_outputs(evaluation, show_progress)

    def evaluate(variables: Any, feed: Callable[[], None] = lambda: None) -> Results:
        totals: Results = collections.defaultdict(float)
        for sums in outputs(variables):
            for key, value in sums.items():
                totals[key] += float(value)
            feed()
        _check_seen(dataset, totals.pop("seen"))
        count = totals.pop("count")
        return {key: total / count for key, total in totals.items()}

    return evaluate


def make_predictor(
    config: Any,
    model: Any,
    dataset: Dataset,
    statistics: Statistics | None = None,
    *,
    show_progress: bool = False,
) -> Callable[[Any], Predictions]:
    """Returns (replicated variables) → predictions for all readable examples.

    Args:
      config: see `make_evaluator`.
      model: see `make_evaluator`.
      dataset: see `make_evaluator`.
      statistics: see `make_evaluator`.
      show_progress: see `make_evaluator`.
    """
    evaluation = _Evaluation(make_predict_step, config, model, dataset, statistics)
    outputs = _make_outputs(evaluation, show_progress)

    def predict(variables: Any) -> Predictions:
        parts, seen = [], 0
        for rows in outputs(variables):
            seen += int(np.sum(rows["index"] >= 0))
            real = rows["weight"] > 0
            names = ("index", "label", "log_probabilities", *(["loss"] if "loss" in rows else []))
            parts.append([rows[name][real] for name in names])
        _check_seen(dataset, seen)
        indices, *others = map(np.concatenate, zip(*parts, strict=True))
        rising = np.argsort(indices)
        return Predictions(indices[rising], *(field[rising] for field in others))

    return predict


def make_recalibrator(
    config: Any, model: Any, dataset: Dataset | None, statistics: Statistics | None = None
) -> Recalibrate | None:
    """Returns (replicated variables, step, feed) → variables with new BatchNorm statistics.

    The new statistics are the means over the `eval.recalibrate_batches` training batches from that
    step on; the old ones are not used. Returns None if the number is 0. Averaged weights need this
    because the average of other networks' statistics is not theirs (Izmailov et al., "Averaging
    Weights Leads to Wider Optima and Better Generalization", 2018, §3.2). For `feed` see
    `make_evaluator`.

    Args:
      config: the whole config.
      model: the network.
      dataset: the training split; None loads it if it is needed.
      statistics: see `make_evaluator`.

    Raises:
      UserError: if the network has no BatchNorm, or a batch cannot be split over the devices.
    """
    count = config.eval.recalibrate_batches
    if not count:
        return None
    if count < 0:
        raise UserError(f"eval.recalibrate_batches={count} is too small: 0 or more")
    split = dataset or build_data.place(config, build_data.load_kept(config, "train"))
    batch_size = config.train.batch_size
    _check_normalised(model, split.image_shape, count)
    if batch_size % distributed.device_count():
        raise UserError(
            f"eval.recalibrate_batches={count}: training batches of {batch_size} do not divide over"
            f" {distributed.device_count()} devices; use fewer of these, or set it to 0"
        )
    measure = _statistics_program(config, model, split, statistics)

    def recalibrate(variables: Any, step: int, feed: Callable[[], None] = lambda: None) -> Any:
        batches = train_batches(
            split,
            config.data,
            batch_size=batch_size,
            seed=config.seed,
            start_step=step,
            num_steps=step + count,
            process_index=distributed.process_index(),
            process_count=distributed.process_count(),
        )
        sums: Any = None
        measured: Any = None
        with contextlib.closing(batches):
            for batch in distributed.prefetch(batches):
                measured = distributed.fetch(measure(variables, batch))
                wide = jax.tree.map(lambda value: value.astype(np.float64), measured)
                sums = wide if sums is None else jax.tree.map(np.add, sums, wide)
                feed()
        means = jax.tree.map(lambda one, like: (one / count).astype(like.dtype), sums, measured)
        return {**variables, "batch_stats": distributed.replicate(means)}

    return recalibrate


def images_on_device(dataset: Dataset) -> Any:
    """Returns the images of a split for `gather_images`: on each device, or None."""
    return distributed.replicate(dataset.images) if dataset.on_device else None


def _statistics_program(
    config: Any, model: Any, dataset: Dataset, statistics: Statistics | None
) -> distributed.Program:
    """Returns (replicated variables, training batch) → BatchNorm's statistics of the batch."""
    if getattr(model, "scan_units", False):  # units in a scan have no names
        model = model.clone(scan_units=False)
    augment = build_data.make_augment(config)
    frozen = matcher(config.optimizer.freeze, "freeze") if config.optimizer.freeze else None

    def step(variables: Any, batch: Batch, statistics: Statistics | None, images: Any) -> Any:
        measure = make_statistics_step(
            model,
            functools.partial(augment, statistics=statistics),
            seed=config.seed,
            frozen=frozen,
            axis_name=distributed.AXIS,
        )
        return measure(variables, gather_images(batch, images))

    return distributed.pmap_eval_step(step, statistics, images_on_device(dataset))


def _check_normalised(model: Any, image_shape: tuple[int, int, int], count: int) -> None:
    """Refuses to recalibrate a network without BatchNorm.

    Raises:
      UserError: with the name of the network.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    if "batch_stats" not in variables or build.takes_labelled(model):
        raise UserError(
            f"eval.recalibrate_batches={count}: a {type(model).__name__} has no BatchNorm whose"
            " statistics could be recomputed; set it to 0"
        )


def _make_outputs(evaluation: _Evaluation, show_progress: bool) -> Outputs:
    """Returns (replicated variables) → outputs of a step for all batches of a split."""
    dataset, num_workers = evaluation.dataset, evaluation.config.data.num_workers
    protocol = build_data.make_test_protocol(evaluation.config)
    applied(evaluation.model, protocol)  # refuses unsupported protocols at once
    whole = _part(evaluation, dataset, None, protocol)
    views = protocol.views if protocol.dense else None

    @functools.cache
    def parts() -> list[_Part]:
        return [whole] if views is None else _parts_by_aspect(evaluation, protocol, views)

    def outputs(variables: Any) -> Iterator[dict[str, np.ndarray]]:
        return _run(parts(), num_workers, variables)

    def with_progress(variables: Any) -> Iterator[dict[str, np.ndarray]]:
        total = sum(-(-part.dataset.num_examples // part.batch_size) for part in parts())
        return _tracked(outputs(variables), total, f"{dataset.split}, {protocol.name}")

    return with_progress if show_progress else outputs


def _part(
    evaluation: _Evaluation, dataset: Dataset, positions: np.ndarray | None, protocol: Protocol
) -> _Part:
    """Returns examples of one shape, with the program that evaluates them."""
    config, devices = evaluation.config, distributed.device_count()
    normalize = build_data.make_normalize(config)
    make_step = functools.partial(
        evaluation.make_step,
        evaluation.model,
        protocol=protocol,
        rows=-(-config.eval.batch_size // devices),
        loss=build.make_test_loss(config),
        axis_name=distributed.AXIS,
    )

    def step(variables: Any, batch: Batch, statistics: Statistics | None, images: Any) -> Any:
        evaluate = make_step(functools.partial(normalize, statistics=statistics))
        return evaluate(variables, gather_images(batch, images))

    examples = max(int(config.eval.batch_size / protocol.cost), 1)
    if protocol.views is None:
        dataset = build_data.place(config, dataset)
    else:
        dataset = with_views(dataset, protocol.views)
    return _Part(
        dataset,
        positions,
        -(-min(examples, dataset.num_examples) // devices) * devices,
        distributed.pmap_eval_step(step, evaluation.statistics, images_on_device(dataset)),
    )


def _parts_by_aspect(evaluation: _Evaluation, protocol: Protocol, views: Views) -> list[_Part]:
    """Returns one part per aspect ratio of whole images; each has its own program."""
    parts = []
    for aspect, positions in aspects(
        evaluation.dataset, num_workers=evaluation.config.data.num_workers
    ):
        of_aspect = protocol._replace(views=dataclasses.replace(views, aspect=aspect))
        own = evaluation.dataset.subset(positions, evaluation.dataset.split)
        parts.append(_part(evaluation, own, positions, of_aspect))
    return parts


def _run(parts: list[_Part], num_workers: int, variables: Any) -> Iterator[dict[str, np.ndarray]]:
    """Yields the outputs of all batches; two run ahead, because more would need memory."""
    ahead: list[tuple[_Part, Any]] = []
    for part in parts:
        batches = eval_batches(
            part.dataset,
            batch_size=part.batch_size,
            process_index=distributed.process_index(),
            process_count=distributed.process_count(),
            num_workers=num_workers,
        )
        for batch in distributed.prefetch(batches):
            ahead.append((part, part.step(variables, batch)))
            if len(ahead) > 2:
                yield _fetched(*ahead.pop(0))
    yield from (_fetched(*one) for one in ahead)


def _tracked(found: Iterator[Any], total: int, title: str) -> Iterator[Any]:
    """Yields the items, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    quiet = not console.is_terminal or not distributed.is_main_process()
    yield from track(found, title, total, console=console, transient=True, disable=quiet)


def _fetched(part: _Part, output: Any) -> dict[str, np.ndarray]:
    """Copies the results of a step to the host; adds the examples' indices in the whole split."""
    found = distributed.fetch(output)
    if part.positions is not None and "index" in found:
        found["index"] = np.where(found["index"] < 0, -1, part.positions[found["index"]])
    return found


def _check_seen(dataset: Dataset, seen: float) -> None:
    if seen != dataset.num_examples:
        raise AssertionError(f"{dataset.num_examples} examples in {dataset.split}, {seen:.0f} seen")

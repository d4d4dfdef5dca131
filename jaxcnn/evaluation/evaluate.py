"""Evaluates a checkpoint of a run, an ensemble of runs, or converted weights."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.config import build, build_data
from jaxcnn.config.schema import RunConfig, changed, values_of
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.normalization import Statistics
from jaxcnn.errors import UserError
from jaxcnn.evaluation import report as reports
from jaxcnn.evaluation.evaluator import (
    Evaluator,
    Recalibrate,
    Results,
    make_evaluator,
    make_predictor,
    make_recalibrator,
)
from jaxcnn.evaluation.report import Predictions
from jaxcnn.interop.folder import check_free
from jaxcnn.run import distributed
from jaxcnn.run.checkpoint import init_from, restore
from jaxcnn.run.precision import set_precision
from jaxcnn.run.workdir import check_class_names, class_names_of
from jaxcnn.training import selection
from jaxcnn.training.state import TrainState


class Opened(NamedTuple):
    """A run with the checkpoint to evaluate.

    Attributes:
      config: config of the workdir, with changes.
      dataset: the split.
      model: the network.
      step: step of the checkpoint.
      state: state of the checkpoint; BatchNorm is recalibrated if the config asks for it.
      statistics: statistics of the training images, if normalisation needs them.
      bias: a warning if the checkpoint was chosen on this split; "" otherwise.
    """

    config: RunConfig
    dataset: Dataset
    model: Any
    step: int
    state: TrainState
    statistics: Statistics | None
    bias: str


def run(
    directory: Path,
    *,
    checkpoint: str = "latest",
    split: str = "test",
    changes: Mapping[str, Any] | None = None,
    report: Path | None = None,
) -> Results:
    """Evaluates a checkpoint of a workdir: raw weights and, if kept, averaged weights.

    Args:
      directory: the workdir.
      checkpoint: "latest", "best" or a step.
      split: "test", "validation" or "train".
      changes: new values for fields of the sections `eval` and `data`, by name (`eval.protocol`).
      report: folder for a report of the averaged weights if the run keeps them, else of the raw
        weights. The folder must be missing, empty, or hold an earlier report of the same networks
        on the same split, which is replaced.

    Returns:
      `step`, then `<split>/<metric>` and, for averaged weights, `<split>/<metric>_ema`; with a
      report also the calibration error, `<split>/ece`.

    Raises:
      UserError: if the workdir, checkpoint or split is missing, or the data do not fit the network.
    """
    if report is not None:
        _prepare(report, [directory], split)
    with _opened(directory, checkpoint, split, changes) as opened:
        config, dataset, model, step, state, statistics, bias = opened
        results: Results = {"step": step}
        if report is None:
            evaluate = make_evaluator(config, model, dataset, statistics, show_progress=True)
            return results | evaluate_state(evaluate, state, split)
        predict = make_predictor(config, model, dataset, statistics, show_progress=True)
        for suffix, variables in _weights(state):
            predictions = predict(distributed.replicate(variables))
            found = reports.means(predictions)
            results |= {f"{split}/{key}{suffix}": value for key, value in found.items()}
        member = _described(config, directory, step=step, bias=bias)
        _report(report, predictions, dataset, [member])
        return results


def run_ensemble(
    directories: Sequence[Path],
    *,
    checkpoint: str = "latest",
    split: str = "test",
    changes: Mapping[str, Any] | None = None,
    report: Path | None = None,
) -> Results:
    """Evaluates the mean of the softmax probabilities of several runs on the same examples.

    Each run preprocesses the examples according to its own config. It uses averaged weights if it
    keeps them.

    Args:
      directories: the workdirs.
      checkpoint: see `run`.
      split: see `run`.
      changes: see `run`.
      report: see `run`; the report describes the ensemble.

    Returns:
      `members`, `<split>/top1[<workdir>]` of each run, `<split>/<metric>` of the ensemble.

    Raises:
      UserError: see `run`; also if the runs' data differ.
    """
    if report is not None:
        _prepare(report, directories, split)
    results: Results = {"members": len(directories)}
    members, described = [], []
    names: Sequence[str] = ()
    for directory in directories:
        with _opened(directory, checkpoint, split, changes) as opened:
            config, dataset, model, step, state, statistics, bias = opened
            predict = make_predictor(config, model, dataset, statistics, show_progress=True)
            *_, (_, variables) = _weights(state)
            predictions = predict(distributed.replicate(variables))
            members.append(predictions)
            names = names or dataset.class_names
            check_same_names(names, dataset.class_names, directory)
        described.append(_described(config, directory, step=step, bias=bias))
        results[f"{split}/top1[{directory}]"] = reports.means(predictions)["top1"]
    together = reports.average(members)
    results |= {f"{split}/{key}": value for key, value in reports.means(together).items()}
    if report is not None:
        _report(report, together, dataset, described)
    return results


@contextlib.contextmanager
def _opened(
    directory: Path, checkpoint: str, split: str, changes: Mapping[str, Any] | None
) -> Iterator[Opened]:
    """Restores a run; sets its number formats inside the context."""
    config = _changed(restore.read_config(directory, checkpoint), changes or {})
    with set_precision(config):
        dataset = build_data.load_test_data(config, split)
        found = restore.restore(
            directory,
            config,
            checkpoint=checkpoint,
            check=partial(_check_classes, dataset, directory),
            split=split,
        )
        statistics = distributed.replicate(found.statistics)  # one copy for all programs
        recalibrate = make_recalibrator(config, found.model, None, statistics)
        state = recalibrated(recalibrate, found.state, found.step)
        biased = selection.bias(found.selection, checkpoint, split)
        yield Opened(config, dataset, found.model, found.step, state, statistics, biased)


def _changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """Returns a run's config with changed fields of its evaluation.

    Raises:
      UserError: if the field does not exist or is in another section, which training has fixed.
    """
    values = values_of(config)
    differing = {name: value for name, value in changes.items() if values.get(name) != value}
    for name in differing:
        if name.partition(".")[0] not in ("eval", "data"):
            raise UserError(
                f"--config.{name} cannot be changed of a run that is evaluated: only fields of the"
                " sections eval and data can"
            )
    return changed(config, differing)


def _weights(state: TrainState) -> list[tuple[str, dict[str, Any]]]:
    """Returns (suffix of results, variables): raw, then averaged if there are any."""
    kept = [("", state.variables())]
    return kept if state.ema is None else [*kept, ("_ema", state.variables(averaged=True))]


def _prepare(report: Path, weights: Sequence[object], split: str) -> None:
    """Creates the folder of a report before the evaluation begins.

    Raises:
      UserError: if it holds other files, or cannot be created.
    """
    if not distributed.is_main_process():
        return
    if reports.belongs_to(report, list(map(str, weights)), split):
        return
    check_free(report)
    try:
        report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {report}: {error.strerror}") from None


def _report(
    report: Path, predictions: Predictions, dataset: Dataset, members: list[dict[str, Any]]
) -> None:
    if not distributed.is_main_process():
        return
    facts = {"data": dataset.name, "split": dataset.split, "members": members}
    reports.write(report, predictions, dataset.class_names, facts)


def _described(config: RunConfig, weights: object, **more: Any) -> dict[str, Any]:
    """Returns a network's entry in the report: its origin and test protocol."""
    test = build_data.make_test_protocol(config)
    scales = [] if test.views is None else list(test.views.scales)
    return {"weights": str(weights), **more, "protocol": test.name, "scales": scales}


def run_weights(config: RunConfig, *, split: str = "test", report: Path | None = None) -> Results:
    """Evaluates the weights at `config.init_from` on the config's data, without a run.

    Args:
      config: see `config_dict.base_config`.
      split: "test", "validation" or "train".
      report: see `run`.

    Returns:
      `<split>/<metric>`.

    Raises:
      UserError: if weights or split are missing, or the weights are incomplete.
    """
    if report is not None:
        _prepare(report, [config.init_from], split)
    with set_precision(config):
        dataset = build_data.load_test_data(config, split)
        images = jax.ShapeDtypeStruct((1, *dataset.image_shape), jnp.float32)
        with build.network_of(config):
            model = build.make_model(config, dataset.num_classes)
            fresh = jax.eval_shape(model.init, jax.random.key(0), images)
        variables, title, transferred = init_from.load(config, model, fresh)
        if transferred.new:
            raise UserError(
                f"init_from={config.init_from} ({title}) has not all weights of the config's"
                f" network: {'; '.join(transferred.new)}; train them first, or use the data of its"
                " classes"
            )
        statistics = None
        if config.data.preprocess != "channels":
            measured = build_data.measure_statistics(config, build_data.load_kept(config, "train"))
            statistics = distributed.replicate(measured)
        variables = distributed.replicate({"batch_stats": {}, **variables})
        if recalibrate := make_recalibrator(config, model, None, statistics):
            variables = recalibrate(variables, 0)
        if report is None:
            evaluate = make_evaluator(config, model, dataset, statistics, show_progress=True)
            means = evaluate(variables)
        else:
            predict = make_predictor(config, model, dataset, statistics, show_progress=True)
            predictions = predict(variables)
            means = reports.means(predictions)
            _report(report, predictions, dataset, [_described(config, config.init_from)])
        return {f"{split}/{key}": value for key, value in means.items()}


def check_same_names(first: Sequence[str], names: Sequence[str], where: Path) -> None:
    """Refuses ensemble members with other classes or another order of classes.

    Raises:
      UserError: if class names differ; the message has the first one.
    """
    if list(first) == list(names):
        return
    pairs = enumerate(itertools.zip_longest(first, names, fillvalue="missing"))
    number, (one, other) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
    raise UserError(
        f"the members of an ensemble must have the same classes in the same order: class {number}"
        f" is {one!r} in the first one and {other!r} in {where}; give runs on one data set"
    )


def evaluate_state(
    evaluate: Evaluator, state: TrainState, split: str, feed: Callable[[], None] = lambda: None
) -> Results:
    """Returns `<split>/<metric>` and, if the state keeps averages, `<split>/<metric>_ema`.

    Args:
      evaluate: see `evaluator.make_evaluator`.
      state: replicated or not.
      split: name of the split.
      feed: see `evaluator.make_evaluator`.
    """
    results = {}
    for suffix, variables in _weights(state):
        for key, value in evaluate(distributed.replicate(variables), feed).items():
            results[f"{split}/{key}{suffix}"] = value
    return results


def recalibrated(
    recalibrate: Recalibrate | None,
    state: TrainState,
    step: int,
    feed: Callable[[], None] = lambda: None,
) -> TrainState:
    """Returns the state with new BatchNorm statistics, if `recalibrate` is given.

    They are the statistics of the averaged weights if the state keeps any, else of the raw weights.
    """
    if recalibrate is None:
        return state
    averaged = state.ema is not None
    variables = recalibrate(distributed.replicate(state.variables(averaged)), step, feed)
    found = variables["batch_stats"]
    if averaged:
        return state.replace(ema={**state.ema, "batch_stats": found})
    return state.replace(batch_stats=found)


def _check_classes(dataset: Dataset, where: Path, meta: dict[str, Any]) -> None:
    check_number_of_classes(dataset, meta, where)
    check_class_names(class_names_of(meta, where), dataset.class_names, where)


def check_number_of_classes(dataset: Dataset, meta: dict[str, Any], where: Path) -> None:
    """Refuses data with another number of classes than the checkpoint.

    Raises:
      UserError: if they differ; the message has both numbers.
    """
    if meta["num_classes"] != dataset.num_classes:
        raise UserError(
            f"the checkpoint in {where} has {meta['num_classes']} classes and the data"
            f" {dataset.name} have {dataset.num_classes}: use the data it was trained on"
        )


def check_size(model: Any, variables: Any, dataset: Dataset) -> None:
    """Refuses images of another size than in training, if the network requires a fixed size.

    Raises:
      UserError: if the image shape does not fit the parameters.
    """
    images = jax.ShapeDtypeStruct((1, *dataset.image_shape), jnp.float32)
    try:
        jax.eval_shape(model.apply, variables, images)
    except Exception as error:  # of any layer
        raise UserError(
            f"data.eval_image_size={dataset.image_shape[0]}: {type(model).__name__} takes images of"
            f" the size that it is trained on alone ({str(error).splitlines()[0]}); set it to 0"
        ) from None


def check_train_size(model: Any, variables: Any, size: int, channels: int) -> None:
    """Refuses to train a network on images of an unsuitable size.

    Parameters, also those of an auxiliary head, may require one size. Dense layers would get
    stretched maps if their map were smaller than their window.

    Raises:
      UserError: if the size is unsuitable; the message has the reason.
    """
    images = jax.ShapeDtypeStruct((2, size, size, channels), jnp.float32)
    dense = hasattr(model, "fully_convolutional")
    applied = model.clone(fully_convolutional=True) if dense else model
    rngs = dict.fromkeys(("dropout", "drop_path"), jax.random.key(0))
    apply = partial(applied.apply, train=True, rngs=rngs, mutable=["batch_stats", "aux"])
    try:
        jax.eval_shape(apply, variables, images)
    except Exception as error:  # of any layer
        raise UserError(
            f"data.size_schedule: a {type(model).__name__} cannot be trained at {size}x{size}"
            f" ({str(error).splitlines()[0]}); set it to (), or the size to one that it takes"
        ) from None

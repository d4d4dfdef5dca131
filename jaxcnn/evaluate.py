"""One exact pass over a split: every example once, the padding of the last batch masked."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from jaxcnn import factories, parallel, pretrained, scorecard, trained
from jaxcnn.data.pipeline import eval_batches
from jaxcnn.data.source import DataSource
from jaxcnn.data.whitening import Statistics
from jaxcnn.errors import UserError
from jaxcnn.interop.folder import check_free
from jaxcnn.numerics import numerics
from jaxcnn.scorecard import Predictions
from jaxcnn.state import TrainState
from jaxcnn.steps import make_eval_step, make_predict_step
from jaxcnn.workdir import check_class_names, read_config

Results = dict[str, float]
Evaluator = Callable[[Any], Results]


def make_evaluator(
    config: Any,
    model: Any,
    source: DataSource,
    statistics: Statistics | None = None,
    *,
    show_progress: bool = False,
) -> Evaluator:
    """Returns (replicated variables) → means over the split; compiled at the first call.

    Results are `loss` (nats), `top1` and `top5` (fractions), over the examples that can be read.

    Args:
      config: the whole config; the batch size is rounded up to the devices.
      model: the network.
      source: the split, of `factories.load_test_data`.
      statistics: of the training split; see `factories.measure_statistics`.
      show_progress: a bar on the terminal while it lasts.
    """
    outputs = _make_pass(make_eval_step, config, model, source, statistics, show_progress)

    def evaluate(variables: Any) -> Results:
        totals = dict.fromkeys(("loss", "top1", "top5", "count", "seen"), 0.0)
        for sums in outputs(variables):
            for key in totals:
                totals[key] += float(sums[key])
        _check_seen(source, totals["seen"])
        return {key: totals[key] / totals["count"] for key in ("loss", "top1", "top5")}

    return evaluate


def make_predictor(
    config: Any,
    model: Any,
    source: DataSource,
    statistics: Statistics | None = None,
    *,
    show_progress: bool = False,
) -> Callable[[Any], Predictions]:
    """Returns (replicated variables) → what is predicted of each example that can be read.

    Args:
      config: see `make_evaluator`, as all others.
      model: see there.
      source: see there.
      statistics: see there.
      show_progress: see there.
    """
    outputs = _make_pass(make_predict_step, config, model, source, statistics, show_progress)

    def predict(variables: Any) -> Predictions:
        parts, seen = [], 0
        for rows in outputs(variables):
            seen += int(np.sum(rows["index"] >= 0))
            real = rows["weight"] > 0
            fields = (rows[name][real] for name in ("index", "label", "log_probabilities"))
            parts.append(Predictions(*fields))
        _check_seen(source, seen)
        return Predictions(*map(np.concatenate, zip(*parts, strict=True)))

    return predict


def _make_pass(
    make_step: Callable[..., Any],
    config: Any,
    model: Any,
    source: DataSource,
    statistics: Statistics | None,
    shown: bool,
) -> Callable[[Any], Iterator[dict[str, np.ndarray]]]:
    """Returns (replicated variables) → outputs of a step for all batches of a split."""
    devices = jax.device_count()
    protocol = factories.make_test_protocol(config)
    examples = max(int(config.eval.batch_size / protocol.cost), 1)
    batch_size = -(-min(examples, source.num_examples) // devices) * devices
    step = parallel.pmap_eval_step(
        make_step(
            model,
            factories.make_normalize(config, statistics),
            protocol=protocol,
            rows=-(-config.eval.batch_size // devices),
            axis_name=parallel.AXIS,
        )
    )

    def outputs(variables: Any) -> Iterator[dict[str, np.ndarray]]:
        batches = eval_batches(
            source,
            batch_size=batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            num_workers=config.data.num_workers,
        )
        waiting = []
        for batch in parallel.prefetch(batches):
            waiting.append(step(variables, batch))
            if len(waiting) > 2:  # what runs ahead of the devices holds memory
                yield parallel.fetch(waiting.pop(0))
        yield from map(parallel.fetch, waiting)

    def with_progress(variables: Any) -> Iterator[dict[str, np.ndarray]]:
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        quiet = not console.is_terminal or jax.process_index() > 0
        total = -(-source.num_examples // batch_size)
        title = f"{source.split}, {protocol.name}"
        shown = track(
            outputs(variables), title, total, console=console, transient=True, disable=quiet
        )
        yield from shown

    return with_progress if shown else outputs


def _check_seen(source: DataSource, seen: float) -> None:
    if seen != source.num_examples:
        raise AssertionError(f"{source.num_examples} examples in {source.split}, {seen:.0f} seen")


class Opened(NamedTuple):
    """A run whose checkpoint is evaluated.

    Attributes:
      config: of the workdir, with changes.
      source: the split.
      model: the network.
      step: of the checkpoint.
      state: the checkpoint.
      statistics: of the training images, where normalisation needs any.
    """

    config: ConfigDict
    source: DataSource
    model: Any
    step: int
    state: TrainState
    statistics: Statistics | None


def run(
    directory: Path,
    *,
    checkpoint: str = "latest",
    split: str = "test",
    changes: Mapping[str, Any] | None = None,
    report: Path | None = None,
) -> Results:
    """Evaluates a checkpoint of a workdir, raw and averaged weights.

    Args:
      directory: the workdir.
      checkpoint: "latest", "best" or a step.
      split: "test", "validation" or "train".
      changes: fields of the sections `eval` and `data` that differ from the run's, by their names
        (`eval.protocol`).
      report: a folder to write what `scorecard` finds to, of the averaged weights if the run keeps
        them; it must be empty, or not there yet.

    Returns:
      `step`, then `<split>/<metric>` and, where the run keeps averages, `<split>/<metric>_ema`;
      with a report also the calibration error, `<split>/ece`.

    Raises:
      UserError: no such workdir, checkpoint or split, or data that do not fit the network.
    """
    if report is not None:
        _prepare(report)
    with _opened(directory, checkpoint, split, changes) as opened:
        config, source, model, step, state, statistics = opened
        results: Results = {"step": step}
        if report is None:
            evaluate = make_evaluator(config, model, source, statistics, show_progress=True)
            return results | evaluate_state(evaluate, state, split)
        predict = make_predictor(config, model, source, statistics, show_progress=True)
        for suffix, variables in _weights(state):
            predictions = predict(parallel.replicate(variables))
            found = scorecard.means(predictions)
            results |= {f"{split}/{key}{suffix}": value for key, value in found.items()}
        _report(report, predictions, source, {"workdirs": [str(directory)], "step": step}, config)
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

    Each run sees them as its own config says, at its own size. Of a run that keeps averages the
    averaged weights are taken.

    Args:
      directories: the workdirs.
      checkpoint: see `run`, as all others.
      split: see there.
      changes: see there.
      report: see there; it is of the ensemble.

    Returns:
      `members`, `<split>/top1[<workdir>]` of each, `<split>/<metric>` of their mean.

    Raises:
      UserError: see `run`; also for data that differ.
    """
    if report is not None:
        _prepare(report)
    results: Results = {"members": len(directories)}
    members, steps = [], []
    for directory in directories:
        with _opened(directory, checkpoint, split, changes) as opened:
            config, source, model, step, state, statistics = opened
            predict = make_predictor(config, model, source, statistics, show_progress=True)
            *_, (_, variables) = _weights(state)
            predictions = predict(parallel.replicate(variables))
            members.append(predictions)
        steps.append(step)
        results[f"{split}/top1[{directory}]"] = scorecard.means(predictions)["top1"]
    together = scorecard.average(members)
    results |= {f"{split}/{key}": value for key, value in scorecard.means(together).items()}
    if report is not None:
        facts = {"workdirs": [str(directory) for directory in directories], "step": steps}
        _report(report, together, source, facts, config)
    return results


@contextlib.contextmanager
def _opened(
    directory: Path, checkpoint: str, split: str, changes: Mapping[str, Any] | None
) -> Iterator[Opened]:
    """Restores a run, with the number formats of its config inside the context."""
    config = _changed(read_config(directory), changes or {})
    with numerics(config):
        source = factories.load_test_data(config, split)
        check_class_names(directory, source.class_names)
        found = trained.restore(
            directory,
            config,
            checkpoint=checkpoint,
            check=lambda meta: check_classes(source, meta, directory),
        )
        yield Opened(config, source, found.model, found.step, found.state, found.statistics)


def _changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """Returns a run's config with other fields of its evaluation.

    Raises:
      UserError: for a field of another section: the run is what it was trained as.
    """
    flat = traverse_util.flatten_dict(config.to_dict(), sep=".")
    differing = {name: value for name, value in changes.items() if flat.get(name) != value}
    for name, value in differing.items():
        section, _, field = name.partition(".")
        if section not in ("eval", "data"):
            raise UserError(
                f"--config.{name} cannot be changed of a run that is evaluated: only fields of the"
                " sections eval and data can"
            )
        config[section][field] = value
    return config


def _weights(state: TrainState) -> list[tuple[str, dict[str, Any]]]:
    """Returns (suffix of results, variables): raw, then averaged if there are any."""
    kept = [("", state.variables())]
    return kept if state.ema is None else [*kept, ("_ema", state.variables(averaged=True))]


def _prepare(report: Path) -> None:
    """Makes the folder of a report before the work begins.

    Raises:
      UserError: if something is there already, or it cannot be made.
    """
    if jax.process_index() > 0:
        return
    check_free(report)
    try:
        report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {report}: {error.strerror}") from None


def _report(
    report: Path,
    predictions: Predictions,
    source: DataSource,
    facts: dict[str, Any],
    config: ConfigDict,
) -> None:
    if jax.process_index() > 0:
        return
    protocol = factories.make_test_protocol(config)
    scales = [] if protocol.views is None else list(protocol.views.scales)
    facts |= {"data": source.name, "split": source.split, "protocol": protocol.name}
    facts["scales"] = scales
    scorecard.write(report, predictions, source.class_names, facts)


def run_weights(config: ConfigDict, *, split: str = "test", report: Path | None = None) -> Results:
    """Evaluates the weights at `config.init_from` on the config's data, without a run.

    Args:
      config: see `recipes.base_config`.
      split: "test", "validation" or "train".
      report: see `run`.

    Returns:
      `<split>/<metric>`.

    Raises:
      UserError: no such weights or split, or weights that are not the whole of the network.
    """
    if report is not None:
        _prepare(report)
    with numerics(config):
        source = factories.load_test_data(config, split)
        model = factories.make_model(config, source.num_classes)
        images = jax.ShapeDtypeStruct((1, *source.image_shape), jnp.float32)
        form = jax.eval_shape(model.init, jax.random.key(0), images)
        variables, title, done = pretrained.load(config, model, form)
        if done.new:
            raise UserError(
                f"init_from={config.init_from} ({title}) has not all weights of the config's"
                f" network: {'; '.join(done.new)}; train them first, or use the data of its classes"
            )
        statistics = None
        if config.data.preprocess != "channels":
            statistics = factories.measure_statistics(config, factories.load_data(config, "train"))
        variables = parallel.replicate({"batch_stats": {}, **variables})
        if report is None:
            evaluate = make_evaluator(config, model, source, statistics, show_progress=True)
            means = evaluate(variables)
        else:
            predict = make_predictor(config, model, source, statistics, show_progress=True)
            predictions = predict(variables)
            means = scorecard.means(predictions)
            _report(report, predictions, source, {"init_from": config.init_from}, config)
        return {f"{split}/{key}": value for key, value in means.items()}


def evaluate_state(evaluate: Evaluator, state: TrainState, split: str) -> Results:
    """Returns `<split>/<metric>`, and `<split>/<metric>_ema` where the state keeps averages."""
    results = {}
    for suffix, variables in _weights(state):
        for key, value in evaluate(parallel.replicate(variables)).items():
            results[f"{split}/{key}{suffix}"] = value
    return results


def check_classes(source: DataSource, meta: dict[str, Any], where: Path) -> None:
    """Refuses data whose classes are not those that a checkpoint was trained for.

    Raises:
      UserError: if the numbers differ.
    """
    if meta["num_classes"] != source.num_classes:
        raise UserError(
            f"the checkpoint in {where} has {meta['num_classes']} classes and the data"
            f" {source.name} have {source.num_classes}: use the data it was trained on"
        )


def check_size(model: Any, variables: Any, source: DataSource) -> None:
    """Refuses images of another size than those of training, where the network cannot take them.

    Raises:
      UserError: if their shape does not fit the parameters.
    """
    images = jax.ShapeDtypeStruct((1, *source.image_shape), jnp.float32)
    try:
        jax.eval_shape(model.apply, variables, images)
    except Exception as error:  # whatever layer meets the other shape first
        raise UserError(
            f"data.eval_image_size={source.image_shape[0]}: {type(model).__name__} takes images of"
            f" the size that it is trained on alone ({str(error).splitlines()[0]}); set it to 0"
        ) from None

"""One exact pass over a split: every example once, the padding of the last batch masked."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcnn import factories, parallel, pretrained, trained
from jaxcnn.data.pipeline import eval_batches
from jaxcnn.data.source import DataSource
from jaxcnn.errors import UserError
from jaxcnn.numerics import numerics
from jaxcnn.state import TrainState
from jaxcnn.steps import make_eval_step
from jaxcnn.workdir import check_class_names, read_config

Results = dict[str, float]
Evaluator = Callable[[Any], Results]


def make_evaluator(config: Any, model: Any, source: DataSource) -> Evaluator:
    """Returns (replicated variables) → means over the split; compiled at the first call.

    Results are `loss` (nats), `top1` and `top5` (fractions), over the examples that can be read.

    Args:
      config: the whole config; the batch size is rounded up to the devices.
      model: the network.
      source: the split.
    """
    step = parallel.pmap_eval_step(
        make_eval_step(model, factories.make_normalize(config), axis_name=parallel.AXIS)
    )
    devices = jax.device_count()
    batch_size = -(-min(config.eval.batch_size, source.num_examples) // devices) * devices

    def device_sums(variables: Any) -> Iterator[dict[str, float]]:
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

    def evaluate(variables: Any) -> Results:
        totals = dict.fromkeys(("loss", "top1", "top5", "count", "seen"), 0.0)
        for sums in device_sums(variables):
            for key in totals:
                totals[key] += float(sums[key])
        if totals["seen"] != source.num_examples:
            raise AssertionError(
                f"{source.num_examples} examples in {source.split}, {totals['seen']:.0f} seen"
            )
        return {key: totals[key] / totals["count"] for key in ("loss", "top1", "top5")}

    return evaluate


def run(directory: Path, *, checkpoint: str = "latest", split: str = "test") -> Results:
    """Evaluates a checkpoint of a workdir, raw and averaged weights.

    Args:
      directory: the workdir.
      checkpoint: "latest", "best" or a step.
      split: "test", "validation" or "train".

    Returns:
      `step`, then `<split>/<metric>` and, where the run keeps averages, `<split>/<metric>_ema`.

    Raises:
      UserError: no such workdir, checkpoint or split, or data that do not fit the network.
    """
    config = read_config(directory)
    with numerics(config):
        source = factories.load_data(config, split)
        check_class_names(directory, source.class_names)
        found = trained.restore(
            directory,
            config,
            checkpoint=checkpoint,
            check=lambda meta: check_classes(source, meta, directory),
        )
        evaluate = make_evaluator(config, found.model, source)
        results: Results = {"step": found.step}
        results |= evaluate_state(evaluate, found.state, split)
        return results


def run_weights(config: ConfigDict, *, split: str = "test") -> Results:
    """Evaluates the weights at `config.init_from` on the config's data, without a run.

    Args:
      config: see `recipes.base_config`.
      split: "test", "validation" or "train".

    Returns:
      `<split>/<metric>`.

    Raises:
      UserError: no such weights or split, or weights that are not the whole of the network.
    """
    with numerics(config):
        source = factories.load_data(config, split)
        model = factories.make_model(config, source.num_classes)
        images = jax.ShapeDtypeStruct((1, *source.image_shape), jnp.float32)
        form = jax.eval_shape(model.init, jax.random.key(0), images)
        variables, title, done = pretrained.load(config, model, form)
        if done.new:
            raise UserError(
                f"init_from={config.init_from} ({title}) has not all weights of the config's"
                f" network: {'; '.join(done.new)}; train them first, or use the data of its classes"
            )
        evaluate = make_evaluator(config, model, source)
        means = evaluate(parallel.replicate({"batch_stats": {}, **variables}))
        return {f"{split}/{key}": value for key, value in means.items()}


def evaluate_state(evaluate: Evaluator, state: TrainState, split: str) -> Results:
    """Returns `<split>/<metric>`, and `<split>/<metric>_ema` where the state keeps averages."""
    results = {}
    for suffix in ("", "_ema") if state.ema is not None else ("",):
        variables = parallel.replicate(state.variables(averaged=bool(suffix)))
        for key, value in evaluate(variables).items():
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

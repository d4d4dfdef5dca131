"""Measurements that are no record of a run: functions (config, workdir) → curve."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.ablation import Curve
from jaxcnn.analysis.lesion import lesioned, removable
from jaxcnn.config import build, build_data
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.pipeline import eval_batches, train_batch
from jaxcnn.run import init_from, workdir
from jaxcnn.run.metric_writer import MetricWriter
from jaxcnn.run.precision import set_precision
from jaxcnn.training.losses import make_head_loss

LESIONS = 12  # sets of removed units that are averaged for each number of them


def gradient_flow(config: RunConfig, directory: Path) -> Curve:
    """Norms of the loss's gradient at initialisation, from the last layer to the first.

    Of the first batch, by the weights of each convolution and dense layer. x is the number of
    layers above; the last y is the first layer's.
    """
    del directory
    with set_precision(config):
        dataset = build_data.load_data(config, "train")
        model = build.make_model(config, dataset.num_classes)
        batch = train_batch(dataset, batch_size=config.train.batch_size, seed=config.seed, step=0)
        statistics = build_data.measure_statistics(config, dataset)
        images = build_data.make_normalize(config, statistics)(jnp.asarray(batch["image"]))
        kind = (config.loss.name, config.loss.label_smoothing)
        key = jax.random.key(config.seed)
        grads = _gradient_at_start(model, kind, key, images, jnp.asarray(batch["label"]))
        flat = traverse_util.flatten_dict(grads, sep="/")
        names = reversed(_layers(model, images))
        return [(float(i), float(jnp.linalg.norm(flat[name]))) for i, name in enumerate(names)]


@functools.partial(jax.jit, static_argnums=(0, 1))  # compiled once for all seeds
def _gradient_at_start(
    model: nn.Module, kind: tuple[str, float], key: jax.Array, images: jax.Array, labels: jax.Array
) -> Any:
    """Returns the gradient of the loss `kind`, a name and its smoothing, at initial weights."""
    variables = model.init(key, images)
    rest = {name: tree for name, tree in variables.items() if name != "params"}

    def loss(params: Any) -> jax.Array:
        rngs = {"dropout": key, "drop_path": key}
        logits, _ = model.apply(
            {"params": params, **rest}, images, train=True, rngs=rngs, mutable=True
        )
        return make_head_loss(*kind)(logits, labels).mean()

    return jax.grad(loss)(variables["params"])


def _layers(model: nn.Module, images: jax.Array) -> list[str]:
    """Returns the kernels of convolutions and dense layers in the order of their use.

    Projections and gates stand beside the way and are left out.
    """
    found = []

    def collect(call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        path = "/".join(context.module.path)
        beside = re.search(r"(?:/|_)(?:proj|gate)(?:/|$)", path)
        if isinstance(context.module, nn.Conv | nn.Dense) and not beside:
            found.append(f"{path}/kernel")
        return call(*args, **kwargs)

    with nn.intercept_methods(collect):
        jax.eval_shape(model.init, jax.random.key(0), images)
    return found


def lesion(config: RunConfig, directory: Path) -> Curve:
    """Test error with some units removed after training, random ones: 0, 1, 2, 4 and so on.

    Of each number up to a quarter of the units `LESIONS` sets are drawn and their errors averaged.
    The last y is the error without that quarter.
    """
    with set_precision(config):
        dataset = build_data.load_data(config, "test")
        model = build.make_model(config, dataset.num_classes)
        variables = {"batch_stats": {}, **init_from.read(directory).variables}
        batch = next(eval_batches(dataset, batch_size=dataset.num_examples))
        statistics = workdir.read_statistics(directory, config)
        images = build_data.make_normalize(config, statistics)(jnp.asarray(batch["image"]))
        units = removable(model, dataset.image_shape)
        draw = np.random.default_rng(config.seed)

        def error(count: int) -> float:
            chosen = sorted(map(str, draw.choice(units, count, replace=False)))
            # Not jitted: every set of units is another program.
            logits: Any = lesioned(model, chosen).apply(variables, images)
            return float(np.mean(np.argmax(logits, -1) != batch["label"]))

        most = max(len(units) // 4, 1)
        counts = sorted({0, 1, *(2**i for i in range(1, 10) if 2**i < most), most})
        return [
            (float(count), float(np.mean([error(count) for _ in range(LESIONS if count else 1)])))
            for count in counts
        ]


def rises(config: RunConfig, directory: Path) -> Curve:
    """Share of the epochs up to each one in which the training loss was above the one before."""
    del config
    records = MetricWriter(directory, active=False).records()
    losses = [record["train/loss"] for record in records if "train/loss" in record]
    above = np.cumsum(np.diff(losses) > 0)
    return [(float(i + 1), float(count / i)) for i, count in enumerate(above, 1)]


def speed(config: RunConfig, directory: Path) -> Curve:
    """Training steps per second, the median over the records; the first is left out.

    One point, or none of a run with a single record.
    """
    records = MetricWriter(directory, active=False).records()
    rates = [record["images_per_second"] for record in records if "images_per_second" in record]
    return [(0.0, float(np.median(rates[1:])) / config.train.batch_size)] if rates[1:] else []

"""Measurements that are no record of a run: functions (config, workdir) → curve.

Those of networks that were changed after training are in `robustness`, means over several networks
or views in `averaging`.
"""

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.ablation import Curve, trained
from jaxcnn.ablation.runs import images_per_second, skips_at_end
from jaxcnn.analysis import feature_extractor, residual, signal
from jaxcnn.analysis.lesion import removable
from jaxcnn.config import build, build_data
from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.data.pipeline import train_batch
from jaxcnn.run.metric_writer import MetricWriter
from jaxcnn.run.precision import set_precision
from jaxcnn.training.losses import cross_entropy, make_head_loss


def gradient_flow(config: RunConfig, directory: Path) -> Curve:
    """Norms of the loss's gradient at initialisation, from the last layer to the first.

    Of the first batch, by the weights of each convolution and dense layer. x is the number of
    layers above; the last y is the first layer's.
    """
    del directory
    with set_precision(config):
        model, images, labels = _first_batch(config)
        kind = (config.loss.name, config.loss.label_smoothing)
        key = jax.random.key(config.seed)
        grads = _gradient_at_start(model, kind, key, images, labels)
        flat = traverse_util.flatten_dict(grads, sep="/")
        names = reversed(_layers(model, images))
        # In float64: squares of what is below 1e-19 are 0 in float32.
        norms = (np.linalg.norm(np.asarray(flat[name], np.float64)) for name in names)
        return [(float(i), float(norm)) for i, norm in enumerate(norms)]


def _first_batch(config: RunConfig) -> tuple[nn.Module, jax.Array, jax.Array]:
    """Returns the network, and the first batch's images as it sees them, and their labels."""
    dataset = build_data.load_data(config, "train")
    model = build.make_model(config, dataset.num_classes)
    batch = train_batch(dataset, batch_size=config.train.batch_size, seed=config.seed, step=0)
    statistics = build_data.measure_statistics(config, dataset)
    images = build_data.make_normalize(config, statistics)(jnp.asarray(batch["image"]))
    return model, images, jnp.asarray(batch["label"])


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


def first_gradient(config: RunConfig, directory: Path, *, auxiliary: float) -> Curve:
    """Norm of the loss's gradient at the first kernel, before training. One point.

    Of the first batch, in evaluation mode, so nothing is dropped.

    Args:
      config: of a network with auxiliary heads.
      directory: not used.
      auxiliary: weight of the auxiliary heads' losses; 0 is the main head alone.
    """
    del directory
    with set_precision(config):
        model, images, labels = _first_batch(config)
        key = jax.random.key(config.seed)
        grads = _gradient_of_heads(model, auxiliary, key, images, labels)
        flat = traverse_util.flatten_dict(grads, sep="/")
        return [(0.0, float(np.linalg.norm(np.asarray(flat[_layers(model, images)[0]], float))))]


@functools.partial(jax.jit, static_argnums=(0, 1))  # compiled once for all seeds
def _gradient_of_heads(
    model: nn.Module, auxiliary: float, key: jax.Array, images: jax.Array, labels: jax.Array
) -> Any:
    variables = model.init(key, images)
    rest = {name: tree for name, tree in variables.items() if name != "params"}

    def loss(params: Any) -> jax.Array:
        logits, updated = model.apply({"params": params, **rest}, images, mutable=["aux"])
        heads = [one for one in jax.tree.leaves(updated["aux"]) if one.shape == logits.shape]
        each = (cross_entropy(one, labels).mean() for one in heads)
        return cross_entropy(logits, labels).mean() + auxiliary * sum(each)

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


def dead_channels(config: RunConfig, directory: Path) -> Curve:
    """Share of the channels behind ReLUs that are 0 for every test image, mean over the ReLUs.

    x is the number of the ReLU and y the mean up to it.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        shares = signal.dead_shares([signal.active_units(run.model, run.variables, run.images)])
        dead = [share.channels for share in shares.values()]
        return [(float(i), float(np.mean(dead[:i]))) for i in range(1, len(dead) + 1)]


def branch_sizes(config: RunConfig, directory: Path) -> Curve:
    """Root mean square of what residual units add, F(x): geometric mean over the units.

    x is the number of the unit and y the mean up to it.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        sizes = residual.branch_sizes(run.model, run.variables, run.images)
        logs = [float(np.log(one.branch)) for one in sizes.values()]
        return [(float(i), float(np.exp(np.mean(logs[:i])))) for i in range(1, len(logs) + 1)]


def largest_logit(config: RunConfig, directory: Path) -> Curve:
    """Largest logit less the mean one, mean over the test images. One point."""
    with set_precision(config):
        run = trained.read(config, directory)
        logits = np.asarray(jax.jit(run.model.apply)(run.variables, run.images), np.float64)
        return [(0.0, float(np.mean(logits.max(-1) - logits.mean(-1))))]


def linear_probe(config: RunConfig, directory: Path, *, layer: str) -> Curve:
    """Test accuracy of a logistic regression on the mean maps of a layer. One point.

    It is fitted to the images that the network was trained on.

    Args:
      config: of the run.
      directory: its workdir.
      layer: name of a layer; see `jaxcnn.analysis.feature_extractor`.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        return [(0.0, float(np.mean(_probe(config, directory, layer) == run.labels)))]


def lost_at_layer(config: RunConfig, directory: Path, *, layer: str, sure: bool) -> Curve:
    """Share of the network's right answers that a classifier on a layer gets wrong. One point.

    The classifier is that of `linear_probe`, an answer before the last layer.

    Args:
      config: of the run.
      directory: its workdir.
      layer: where the classifier reads.
      sure: whether the share is of the half of the test images on which the network's largest
        probability is largest, or of the other half. Labels have no part in this choice.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        logits = np.asarray(jax.jit(run.model.apply)(run.variables, run.images), np.float64)
        certainty = np.asarray(jax.nn.softmax(logits)).max(-1)
        order = np.argsort(-certainty, kind="stable")
        half = len(order) // 2
        chosen = np.isin(np.arange(len(order)), order[:half] if sure else order[half:])
        right = chosen & (logits.argmax(-1) == run.labels)
        early = _probe(config, directory, layer)
        return [(0.0, float(np.mean(early[right] != run.labels[right])))]


def _probe(config: RunConfig, directory: Path, layer: str) -> np.ndarray:
    """Returns the classes [N] that a logistic regression on a layer gives to the test images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = [], []
    for split in ("train", "test"):
        run = trained.read(config, directory, split)
        extract = feature_extractor.FeatureExtractor(run.model, layer)
        (maps,) = extract(run.variables, run.images).values()
        features.append(np.asarray(maps).mean(axis=tuple(range(1, maps.ndim - 1))))
        labels.append(run.labels)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    return fitted.fit(features[0], labels[0]).predict(features[1])


def reused_weights(config: RunConfig, directory: Path, *, of: str, source: str) -> Curve:
    """Mean absolute weight that layers of a DenseNet give to what they concatenate. One point.

    Args:
      config: of the run.
      directory: its workdir.
      of: "layers", those of all blocks but the first, or "classifier".
      source: "input" is the input of the block and "layers" are its layers; of the layers, the
        first and the last half are "early" and "late".
    """
    with set_precision(config):
        run = trained.read(config, directory)
        found = residual.feature_reuse(run.model, run.variables, run.images[:1])
        means = []
        for name, row in found.items():
            if not (name == of or (of == "layers" and re.match(r"stage[^1]", name))):
                continue
            first, *layers = (float(value) for value in row.values())
            half = max(len(layers) // 2, 1)
            parts = {"input": [first], "layers": layers}
            parts |= {"early": layers[:half], "late": layers[-half:]}
            means.append(float(np.mean(parts[source])))
        return [(0.0, float(np.mean(means)))]


def gate_variation(config: RunConfig, directory: Path, *, start: float, end: float) -> Curve:
    """How much the gates of a highway network differ between test images: mean over units.

    Of each gate, a number from 0 to 1, the standard deviation over images. x is the number of the
    unit and y the mean up to it.

    Args:
      config: of the run.
      directory: its workdir.
      start: where the range of units begins, as a share of all from the image on.
      end: where it ends.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        units = removable(run.model, run.images.shape[1:])
        first, last = (round(share * len(units)) for share in (start, end))
        names = [f"{unit}/gate" for unit in units[first:last]]
        found = feature_extractor.FeatureExtractor(run.model, names)(run.variables, run.images)
        spread = [float(np.std(jax.nn.sigmoid(found[name]), axis=0).mean()) for name in names]
        return [(float(first + i), float(np.mean(spread[:i]))) for i in range(1, len(spread) + 1)]


def copied_start(
    config: RunConfig,
    directory: Path,
    *,
    first: Mapping[str, Any] | None = None,
    layers: Sequence[str] = (),
) -> Curve:
    """Training loss by epoch of a network that starts from layers of one trained before.

    Both are trained here, so the ablation trains none. The loss of a run whose last steps were not
    finite is nan. Variants of one config share a directory; one of them at most may have `first`.

    Args:
      config: of the network.
      directory: where the workdirs are.
      first: the fields of the other network that differ; None starts all layers at random.
      layers: an `init_map`, what is taken over.
    """
    from jaxcnn.training import train

    workdir = directory / ("random" if first is None else "copied")
    if first is not None:
        train.run(changed(config, first), directory / "first")
        start = {"init_from": str((directory / "first").resolve()), "init_map": tuple(layers)}
        config = changed(config, start)
    train.run(config, workdir)
    records = MetricWriter(workdir, active=False).records()
    losses = [(r["epoch"], r["train/loss"]) for r in records if "train/loss" in r]
    return [*losses, (losses[-1][0], math.nan)] if skips_at_end(records) else losses


def epochs_to(config: RunConfig, directory: Path, *, accuracy: float) -> Curve:
    """Epochs until the test accuracy is reached for the first time; inf if it never is.

    One point.
    """
    del config
    records = MetricWriter(directory, active=False).records()
    points = [(r["epoch"], r["test/top1"]) for r in records if "test/top1" in r]
    first = min((epoch for epoch, value in points if value >= accuracy), default=float("inf"))
    return [(0.0, float(first))]


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
    rate = images_per_second(directory)
    return [] if math.isnan(rate) else [(0.0, rate / config.train.batch_size)]

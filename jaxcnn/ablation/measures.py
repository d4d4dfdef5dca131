"""Measurements that are no record of a run: functions (config, workdir) → curve."""

import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.ablation import Curve
from jaxcnn.ablation.runs import images_per_second
from jaxcnn.analysis import ensemble, feature_extractor, residual, signal
from jaxcnn.analysis.lesion import lesioned, removable
from jaxcnn.config import build, build_data
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.pipeline import eval_batches, train_batch
from jaxcnn.run import init_from, workdir
from jaxcnn.run.metric_writer import MetricWriter
from jaxcnn.run.precision import set_precision
from jaxcnn.training.losses import cross_entropy, make_head_loss

LESIONS = 12  # sets of removed units that are averaged for each number of them


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


class Trained(NamedTuple):
    """A run's network at its end, and images as it sees them.

    Attributes:
      model: takes (images, train).
      variables: of the model.
      pixels: uint8 (N, H, W, C).
      labels: int (N).
      normalize: makes the network's images of pixels.
    """

    model: nn.Module
    variables: Any
    pixels: np.ndarray
    labels: np.ndarray
    normalize: Callable[[jax.Array], jax.Array]

    @property
    def images(self) -> jax.Array:
        """What the network is given."""
        return self.normalize(jnp.asarray(self.pixels))


def _trained(config: RunConfig, directory: Path, split: str = "test") -> Trained:
    """Returns the network of a run, and a whole split; of training what its seed drew."""
    dataset = build_data.load_data(config, split)
    model = build.make_model(config, dataset.num_classes)
    variables = {"batch_stats": {}, **init_from.read(directory).variables}
    batch = next(eval_batches(dataset, batch_size=dataset.num_examples))
    chosen = slice(None) if dataset.labelled is None else dataset.labelled
    statistics = workdir.read_statistics(directory, config)
    normalize = build_data.make_normalize(config, statistics)
    return Trained(model, variables, batch["image"][chosen], batch["label"][chosen], normalize)


def lesion(config: RunConfig, directory: Path, *, most: int = 0) -> Curve:
    """Test error that random units cost when they are removed after training: 0, 1, 2, 4 and so on.

    Units are those that keep the shape, which a network without shortcuts can lose as well. Of each
    number up to `most`, or a quarter of them, `LESIONS` sets are drawn and their errors averaged. y
    is that error less the error of the whole network.
    """
    with set_precision(config):
        run = _trained(config, directory)
        images = run.images
        plain = run.model.clone(shortcut="none") if hasattr(run.model, "shortcut") else run.model
        units = removable(plain, images.shape[1:])
        draw = np.random.default_rng(config.seed)

        def error(count: int) -> float:
            chosen = sorted(map(str, draw.choice(units, count, replace=False)))
            # Not jitted: every set of units is another program.
            logits: Any = lesioned(run.model, chosen).apply(run.variables, images)
            return float(np.mean(np.argmax(logits, -1) != run.labels))

        last = most or max(len(units) // 4, 1)
        counts = sorted({0, 1, *(2**i for i in range(1, 10) if 2**i < last), last})
        errors = [
            float(np.mean([error(count) for _ in range(LESIONS if count else 1)]))
            for count in counts
        ]
        return [
            (float(count), value - errors[0]) for count, value in zip(counts, errors, strict=True)
        ]


def shifts(config: RunConfig, directory: Path, *, most: int = 3) -> Curve:
    """Test accuracy that is lost by shifts of 0 to `most` pixels, to each of the four sides.

    Pixels at the border are repeated. The last y is that of the largest shift.
    """
    with set_precision(config):
        run = _trained(config, directory)
        whole = np.pad(run.pixels, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
        side = run.pixels.shape[1]
        apply = jax.jit(run.model.apply)

        def accuracy(down: int, right: int) -> float:
            rows, columns = (slice(most + move, most + move + side) for move in (down, right))
            images = run.normalize(jnp.asarray(whole[:, rows, columns]))
            logits: Any = apply(run.variables, images)
            return float(np.mean(np.argmax(logits, -1) == run.labels))

        sides = ((1, 0), (-1, 0), (0, 1), (0, -1))
        found = [
            np.mean([accuracy(move * down, move * right) for down, right in sides])
            for move in range(most + 1)
        ]
        return [(float(move), float(found[0] - one)) for move, one in enumerate(found)]


def dead_channels(config: RunConfig, directory: Path) -> Curve:
    """Share of the channels behind ReLUs that are 0 for every test image, mean over the ReLUs.

    x is the number of the ReLU and y the mean up to it.
    """
    with set_precision(config):
        run = _trained(config, directory)
        shares = signal.dead_shares([signal.active_units(run.model, run.variables, run.images)])
        dead = [share.channels for share in shares.values()]
        return [(float(i), float(np.mean(dead[:i]))) for i in range(1, len(dead) + 1)]


def branch_sizes(config: RunConfig, directory: Path) -> Curve:
    """Root mean square of what residual units add, F(x): geometric mean over the units.

    x is the number of the unit and y the mean up to it.
    """
    with set_precision(config):
        run = _trained(config, directory)
        sizes = residual.branch_sizes(run.model, run.variables, run.images)
        logs = [float(np.log(one.branch)) for one in sizes.values()]
        return [(float(i), float(np.exp(np.mean(logs[:i])))) for i in range(1, len(logs) + 1)]


def largest_logit(config: RunConfig, directory: Path) -> Curve:
    """Largest logit less the mean one, mean over the test images. One point."""
    with set_precision(config):
        run = _trained(config, directory)
        logits = np.asarray(jax.jit(run.model.apply)(run.variables, run.images), np.float64)
        return [(0.0, float(np.mean(logits.max(-1) - logits.mean(-1))))]


def sub_networks(config: RunConfig, directory: Path, *, count: int = 30) -> Curve:
    """Test error of the mean over 1, 2, 5 … `count` networks that dropout leaves of a trained one.

    The mean is that of probabilities. x is the number of networks. With `count` 0 it is the error
    of the whole network with scaled weights, one point.
    """
    with set_precision(config):
        run = _trained(config, directory)
        if not count:
            logits: Any = jax.jit(run.model.apply)(run.variables, run.images)
            return [(0.0, float(np.mean(np.argmax(logits, -1) != run.labels)))]
        key = jax.random.key(config.seed)
        networks = ensemble.sampled_networks(run.model, run.variables, run.images, key, count)
        members = [number for number in (1, 2, 5, 10, 20) if number < count] + [count]
        errors = (
            np.mean(ensemble.arithmetic_mean(networks[:k]).argmax(-1) != run.labels)
            for k in members
        )
        return [(float(k), float(error)) for k, error in zip(members, errors, strict=True)]


def linear_probe(config: RunConfig, directory: Path, *, layer: str) -> Curve:
    """Test accuracy of a logistic regression on the mean maps of a layer. One point.

    Args:
      config: of the run.
      directory: its workdir.
      layer: name of a layer; see `jaxcnn.analysis.feature_extractor`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with set_precision(config):
        features, labels = [], []
        for split in ("train", "test"):
            run = _trained(config, directory, split)
            extract = feature_extractor.FeatureExtractor(run.model, layer)
            (maps,) = extract(run.variables, run.images).values()
            features.append(np.asarray(maps).mean(axis=tuple(range(1, maps.ndim - 1))))
            labels.append(run.labels)
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
        fitted.fit(features[0], labels[0])
        return [(0.0, float(fitted.score(features[1], labels[1])))]


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

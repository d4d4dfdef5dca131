"""Measurements that are no record of a run: functions (config, workdir) → curve."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcnn import factories, pretrained
from jaxcnn.ablation import Curve
from jaxcnn.analysis.lesion import lesioned, removable
from jaxcnn.data.pipeline import eval_batches, train_batch
from jaxcnn.logbook import Logbook
from jaxcnn.losses import cross_entropy
from jaxcnn.numerics import numerics

LESIONS = 12  # sets of removed units that are averaged for each number of them


def gradient_flow(config: ConfigDict, directory: Path) -> Curve:
    """Norms of the loss's gradient at initialisation, from the last layer to the first.

    Of the first batch, by the weights of each convolution and dense layer, divided by that of the
    classifier. x is the number of layers above; the last y is the first layer's: far below one the
    gradient vanishes on its way, far above it explodes.
    """
    del directory
    with numerics(config):
        source = factories.load_data(config, "train")
        model = factories.make_model(config, source.num_classes)
        batch = train_batch(source, batch_size=config.train.batch_size, seed=config.seed, step=0)
        images = factories.make_normalize(config)(jnp.asarray(batch["image"]))

        @jax.jit
        def gradient(key: jax.Array) -> Any:
            variables = model.init(key, images)
            rest = {name: tree for name, tree in variables.items() if name != "params"}

            def loss(params: Any) -> jax.Array:
                rngs = {"dropout": key, "drop_path": key}
                logits, _ = model.apply(
                    {"params": params, **rest}, images, train=True, rngs=rngs, mutable=True
                )
                return cross_entropy(logits, jnp.asarray(batch["label"])).mean()

            return jax.grad(loss)(variables["params"])

        norms = {
            jax.tree_util.keystr(path, simple=True, separator="/"): float(jnp.linalg.norm(leaf))
            for path, leaf in jax.tree_util.tree_leaves_with_path(
                gradient(jax.random.key(config.seed))
            )
        }
    # Layers are numbered along the network, projections and gates stand beside it.
    ways = [name for name in norms if re.search(r"kernel$", name)]
    ways = [name for name in ways if not re.search(r"shortcut|projection|gate", name)]
    ways.sort(key=_natural)
    own = norms["classifier/kernel"]
    body = [norms[name] / own for name in ways if name != "classifier/kernel"]
    return [(0.0, 1.0), *((float(i), y) for i, y in enumerate(reversed(body), 1))]


def _natural(name: str) -> list[Any]:
    """Sorts block10 behind block2, and the stem before all."""
    parts = re.split(r"(\d+)", name)
    return [not name.startswith("stem"), *(int(p) if p.isdecimal() else p for p in parts)]


def lesion(config: ConfigDict, directory: Path) -> Curve:
    """Test error with 0, 1, 2, 4 … units removed after training, random ones.

    Of each number up to half the units `LESIONS` sets are drawn and their errors averaged. The last
    y is the error without a quarter of the units.
    """
    with numerics(config):
        source = factories.load_data(config, "test")
        model = factories.make_model(config, source.num_classes)
        variables = {"batch_stats": {}, **pretrained.read(directory).variables}
        batch = next(eval_batches(source, batch_size=source.num_examples))
        images = factories.make_normalize(config)(jnp.asarray(batch["image"]))
        units = removable(model, source.image_shape)
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


def rises(config: ConfigDict, directory: Path) -> Curve:
    """Share of the epochs up to each one in which the training loss was above the one before."""
    del config
    records = Logbook(directory, active=False).records()
    losses = [record["train/loss"] for record in records if "train/loss" in record]
    above = np.cumsum(np.diff(losses) > 0)
    return [(float(i + 1), float(count / i)) for i, count in enumerate(above, 1)]


def speed(config: ConfigDict, directory: Path) -> Curve:
    """Training steps per second, the median over the records; the first is left out."""
    records = Logbook(directory, active=False).records()
    rates = [record["images_per_second"] for record in records if "images_per_second" in record]
    return [(0.0, float(np.median(rates[1:])) / config.train.batch_size)]

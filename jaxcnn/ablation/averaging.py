"""What averages are worth: over the networks of dropout, views of an image, trained networks.

Functions (config, workdir) → curve, as an ablation's `measure`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.ablation import Curve, trained
from jaxcnn.ablation.runs import programs_made_once
from jaxcnn.analysis import ensemble
from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.errors import check_whole
from jaxcnn.run.precision import set_precision
from jaxcnn.training import train


def sub_networks(config: RunConfig, directory: Path, *, count: int = 30) -> Curve:
    """Test error of the mean over 1, 2, 5 … `count` networks that dropout leaves of a trained one.

    The mean is that of probabilities. x is the number of networks. With `count` 0 it is the error
    of the whole network with scaled weights, one point.
    """
    with set_precision(config):
        run = trained.read(config, directory)
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


def views(
    config: RunConfig, directory: Path, *, shifts: Sequence[int] = (0,), sides: Sequence[int] = ()
) -> Curve:
    """Test error of the mean probability over views of each image. One point; x is their number.

    Args:
      config: of the run.
      directory: its workdir.
      shifts: of the views, in pixels; each is used down with each to the right. What comes in at
        the border has the mean colour.
      sides: each view is resized to these sides, bilinearly, for a network that takes any; () is
        the size as it is.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        apply = jax.jit(run.model.apply)
        images, side = run.images, run.images.shape[1]
        most = max(map(abs, shifts))
        around = (most, most)
        padded = jnp.pad(images, ((0, 0), around, around, (0, 0)))
        starts = [most + shift for shift in shifts]
        moved = (padded[:, i : i + side, j : j + side] for i in starts for j in starts)
        each = [
            jax.nn.softmax(apply(run.variables, _resized(one, to)))
            for one in moved
            for to in sides or (side,)
        ]
        error = np.mean(np.mean(each, axis=0).argmax(-1) != run.labels)
        return [(float(len(each)), float(error))]


def _resized(images: jax.Array, side: int) -> jax.Array:
    if side == images.shape[1]:
        return images
    shape = (len(images), side, side, images.shape[-1])
    return jax.image.resize(images, shape, "bilinear", antialias=True)


def networks(config: RunConfig, directory: Path, *, count: int) -> Curve:
    """Test error of the mean probability over networks that differ in their seeds alone.

    The first is that of the run; the others are trained here, in its workdir. Without
    `data.labelled` all have the same examples. x is the number of networks, from 1 to `count`,
    which is at most 100.

    Raises:
      UserError: if `count` is out of this range.
    """
    check_whole("count", count, 1, 100)
    build = programs_made_once({}, "")
    each = []
    for number in range(count):
        one, place = config, directory
        if number:
            one = changed(config, {"seed": 10_000 + 100 * config.seed + number})
            place = directory / f"network{number}"
            train.run(one, place, make_programs=build)
        with set_precision(config):
            run = trained.read(one, place)
            each.append(jax.nn.softmax(jax.jit(run.model.apply)(run.variables, run.images)))
    means = (np.mean(each[:k], axis=0) for k in range(1, count + 1))
    return [
        (float(k), float(np.mean(mean.argmax(-1) != run.labels))) for k, mean in enumerate(means, 1)
    ]

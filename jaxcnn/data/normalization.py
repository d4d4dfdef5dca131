"""Normalises images with statistics of the training split: mean image, contrast, ZCA whitening.

The statistics are measured once on the training images with evaluation crops. They are saved beside
the run's checkpoints and used for evaluation and for a resumed run.

Goodfellow et al., "Maxout Networks", 2013, §5.2 (contrast normalisation and ZCA of CIFAR, as in
Krizhevsky's technical report of 2009), with the constants of their code.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.fields import PREPROCESSINGS
from jaxcnn.data.pipeline import eval_batches
from jaxcnn.errors import EXIT_WORKDIR, UserError, nearest
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import read_npz

MOST_EXAMPLES = 60_000  # examples measured, evenly spaced in a larger split
MOST_VALUES = 64 * 64 * 3  # values of a whitened image; the covariance has their square
EVEN = 1e-4  # an image whose norm is at most this is constant
_BATCH = 500


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("mean", "whiten"),
    meta_fields=("kind", "scale"),
)
@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics for `preprocess`.

    A tree of arrays, to be an argument of a compiled program. A matrix in a closure would become a
    constant of the program and of each file in the compilation cache.

    Attributes:
      kind: "mean_image", "gcn" or "zca".
      scale: for "gcn" and "zca": norm of an image after contrast normalisation.
      mean: float32 [H, W, C]: mean of pixels in [0, 1]; for "zca", of contrast-normalised images.
      whiten: for "zca": float32 [D, D], D = H·W·C, symmetric.
    """

    kind: str
    scale: float = 55.0
    mean: np.ndarray | jax.Array | None = None
    whiten: np.ndarray | jax.Array | None = None


def preprocess(
    image: jax.Array,
    mean: Sequence[float],
    std: Sequence[float],
    statistics: Statistics | None = None,
) -> jax.Array:
    """Returns one normalised image, float32 [H, W, C].

    Without statistics it returns (x - mean) / std. "mean_image" subtracts the mean image instead.
    "gcn" subtracts the image's own mean and scales the image to the norm `scale`. "zca" then
    subtracts the mean image and multiplies by (covariance + ε·I)^(-1/2).

    Args:
      image: float32 [H, W, C], pixels in [0, 1].
      mean: one number per channel, or a single one.
      std: one number per channel, or a single one.
      statistics: see `measure`.

    Raises:
      UserError: if mean or std has neither 1 nor C numbers, or the statistics have another shape.
    """
    channels = image.shape[-1]
    for field, values in [("mean", mean), ("std", std)]:
        if len(values) not in (1, channels):
            raise UserError(
                f"{field} has {len(values)} numbers for images of {channels} channel(s): give one"
                " per channel or a single one"
            )
    centre, spread = (jnp.asarray(v, jnp.float32).reshape(1, 1, -1) for v in (mean, std))
    if statistics is None:
        return (image - centre) / spread
    if statistics.mean is not None and statistics.mean.shape != image.shape:
        sizes = ["x".join(map(str, shape)) for shape in (statistics.mean.shape, image.shape)]
        raise UserError(
            f"preprocess={statistics.kind} was measured on images of {sizes[0]} and these are"
            f" {sizes[1]}: evaluate at the size of training"
        )
    if statistics.kind == "mean_image":
        return (image - jnp.asarray(statistics.mean)) / spread
    image = image - image.mean()
    length = jnp.sqrt(jnp.sum(image**2))
    image = statistics.scale * image / jnp.where(length < EVEN, 1, length)
    if statistics.kind == "gcn":
        return image
    flat = (image - jnp.asarray(statistics.mean)).reshape(-1)
    return jnp.matmul(flat, jnp.asarray(statistics.whiten), precision="highest").reshape(
        image.shape
    )


def measure(
    dataset: Dataset, kind: str, *, scale: float = 55.0, epsilon: float = 0.1
) -> Statistics | None:
    """Returns the statistics of a training split; None for "channels", which needs none.

    For a split of more than 60,000 images it measures 60,000 evenly spaced ones.

    Args:
      dataset: the training split.
      kind: "channels", "mean_image", "gcn" (contrast normalisation) or "zca" (and whitening).
      scale: norm of an image after contrast normalisation.
      epsilon: added to the eigenvalues of the covariance before whitening.

    Raises:
      UserError: if the kind is unknown, a number is not positive, the images are too large to
        whiten, or no image can be read.
    """
    if kind not in PREPROCESSINGS:
        raise UserError(f"preprocess={kind!r} does not exist: {nearest(kind, PREPROCESSINGS)}")
    for field, value in (("gcn_scale", scale), ("zca_epsilon", epsilon)):
        if value <= 0:
            raise UserError(f"{field}={value} must be positive")
    if kind == "channels":
        return None
    if kind == "gcn":
        return Statistics(kind, scale)
    size = int(np.prod(dataset.image_shape))
    if kind == "zca" and size > MOST_VALUES:
        shape = "x".join(map(str, dataset.image_shape))
        raise UserError(
            f"preprocess=zca cannot whiten images of {shape}: the covariance of {size:,} values"
            f" would fill the memory; {MOST_VALUES:,} values at most"
        )
    if dataset.num_examples > MOST_EXAMPLES:
        positions = np.arange(MOST_EXAMPLES) * dataset.num_examples // MOST_EXAMPLES
        dataset = dataset.subset(positions, dataset.split)
    contrast = Statistics("gcn", scale)
    convert = jax.jit(
        jax.vmap(lambda image: preprocess(image, (0.0,), (1.0,), contrast))
        if kind == "zca"
        else lambda images: images
    )
    count, total = 0, np.zeros(size)
    products = np.zeros((size, size)) if kind == "zca" else None
    for batch in eval_batches(dataset, batch_size=_BATCH):
        images = convert(jnp.asarray(batch["image"], jnp.float32) / 255)
        rows = np.asarray(images, np.float64)[batch["weight"] > 0].reshape(-1, size)
        count += len(rows)
        total += rows.sum(axis=0)
        if products is not None:
            products += rows.T @ rows
    mean = total / count
    kept = mean.reshape(dataset.image_shape).astype(np.float32)
    if products is None:
        return Statistics(kind, scale, kept)
    values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    whiten = (vectors / np.sqrt(np.maximum(values, 0) + epsilon)) @ vectors.T
    return Statistics(kind, scale, kept, whiten.astype(np.float32))


def write(path: Path, statistics: Statistics, about: dict[str, Any]) -> None:
    """Writes statistics atomically; `about` describes their source, as JSON."""
    arrays = {
        name: value
        for name in ("mean", "whiten")
        if (value := getattr(statistics, name)) is not None
    }
    text = json.dumps({"kind": statistics.kind, "scale": statistics.scale, "about": about})
    with whole_file(path, EXIT_WORKDIR) as file:
        np.savez(file, json=np.array(text), **arrays)


def read(path: Path) -> tuple[Statistics, dict[str, Any]] | None:
    """Returns statistics and the description of their source; None if missing or damaged."""
    try:
        arrays = read_npz(path)
        saved = json.loads(str(arrays.pop("json")))
        found = Statistics(saved["kind"], float(saved["scale"]), **arrays)
        return (found, dict(saved["about"])) if _is_whole(found) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):  # other JSON
        return None


def _is_whole(found: Statistics) -> bool:
    mean, whiten = found.mean, found.whiten
    if (mean is None, whiten is None) != (found.kind == "gcn", found.kind != "zca"):
        return False
    square = mean is None or whiten is None or whiten.shape == (mean.size, mean.size)
    arrays = [array for array in (mean, whiten) if array is not None]
    finite = all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays)
    known = found.kind in PREPROCESSINGS[1:] and 0 < found.scale < math.inf
    return known and square and finite and (mean is None or mean.ndim == 3)


def digest(statistics: Statistics) -> str:
    """Returns a SHA-256 of all values that affect normalisation."""
    found = hashlib.sha256(f"{statistics.kind} {float(statistics.scale)!r}".encode())
    for array in (statistics.mean, statistics.whiten):
        if array is not None:
            found.update(np.ascontiguousarray(array, np.float32).data)
    return found.hexdigest()

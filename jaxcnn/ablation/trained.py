"""The network of a run, for what is measured after training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.config import build, build_data
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.pipeline import eval_batches
from jaxcnn.run import workdir
from jaxcnn.run.checkpoint import init_from


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


def read(config: RunConfig, directory: Path, split: str = "test") -> Trained:
    """Returns the network of a run, and a whole split; of training what its seed drew."""
    dataset = build_data.load_data(config, split)
    model = build.make_model(config, dataset.num_classes)
    variables = {"batch_stats": {}, **init_from.read(directory, latest=True).variables}
    batch = next(eval_batches(dataset, batch_size=dataset.num_examples))
    chosen = slice(None) if dataset.labelled is None else dataset.labelled
    statistics = workdir.read_statistics(directory, config)
    normalize = build_data.make_normalize(config, statistics)
    return Trained(model, variables, batch["image"][chosen], batch["label"][chosen], normalize)

"""A network to look at: of a run, of trained weights, or with random weights."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.config import build, user_modules
from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.errors import UserError
from jaxcnn.models import model_info
from jaxcnn.run import inference, trained
from jaxcnn.run.checkpoint import restore
from jaxcnn.run.precision import set_precision


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A network with its preprocessing and its name in figures.

    Attributes:
      network: see `inference.LoadedModel`.
      config: of its run; of other weights only what preprocessing needs.
      title: where it is from, and the step.
      workdir: of its run; None of other weights.
      random: whether its weights are random ones.
    """

    network: inference.LoadedModel
    config: RunConfig
    title: str
    workdir: Path | None = None
    random: bool = False

    @cached_property
    def variables(self) -> Any:
        """The network's variables on the device."""
        with set_precision(self.config):
            return jax.device_put(self.network.variables)


def of_trained(opened: trained.Trained) -> Subject:
    """Returns the network of a run, of a folder of weights, or of trained weights by name."""
    return Subject(inference.loaded(opened), opened.config, opened.title, opened.workdir)


def of_run(workdir: Path, checkpoint: str = "latest", model: str = "") -> Subject:
    """Returns the network of a run.

    Args:
      workdir: of the run.
      checkpoint: "latest", "best" or a step.
      model: see `inference.load`.

    Raises:
      UserError: see `inference.load`.
    """
    return of_trained(trained.open_run(workdir, checkpoint, model))


def of_name(
    name: str, image_size: int = 0, seed: int = 0, fields: Mapping[str, Any] | None = None
) -> Subject:
    """Returns a network of the registry with random weights.

    Args:
      name: of the registry, or `MODULE:NETWORK`, a network of the user's own, which is imported.
      image_size: height and width of its images, pixels; 0 is that of the published results.
      seed: of the weights.
      fields: fields of the section `model` of a config, such as "kernel_init" or "overrides.norm".

    Raises:
      UserError: for a name or a field that does not exist, or a size that the network does not
        take.
    """
    user_modules.import_model(name)
    info = model_info(name)
    config = trained.published_config(name, info.input_size[-1], image_size)
    config = changed(config, {f"model.{field}": value for field, value in (fields or {}).items()})
    model, shape = build.make_model(config, info.num_classes), restore.image_shape(config)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    try:
        with build.network_of(config):
            variables: Any = model.lazy_init(jax.random.key(seed), images)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        sides = "x".join(map(str, shape))
        raise UserError(f"{name} takes no images of {sides}: {error}") from None
    found = trained.PlainWeights(model, jax.tree.map(np.asarray, dict(variables)), info.num_classes)
    names = tuple(map(str, range(info.num_classes)))
    opened = trained.Trained(config, found, names, f"{name}, random weights")
    return dataclasses.replace(of_trained(opened), random=True)

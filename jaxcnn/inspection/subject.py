"""A network to look at: of a run, of converted weights, or with random weights."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.config import build, user_modules
from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.data.normalization import Statistics
from jaxcnn.errors import UserError
from jaxcnn.interop.folder import read_folder
from jaxcnn.models import model_info
from jaxcnn.models.published import Crop
from jaxcnn.run import inference, restore
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


class PlainWeights(NamedTuple):
    """Variables without statistics of training images; see `restore.Weights`."""

    variables: dict[str, Any]
    statistics: Statistics | None = None


def of_run(workdir: Path, checkpoint: str = "latest", model: str = "") -> Subject:
    """Returns the network of a run.

    Args:
      workdir: of the run.
      checkpoint: "latest", "best" or a step.
      model: see `inference.load`.

    Raises:
      UserError: see `inference.load`.
    """
    network = inference.load(workdir, checkpoint=checkpoint, model=model)
    config = restore.read_config(workdir, checkpoint, model)
    return Subject(network, config, f"{workdir}, step {network.step:,}", workdir)


def of_weights(folder: Path) -> Subject:
    """Returns the network of a folder that `jaxcnn.interop.convert` wrote.

    Images are cropped and normalised as the network's paper does; see `jaxcnn.model_info`. Classes
    are numbers.

    Raises:
      UserError: if it is no such folder, or damaged.
    """
    model, variables, record = read_folder(folder)
    config = _config(record["model"], record["channels"])
    return _subject(model, variables, config, record["num_classes"], str(folder))


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
    config = _config(name, info.input_size[-1], image_size)
    config = changed(config, {f"model.{field}": value for field, value in (fields or {}).items()})
    model, shape = build.make_model(config, info.num_classes), restore.image_shape(config)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    try:
        with build.network_of(config):
            variables: Any = model.lazy_init(jax.random.key(seed), images)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        sides = "x".join(map(str, shape))
        raise UserError(f"{name} takes no images of {sides}: {error}") from None
    host = jax.tree.map(np.asarray, dict(variables))
    subject = _subject(model, host, config, info.num_classes, f"{name}, random weights")
    return dataclasses.replace(subject, random=True)


def _subject(
    model: nn.Module, variables: dict[str, Any], config: RunConfig, num_classes: int, title: str
) -> Subject:
    names = tuple(map(str, range(num_classes)))
    shape, weights = restore.image_shape(config), PlainWeights(variables)
    network = inference.LoadedModel(model, variables, names, shape, 0, config, weights)
    return Subject(network, config, title)


def _config(name: str, channels: int, image_size: int = 0) -> RunConfig:
    """Returns a config with the preprocessing of a network's paper.

    Args:
      name: of the registry.
      channels: of the images; where the paper's have another number, their mean is normalised.
      image_size: pixels; 0 is the paper's.
    """
    info = model_info(name)
    size, *_ = info.input_size
    crop = info.crop or Crop(size, size)
    mean, std = info.mean or (0.5,), info.std or (0.5,)
    if len(mean) != channels:
        mean, std = (float(np.mean(mean)),), (float(np.mean(std)),)
    resized = image_size and image_size != size
    fields = {
        "model.name": name,
        "data.kind": "folder",
        "data.channels": channels,
        "data.image_size": image_size if resized else crop.size,
        "data.eval_crop": "center" if info.crop else "resize",
        "data.resize": 0 if resized or not info.crop else crop.short_side,
        "data.mean": mean,
        "data.std": std,
    }
    return changed(RunConfig(), fields)

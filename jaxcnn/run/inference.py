"""Applies a trained network to images: from pixels to probabilities."""

import dataclasses
import os
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import linen as nn

from jaxcnn.config import build_data
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.images.inputs import crop_images
from jaxcnn.data.images.transforms import Cropper
from jaxcnn.run import trained
from jaxcnn.run.checkpoint import restore
from jaxcnn.run.precision import set_precision

BATCH = 64  # images per network call of `LoadedModel.predict`

if TYPE_CHECKING:
    from jaxcnn.data.images.inputs import Images


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedModel:
    """A trained network with its weights, class names and preprocessing; returned by `load`.

    Attributes:
      model: the network, for `model.apply(variables, images)`.
      variables: NumPy arrays; averaged weights if the run keeps them.
      class_names: one name per output; numbers if none are known.
      image_shape: (H, W, C) of the images that the network was evaluated on.
      step: step of the checkpoint; 0 of weights without a run.
    """

    model: nn.Module
    variables: dict[str, Any] = dataclasses.field(repr=False)
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    step: int
    _config: RunConfig = dataclasses.field(repr=False)
    _found: restore.Weights = dataclasses.field(repr=False)

    def preprocess(self, images: "Images") -> jax.Array:
        """Returns images preprocessed as in the network's evaluation, float32 [N, H, W, C].

        Images are decoded, cropped, resized and normalised as in the command `jaxcnn.predict`. An
        array is treated as a decoded image.

        Args:
          images: a path, the bytes of a file, a Pillow image, a uint8 array [H, W, C] or [N, H, W,
            C] with C 1 or 3, or a list of these.

        Raises:
          UserError: if an image cannot be read, or an array has another dtype or shape.
        """
        return self.normalize(self.crop(images))

    def normalize(self, pixels: np.ndarray) -> jax.Array:
        """Returns the network's inputs, float32 [N, H, W, C], from cropped images; see `crop`."""
        with set_precision(self._config):
            return self._normalize(pixels, statistics=self._found.statistics)

    def predict(self, images: "Images") -> np.ndarray:
        """Returns the probabilities of all classes, float32 [N, classes].

        The network takes at most 64 images at once. A batch is padded to a power of two by
        repeating its last image, so at most seven programs are compiled.

        Args:
          images: see `preprocess`.

        Raises:
          UserError: see `preprocess`.
        """
        return self.probabilities(self.crop(images))

    def probabilities(self, cropped: np.ndarray) -> np.ndarray:
        """Returns the probabilities of all classes, float32 [N, classes], of images of `crop`."""
        rows = []
        for begin in range(0, len(cropped), BATCH):
            part = cropped[begin : begin + BATCH]
            missing = 2 ** (len(part) - 1).bit_length() - len(part)
            padded = np.pad(part, [(0, missing), *[(0, 0)] * 3], mode="edge")
            rows.append(np.asarray(self.classify(padded))[: len(part)])
        return np.concatenate(rows)

    def crop(self, images: "Images") -> np.ndarray:
        """Returns images before normalisation, uint8 [N, H, W, C].

        Args:
          images: see `preprocess`.

        Raises:
          UserError: see `preprocess`.
        """
        return crop_images(images, self.cropper)

    @cached_property
    def _normalize(self) -> Callable[..., jax.Array]:
        return jax.jit(build_data.make_normalize(self._config))

    @cached_property
    def cropper(self) -> Cropper:
        """Decodes, crops and resizes one image.

        Raises:
          UserError: if the images have neither 1 nor 3 channels.
        """
        return build_data.make_cropper(self._config)

    @cached_property
    def classify(self) -> Callable[[np.ndarray], jax.Array]:
        """Maps cropped images to probabilities [N, classes]; compiled once for each N."""

        def probabilities(variables: dict[str, Any], images: jax.Array) -> jax.Array:
            logits: Any = self.model.apply(variables, images, train=False)
            return jax.nn.softmax(logits)

        return restore.on_images(self._config, self._found, probabilities)


def load(
    source: str | os.PathLike[str],
    *,
    checkpoint: str | int = "latest",
    model: str = "",
    allow_noncommercial: bool = False,
) -> LoadedModel:
    """Returns a trained network with its weights, class names and preprocessing.

    Args:
      source: workdir of a run, a folder that `jaxcnn.interop.convert` wrote, or a name of
        `jaxcnn.list_pretrained`, such as "resnet50"; a leading `~` is the home folder.
      checkpoint: of a run: "latest", "best" or a step.
      model: of a run: name of the user's own network, `MODULE:ATTRIBUTE`, the same as in the run.
        Its module is then imported. A module named only by the workdir is never imported.
      allow_noncommercial: take weights whose licence forbids commercial use.

    Raises:
      UserError: if source or checkpoint is missing or damaged, the model is not the run's, or the
        licence is not allowed.
    """
    opened = trained.open_trained(
        source,
        checkpoint=str(checkpoint),
        model=model,
        allow_noncommercial=allow_noncommercial,
    )
    return loaded(opened)


def loaded(opened: trained.Trained) -> LoadedModel:
    """Returns a trained network that a command has opened."""
    config, found = opened.config, opened.found
    shape = restore.image_shape(config)
    return LoadedModel(
        found.model, found.variables, opened.class_names, shape, found.step, config, found
    )

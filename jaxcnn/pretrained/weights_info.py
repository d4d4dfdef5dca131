"""What is known of trained weights: where they are, and how their images are prepared.

The table weights.json is written by `python docs/weights_table.py` from the libraries' own facts.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.data.images.inputs import crop_images
from jaxcnn.data.images.transforms import Cropper
from jaxcnn.errors import UserError, nearest

if TYPE_CHECKING:
    from jaxcnn.data.images.inputs import Images

TABLE = Path(__file__).with_name("weights.json")
IMAGENET = 1000  # classes


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an input of the network: short side, central square, mean and deviation.

    Attributes:
      image_size: height and width of the network's images, pixels.
      resize: short side before the central square is cut out, pixels.
      interpolation: "bilinear" or "bicubic"; both antialiased.
      mean: of R, G and B in [0, 1].
      std: what R, G and B are divided by after the mean is subtracted.
    """

    image_size: int
    resize: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @functools.cached_property
    def cropper(self) -> Cropper:
        """Decodes, crops and resizes one image; uint8 [image_size, image_size, C]."""
        return Cropper(
            self.image_size,
            len(self.mean),
            evaluate="center",
            resize=self.resize,
            interpolation=self.interpolation,
        )

    def __call__(self, images: "Images") -> np.ndarray:
        """Returns inputs of the network, float32 [N, image_size, image_size, C].

        Args:
          images: a path, the bytes of a file, a Pillow image, a uint8 array [H, W, C] or [N, H, W,
            C] with C 1 or 3, or a list of these.

        Raises:
          UserError: if an image cannot be read, or an array has another dtype or shape.
        """
        pixels = crop_images(images, self.cropper).astype(np.float32) / 255
        mean, std = (np.array(one, np.float32) for one in (self.mean, self.std))
        return (pixels - mean) / std


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """What is known of one set of trained weights.

    Attributes:
      name: "resnet50.a1_in1k": a network and the tag of its training.
      model: name of the network in our registry.
      library: "timm", "torchvision", "keras" or "onnx", whose form the file has.
      library_name: the library's name of the network.
      file: name of the file.
      preprocessing: of images.
      licence: SPDX identifier.
      url: where a plain client finds the file; "" if it is in a repository.
      repository: "timm/resnet50.a1_in1k" on the hub; "" if there is a URL.
      revision: commit of the repository, 40 hexadecimal digits; "" if none is known.
      bytes: size of the file; 0 if it is not known.
      sha256: of the file; "" if it is not known.
      sha256_prefix: the first digits of it, where only these are published.
      md5: of the file, where only this is published.
      num_classes: outputs of the network.
      bgr: whether the network was trained on images with blue first. The first convolution is
        turned when the weights are read, so images are RGB everywhere.
      overrides: fields of our network that differ from those of its name.
      top1: published accuracy on ImageNet's validation images, per cent; None if none is.
      top5: the same of the five likeliest classes.
      measured_by: who measured it.
      measured: preprocessing of that measurement, if it was not `preprocessing`.
    """

    name: str
    model: str
    library: str
    library_name: str
    file: str
    preprocessing: Preprocessing
    licence: str
    url: str = ""
    repository: str = ""
    revision: str = ""
    bytes: int = 0
    sha256: str = ""
    sha256_prefix: str = ""
    md5: str = ""
    num_classes: int = IMAGENET
    bgr: bool = False
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    top1: float | None = None
    top5: float | None = None
    measured_by: str = ""
    measured: Preprocessing | None = None

    @property
    def noncommercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return "-NC-" in self.licence

    @property
    def known_by(self) -> str:
        """What a file is compared with; "first download" if nothing is published of it."""
        if self.sha256:
            return "SHA-256"
        if self.sha256_prefix:
            return f"{len(self.sha256_prefix)} digits of SHA-256, first download"
        return "MD5" if self.md5 else "first download"

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for each output of the network."""
        if self.num_classes == IMAGENET:
            return imagenet_classes()
        return tuple(map(str, range(self.num_classes)))

    def preprocess(self, images: "Images") -> np.ndarray:
        """Returns inputs of the network, float32 [N, H, W, C]; see `Preprocessing`."""
        return self.preprocessing(images)


def weights_info(name: str) -> WeightsInfo:
    """Returns what is known of trained weights.

    Args:
      name: "resnet50.a1_in1k"; "resnet50", which stands for the first of its weights; or a
        library's own name, "timm/resnetv2_50.a1h_in1k".

    Raises:
      UserError: if there are no such weights; it names the nearest.
    """
    known = _table()
    short = name.removeprefix("timm/")
    found = known.get(short) or _defaults().get(short) or _library_names().get(short)
    if found is None:
        raise UserError(f"no trained weights {name!r}: {nearest(short, [*known, *_defaults()])}")
    return found


def list_pretrained(pattern: str = "*") -> list[str]:
    """Returns the names of trained weights, of each network the default ones first.

    Args:
      pattern: with `*` and `?`, for the whole name; "*resnet*" finds those of all ResNets.
    """
    return [name for name in _table() if fnmatchcase(name, pattern)]


def known(name: str) -> bool:
    """Returns whether there are weights of this name, without reading them."""
    short = name.removeprefix("timm/")
    return any(short in names for names in (_table(), _defaults(), _library_names()))


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """Returns a name in words for each of ImageNet's 1,000 classes, in the order of outputs."""
    return tuple(line.partition(" ")[2] for line in _class_lines())


@functools.cache
def imagenet_synsets() -> tuple[str, ...]:
    """Returns WordNet's number of each of ImageNet's 1,000 classes, such as "n01440764"."""
    return tuple(line.partition(" ")[0] for line in _class_lines())


def _class_lines() -> list[str]:
    path = TABLE.with_name("imagenet_classes.txt")
    return path.read_text(encoding="utf-8").splitlines()


@functools.cache
def _table() -> dict[str, WeightsInfo]:
    rows = json.loads(TABLE.read_text(encoding="utf-8"))
    return {row["name"]: _info(row) for row in rows}


@functools.cache
def _defaults() -> dict[str, WeightsInfo]:
    """Returns the first weights of each network that anyone may use."""
    found: dict[str, WeightsInfo] = {}
    for name, info in _table().items():
        if not info.noncommercial:
            found.setdefault(name.partition(".")[0], info)
    return found


@functools.cache
def _library_names() -> dict[str, WeightsInfo]:
    return {
        info.repository.removeprefix("timm/"): info for info in _table().values() if info.repository
    }


def _info(row: dict[str, Any]) -> WeightsInfo:
    ways: dict[str, Any] = {
        name: Preprocessing(**_tuples(row.pop(name)))
        for name in ("preprocessing", "measured")
        if name in row
    }
    return WeightsInfo(**_tuples(row), **ways)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value

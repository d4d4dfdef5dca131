"""What is known of trained weights: where they are, and how their images are prepared."""

import dataclasses

INTERPOLATIONS = ("bilinear", "bicubic")


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


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """What is known of one set of trained weights.

    Attributes:
      name: "resnet50.a1_in1k": our network and the tag of its training.
      model: our name of the network.
      library: "timm", "torchvision", "keras" or "onnx", whose form the file has.
      library_name: the library's name of the network.
      file: name of the file.
      url: where a plain client finds it; "" if it is in a repository.
      repository: "timm/resnet50.a1_in1k" on the hub; "" if there is a URL.
      revision: commit of the repository, 40 hexadecimal digits; "" if none is known.
      bytes: size of the file; 0 if it is not known.
      sha256: of the file; "" if it is not known.
      sha256_prefix: the first digits of it, where only these are published.
      md5: of the file, where only this is published.
      licence: SPDX identifier.
      noncommercial: whether the licence forbids commercial use.
      num_classes: outputs of the network.
      bgr: whether the network was trained on images with blue first. The first convolution is
        turned when the weights are read, so images are RGB everywhere.
      preprocessing: of images.
      top1: published accuracy on ImageNet's validation images in per cent; None if none is.
      top5: the same of the five likeliest classes.
      measured_by: who measured it, and at which size of images.
    """

    name: str
    model: str
    library: str
    library_name: str
    file: str
    url: str
    repository: str
    revision: str
    bytes: int
    sha256: str
    sha256_prefix: str
    md5: str
    licence: str
    noncommercial: bool
    num_classes: int
    bgr: bool
    preprocessing: Preprocessing
    top1: float | None
    top5: float | None
    measured_by: str

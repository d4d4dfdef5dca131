"""Writes jaxcnn/pretrained/weights.json: all weights that public libraries have of our networks.

python docs/weights_table.py

The facts are those of the packages timm, torchvision and keras, which must be installed, and of the
repository onnx/models (its Git LFS pointers hold SHA-256 and size). timm_results.csv has timm's own
accuracies; Keras's are those of the table in its documentation.
"""

import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxcnn.interop.name_tables import LIBRARIES

DOCS = Path(__file__).parent
TABLE = DOCS.parent / "jaxcnn" / "pretrained" / "weights.json"
CLASSES = TABLE.with_name("imagenet_classes.txt")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # inputs from -1 to 1
# Caffe subtracts the mean of 0 to 255 and divides by nothing.
CAFFE = ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3)
# Networks without a name in our registry.
PREFIXES = {"mobilenetv1_100h": "mobilenet_v1_100h", "mobilenetv1_125": "mobilenet_v1_125"}
# Commits that hold the file, seen in public programs that pin it.
REVISIONS = {"timm/resnet50.a1_in1k": "767268603ca0cb0bfe326fa87277f19c419566ef"}
LICENCES = {
    "apache-2.0": "Apache-2.0",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
}
ZOO = "https://media.githubusercontent.com/media/onnx/models/main/validated/vision/classification"
# Fields of our networks that other weights do not need.
OVERRIDES = {
    ("torchvision", "googlenet"): {"transform_input": True},
    ("torchvision", "inception_v3"): {"transform_input": True},
}
Row = dict[str, Any]


def prepared(size: int, crop: float, interpolation: str, mean: Any, std: Any) -> Row:
    """Returns the preprocessing with a short side of size / crop, in whole pixels."""
    return {
        "image_size": size,
        "resize": math.floor(size / crop),
        "interpolation": interpolation,
        "mean": [round(float(one), 9) for one in mean],
        "std": [round(float(one), 9) for one in std],
    }


def timm_rows() -> Iterator[Row]:
    """Yields timm's weights, of each network the default ones first."""
    from timm.models import get_pretrained_cfg, list_pretrained

    with (DOCS / "timm_results.csv").open(encoding="utf-8", newline="") as file:
        results = {row["weights"]: row for row in csv.DictReader(file)}
    for theirs, chosen in LIBRARIES["timm"].items():
        default = get_pretrained_cfg(theirs)
        names = list_pretrained(f"{theirs}.*")
        names.sort(key=lambda name: not (default and name.endswith(f".{default.tag}")))
        for name in names:
            config = get_pretrained_cfg(name)
            if config.num_classes != 1000 or not config.hf_hub_id:
                continue
            size, look = config.input_size[-1], (config.interpolation, config.mean, config.std)
            row = {
                "name": f"{PREFIXES.get(theirs, chosen.model)}.{config.tag}",
                "model": chosen.model,
                "library": "timm",
                "library_name": theirs,
                "file": "model.safetensors",
                "repository": config.hf_hub_id,
                "licence": LICENCES[config.license],
                "preprocessing": prepared(size, config.crop_pct, *look),
            }
            if config.hf_hub_id in REVISIONS:
                row["revision"] = REVISIONS[config.hf_hub_id]
            if found := results.get(name):
                row |= {"top1": float(found["top1"]), "measured_by": "timm"}
                if found["top5"]:
                    row["top5"] = float(found["top5"])
                row["measured"] = prepared(int(found["image_size"]), _crop(found, config), *look)
            yield row


def _crop(found: Row, config: Any) -> float:
    """Returns the share of the short side; that of the results has three digits only."""
    exact = (config.crop_pct, config.test_crop_pct)
    rounded = float(found["crop"])
    return next((one for one in exact if one and abs(one - rounded) < 1e-3), rounded)


def torchvision_rows() -> Iterator[Row]:
    """Yields torchvision's weights, whose file names end in the first digits of their SHA-256."""
    from torchvision import models

    for theirs, chosen in LIBRARIES["torchvision"].items():
        for weights in models.get_model_weights(theirs):
            found = re.fullmatch(r"IMAGENET1K_(V\d)", weights.name)
            if not found:
                continue
            crops = weights.transforms()
            accuracy = weights.meta["_metrics"]["ImageNet-1K"]
            (size,), (resize,) = crops.crop_size, crops.resize_size
            row = {
                "name": f"{chosen.model}.torchvision_{found[1].lower()}",
                "model": chosen.model,
                "library": "torchvision",
                "library_name": theirs,
                "file": weights.url.rpartition("/")[2],
                "url": weights.url,
                "sha256_prefix": re.search(r"-([0-9a-f]{8})\.pth", weights.url)[1],
                "licence": "BSD-3-Clause",
                "preprocessing": {
                    **prepared(size, 1, crops.interpolation.value, crops.mean, crops.std),
                    "resize": resize,
                },
                "top1": accuracy["acc@1"],
                "top5": accuracy["acc@5"],
                "measured_by": "torchvision",
            }
            if fields := OVERRIDES.get(("torchvision", theirs)):
                row["overrides"] = fields
            yield row


KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications"
KERAS_ENDING = "_weights_tf_dim_ordering_tf_kernels.h5"
# Keras's name → our network, its folder and the beginning of its file, MD5, normalisation, side of
# images, accuracies of Keras's documentation. The licence is that of Keras.
KERAS = {
    "VGG16": ("vgg16", "vgg16/vgg16", "64373286793e3c8b2b4e3219cbf3544b", CAFFE, 224, 71.3, 90.1),
    "VGG19": ("vgg19", "vgg19/vgg19", "cbe5617147190e668d6c5d5026f83318", CAFFE, 224, 71.3, 90.0),
    "ResNet50": (
        *("resnet50_v1", "resnet/resnet50", "2cb95161c43110f7111970584f804107"),
        *(CAFFE, 224, 74.9, 92.1),
    ),
    "ResNet101": (
        *("resnet101_v1", "resnet/resnet101", "f1aeb4b969a6efcfb50fad2f0c20cfc5"),
        *(CAFFE, 224, 76.4, 92.8),
    ),
    "ResNet152": (
        *("resnet152_v1", "resnet/resnet152", "100835be76be38e30d865e96f2aaae62"),
        *(CAFFE, 224, 76.6, 93.1),
    ),
    "ResNet50V2": (
        *("resnet50_v2", "resnet/resnet50v2", "3ef43a0b657b3be2300d5770ece849e0"),
        *(HALF, 224, 76.0, 93.0),
    ),
    "ResNet101V2": (
        *("resnet101_v2", "resnet/resnet101v2", "6343647c601c52e1368623803854d971"),
        *(HALF, 224, 77.2, 93.8),
    ),
    "ResNet152V2": (
        *("resnet152_v2", "resnet/resnet152v2", "a49b44d1979771252814e80f8ec446f9"),
        *(HALF, 224, 78.0, 94.2),
    ),
    "DenseNet121": (
        *("densenet121", "densenet/densenet121", "9d60b8095a5708f2dcce2bca79d332c7"),
        *(IMAGENET, 224, 75.0, 92.3),
    ),
    "DenseNet169": (
        *("densenet169", "densenet/densenet169", "d699b8f76981ab1b30698df4c175e90b"),
        *(IMAGENET, 224, 76.2, 93.2),
    ),
    "DenseNet201": (
        *("densenet201", "densenet/densenet201", "1ceb130c1ea1b78c3bf6114dbdfd8807"),
        *(IMAGENET, 224, 77.3, 93.6),
    ),
    "InceptionV3": (
        *("inception_v3", "inception_v3/inception_v3", "9a0d58056eeedaa3f26cb7ebd46da564"),
        *(HALF, 299, 77.9, 93.7),
    ),
    "InceptionResNetV2": (
        "inception_resnet_v2",
        "inception_resnet_v2/inception_resnet_v2",
        "e693bd0210a403b3192acc6073ad2e96",
        *(HALF, 299, 80.3, 95.3),
    ),
}
MOBILENETS = {"100": "1_0", "075": "7_5", "050": "5_0", "025": "2_5"}  # our widths → Keras's


def keras_rows() -> Iterator[Row]:
    """Yields Keras's weights.

    Keras says by which numbers images are normalised, and not how they are cropped: the short side
    is 8/7 of the square here, as usual.
    """
    for theirs, (ours, begin, md5, normal, size, top1, top5) in KERAS.items():
        url = f"{KERAS_FILES}/{begin}{KERAS_ENDING}"
        accuracy = {"top1": top1, "top5": top5, "measured_by": "Keras"}
        yield {**_keras(ours, theirs, url, normal, size), "md5": md5, **accuracy}
    for width, text in MOBILENETS.items():
        for size in (224, 192, 160, 128):
            url = f"{KERAS_FILES}/mobilenet/mobilenet_{text}_{size}_tf.h5"
            row = _keras(f"mobilenet_v1_{width}", "MobileNet", url, HALF, size)
            if (width, size) == ("100", 224):
                row |= {"top1": 70.4, "top5": 89.5, "measured_by": "Keras"}
            yield {**row, "name": f"{row['model']}.keras_r{size}_in1k"}


def _keras(ours: str, theirs: str, url: str, normal: Any, size: int) -> Row:
    return {
        "name": f"{ours}.keras_in1k",
        "model": ours,
        "library": "keras",
        "library_name": theirs,
        "file": url.rpartition("/")[2],
        "url": url,
        "licence": "Apache-2.0",
        "bgr": normal is CAFFE,
        "preprocessing": prepared(size, 224 / 256, "bilinear", *normal),
    }


def onnx_rows() -> Iterator[Row]:
    """Yields the weights of the ONNX zoo that are of a paper's own network, from onnx.csv."""
    with (DOCS / "onnx_zoo.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            caffe = row["normal"] == "caffe"
            normal = CAFFE if caffe else IMAGENET
            made = {
                "name": row["name"],
                "model": row["model"],
                "library": "onnx",
                "library_name": row["library_name"],
                "file": row["path"].rpartition("/")[2],
                "url": f"{ZOO}/{row['path']}",
                "bytes": int(row["bytes"]),
                "sha256": row["sha256"],
                "licence": row["licence"],
                "bgr": caffe,
                "preprocessing": prepared(224, 224 / 256, "bilinear", *normal),
            }
            if row["top1"]:
                made["top1"], made["top5"] = float(row["top1"]), float(row["top5"])
                made["measured_by"] = "ONNX model zoo"
            yield made


def classes() -> str:
    """Returns a line for each class of ImageNet's 1,000: its synset and its words."""
    import timm
    from torchvision.models import ResNet50_Weights

    folder = Path(timm.__file__).parent / "data" / "_info"
    synsets = (folder / "imagenet_synsets.txt").read_text().split()
    words = ResNet50_Weights.DEFAULT.meta["categories"]
    return "".join(f"{synset} {word}\n" for synset, word in zip(synsets, words, strict=True))


def main() -> None:
    """Writes the table, a line for each row, and the classes."""
    rows = [*timm_rows(), *torchvision_rows(), *keras_rows(), *onnx_rows()]
    lines = ",\n".join(json.dumps(row) for row in rows)
    TABLE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    CLASSES.write_text(classes(), encoding="utf-8")


if __name__ == "__main__":
    main()

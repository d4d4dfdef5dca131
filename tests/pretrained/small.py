"""Small members of the families under names of their own, with files in a cache of the test's."""

import hashlib
from typing import NamedTuple

import jax
import numpy as np
import pytest

from jaxcnn.interop import from_onnx, to_torch, write_weights
from jaxcnn.interop.exchange import create_library_model, find_network
from jaxcnn.pretrained import weights_info
from jaxcnn.pretrained.weights_info import Preprocessing, WeightsInfo
from tests.interop import keras_small, onnx_files
from tests.interop.small import filled, shapes

SMALL = Preprocessing(32, 36, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
# Of each family: library, its name of the network, fields of a small member.
FAMILIES = {
    "resnet18": ("torchvision", "resnet18", {"stage_sizes": (1, 1), "width": 8}),
    "resnext50_32x4d": ("timm", "resnext50_32x4d", {"stage_sizes": (1, 1), "width": 32}),
    "resnet50_v2": ("timm", "resnetv2_50", {"stage_sizes": (1, 1), "width": 8}),
    "densenet121": (
        "torchvision",
        "densenet121",
        {"growth_rate": 4, "stage_sizes": (2, 2), "stem_features": 8},
    ),
    "vgg11_bn": (
        "torchvision",
        "vgg11_bn",
        {"stage_features": (4, 4, 8, 8, 8), "hidden_features": (16, 16)},
    ),
    "mobilenet_v1_100": ("timm", "mobilenetv1_100", {"width_multiplier": 0.25}),
    "resnet50": ("keras", "ResNet50", keras_small.FIELDS["ResNet50"]),
    "resnet34": ("onnx", "resnet18", {"stage_sizes": (1, 2, 1, 1), "width": 4}),
}
BLUE_FIRST = ("resnet50", "resnet34")  # trained on such images


class Small(NamedTuple):
    """A small member: its name, and what was written."""

    name: str
    info: WeightsInfo
    variables: dict


def write(network, folder):
    """Writes the file of a member; returns it and the variables that it should become."""
    library, theirs, fields = FAMILIES[network]
    if library == "keras":
        content = (keras_small.FOLDER / keras_small.FILES[theirs]).read_bytes()
        file = folder / keras_small.FILES[theirs]
        file.write_bytes(content)
        return file, red_first(keras_small.network(theirs)[1])
    if library == "onnx":
        file, model = folder / "model.onnx", onnx_files.reference("resnet", "kept")[0]
        file.write_bytes(model.SerializeToString())
        return file, red_first(from_onnx(model, theirs, **fields)[1])
    model = create_library_model(library, theirs, 10, **fields)
    variables = filled(shapes(model))
    state = to_torch(variables, library, theirs, **fields)
    file = folder / "model.safetensors"
    write_weights({key: np.asarray(value) for key, value in state.items()}, file)
    return file, variables


def red_first(variables):
    params = dict(variables["params"])
    kernel = params["stem"]["conv"]["kernel"][:, :, [2, 1, 0]]
    params["stem"] = {**params["stem"], "conv": {"kernel": kernel}}
    return {**variables, "params": params}


def make(network, folder):
    library, theirs, fields = FAMILIES[network]
    name = f"{network}.small"
    (folder / name).mkdir(parents=True)
    file, variables = write(network, folder / name)
    info = WeightsInfo(
        name=name,
        model=find_network(library, theirs).model,
        library=library,
        library_name=theirs,
        file=file.name,
        url="https://localhost:9/model.safetensors",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        num_classes=variables["params"]["classifier"]["bias"].size,
        bgr=network in BLUE_FIRST,
        preprocessing=SMALL,
        licence="CC-BY-NC-4.0" if network == "vgg11_bn" else "Apache-2.0",
        overrides=fields,
    )
    return Small(name, info, jax.tree.map(np.asarray, variables))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def table(monkeypatch):
    """Puts one row into the place of all others: table(info)."""

    def put(info):
        monkeypatch.setattr(weights_info, "_table", lambda: {info.name: info})
        forget()

    def forget():
        weights_info._defaults.cache_clear()
        weights_info._library_names.cache_clear()

    yield put
    monkeypatch.undo()
    forget()


@pytest.fixture
def small(cache, table, request):
    """A small member of the family that the test's parameter names, in the table and the cache."""
    found = make(getattr(request, "param", "resnet18"), cache)
    table(found.info)
    return found

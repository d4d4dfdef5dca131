"""Small networks that Keras wrote, see `make_keras_references`, and our fields of them."""

import functools
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcnn.interop import from_keras, read_weights
from jaxcnn.layers.inception_blocks import AVERAGE, MAX, Layer, fork
from jaxcnn.models.inception_v3 import valid3x3

FOLDER = Path(__file__).parent / "keras_references"
LAYERS = json.loads((FOLDER / "layers.json").read_text())
FILES = {
    "VGG16": "VGG16.weights.h5",
    "ResNet50": "ResNet50.keras",
    "ResNet50V2": "ResNet50V2.weights.h5",
    "DenseNet121": "DenseNet121.h5",
    "InceptionResNetV2": "InceptionResNetV2.h5",
    "MobileNet": "MobileNet.h5",
}
INCEPTION = {
    "stem": (
        *(valid3x3(2, 2), valid3x3(2), Layer(4, 3), MAX, Layer(5), valid3x3(6), MAX),
        fork([Layer(3)], [AVERAGE, Layer(2)]),
    ),
    "modules": (
        fork([Layer(2)], [Layer(2), Layer(2, 3)], [Layer(2), Layer(3, 3), Layer(4, 3)]),
        fork([Layer(4)], [Layer(2), Layer(3, (1, 7)), Layer(4, (7, 1))]),
        fork([Layer(4)], [Layer(4), Layer(3, (1, 3)), Layer(2, (3, 1))]),
    ),
    "reductions": (
        fork([valid3x3(3, 2)], [Layer(2), Layer(2, 3), valid3x3(3, 2)], [MAX]),
        fork(
            [Layer(2), valid3x3(3, 2)],
            [Layer(2), valid3x3(2, 2)],
            [Layer(2), Layer(2, 3), valid3x3(3, 2)],
            [MAX],
        ),
    ),
    "stage_sizes": (1, 1, 0),
    "last_features": 7,
}
FIELDS = {
    "VGG16": {"stage_features": (2, 3, 4, 5, 6)},
    "ResNet50": {"stage_sizes": (2, 2), "width": 4},
    "ResNet50V2": {"stage_sizes": (2, 2), "width": 4},
    "DenseNet121": {"stage_sizes": (2, 3), "growth_rate": 4},
    "InceptionResNetV2": INCEPTION,
    "MobileNet": {},
}


def state(name):
    return read_weights(FOLDER / FILES[name])


def network(name, dtype=np.float32, arrays=None, **fields):
    arrays = state(name) if arrays is None else arrays
    return from_keras(arrays, name, dtype=dtype, param_dtype=dtype, **FIELDS[name], **fields)


@functools.cache
def plain(name):
    """The network of a reference and its variables in float32; not to be changed."""
    return network(name)


def error(found, expected):
    """Largest difference in units of the largest number."""
    found, expected = np.asarray(found), np.asarray(expected)
    return np.abs(found - expected).max() / np.abs(expected).max()


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def without_names(path, copy):
    """A copy of a `.weights.h5` file as Keras before 3.9 wrote it."""
    h5py = pytest.importorskip("h5py")
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        groups = []
        file.visititems(lambda _, group: groups.append(group))
        for group in groups:
            group.attrs.pop("name", None)
    return read_weights(copy)

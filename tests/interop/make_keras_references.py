"""Makes `keras_references`: what Keras writes and computes. Needs Keras 3 with jax and h5py.

  python -m tests.interop.make_keras_references

Of each small member there are its file, in one of Keras's formats, and in an .npz the images times
64, the logits in evaluation and training, and the statistics of BN after the training step. Weights
are float32 or float16; everything is computed in float64. `layers.json` has the layers with weights
of whole networks, in Keras's order: class, name, shapes.
"""

import json
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import h5py
import jax
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

from tests.interop import keras_members as members
from tests.interop.drawn import drawn_layer

FOLDER = Path(__file__).parent / "keras_references"
WHOLE = ("ResNet50", "ResNet50V2", "InceptionV3", "InceptionResNetV2", "MobileNet")


def rounded(model, dtype):
    """Rounds a model's weights as the file will have them."""
    model.set_weights([np.asarray(w).astype(dtype).astype(np.float64) for w in model.get_weights()])


def save(name, model):
    """Saves a member in the format that is its own here; returns the file."""
    if name in ("InceptionResNetV2", "MobileNet"):  # weights alone, as Keras 2 saved them
        with h5py.File(path := FOLDER / f"{name}.h5", "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    elif name == "ResNet50":  # with the momenta of an optimizer
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
        model.optimizer.build(model.trainable_variables)
        model.save(path := FOLDER / "ResNet50.keras")
    elif name == "ResNet50V2":  # nested in another model
        nested = keras.Sequential([keras.Input(model.input_shape[1:]), model], name="nested")
        nested.save_weights(path := FOLDER / "ResNet50V2.weights.h5")
    elif name == "DenseNet121":  # a whole model, as Keras 2 saved it
        model.save(path := FOLDER / "DenseNet121.h5")
    else:
        model.save_weights(path := FOLDER / f"{name}.weights.h5")
    return path


def reference(name, make):
    """Writes the file and the numbers of one member."""
    dtype = "float16" if name == "MobileNet" else "float32"
    members.compute_in("float64")
    model = members.fill(make())
    rounded(model, dtype)
    weights = model.get_weights()
    images = np.random.default_rng(1).integers(-128, 128, (3, *model.input_shape[1:]), np.int8)
    logits = np.asarray(model(images / 64, training=False))
    trained = np.asarray(model(images / 64, training=True))
    moved = {key: x for key, x in members.arrays(model).items() if "moving_" in key}

    members.compute_in(dtype)
    stored = make()  # its layers without a name have other numbers
    stored.set_weights(weights)
    path = save(name, stored)
    if name == "InceptionResNetV2":  # from which the names of its statistics follow
        old = [layer.name for layer in model.layers]
        new = dict(zip(old, [layer.name for layer in stored.layers], strict=True))
        moved = {f"{new[k.partition('/')[0]]}/{k.partition('/')[2]}": x for k, x in moved.items()}
    numbers = FOLDER / f"{name}.npz"
    np.savez_compressed(numbers, images=images, logits=logits, trained=trained, **moved)
    for file in (path, numbers):
        print(file.name, file.stat().st_size)
        assert file.stat().st_size < 300_000


def inception_v3():
    """Writes logits of the whole network, whose weights are drawn from their names."""
    members.compute_in("float64")
    keras.utils.clear_session()  # numbers of layers begin anew
    model = keras.applications.InceptionV3(
        weights=None, input_shape=(75, 75, 3), classes=5, classifier_activation=None
    )
    for layer, (kind, name, shapes) in zip(
        (layer for layer in model.layers if layer.weights), layers(model), strict=True
    ):
        layer.set_weights(list(drawn_layer(kind, name, shapes).values()))
    images = np.random.default_rng(1).integers(-128, 128, (2, 75, 75, 3), np.int8)
    logits = np.asarray(model(images / 64, training=False))
    np.savez_compressed(FOLDER / "InceptionV3.npz", images=images, logits=logits)
    print("InceptionV3", np.abs(logits).max())


def whole(name):
    """Returns the layers of a network with the names of a new process."""
    keras.utils.clear_session()
    model = getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=5)
    return layers(model)


def layers(model):
    """Returns class, name and shapes of a model's layers with weights, in Keras's order."""
    return [
        [type(layer).__name__, layer.name, [list(weight.shape) for weight in layer.weights]]
        for layer in model.layers
        if layer.weights
    ]


def main():
    """Makes all of it."""
    FOLDER.mkdir(exist_ok=True)
    jax.config.update("jax_enable_x64", True)
    for name, make in members.MEMBERS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            reference(name, make)
    if not sys.argv[1:]:
        inception_v3()
        rows = [f'"{name}": [\n{_rows(whole(name))}\n]' for name in WHOLE]
        (FOLDER / "layers.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


def _rows(rows):
    return ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)


if __name__ == "__main__":
    main()

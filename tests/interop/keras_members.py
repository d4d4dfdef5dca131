"""Small members of the families of keras.applications, made by Keras's own functions.

They need Keras, on the backend JAX. Layers have the names that Keras gives them.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
from keras import layers
from keras.src.applications import densenet, inception_resnet_v2, resnet
from keras.src.backend.common import dtypes

CLASSES = 5


def compute_in(dtype):
    """Makes Keras compute in a dtype from now on: float64, too, where it would take float32."""
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)


def vgg(size=64, widths=(2, 3, 4, 5, 6), sizes=(2, 2, 3, 3, 3)):
    """VGG16 with other widths."""
    images = x = keras.Input((size, size, 3))
    for i, (number, width) in enumerate(zip(sizes, widths, strict=True), start=1):
        for j in range(1, number + 1):
            name = f"block{i}_conv{j}"
            x = layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, strides=2)(x)
    x = layers.Flatten()(x)
    for name, width in (("fc1", 8), ("fc2", 7)):
        x = layers.Dense(width, activation="relu", name=name)(x)
    return keras.Model(images, layers.Dense(CLASSES, name="predictions")(x))


def resnets(stack, preact, size=33):
    """ResNet with two stages of two units, and a stem of four channels."""
    images = keras.Input((size, size, 3))
    x = layers.ZeroPadding2D(3)(images)
    x = layers.Conv2D(4, 7, strides=2, name="conv1_conv")(x)
    if not preact:
        x = _norm_relu(x, "conv1_bn")
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    # v2 strides in the last unit of all stages but the last, v1 in the first of all but the first.
    x = stack(x, 4, 2, stride1=2 if preact else 1, name="conv2")
    x = stack(x, 8, 2, stride1=1 if preact else 2, name="conv3")
    return _with_top(images, _norm_relu(x, "post_bn") if preact else x)


def densenets(size=33, growth_rate=4, sizes=(2, 3)):
    """DenseNet with two blocks."""
    images = keras.Input((size, size, 3))
    x = layers.ZeroPadding2D(3)(images)
    x = layers.Conv2D(2 * growth_rate, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = _norm_relu(x, "conv1_bn")
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    for i, number in enumerate(sizes, start=2):
        if i > 2:
            x = densenet.transition_block(x, 0.5, name=f"pool{i - 1}")
        for j in range(1, number + 1):
            x = densenet.conv_block(x, growth_rate, name=f"conv{i}_block{j}")
    return _with_top(images, _norm_relu(x, "bn"))


def inception_resnet(size=75):
    """Inception-ResNet v2 with narrow branches and one module in each stage, the last linear."""
    unit = inception_resnet_v2.conv2d_bn
    images = keras.Input((size, size, 3))
    x = unit(images, 2, 3, strides=2, padding="valid")
    x = unit(x, 2, 3, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(unit(x, 4, 3))
    x = unit(unit(x, 5, 1, padding="valid"), 6, 3, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = _module(x, [(3, 1)], [layers.AveragePooling2D(3, strides=1, padding="same"), (2, 1)])
    mixed = _module(x, [(2, 1)], [(2, 1), (2, 3)], [(2, 1), (3, 3), (4, 3)])
    x = _residual(x, mixed, 0.17, "block35_1")
    last = {"strides": 2, "padding": "valid"}
    pool = layers.MaxPooling2D(3, strides=2)
    x = _module(x, [(3, 3, last)], [(2, 1), (2, 3), (3, 3, last)], [pool])
    mixed = _module(x, [(4, 1)], [(2, 1), (3, [1, 7]), (4, [7, 1])])
    x = _residual(x, mixed, 0.1, "block17_1")
    x = _module(
        x,
        [(2, 1), (3, 3, last)],
        [(2, 1), (2, 3, last)],
        [(2, 1), (2, 3), (3, 3, last)],
        [layers.MaxPooling2D(3, strides=2)],
    )
    mixed = _module(x, [(4, 1)], [(4, 1), (3, [1, 3]), (2, [3, 1])])
    x = _residual(x, mixed, 1.0, "block8_1", relu=False)
    return _with_top(images, inception_resnet_v2.conv2d_bn(x, 7, 1, name="conv_7b"))


def mobilenet(size=50):
    """MobileNet with alpha 0.0625; 25 and 13 pixels are odd."""
    return keras.applications.MobileNet(
        (size, size, 3),
        alpha=0.0625,
        dropout=0.0,
        weights=None,
        classes=CLASSES,
        classifier_activation=None,
    )


def _norm_relu(x, name):
    return layers.ReLU()(layers.BatchNormalization(epsilon=1.001e-5, name=name)(x))


def _module(x, *branches):
    """Applies branches of pools and of convolutions (width, kernel size, fields)."""
    ends = []
    for branch in branches:
        y = x
        for step in branch:
            if isinstance(step, tuple):
                width, kernel_size, *fields = step
                y = inception_resnet_v2.conv2d_bn(y, width, kernel_size, **dict(*fields))
            else:
                y = step(y)
        ends.append(y)
    return layers.Concatenate()(ends)


def _residual(x, mixed, scale, name, relu=True):
    unit = inception_resnet_v2.conv2d_bn
    up = unit(mixed, x.shape[-1], 1, activation=None, use_bias=True, name=f"{name}_conv")
    x = inception_resnet_v2.CustomScaleLayer(scale)([x, up])
    return layers.Activation("relu")(x) if relu else x


def _with_top(images, x):
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(CLASSES, name="predictions")(x))


MEMBERS = {
    "VGG16": vgg,
    "ResNet50": lambda: resnets(resnet.stack_residual_blocks_v1, preact=False),
    "ResNet50V2": lambda: resnets(resnet.stack_residual_blocks_v2, preact=True),
    "DenseNet121": densenets,
    "InceptionResNetV2": inception_resnet,
    "MobileNet": mobilenet,
}


def fill(model, seed=0):
    """Draws all weights and BN statistics anew, of sizes with which signals keep theirs."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        name = variable.path.rpartition("/")[2]
        drawn = rng.normal(size=variable.shape)
        if name == "kernel":
            depthwise = variable.shape[-1] == 1
            drawn *= np.sqrt(2 / np.prod(variable.shape[: 2 if depthwise else -1]))
        elif name in ("gamma", "moving_variance"):
            drawn = np.exp(drawn / 4)
        else:
            drawn /= 4
        variable.assign(drawn)
    return model


def arrays(model):
    """Returns the weights by path."""
    return {variable.path: np.asarray(variable) for variable in model.weights}


def application(name, size):
    """Returns a network of keras.applications with ten classes."""
    return getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None
    )


def gradients(model, images):
    """Returns gradients of the logits' sum of squares in training, by the weights' paths."""
    fixed = [variable.value for variable in model.non_trainable_variables]

    def loss(trainable):
        logits, _ = model.stateless_call(trainable, fixed, images, training=True)
        return jax.numpy.sum(logits**2)

    found = jax.jit(jax.grad(loss))([variable.value for variable in model.trainable_variables])
    paths = [variable.path for variable in model.trainable_variables]
    return dict(zip(paths, map(np.asarray, found), strict=True))

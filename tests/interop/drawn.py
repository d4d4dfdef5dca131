"""Weights of a layer of Keras as a function of its name, so that they need not be stored."""

import numpy as np

from tests.parity.references import normal


def drawn_layer(kind, name, shapes):
    """Returns the weights of a layer by variable; shapes are in Keras's order."""
    norm = kind == "BatchNormalization"
    names = ("beta", "moving_mean", "moving_variance") if norm else ("kernel", "bias")
    layer = {}
    for variable, shape in zip(names, shapes, strict=False):
        noise = normal(f"{name}/{variable}", tuple(shape))
        if variable == "kernel":
            layer[variable] = noise * np.sqrt(2 / np.prod(shape[:-1]))
        elif variable == "moving_variance":
            layer[variable] = np.exp(noise / 4)
        else:
            layer[variable] = noise / 4
    return layer

"""Flax modules and constructors that several networks share."""

from jaxcnn.layers.conv import Conv, ConvNormAct, Dense, symmetric_padding
from jaxcnn.layers.head import (
    classifier,
    flat_maps,
    global_average_pool,
    minus_distances,
    sow_auxiliary,
)
from jaxcnn.layers.initializers import he_normal_fan_out
from jaxcnn.layers.norm import BatchNorm, batch_norm

__all__ = [
    "BatchNorm",
    "Conv",
    "ConvNormAct",
    "Dense",
    "batch_norm",
    "classifier",
    "flat_maps",
    "global_average_pool",
    "he_normal_fan_out",
    "minus_distances",
    "sow_auxiliary",
    "symmetric_padding",
]

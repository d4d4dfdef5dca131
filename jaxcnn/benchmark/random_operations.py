"""Operations of the networks, drawn at random: shapes for which no form was chosen by hand."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.analysis.macs import convolution_of, of_equation
from jaxcnn.analysis.tracing.equations import flatten, shape_of
from jaxcnn.benchmark import operations
from jaxcnn.benchmark.operations import Operation
from jaxcnn.errors import UserError
from jaxcnn.models import create_model

NETWORKS = (
    "alexnet_torchvision",
    "zfnet",
    "nin_imagenet",
    "vgg13_bn",
    "googlenet_torchvision",
    "inception_v3",
    "inception_v4",
    "inception_resnet_v2",
    "resnet18",
    "resnet101",
    "resnext50_32x4d",
    "densenet169",
    "mobilenet_v1_100",
)
LEAST_SIDE, MOST_SIDE, MOST_IMAGES = 32, 320, 32
AT_ONCE = 10  # operations drawn from a network at one size
MOST_MACS = 2e9  # of the values, without gradients: a second of a slow machine


class Drawn(NamedTuple):
    """An operation and the number of images for which it is timed."""

    operation: Operation
    batch: int


@functools.cache
def draw(count: int, seed: int = 0) -> Mapping[str, Drawn]:
    """Returns `count` different operations of `NETWORKS`, by names that tell their shapes.

    A network and a side from 32 to 320 are drawn, then `AT_ONCE` of its convolutions, each with 1
    to 32 images. In place of a fifth of them stands BatchNorm and ReLU of their output, and of a
    tenth 3x3 max-pooling of it. Left out are convolutions whose padding is not the same on all
    sides of an axis, for which torch needs a second operation, and those of more than `MOST_MACS`.

    Args:
      count: number of operations.
      seed: of the draw; the same seed gives the same operations.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, Drawn] = {}
    while len(found) < count:
        network = NETWORKS[generator.integers(len(NETWORKS))]
        known = convolutions(network, int(generator.integers(LEAST_SIDE, MOST_SIDE + 1)))
        for number in generator.permutation(len(known))[:AT_ONCE]:
            one, batch = known[number], int(2 ** generator.uniform(0, np.log2(MOST_IMAGES)))
            name, operation = one.name, one.operation
            kind, (_, size, _, channels) = generator.choice(10), one.outputs
            if kind < 2 and batch * size > 1:
                name = f"batch_norm_relu_{channels}_{size}"
                operation = operations.normalisation(size, channels)
            elif kind == 2 and size > 3:
                name = f"max_pool_3x3s2_{channels}_{size}"
                operation = operations.pooling(size, channels, 3, 2, 1)
            if one.macs * batch <= MOST_MACS and len(found) < count:
                found[f"{name}_b{batch}"] = Drawn(operation, batch)
    return found


class Convolution(NamedTuple):
    """A convolution of a network.

    Attributes:
      name: tells its shapes.
      operation: in three libraries.
      macs: multiply-adds for one image.
      outputs: shape of its output for one image, (1, H', W', F).
    """

    name: str
    operation: Operation
    macs: int
    outputs: tuple[int, ...]


def convolutions(network: str, side: int) -> list[Convolution]:
    """Returns the convolutions of a network; none if it does not take images of that side."""
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    model = create_model(network)
    try:
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        program = flatten(jax.make_jaxpr(model.apply)(variables, images))
    except UserError:
        return []
    found = []
    for outer, _ in program.equations:
        eqn: Any = convolution_of(outer)
        if eqn is None:
            continue
        image, (height, width, _, features) = map(shape_of, eqn.invars)
        pads, (stride, across) = eqn.params["padding"], eqn.params["window_strides"]
        square = image[1] == image[2] and stride == across
        if square and all(before == after for before, after in pads):
            groups = eqn.params["feature_group_count"]
            operation = operations.convolution(
                image[1],
                image[3],
                features,
                (height, width),
                stride,
                groups,
                (pads[0][0], pads[1][0]),
            )
            name = f"conv_{height}x{width}s{stride}_g{groups}_{image[3]}_{features}_{image[1]}"
            found.append(Convolution(name, operation, of_equation(eqn), shape_of(eqn.outvars[0])))
    return found

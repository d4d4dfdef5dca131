"""Shapes of every network, traced once for all tests, and variables without compiling an init."""

import functools
from typing import NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.extend.core import Jaxpr

from jaxcnn import create_model
from jaxcnn.models import input_size


class Traced(NamedTuple):
    program: Jaxpr
    logits: jax.ShapeDtypeStruct
    variables: dict
    convolutions: list


@functools.cache
def _trace(name):
    convolutions = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Conv):
            convolutions.append(context.module)
        return call(*args, **kwargs)

    images = jax.ShapeDtypeStruct((2, *input_size(name)), jnp.float32)
    with nn.intercept_methods(collect):
        init = create_model(name).init_with_output
        program, (logits, variables) = jax.make_jaxpr(init, return_shape=True)(
            jax.random.key(0), images
        )
    return Traced(program.jaxpr, logits, variables, convolutions)


@pytest.fixture(scope="session")
def trace():
    """name -> Traced: the registry's network at its own input size, nothing allocated."""
    return _trace


def _start(model, x):
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        noise = rng.normal(size=leaf.shape)
        if path[-1] == "kernel":
            return (noise / np.sqrt(np.prod(leaf.shape[:-1]))).astype(leaf.dtype)
        around = 1 if path[-1] in ("scale", "var") else 0
        return (around + 0.1 * np.abs(noise)).astype(leaf.dtype)

    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return flax.traverse_util.path_aware_map(draw, shapes)


@pytest.fixture(scope="session")
def start():
    """(model, images) -> variables with every leaf off its special value (zero, one)."""
    return _start

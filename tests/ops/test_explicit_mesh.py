"""Arrays sharded over a mesh whose axes are explicit, the default of `jax.make_mesh`."""

import contextlib
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn.layers.dropout import Dropout
from jaxcnn.models import MODELS, create_model, input_size
from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.conv import conv_general_dilated
from jaxcnn.ops.lrn import local_response_norm
from jaxcnn.ops.matmul import dot_general
from jaxcnn.ops.norm import batch_normalise
from jaxcnn.ops.pool import adaptive_avg_pool, avg_pool, max_pool
from jaxcnn.ops.reductions import norm, sum_over_pixels

MESHES = {
    kind: jax.make_mesh((4,), ("batch",), axis_types=(axis_type,))
    for kind, axis_type in (("explicit", AxisType.Explicit), ("auto", AxisType.Auto))
}
LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolution(strides=1, groups=1, channels=8):
    def convolve(x, w):
        x = x[..., :channels]
        steps = (strides, strides)
        layout = {"dimension_numbers": LAYOUT, "feature_group_count": groups}
        return conv_general_dilated(x, w, steps, "SAME", **layout)

    return convolve


OPS = {
    "convolution": (convolution(), (3, 3, 8, 4)),
    "strided": (convolution(2), (3, 3, 8, 4)),
    "few_channels": (convolution(2, channels=3), (3, 3, 3, 4)),
    "pointwise": (convolution(2), (1, 1, 8, 4)),
    "depthwise": (convolution(groups=8), (3, 3, 1, 8)),
    "grouped": (convolution(groups=2), (3, 3, 4, 6)),
    "max_pool": (lambda x, w: max_pool(x * w, (3, 3), (2, 2), 1), (1, 1, 1, 8)),
    "avg_pool": (lambda x, w: avg_pool(x * w, (3, 3), (1, 1), 1), (1, 1, 1, 8)),
    "strided_avg_pool": (lambda x, w: avg_pool(x * w, (2, 2), (2, 2)), (1, 1, 1, 8)),
    "adaptive_avg_pool": (lambda x, w: adaptive_avg_pool(x * w, (3, 3)), (1, 1, 1, 8)),
    "lrn": (lambda x, w: local_response_norm(x * w), (1, 1, 1, 8)),
    "batch_norm": (
        lambda x, w: batch_normalise(x, w.ravel(), w.ravel(), 1e-5, x.dtype)[0],
        (1, 1, 1, 8),
    ),
    "sum": (lambda x, w: sum_over_pixels(jnp.square, x * w), (1, 1, 1, 8)),
    "norm": (lambda x, w: norm([x * w, w]), (1, 1, 1, 8)),
    "materialize": (lambda x, w: materialize_on_cpu(x * w), (1, 1, 1, 8)),
}


def value_and_gradients(op, mesh, x, w):
    def loss(x, w):
        return jnp.mean(jnp.sin(op(x, w)))

    place = {} if mesh is None else {"x": NamedSharding(mesh, P("batch")), "w": None}
    if place:
        x, w = jax.device_put(x, place["x"]), jax.device_put(w, NamedSharding(mesh, P()))
    return jax.device_get(jax.jit(jax.value_and_grad(loss, (0, 1)))(x, w))


QUICK_OPS = ("convolution", "max_pool", "batch_norm")


@pytest.mark.parametrize(
    ("mesh", "name"),
    [
        pytest.param(kind, name, marks=[] if quick else pytest.mark.exhaustive)
        for kind in MESHES
        for name in OPS
        for quick in [kind == "explicit" and name in QUICK_OPS]
    ],
)
def test_value_and_gradients_are_those_of_one_device(mesh, name):
    op, shape = OPS[name]
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (4, 6, 6, 8), jnp.float64)
        w = jax.random.normal(jax.random.key(1), shape, jnp.float64)
        expected, found = (value_and_gradients(op, m, x, w) for m in (None, MESHES[mesh]))
        chex.assert_trees_all_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("op", "shape"), OPS.values(), ids=OPS)
def test_types_of_gradients_follow(op, shape):
    mesh = MESHES["explicit"]
    x = jax.ShapeDtypeStruct((4, 6, 6, 8), jnp.float32, sharding=NamedSharding(mesh, P("batch")))
    w = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, P()))
    of_x, of_w = jax.eval_shape(jax.grad(lambda x, w: jnp.sum(op(x, w)), (0, 1)), x, w)
    assert (of_x.shape, of_w.shape) == (x.shape, w.shape)


def test_few_rows_and_a_large_matrix():
    mesh = MESHES["explicit"]
    rows = jax.ShapeDtypeStruct((8, 1024), jnp.float32, sharding=NamedSharding(mesh, P("batch")))
    matrix = jax.ShapeDtypeStruct((1024, 4096), jnp.float32, sharding=NamedSharding(mesh, P()))

    def loss(rows, matrix):
        return jnp.sum(dot_general(rows, matrix, (((1,), (0,)), ((), ()))))

    of_rows, of_matrix = jax.eval_shape(jax.grad(loss, (0, 1)), rows, matrix)
    assert (of_rows.shape, of_matrix.shape) == (rows.shape, matrix.shape)


class Dropped(nn.Module):
    layer: type

    @nn.compact
    def __call__(self, x):
        return self.layer(0.5, deterministic=False)(x)


def test_dropout_draws_as_flax_does():
    x = jnp.arange(32.0).reshape(4, 8)
    rngs = {"dropout": jax.random.key(0)}
    flax_s, ours = (Dropped(layer).apply({}, x, rngs=rngs) for layer in (nn.Dropout, Dropout))
    np.testing.assert_array_equal(ours, flax_s)
    mesh = MESHES["explicit"]
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, P("batch")))
        found = Dropped(Dropout).apply({}, sharded, rngs=rngs)
    assert found.sharding.spec == P("batch", None)
    np.testing.assert_array_equal(np.asarray(found), ours)


QUICK = ("lenet5", "densenet_40_12", "nin_cifar10")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.exhaustive) for name in MODELS],
)
def test_a_network_has_gradients(name):
    small = {"stage_sizes": (1, 1, 1)} if name == "densenet_40_12" else {}
    mesh, model = MESHES["explicit"], create_model(name, **small)
    images = jax.ShapeDtypeStruct((8, *input_size(name)), jnp.float32)
    variables = jax.eval_shape(partial(model.init, jax.random.key(0)), images)

    def placed(tree, spec):
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
        )

    def loss(params, statistics, images):
        rngs = {"dropout": jax.random.key(0), "drop_path": jax.random.key(0)}
        variables, mutable = {**statistics, "params": params}, ["batch_stats", "aux"]
        return jnp.sum(model.apply(variables, images, train=True, mutable=mutable, rngs=rngs)[0])

    params = variables.pop("params")
    arguments = placed(params, P()), placed(variables, P()), placed(images, P("batch"))
    for context in (jax.set_mesh(mesh), contextlib.nullcontext()):
        with context:
            gradients = jax.eval_shape(jax.grad(loss), *arguments)
    assert jax.tree.map(jnp.shape, gradients) == jax.tree.map(jnp.shape, params)

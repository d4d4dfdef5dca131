"""With JAXCNN_OPS=xla no form of ours is left, the numbers stay, and forward mode works."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.analysis import count_macs
from jaxcnn.errors import UserError
from jaxcnn.models.published import networks
from jaxcnn.ops.conv import conv_general_dilated
from jaxcnn.ops.matmul import LARGE, dot_general
from jaxcnn.ops.norm import batch_normalise
from jaxcnn.ops.pool import avg_pool, max_pool
from jaxcnn.ops.reductions import SMALL, norm, sum_over_pixels
from jaxcnn.ops.switch import plain_xla
from tests.ops.switched import assert_close, dot, drawn, operations, ours_in
from tests.ops.test_explicit_mesh import OPS

FEW, MANY, SCALES = (4, 6, 6, 8), (4, 32, 64, 8), (1, 1, 1, 8)
assert np.prod(MANY) >= SMALL
EXHAUSTIVE = pytest.mark.exhaustive
PRODUCT = (2, LARGE // 256), (LARGE // 256, 256)


def normalised(x, w):
    """Output, mean and variance in one array."""
    parts = batch_normalise(x, w.ravel(), w.ravel() ** 2, 1e-5, x.dtype)
    return jnp.concatenate([part.ravel() for part in parts])


# name: function, and the shapes of its two operands
OPERATIONS = {name: (op, FEW, shape) for name, (op, shape) in OPS.items()} | {
    "ceil_mode": (lambda x, w: max_pool(x * w, (3, 3), (2, 2), 0, True), FEW, SCALES),
    "padding": (lambda x, w: max_pool(x * w, (2, 3), (2, 1), 1), FEW, SCALES),
    "uncounted": (lambda x, w: avg_pool(x * w, (3, 3), None, 1, False, False), FEW, SCALES),
    "batch_norm": (normalised, MANY, SCALES),
    "sum": (lambda x, w: sum_over_pixels(lambda x: x**2 / 1e4, x * w), MANY, SCALES),
    "norm": (lambda x, w: norm([x * w, w]), MANY, SCALES),
    "matmul": (lambda x, w: dot_general(x, w, (((1,), (0,)), ((), ()))), *PRODUCT),
}


@pytest.fixture(scope="module", autouse=True)
def plain():
    """All tests of this file run under the switch; `operations("")` turns it off in between."""
    with operations("xla"):
        yield


IN_THE_GATE = ("depthwise", "ceil_mode", "batch_norm")  # the others by `pytest -m exhaustive`


def mean_of(op):
    return lambda operands: jnp.mean(jnp.sin(op(*operands)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_form_of_ours_is_left(name):
    op, *shapes = OPERATIONS[name]
    operands = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]

    def product(operands):
        return jax.jvp(jax.grad(mean_of(op)), [operands], [operands])

    assert not ours_in(op, *operands)
    assert not ours_in(product, operands)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[EXHAUSTIVE] * (n not in IN_THE_GATE)) for n in OPERATIONS]
)
def test_values_and_derivatives_of_an_operation(name):
    """Of first and second order, along a direction: in forward mode, and ours in reverse mode."""
    op, *shapes = OPERATIONS[name]
    cost = mean_of(op)

    def forward_over_reverse(operands, direction):
        value, slope = jax.jvp(cost, [operands], [direction])
        return value, slope, *jax.jvp(jax.grad(cost), [operands], [direction])

    def reverse(operands, direction):
        def slope(operands):
            value, gradient = jax.value_and_grad(cost)(operands)
            return dot(gradient, direction), (value, gradient)

        (along, (value, gradient)), bent = jax.value_and_grad(slope, has_aux=True)(operands)
        return value, along, gradient, bent

    with jax.enable_x64(True):
        arrays = [jax.ShapeDtypeStruct(shape, jnp.float64) for shape in shapes]
        operands, direction = drawn(arrays, 0), drawn(arrays, 1)
        with operations(""):
            expected = jax.jit(reverse)(operands, direction)
        found = jax.jit(forward_over_reverse)(operands, direction)
    assert_close(found, expected)


@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v1_075"])
def test_multiply_adds_are_counted_as_before(name):
    row = networks()[name]
    assert count_macs(create_model(name), row["input_size"]) == row["macs"]


def test_there_is_nothing_but_xla_and_ours():
    for value, expected in (("", False), ("xla", True)):
        with operations(value):
            assert plain_xla() == expected
    with operations("xlaa"), pytest.raises(UserError, match=r"JAXCNN_OPS=xlaa .* set it to xla"):
        conv_general_dilated(jnp.ones((1, 1, 3, 3)), jnp.ones((1, 1, 1, 1)), (1, 1), "SAME")


def test_the_environment_is_read_once(monkeypatch):
    assert plain_xla()
    monkeypatch.setenv("JAXCNN_OPS", "")
    assert plain_xla()

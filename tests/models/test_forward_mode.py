"""With JAXCNN_OPS=xla networks have the same numbers, and derivatives in forward mode."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.models import MODELS, input_size
from tests.models.test_contracts import SMALL, build, images
from tests.ops.switched import assert_close, dot, drawn, operations, ours_in

# What makes the small networks of some families draw, or loop over their units.
MORE = {
    "resnet": {"stage_sizes": (1, 3), "scan_units": True},
    "stochastic_depth": {"survival_probability": 0.5},
    "fractalnet": {"dropout_rates": (0.1, 0.2), "drop_path_rate": 0.3},
    "mobilenet": {"dropout_rate": 0.3},
    "alexnet": {"dropout_rate": 0.5},
    "googlenet": {"dropout_rate": 0.4},
    "ladder": {"noise": 0.3, "decoder": True, "denoising": (1.0, 1.0, 0.1, 0.1)},
}
LABELLED = {"ladder": {"labelled": np.arange(4) % 2 == 0}}
OF_THE_SAME_LAYERS = {"inception_v3", "bn_inception"}  # as other families; they take long to trace
IN_THE_GATE = {"mobilenet"}  # the others by `pytest -m exhaustive`


@pytest.fixture(scope="module", autouse=True)
def plain():
    """All tests of this file run under the switch; `operations("")` turns it off in between."""
    with operations("xla"):
        yield


def in_the_gate(names, chosen):
    return [pytest.param(n, marks=[pytest.mark.exhaustive] * (n not in chosen)) for n in names]


def training_cost(model, x, **rest):
    """(params, statistics) → a number, of a pass in training and all that it returns."""
    rngs = {name: jax.random.key(5) for name in ("dropout", "drop_path")}

    def cost(params, statistics):
        mutable = ["batch_stats", "aux"]
        apply = partial(model.apply, train=True, mutable=mutable, rngs=rngs, **rest)
        logits, updated = apply({**statistics, "params": params}, x)
        return jnp.sum(jnp.sin(logits)) + sum(map(jnp.sum, jax.tree.leaves(updated)))

    return cost


@pytest.mark.exhaustive
@pytest.mark.parametrize("family", in_the_gate(SMALL, IN_THE_GATE))
def test_logits_and_derivatives_are_those_of_our_forms(family, start):
    with jax.enable_x64(True):
        fields = {"dtype": jnp.float64, "param_dtype": jnp.float64, **MORE.get(family, {})}
        model, x = build(family, **fields), images(family).astype(np.float64)
        variables = start(model, x)
        params, statistics = variables.pop("params"), variables
        direction = drawn(params, 1)
        cost = training_cost(model, x, **LABELLED.get(family, {}))

        def reverse(params):
            logits = model.apply({**statistics, "params": params}, x)
            value, gradient = jax.value_and_grad(cost)(params, statistics)
            return logits, value, gradient, dot(gradient, direction)

        def with_forward(params):
            slope = jax.jvp(lambda p: cost(p, statistics), [params], [direction])[1]
            return *reverse(params)[:-1], slope

        with operations(""):
            expected = jax.jit(reverse)(params)
        found = jax.jit(with_forward)(params)
    assert_close(found, expected)


@pytest.mark.slow
def test_a_hessian():
    """Of a small ResNet in training, along three directions, by `jax.hessian` and reverse mode."""
    with jax.enable_x64(True):
        fields = {"stage_sizes": (1,), "width": 4, "dtype": jnp.float64, "param_dtype": jnp.float64}
        model, x = build("cifar_resnet", **fields), images("cifar_resnet").astype(np.float64)
        variables = drawn(jax.eval_shape(model.init, jax.random.key(0), x), 0)
        params, statistics = variables.pop("params"), variables
        directions = [drawn(params, seed) for seed in (1, 2, 3)]
        cost = training_cost(model, x)

        def moved(steps):
            along = (jax.tree.map(lambda d, i=i: steps[i] * d, directions[i]) for i in range(3))
            return cost(jax.tree.map(lambda *leaves: sum(leaves), params, *along), statistics)

        steps = jnp.zeros(3)
        with operations(""):
            expected = jax.jit(jax.jacrev(jax.grad(moved)))(steps)
        assert_close(jax.jit(jax.hessian(moved))(steps), expected, 1e-7)


def check_forward_mode(model, x, derivative=lambda cost: cost):
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    params, statistics = variables.pop("params"), variables

    def along(x, params, statistics):
        function = derivative(training_cost(model, x))
        return jax.jvp(lambda p: function(p, statistics), [params], [params])

    assert not ours_in(along, x, params, statistics)


@pytest.mark.slow
@pytest.mark.parametrize("family", in_the_gate(SMALL, SMALL.keys() - OF_THE_SAME_LAYERS))
def test_no_form_of_ours_is_left_in_a_family(family):
    check_forward_mode(build(family, **MORE.get(family, {})), images(family))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", MODELS)
def test_forward_over_reverse_through_every_network(name):
    x = jax.ShapeDtypeStruct((2, *input_size(name)), jnp.float32)
    check_forward_mode(create_model(name), x, jax.grad)

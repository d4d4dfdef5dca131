"""The graph of a network: what it computes, its layers, its parameters."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.analysis.tracing.graph import trace, trace_shapes
from jaxcnn.errors import UserError
from jaxcnn.models import create_model
from jaxcnn.ops.pool import max_pool

SMALL = {
    "lenet5": (partial(create_model, "lenet5"), (16, 16, 1)),
    "resnet": (partial(create_model, "cifar_resnet20", stage_sizes=(1, 1), width=8), (8, 8, 3)),
    "densenet": (
        partial(create_model, "densenet_40_12", stage_sizes=(2, 2), growth_rate=4),
        (8, 8, 3),
    ),
}


class Shared(nn.Module):
    """One convolution used twice, a function as activation, a parameter of the network itself."""

    @nn.compact
    def __call__(self, x, train=False):
        conv = nn.Conv(3, (3, 3), name="conv")
        x = nn.relu(conv(x))
        y = jnp.maximum(conv(x), 0)
        scale = self.param("scale", nn.initializers.ones, (3,))
        unused = self.param("unused", nn.initializers.ones, (5,))
        del unused
        x = jnp.concatenate([x, y * scale.reshape(1, 1, 1, 3)], axis=-1)
        x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(4, name="classifier")(x.mean((1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["lenet5", *(pytest.param(n, marks=pytest.mark.slow) for n in ("resnet", "densenet"))]
)
def test_a_graph_computes_the_network(name):
    constructor, shape = SMALL[name]
    model, images = constructor(), jax.random.normal(jax.random.key(1), (2, *shape))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    graph = trace(model, variables, images)
    logits, kept = jax.jit(partial(graph.run, keep=(graph.nodes[0].name,)))(variables, images)
    np.testing.assert_allclose(logits, model.apply(variables, images), rtol=1e-5, atol=1e-5)
    assert kept[graph.nodes[0].name].shape[1:] == graph.nodes[0].shape


def test_nodes_of_a_network_of_ones_own():
    graph = trace_shapes(Shared(), (8, 8, 3))
    assert [(node.name, node.kind) for node in graph.nodes] == [
        ("conv", "conv"),
        ("relu", "relu"),
        ("conv#2", "conv"),
        ("relu_2", "relu"),
        ("multiply", "multiply"),
        ("concatenate", "concatenate"),
        ("max_pool", "max_pool"),
        ("global_avg_pool", "global_avg_pool"),
        ("classifier", "dense"),
    ]
    assert graph["conv"].parameters == ("conv/bias", "conv/kernel")
    assert graph["conv#2"].parameters == ()
    assert graph["multiply"].parameters == ("scale",)
    assert graph.unused == ("unused",)
    assert graph["concatenate"].inputs == ("relu", "multiply")
    assert graph["conv"].inputs == ("images",)
    assert graph["conv"].macs == graph["conv#2"].macs == 8 * 8 * 3 * 27
    assert graph["conv"].detail == "3x3, 3, padding 1"
    assert graph["max_pool"].detail == "2x2, stride 2"
    assert graph.last_maps() == "max_pool"


def test_copies_of_one_pixel_are_no_maps():
    """The pools of ZFNet leave one pixel of 64, of which the adaptive pool makes 6x6 equal ones."""
    graph = trace_shapes(create_model("zfnet", num_classes=2, hidden_features=(4, 4)), (64, 64, 1))
    assert graph["avg_pool"].shape[:2] == (6, 6)
    assert graph.last_maps() == "stage5/relu"


@pytest.mark.slow
def test_a_gradient_with_respect_to_a_layer():
    """Against the same network cut in two by hand."""
    model = Shared()
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    variables = model.init(jax.random.key(0), images)
    graph = trace(model, variables, images)

    def of_maps(delta):
        return graph.run(variables, images, perturb={"max_pool": delta})[0][:, 1].sum()

    found = jax.grad(of_maps)(jnp.zeros((2, 4, 4, 6)))
    kernel = variables["params"]["classifier"]["kernel"][:, 1]
    chex.assert_trees_all_close(found, jnp.broadcast_to(kernel / 16, found.shape), rtol=1e-6)


def test_a_rule_replaces_all_layers_of_a_kind():
    model = Shared()
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    variables = model.init(jax.random.key(0), images)
    graph = trace(model, variables, images)
    found, _ = graph.run(variables, images, rules={"relu": lambda f, x: x})
    params = variables["params"]
    conv = partial(nn.Conv(3, (3, 3)).apply, {"params": params["conv"]})
    first = conv(images)
    maps = jnp.concatenate([first, conv(first)], axis=-1)
    dense = params["classifier"]
    expected = nn.max_pool(maps, (2, 2), (2, 2)).mean((1, 2)) @ dense["kernel"]
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_rule_for_a_layer_goes_before_that_for_its_kind():
    model, images = Shared(), jnp.ones((1, 8, 8, 3))
    graph = trace_shapes(model, (8, 8, 3))
    variables = model.init(jax.random.key(0), images)
    rules = {"relu_2": lambda f, x: x + 7, "relu": lambda f, x: 0 * x + 3}  # a name, and a kind
    _, kept = graph.run(variables, images, keep=("relu", "conv#2", "relu_2"), rules=rules)
    assert np.all(kept["relu"] == 3)
    np.testing.assert_array_equal(kept["relu_2"], kept["conv#2"] + 7)


def test_parameters_have_their_names_in_whatever_order_the_variables_are():
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    variables = jax.eval_shape(Shared().init, jax.random.key(0), images)
    turned = {"params": dict(reversed(variables["params"].items()))}
    of_layers = [node.parameters for node in trace(Shared(), variables, images).nodes]
    assert [node.parameters for node in trace(Shared(), turned, images).nodes] == of_layers
    assert any(of_layers)


def test_an_unknown_layer_is_answered_with_the_nearest():
    graph = trace_shapes(Shared(), (8, 8, 3))
    with pytest.raises(UserError, match=r"no layer 'max_poll'.*max_pool"):
        _ = graph["max_poll"]


def test_parameters_are_those_of_their_layer_in_any_order():
    """`init` keeps the order of the layers, and everything that is compiled sorts the names."""
    model, images = Shared(), jnp.zeros((1, 8, 8, 3))
    for variables in (
        model.init(jax.random.key(0), images),
        jax.jit(model.init)(jax.random.key(0), images),
    ):
        nodes = {node.name: node.parameters for node in trace(model, variables, images).nodes}
        assert sorted(nodes["conv"]) == ["conv/bias", "conv/kernel"]
        assert nodes["multiply"] == ("scale",)
        assert sorted(nodes["classifier"]) == ["classifier/bias", "classifier/kernel"]


def test_pools_of_several_branches_are_several_layers():
    class Branches(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            branches = [nn.Conv(2, (3, 3), name=name)(x) for name in "ab"]
            return sum(max_pool(branch, (2, 2), (2, 2)).mean((1, 2)) for branch in branches)

    nodes = trace_shapes(Branches(), (8, 8, 3)).nodes
    pools = [(node.name, node.inputs) for node in nodes if node.kind == "max_pool"]
    assert pools == [("max_pool", ("a",)), ("max_pool_2", ("b",))]

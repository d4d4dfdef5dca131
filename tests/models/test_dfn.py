from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.models.dfn import DeeplyFusedNet, cifar_dfn
from tests.marks import exhaustive

DEEP, SHALLOW, THIRD = (3, 2, 2), (1, 0, 1), (2, 1, 3)
FIELDS = {"num_classes": 5, "stage_sizes": (2, 1), "width": 4}


def batch():
    return np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "blocks"),
    [exhaustive((1, 0, 2), (0,)), exhaustive((1, 2, 0), (2,)), ((1, 2, 0), (0, 1, 2))],
)
def test_blocks_change_places_between_bases_and_the_network_stays(order, blocks, start):
    """Modules and parameters of some blocks of the bases, in training and evaluation."""
    bases = [list(base) for base in (DEEP, SHALLOW, THIRD)]
    model, x = DeeplyFusedNet(bases=bases, **FIELDS), batch()
    variables = start(model, x)

    swapped = [list(base) for base in bases]
    trees = {kind: {**tree} for kind, tree in variables.items()}
    for block in blocks:
        stage, name = (("stage1", "block1"), ("stage1", "block2"), ("stage2", "block1"))[block]
        for to, source in enumerate(order):
            swapped[to][block] = bases[source][block]
        for kind, tree in trees.items():
            there = variables[kind][stage][name]
            moved = {
                f"base{to + 1}": there[f"base{source + 1}"]
                for to, source in enumerate(order)
                if f"base{source + 1}" in there  # the identity has no parameters
            }
            tree[stage] = {**tree[stage], name: moved}
    other = DeeplyFusedNet(bases=swapped, **FIELDS)
    assert other.bases != model.bases
    expected = jax.eval_shape(other.init, jax.random.key(0), x)
    assert jax.tree.structure(expected) == jax.tree.structure(trees)

    def both(network, given):
        trained = network.apply(given, x, train=True, mutable=["batch_stats"])[0]
        return network.apply(given, x), trained

    (evaluated, trained), swapped_outputs = jax.jit(
        lambda: (both(model, variables), both(other, trees))
    )()
    # Three summands in another order.
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(swapped_outputs[0], evaluated)
    close(swapped_outputs[1], trained)
    assert np.abs(evaluated).max() > 1e-2
    assert np.abs(trained - evaluated).max() > 1e-2


def test_fused_block_adds_the_bases_before_the_activation(start):
    """No ReLU behind the last layer of a base; one behind the sum."""
    bases = ((2,), (1,), (0,))
    model = DeeplyFusedNet(num_classes=0, bases=bases, stage_sizes=(1,), width=4)
    x = batch()
    variables = start(model, x)

    def layer(path, x):
        params, stats = variables["params"], variables["batch_stats"]
        for name in path:
            params, stats = params[name], stats[name]
        x = nn.Conv(4, (3, 3), use_bias=False).apply({"params": params["conv"]}, x)
        norm = nn.BatchNorm(use_running_average=True, epsilon=2e-5)
        return norm.apply({"params": params["norm"], "batch_stats": stats["norm"]}, x)

    stem = nn.relu(layer(["stem"], x))
    block = ("stage1", "block1")
    deep = layer((*block, "base1", "layer2"), nn.relu(layer((*block, "base1", "layer1"), stem)))
    fused = nn.relu(deep + layer((*block, "base2", "layer1"), stem) + stem)
    np.testing.assert_allclose(
        model.apply(variables, x), fused.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "fusions", "deep"),
    [("dfn_fuse3_d20", 3, 6), ("dfn_fuse6_d26", 6, 4), ("dfn_fuse6_d50", 6, 8)],
)
def test_bases_of_the_released_code(name, fusions, deep, trace):
    params = trace(name).variables["params"]
    blocks = [block for stage in ("stage1", "stage2", "stage3") for block in params[stage].values()]
    assert len(blocks) == fusions
    assert [len(block["base1"]) for block in blocks] == [deep] * fusions
    shallow = [len(block.get("base2", {})) for block in blocks]
    assert shallow == ([1, 1, 1] if fusions == 3 else [1, 0, 1, 0, 1, 0])
    widths = {
        params[f"stage{i}"]["block1"]["base2"]["layer1"]["conv"]["kernel"].shape[-1]
        for i in (1, 2, 3)
    }
    assert widths == {16, 32, 64}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cifar_dfn(3, 21), "no deeply-fused net of depth 21 with 3 fusions"),
        (lambda: cifar_dfn(4, 18), "a multiple of 3"),
        (lambda: cifar_dfn(3, 2), "no deeply-fused net of depth 2"),
        (lambda: start_shapes(bases=((1, 1), (1, 1, 1))), "(2, 1) are 3 blocks"),
        (lambda: start_shapes(bases=()), "number of layers for every block"),
        (lambda: start_shapes(bases=((1, 1, 1), (1, 1, 0))), "no layer in a block"),
    ],
)
def test_what_does_not_exist_says_so(make, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(").replace(")", r"\)")) as error:
        make()
    assert "\n" not in str(error.value)


def start_shapes(**fields):
    model = DeeplyFusedNet(**{**FIELDS, **fields})
    return jax.eval_shape(model.init, jax.random.key(0), jnp.ones((2, 8, 8, 3)))


def test_any_number_of_bases():
    assert create_model("dfn_fuse3_d20").bases == ((6, 6, 6), (1, 1, 1))
    assert set(start_shapes(bases=(DEEP,))["params"]["stage1"]["block1"]) == {"base1"}

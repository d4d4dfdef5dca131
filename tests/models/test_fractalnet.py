from functools import partial
from itertools import pairwise

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.layers import BatchNorm
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.join import draw_live_inputs, join_mean
from jaxcnn.models.fractalnet import FractalBlock, FractalNet, join_sizes

TINY = {
    "num_classes": 5,
    "columns": 3,
    "stage_features": (4, 6),
    "dropout_rates": (0.0, 0.0),
}


def batch(size=8, channels=3):
    return np.random.default_rng(1).normal(size=(3, size, size, channels)).astype(np.float32)


def train(model, variables, x, seed=0):
    rngs = {"drop_path": jax.random.key(seed)}
    return model.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs)[0]


def spoiled(variables, column):
    """The same variables, the kernels of one column replaced."""
    flat = flax.traverse_util.flatten_dict(variables["params"])
    for path in flat:
        if len(path) > 1 and path[1].startswith(f"column{column}_") and path[-1] == "kernel":
            flat[path] = flat[path][..., ::-1] * 2 + 1
    return {**variables, "params": flax.traverse_util.unflatten_dict(flat)}


class Sum(nn.Module):
    """A layer that writes down how it was reached."""

    features: int

    @nn.compact
    def __call__(self, x):
        return x + 1


def test_join_sizes():
    assert join_sizes(1) == []
    assert join_sizes(2) == [2]
    assert join_sizes(3) == [2, 3]
    assert join_sizes(4) == [2, 3, 2, 4]
    assert join_sizes(5) == [2, 3, 2, 4, 2, 3, 2, 5]


def test_dropping_never_takes_all_inputs():
    keys, inputs = jax.random.split(jax.random.key(0), 4000), 3
    draw = jax.jit(lambda rate: jax.vmap(lambda key: draw_live_inputs(key, inputs, rate))(keys))
    for rate in (0.15, 0.5, 0.9):
        live = np.asarray(draw(rate))
        assert live.any(axis=1).all()
        all_dropped = rate**inputs
        expected = 1 - rate + all_dropped / inputs
        np.testing.assert_allclose(live.mean(axis=0), expected, atol=0.035)
        one = inputs * (1 - rate) * rate ** (inputs - 1) + all_dropped
        np.testing.assert_allclose((live.sum(axis=1) == 1).mean(), one, atol=0.035)
    assert np.asarray(draw(0.0)).all()
    assert (np.asarray(draw(1.0)).sum(axis=1) == 1).all()


def test_join_averages_what_lives_and_nothing_else():
    x, y, z = (batch() + i for i in range(3))
    close = partial(np.testing.assert_allclose, rtol=1e-6)
    close(join_mean([x, y, z]), (x + y + z) / 3)
    close(join_mean([x, y, z], jnp.array([True, True, True])), (x + y + z) / 3)
    lost = np.full_like(y, np.inf)
    close(join_mean([x, lost, z], jnp.array([True, False, True])), (x + z) / 2)
    gradient = jax.grad(lambda a: jnp.sum(join_mean([x, a], jnp.array([True, False]))))(y)
    assert not np.any(gradient)
    half = join_mean([x.astype(jnp.bfloat16)] * 2, jnp.array([True, False]))
    assert half.dtype == jnp.bfloat16


def test_block_is_the_papers_expansion(start):
    """f_1 = layer, f_C(x) = join of f_{C-1}(f_{C-1}(x)) and layer(x), joins merged where they meet.

    For three columns: the mean of d, b and s, where s = layer(x), b two layers of column 2 that
    see j = mean(first of column 2, second of column 3), d two of column 3 that see the same.
    """
    x = batch()
    model = FractalNet(
        **{**TINY, "stage_features": (4,), "dropout_rates": (0.0,), "num_classes": 0}
    )
    variables = start(model, x)
    params, stats = variables["params"]["stage1"], variables["batch_stats"]["stage1"]
    assert sorted(params) == [
        "column1_layer1",
        *(f"column2_layer{i}" for i in (1, 2)),
        *(f"column3_layer{i}" for i in (1, 2, 3, 4)),
    ]

    def layer(name, x):
        x = nn.Conv(4, (3, 3), use_bias=False).apply({"params": params[name]["conv"]}, x)
        norm = nn.BatchNorm(use_running_average=True, epsilon=1e-5)
        kept = {"params": params[name]["norm"], "batch_stats": stats[name]["norm"]}
        return nn.relu(norm.apply(kept, x))

    joined = layer("column3_layer2", layer("column3_layer1", x))
    joined = (joined + layer("column2_layer1", x)) / 2
    ends = [
        layer("column1_layer1", x),
        layer("column2_layer2", joined),
        layer("column3_layer4", layer("column3_layer3", joined)),
    ]
    pooled = [nn.max_pool(end, (2, 2), strides=(2, 2)) for end in ends]
    expected = np.mean(pooled, axis=0).mean(axis=(1, 2))
    np.testing.assert_allclose(model.apply(variables, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("columns", [1, 2, 4, 6])
def test_columns_are_as_deep_as_the_paper_says(columns):
    """Layers that add one: with joins of one input, the output counts those of a column."""
    block = FractalBlock(1, columns, Sum, pool=False)
    for column in range(columns):
        single = np.arange(columns) == column
        live = [jnp.array(single[-n:] | ~single[-n:].any()) for n in join_sizes(columns)]
        y = block.apply({}, jnp.zeros((1, 2, 2, 1)), live)
        np.testing.assert_array_equal(y, 2.0**column)


@pytest.fixture(scope="module")
def tiny(start):
    x = batch()
    return x, start(FractalNet(**TINY), x)


@pytest.mark.slow
def test_global_drop_path_keeps_one_column(tiny):
    x, variables = tiny
    model = FractalNet(**TINY, global_drop_path_share=1.0)
    run = jax.jit(lambda variables, seed: train(model, variables, x, seed))
    kept = []
    for seed in range(24):
        whole = run(variables, seed)
        moved = [
            bool(np.any(whole != run(spoiled(variables, column), seed))) for column in (1, 2, 3)
        ]
        assert sum(moved) == 1
        kept.append(moved.index(True))
    assert set(kept) == {0, 1, 2}


@pytest.mark.slow
def test_local_drop_path_draws_every_join_by_itself(tiny):
    _, variables = tiny
    model = FractalNet(**{**TINY, "drop_path_rate": 0.5}, global_drop_path_share=0.0)

    def masks(seed):
        rngs = {"drop_path": jax.random.key(seed)}
        return model.apply(variables, rngs=rngs, method="draw_live")[0]

    drawn = jax.jit(jax.vmap(masks))(jnp.arange(200))
    joins = [np.asarray(join) for block in drawn for join in block]
    assert [join.shape[1] for join in joins] == [2, 3, 2, 3]
    assert all(join.any(axis=1).all() for join in joins)
    assert all(np.any(a[:, -1] != b[:, -1]) for a, b in pairwise(joins))


def test_half_of_the_mini_batches_are_global(tiny):
    _, variables = tiny
    model = FractalNet(**TINY, global_drop_path_share=0.5)

    def joins(seed):
        rngs = {"drop_path": jax.random.key(seed)}
        return [block[-1] for block in model.apply(variables, rngs=rngs, method="draw_live")[0]]

    first, second = (np.asarray(j) for j in jax.jit(jax.vmap(joins))(jnp.arange(1000)))
    one_column = (first.sum(axis=1) == 1) & (first == second).all(axis=1)
    # Local drop-path of 0.15 leaves the same single input of three in both blocks once in 800.
    assert abs(one_column.mean() - 0.5) < 0.05


@pytest.mark.slow
def test_without_drop_path_training_sees_the_whole_network(tiny):
    x, variables = tiny
    off = FractalNet(**TINY, drop_path_rate=0.0)
    never = FractalNet(**TINY, drop_path_rate=1e-12, global_drop_path_share=0.0)
    whole = off.apply(variables, x, train=True, mutable=["batch_stats"])[0]
    np.testing.assert_allclose(train(never, variables, x), whole, rtol=1e-5, atol=1e-6)
    evaluated = [model.apply(variables, x) for model in (off, never, FractalNet(**TINY))]
    np.testing.assert_array_equal(evaluated[0], evaluated[1])
    np.testing.assert_array_equal(evaluated[0], evaluated[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "deepest_column", "moving"),
    [(0.0, False, "all"), (0.5, False, "local"), (1.0, False, "all"), (0.5, True, "deepest")],
)
def test_statistics_are_those_of_the_network_that_is_evaluated(share, deepest_column, moving, tiny):
    x, variables = tiny
    one_block = {**TINY, "stage_features": (4,), "dropout_rates": (0.0,), "num_classes": 0}
    model = FractalNet(**one_block, global_drop_path_share=share, deepest_column=deepest_column)
    variables = {kind: {"stage1": tree["stage1"]} for kind, tree in variables.items()}

    @jax.jit
    def step(seed):
        rngs = {"drop_path": jax.random.key(seed)}
        live = model.apply(variables, rngs=rngs, method="draw_live")[0]
        state = model.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs)[1]
        return [block[-1] for block in live], state["batch_stats"]

    seen = set()
    for seed in range(12):
        ends, after = step(seed)
        moved = jax.tree.leaves(
            jax.tree.map(lambda a, b: np.any(a != b), after, variables["batch_stats"])
        )
        assert all(moved) or not any(moved)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
        # Of these keys none draws two of three inputs to be dropped locally.
        single, deepest = ends[0].sum() == 1, np.array_equal(ends[0], [False, False, True])
        expected = {"all": True, "local": not single, "deepest": deepest}[moving]
        assert moved[0] == expected
        seen.add(bool(expected))
    assert seen == ({True} if moving == "all" else {True, False})


def test_drop_path_needs_its_rng_in_training_only():
    x = batch()
    model = FractalNet(**TINY)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    jax.eval_shape(model.apply, variables, x)
    with pytest.raises(flax.errors.InvalidRngError, match="drop_path"):
        jax.eval_shape(lambda v: model.apply(v, x, train=True, mutable=["batch_stats"]), variables)


@pytest.mark.slow
def test_deepest_column_alone_is_a_network_of_only_that_column(tiny):
    """Against a plain network that has nothing but the layers of column 3."""
    x, variables = tiny
    alone = FractalNet(**TINY, deepest_column=True)
    params = jax.eval_shape(alone.init, jax.random.key(0), x)["params"]
    assert jax.tree.structure(params) == jax.tree.structure(variables["params"])

    y = x
    for stage, features in zip(("stage1", "stage2"), TINY["stage_features"], strict=True):
        for i in range(4):
            of_layer = variables["params"][stage][f"column3_layer{i + 1}"]
            stats = variables["batch_stats"][stage][f"column3_layer{i + 1}"]
            conv = nn.Conv(features, (3, 3), use_bias=False)
            y = conv.apply({"params": of_layer["conv"]}, y)
            norm = nn.BatchNorm(use_running_average=True, epsilon=1e-5)
            y = nn.relu(norm.apply({"params": of_layer["norm"], "batch_stats": stats["norm"]}, y))
        y = nn.max_pool(y, (2, 2), strides=(2, 2))
    head = variables["params"]["classifier"]
    expected = y.mean(axis=(1, 2)) @ head["kernel"] + head["bias"][None]
    np.testing.assert_allclose(alone.apply(variables, x), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(alone.apply(variables, x) - FractalNet(**TINY).apply(variables, x)).max() > 1e-3
    np.testing.assert_array_equal(
        train(alone, variables, x), train(FractalNet(**TINY), variables, x)
    )


def test_dropout_of_a_block_stands_between_convolution_and_norm():
    x = batch(32)
    calls = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Conv | nn.Dropout | nn.BatchNorm):
            calls.append((context.module.path, type(context.module)))
            if isinstance(context.module, nn.Dropout):
                stage = int(context.module.path[0].removeprefix("stage"))
                assert context.module.rate == (0.0, 0.1, 0.2, 0.3, 0.4)[stage - 1]
        return call(*args, **kwargs)

    with nn.intercept_methods(collect):
        jax.eval_shape(create_model("fractalnet20_cifar10").init, jax.random.key(0), x)
    kinds = [kind for path, kind in calls]
    assert kinds == [nn.Conv, Dropout, BatchNorm] * 35


@pytest.mark.slow
def test_ends_of_the_imagenet_network_are_resnets(trace):
    params = trace("fractalnet34").variables["params"]
    assert params["stem"] == trace("resnet34").variables["params"]["stem"]
    assert params["classifier"]["kernel"].shape == (1024, 1000)
    model = create_model("fractalnet34", columns=1)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    apply = partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    maps = jax.eval_shape(apply, variables, images)[1]["intermediates"]
    sizes = [maps[f"stage{i}"]["__call__"][0].shape[1] for i in (1, 2, 3, 4)]
    assert sizes == [28, 14, 7, 7]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": 0}, "columns=0"),
        ({"dropout_rates": (0.0,)}, "one number for each block"),
        ({"drop_path_rate": 1.5}, "drop_path_rate=1.5"),
        ({"global_drop_path_share": -0.5}, "global_drop_path_share=-0.5"),
    ],
)
def test_what_does_not_exist_says_so(fields, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(FractalNet(**{**TINY, **fields}).init, jax.random.key(0), batch())

from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.layers import Conv
from jaxcnn.layers.shortcut import subsample_and_pad
from jaxcnn.models.preact_resnet import (
    PreActBasicBlock,
    PreActBottleneck,
    PreActResNet,
    cifar_preact_resnet,
    imagenet_preact_resnet,
)


def shapes(model, size=32):
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def units(params):
    """Parameters of every unit by path, in order."""
    found = {}
    for stage in sorted(key for key in params if key.startswith("stage")):
        for block in sorted(params[stage], key=lambda key: int(key.removeprefix("block"))):
            found[f"{stage}/{block}"] = params[stage][block]
    return found


def maps(model, size):
    """Shapes (H, W, C) of every module's output, by path."""
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    apply = partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    _, state = jax.eval_shape(apply, variables, images)
    flat = flax.traverse_util.flatten_dict(state["intermediates"])
    return {"/".join(path[:-1]): value[0].shape[1:] for path, value in flat.items()}


def calls(model):
    """Convolutions, BNs and dropouts in the order of their use in training."""
    found = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Conv | nn.BatchNorm | nn.Dropout):
            found.append(context.module)
        return call(*args, **kwargs)

    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    with nn.intercept_methods(collect):
        jax.eval_shape(lambda x: model.init(rngs, x, train=True), jnp.ones((2, 32, 32, 3)))
    return found


def is_conv(module):
    return isinstance(module, nn.Conv)


@pytest.mark.slow
@pytest.mark.parametrize("block", [PreActBasicBlock, PreActBottleneck])
def test_units_activate_the_branch_and_share_it_only_with_a_changed_shortcut(block, start):
    """With a last convolution of zero a unit is its shortcut."""
    out = 4 * block.expansion

    def unit(channels, **fields):
        norm = partial(nn.BatchNorm, use_running_average=True)
        conv = partial(Conv, use_bias=False)
        model = block(4, conv, norm, nn.relu, **fields)
        x = np.random.default_rng(1).normal(size=(2, 7, 7, channels)).astype(np.float32)
        variables = start(model, x)
        params = variables["params"]
        last = params["conv3" if block is PreActBottleneck else "conv2"]
        last["kernel"] = np.zeros_like(last["kernel"])
        y, activated = np.asarray(jax.jit(model.apply)(variables, x)), x
        if "norm1" in params:
            stats = variables["batch_stats"]["norm1"]
            normed = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
            activated = np.maximum(normed * params["norm1"]["scale"] + params["norm1"]["bias"], 0)
        return x, activated, y, params

    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    for shortcut in "AB":
        x, _, y, params = unit(out, shortcut=shortcut)
        np.testing.assert_array_equal(y, x)
        assert "proj" not in params
    _, activated, y, params = unit(3, shortcut="A", strides=2)
    close(y, subsample_and_pad(activated, out, 2))
    assert "proj" not in params
    for preactivate in (True, False):
        for shortcut, channels, strides in (("B", 3, 1), ("B", out, 2), ("C", out, 1)):
            x, activated, y, params = unit(
                channels, shortcut=shortcut, strides=strides, preactivate=preactivate
            )
            assert ("norm1" in params) == preactivate
            assert set(params["proj"]) == {"conv"}
            kernel = params["proj"]["conv"]["kernel"][0, 0]
            close(y, activated[:, ::strides, ::strides] @ kernel)
    assert not unit(out, shortcut="none")[2].any()


@pytest.mark.slow
def test_the_gradient_arrives_unchanged_plus_what_comes_through_the_branches(start):
    """The paper's equations 4 and 5: x_L = x_l + ΣF, ∂L/∂x_l = ∂L/∂x_L (1 + ∂ΣF/∂x_l)."""
    norm = partial(nn.BatchNorm, use_running_average=True)
    make = partial(PreActBasicBlock, 4, partial(Conv, use_bias=False), norm, nn.relu)
    unit, branch = make(), make(shortcut="none")
    x, gradient = np.random.default_rng(0).normal(size=(2, 1, 6, 6, 4)).astype(np.float32)
    first = start(unit, x)
    chain = [jax.tree.map(lambda leaf, n=n: leaf * (1 - n / 4), first) for n in range(3)]

    def last(x):
        for variables in chain:
            x = unit.apply(variables, x)
        return x

    def sum_of_branches(x):
        total = 0
        for variables in chain:
            total, x = total + branch.apply(variables, x), unit.apply(variables, x)
        return total

    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(last(x), x + sum_of_branches(x))
    (found,), (through,) = (jax.vjp(f, x)[1](gradient) for f in (last, sum_of_branches))
    close(found, gradient + through)
    assert np.abs(through).max() > 0.1


@pytest.mark.slow
def test_stem_activates_instead_of_the_first_unit(trace):
    params = trace("resnet50_v2").variables["params"]
    assert set(params["stem"]) == {"conv", "norm"}
    without = [path for path, unit in units(params).items() if "norm1" not in unit]
    assert without == ["stage1/block1"]

    params = shapes(imagenet_preact_resnet(50, stem_norm=False))
    assert set(params["stem"]) == {"conv"}
    assert all("norm1" in unit for unit in units(params).values())


def test_where_the_first_unit_projects_it_does_not_matter_who_activates(start):
    """And where it does not, the shortcut carries another map."""
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)

    def both(block):
        kinds = [
            PreActResNet(
                num_classes=5,
                stage_sizes=(1,),
                block=block,
                width=4,
                cifar_stem=True,
                stem_norm=stem_norm,
            )
            for stem_norm in (True, False)
        ]
        variables = start(kinds[0], x)
        moved = jax.tree.map(np.asarray, variables)
        for collection in moved.values():
            collection["stage1"]["block1"]["norm1"] = collection["stem"].pop("norm")
        return jax.jit(lambda: (kinds[0].apply(variables, x), kinds[1].apply(moved, x)))()

    np.testing.assert_allclose(*both(PreActBottleneck), rtol=1e-5, atol=1e-6)
    stem, unit = both(PreActBasicBlock)
    assert np.abs(stem - unit).max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18_v2", ["stage2/block1", "stage3/block1", "stage4/block1"]),
        ("resnet50_v2", ["stage1/block1", "stage2/block1", "stage3/block1", "stage4/block1"]),
        ("cifar_resnet110_v2", []),
        ("cifar_resnet164_v2", ["stage1/block1", "stage2/block1", "stage3/block1"]),
    ],
)
def test_projections_stand_where_the_shape_changes(name, expected, trace):
    found = units(trace(name).variables["params"])
    assert [path for path, unit in found.items() if "proj" in unit] == expected


def test_first_projects_in_the_first_unit_whatever_its_shape():
    fields = {"stage_sizes": (2, 2), "width": 4, "stem_features": 16}
    for shortcut, expected in (
        ("B", ["stage2/block1"]),
        ("first", ["stage1/block1", "stage2/block1"]),
    ):
        found = units(shapes(imagenet_preact_resnet(50, shortcut=shortcut, **fields)))
        assert [path for path, unit in found.items() if "proj" in unit] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "conv1", "conv2"),
    [(imagenet_preact_resnet(50), 28, 14), (cifar_preact_resnet(20, bottleneck=True), 56, 56)],
)
def test_position_of_the_stride(model, conv1, conv2):
    size = maps(model, 112)
    assert size["stage2/block1/conv1"][:2] == (conv1, conv1)
    assert size["stage2/block1/conv2"][:2] == (conv2, conv2)


@pytest.mark.slow
def test_the_last_unit_of_a_stage_may_halve_the_map(start):
    """Its shortcut is every second pixel: with a last convolution of zero that is the unit."""
    fields = {"cifar_stem": True, "stem_norm": False, "shortcut": "first", "stride_last": True}
    model = PreActResNet(0, stage_sizes=(3, 2), width=4, **fields)
    found = maps(model, 7)
    sides = [found[f"stage{i}/block{j}/conv2"][0] for i, j in ((1, 1), (1, 2), (1, 3), (2, 1))]
    assert sides == [7, 7, 4, 4]
    assert found["stage2/block2/conv2"][0] == 4  # nothing follows the last stage
    params = shapes(model)
    assert [path for path, unit in units(params).items() if "proj" in unit] == [
        "stage1/block1",
        "stage2/block1",
    ]

    images = np.random.default_rng(0).normal(size=(1, 7, 7, 3)).astype(np.float32)
    variables = start(model, images)
    last = variables["params"]["stage1"]["block3"]["conv3"]
    last["kernel"] = np.zeros_like(last["kernel"])
    apply = partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    _, state = jax.jit(apply)(variables, images)
    stage = state["intermediates"]["stage1"]
    before, after = (stage[f"block{i}"]["__call__"][0] for i in (2, 3))
    np.testing.assert_array_equal(after, before[:, ::2, ::2])


@pytest.mark.parametrize(("pool_zeros", "mean"), [(False, -1), (True, -9 / 16)])
def test_zeros_around_the_max_pool_exceed_negative_values(pool_zeros, mean, start):
    """The stem gives its bias, -1; windows reach beyond the first row and column of 4x4 alone."""
    fields = {"stage_sizes": (), "stem_features": 1, "stem_norm": False, "stem_bias": True}
    model = PreActResNet(0, pool_zeros=pool_zeros, act=lambda x: x, **fields)
    images = np.zeros((1, 16, 16, 3), np.float32)
    variables = start(model, images)
    variables["params"]["stem"]["conv"]["bias"] = np.array([-1], np.float32)
    ones, zeros = np.ones(1, np.float32), np.zeros(1, np.float32)
    variables["params"]["final_norm"] = {"scale": ones, "bias": zeros}
    variables["batch_stats"]["final_norm"] = {"mean": zeros, "var": ones - np.float32(1e-5)}
    features = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(features, [[mean]], rtol=1e-5)


def test_widths_may_be_given_for_every_stage():
    params = shapes(imagenet_preact_resnet(18, stage_sizes=(1, 1), width=(24, 40)))
    kernels = [unit["conv2"]["kernel"].shape for unit in units(params).values()]
    assert kernels == [(3, 3, 24, 24), (3, 3, 40, 40)]
    assert params["stem"]["conv"]["kernel"].shape == (7, 7, 3, 24)
    assert params["final_norm"]["scale"].shape == (40,)


def test_max_pool_of_an_unactivated_stem_pads_with_minus_infinity(start):
    """Without stages the features are the pooled stem, through the last BN; all are negative."""
    model = PreActResNet(
        num_classes=0, stage_sizes=(), stem_features=4, stem_norm=False, act=lambda x: x
    )
    x = np.random.default_rng(0).normal(size=(1, 12, 12, 2)).astype(np.float32)
    variables = start(model, x)
    kernel = -np.abs(variables["params"]["stem"]["conv"]["kernel"])
    variables["params"] = {
        "stem": {"conv": {"kernel": kernel}},
        "final_norm": {"scale": np.ones(4, np.float32), "bias": np.zeros(4, np.float32)},
    }
    variables["batch_stats"] = {
        "final_norm": {"mean": np.zeros(4, np.float32), "var": np.full(4, 1 - 1e-5, np.float32)}
    }
    features = jax.jit(model.apply)(variables, np.abs(x) + 1)
    padded = np.pad(np.abs(x) + 1, ((0, 0), (3, 3), (3, 3), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(1, 2))
    stem = np.einsum("nhwcij,ijco->nhwo", windows[:, ::2, ::2], kernel)
    padded = np.pad(stem, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    pooled = windows[:, ::2, ::2].max((-1, -2))
    np.testing.assert_allclose(features, pooled.mean((1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("depth", "last"), [(18, "conv2"), (50, "conv3")])
def test_zero_init_last_starts_the_last_convolutions_at_zero(depth, last):
    fields = {"stage_sizes": (1, 1), "width": 4, "zero_init_last": True}
    convolutions = [m for m in calls(imagenet_preact_resnet(depth, **fields)) if is_conv(m)]
    zero = ["/".join(m.path) for m in convolutions if m.kernel_init is nn.initializers.zeros]
    assert zero == [f"stage1/block1/{last}", f"stage2/block1/{last}"]
    convolutions = calls(create_model("resnet18_v2"))
    assert not any(m.kernel_init is nn.initializers.zeros for m in convolutions if is_conv(m))


@pytest.mark.parametrize(
    ("depth", "layers"),
    [
        (18, ["norm1", "conv1", "norm2", "Dropout_0", "conv2"]),
        (50, ["norm1", "conv1", "norm2", "Dropout_0", "conv2", "norm3", "Dropout_1", "conv3"]),
    ],
)
def test_dropout_stands_behind_bn_and_relu_in_front_of_convolutions(depth, layers):
    fields = {"stage_sizes": (1,), "width": 4, "num_classes": 3, "stem_norm": False}
    model = imagenet_preact_resnet(depth, dropout_rate=0.3, **fields)
    x = jnp.ones((2, 8, 8, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    run = partial(model.apply, train=True, mutable=["batch_stats"])
    seen = calls(model)
    assert [
        m.name for m in seen if m.path[:2] == ("stage1", "block1") and len(m.path) == 3
    ] == layers
    assert {(m.rate, m.deterministic) for m in seen if isinstance(m, nn.Dropout)} == {(0.3, False)}
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda v: run(v, x), variables)
    jax.eval_shape(lambda v: model.apply(v, x), variables)
    plain = imagenet_preact_resnet(depth, **fields)
    jax.eval_shape(lambda v: plain.apply(v, x, train=True, mutable=["batch_stats"]), variables)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: imagenet_preact_resnet(20), "no ResNet v2 of depth 20"),
        (lambda: cifar_preact_resnet(113), r"6n\+2"),
        (lambda: cifar_preact_resnet(116, bottleneck=True), r"9n\+2"),
        (lambda: shapes(create_model("resnet18_v2", shortcut="D")), "no shortcut 'D'"),
        (
            lambda: shapes(create_model("resnet18_v2", width=(8, 16))),
            "2 stages.*4: give one for each",
        ),
        (
            lambda: shapes(
                create_model("resnet18_v2", block=partial(PreActBasicBlock, cardinality=2))
            ),
            "PreActBasicBlock has no inner width",
        ),
    ],
)
def test_what_does_not_exist_says_so(make, message):
    with pytest.raises(UserError, match=message):
        make()

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.layers import Conv
from jaxcnn.layers.shortcut import subsample_and_pad
from jaxcnn.models.identity_mappings import (
    ORDERINGS,
    Join,
    VariantBasicBlock,
    VariantBottleneck,
    cifar_resnet_v2,
)
from jaxcnn.models.preact_resnet import cifar_preact_resnet
from jaxcnn.models.resnet import Bottleneck, ResNet, cifar_resnet

close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
relu = partial(np.maximum, 0)
FULL = {"ordering": "full_preactivation"}
small = {"stage_sizes": (2, 2), "width": 4, "num_classes": 5}


def images(channels=3, size=8):
    return np.random.default_rng(1).normal(size=(2, size, size, channels)).astype(np.float32)


def shapes(model):
    return jax.eval_shape(model.init, jax.random.key(0), images())


def scalars(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def conv(kernel, x, strides=1):
    """Convolution with as much padding as keeps the size under stride 1."""
    pad = ((kernel.shape[0] // 2,) * 2,) * 2
    return np.asarray(
        jax.lax.conv_general_dilated(
            x, kernel, (strides,) * 2, pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )


def layers(variables):
    """Functions W1, B1, W2, B2 of a unit's variables at test time."""
    found = {}
    for name, leaves in variables["params"].items():
        if name.startswith("conv"):
            found[f"W{name[-1]}"] = partial(conv, leaves["kernel"])
        elif name.startswith("norm"):
            stats = variables["batch_stats"][name]
            scale = leaves["scale"] / np.sqrt(stats["var"] + 1e-5)
            shift = leaves["bias"] - stats["mean"] * scale
            found[f"B{name[-1]}"] = lambda x, a=scale, b=shift: x * a[None] + b[None]
    return found


def unit(start, block=VariantBasicBlock, channels=4, train=False, **fields):
    """(unit, its variables, an input), with fields of `Join` under `join`."""
    join = fields.pop("join", None)
    kernel = partial(Conv, use_bias=False)
    norm = partial(nn.BatchNorm, use_running_average=not train)
    model = block(4, kernel, norm, nn.relu, join=join and partial(Join, **join), **fields)
    x = images(channels)
    return model, start(model, x), x


FORMULAS = {
    "original": lambda x, W1, B1, W2, B2: relu(x + B2(W2(relu(B1(W1(x)))))),
    "bn_after_addition": lambda x, W1, B1, W2, B2: relu(B2(x + W2(relu(B1(W1(x)))))),
    "relu_before_addition": lambda x, W1, B1, W2, B2: x + relu(B2(W2(relu(B1(W1(x)))))),
    "relu_only_preactivation": lambda x, W1, B1, W2, B2: x + B2(W2(relu(B1(W1(relu(x)))))),
    "full_preactivation": lambda x, W1, B1, W2, B2: x + W2(relu(B2(W1(relu(B1(x)))))),
}


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_units_are_the_papers_formulas(ordering, start):
    model, variables, x = unit(start, ordering=ordering)
    close(jax.jit(model.apply)(variables, x), FORMULAS[ordering](x, **layers(variables)))


@pytest.mark.parametrize("ordering", ["original", "full_preactivation"])
def test_a_shortcut_may_span_one_layer(ordering, start):
    model, variables, x = unit(start, ordering=ordering, span=1)
    W1, B1 = layers(variables)["W1"], layers(variables)["B1"]
    expected = relu(x + B1(W1(x))) if ordering == "original" else x + W1(relu(B1(x)))
    close(jax.jit(model.apply)(variables, x), expected)


def test_networks_of_span_one_have_the_same_layers():
    fields = {**small, "ordering": "original"}
    two, one = (
        shapes(cifar_resnet_v2(20, **fields, **span)) for span in ({}, {"shortcut_span": 1})
    )
    assert scalars(two) == scalars(one)
    assert list(one["params"]["stage2"]) == [f"block{i}" for i in (1, 2, 3, 4)]
    assert set(one["params"]["stage1"]["block1"]) == {"conv1", "norm1"}


@pytest.mark.parametrize("shortcut", ["A", "average", "B", "C", "none"])
def test_the_original_ordering_is_resnet(shortcut, start):
    plain = cifar_resnet(20, **small, shortcut=shortcut)
    ordered = cifar_resnet_v2(20, **small, shortcut=shortcut, ordering="original")
    assert shapes(ordered) == shapes(plain)
    x = images()
    variables = start(plain, x)
    expected, got = jax.jit(lambda v: (plain.apply(v, x), ordered.apply(v, x)))(variables)
    close(got, expected)


def test_the_original_ordering_of_bottlenecks_is_resnet(start):
    fields = {"stage_sizes": (1, 1), "width": 4, "num_classes": 5}
    block = partial(Bottleneck, stride_first=True)
    plain = ResNet(**fields, block=block, cifar_stem=True)
    ordered = cifar_resnet_v2(164, bottleneck=True, **fields, ordering="original")
    assert shapes(ordered) == shapes(plain)
    x = images()
    variables = start(plain, x)
    expected, got = jax.jit(lambda v: (plain.apply(v, x), ordered.apply(v, x)))(variables)
    close(got, expected)


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("fields", [{}, {"zero_init_last": True}, {"dropout_rate": 0.5}], ids=str)
def test_full_preactivation_is_the_network_that_is_written_out(bottleneck, fields):
    fields = {**small, **fields, "dtype": jnp.bfloat16}
    depth = 164 if bottleneck else 110
    written = cifar_preact_resnet(depth, bottleneck, **fields)
    ordered = cifar_resnet_v2(depth, bottleneck, "full_preactivation", **fields)
    assert type(ordered) is not type(written)
    assert shapes(ordered) == shapes(written)

    def step(model):
        def run(variables, x):
            rngs = {"dropout": jax.random.key(1)}
            return model.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs)

        return str(jax.make_jaxpr(run)(shapes(written), images()))

    assert step(ordered) == step(written)


def test_the_published_network_by_hand(start):
    """Written out: the stem activates for the first unit, and BN and ReLU follow the last."""
    model = cifar_preact_resnet(110, stage_sizes=(1, 1), width=4, num_classes=0)
    x = images()
    variables = start(model, x)

    def at(*path):
        tree = variables
        inner = {}
        for collection, tree in variables.items():
            for name in path:
                tree = tree.get(name, {})
            inner[collection] = tree
        return layers(inner)

    stem = at("stem")
    h = conv(variables["params"]["stem"]["conv"]["kernel"], x)
    norm = {c: {"norm1": variables[c]["stem"]["norm"]} for c in variables}
    h = relu(layers(norm)["B1"](h))
    assert not {"W1", "B1"} & set(stem)
    first = at("stage1", "block1")
    assert "B1" not in first
    h = h + first["W2"](relu(first["B2"](first["W1"](h))))
    second = at("stage2", "block1")
    h = relu(second["B1"](h))
    y = conv(variables["params"]["stage2"]["block1"]["conv1"]["kernel"], h, strides=2)
    h = np.asarray(subsample_and_pad(h, 8, 2)) + second["W2"](relu(second["B2"](y)))
    final = {c: {"norm1": variables[c]["final_norm"]} for c in variables}
    h = relu(layers(final)["B1"](h))
    close(jax.jit(model.apply)(variables, x), h.mean((1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("ordering", ORDERINGS)
def test_orderings_have_as_many_parameters_and_a_gradient_in_all(ordering, start):
    model = create_model("cifar_resnet110_v2", **{**small, "ordering": ordering})
    x = images()
    variables = start(model, x)
    assert scalars(variables["params"]) == scalars(shapes(cifar_resnet(20, **small))["params"])

    @jax.jit
    def gradient(params):
        def loss(params):
            logits, _ = model.apply(
                {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
            )
            return jnp.sum(jax.nn.log_softmax(logits)[:, 0])

        return jax.grad(loss)(params)

    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient(variables["params"])))


@pytest.mark.parametrize(("channels", "strides"), [(4, 1), (3, 2)])
@pytest.mark.parametrize(
    "join",
    [
        {"shortcut_scale": 0.0},
        {"shortcut_scale": 0.5},
        {"shortcut_scale": 0.5, "residual_scale": 0.25},
        {"gate": "exclusive", "gate_bias": -6.0},
        {"gate": "shortcut", "gate_bias": -6.0},
        {"dropout": partial(nn.Dropout, 0.5, deterministic=True)},
    ],
)
def test_shortcuts_are_the_papers_formulas(join, channels, strides, start):
    model, variables, x = unit(
        start, channels=channels, ordering="original", strides=strides, shortcut="A", join=join
    )
    f = layers(variables)
    y = conv(variables["params"]["conv1"]["kernel"], x, strides)
    branch = f["B2"](f["W2"](relu(f["B1"](y))))
    shortcut = np.asarray(subsample_and_pad(x, 4, strides))
    if "gate" in join:
        kernel, bias = (variables["params"]["join"]["gate"][key] for key in ("kernel", "bias"))
        gate = 1 / (1 + np.exp(-conv(kernel, x, strides) - bias[None]))
        shortcut = (1 - gate) * shortcut
        branch = gate * branch if join["gate"] == "exclusive" else branch
        started = model.init(jax.random.key(0), x)["params"]["join"]["gate"]["bias"]
        np.testing.assert_array_equal(started, -6.0)
    else:
        assert "join" not in variables["params"]
    expected = join.get("residual_scale", 1) * branch + join.get("shortcut_scale", 1) * shortcut
    close(jax.jit(model.apply)(variables, x), relu(expected))


@pytest.mark.slow
def test_dropout_stands_on_the_shortcut():
    model = create_model(
        "cifar_resnet110_v2",
        ordering="original",
        stage_sizes=(1,),
        width=4,
        shortcut_dropout=0.5,
        residual_scale=0.0,
    )
    variables = model.init(jax.random.key(0), images())
    _, state = model.apply(
        variables,
        images(),
        train=True,
        rngs={"dropout": jax.random.key(1)},
        mutable=["batch_stats", "intermediates"],
        capture_intermediates=True,
    )
    inner = state["intermediates"]
    x, y = (inner[name]["__call__"][0] for name in ("stem", "stage1"))
    doubled = np.asarray(y == 2 * x)
    assert np.all(doubled | np.asarray(y == 0))
    alive = np.asarray(x > 0)
    assert 0.3 < doubled[alive].mean() < 0.7


@pytest.mark.parametrize("ordering", ["original", "bn_after_addition", "relu_only_preactivation"])
def test_zero_init_last_starts_a_unit_as_its_shortcut(ordering):
    x = np.abs(images(4))
    kernel, norm = partial(Conv, use_bias=False), partial(nn.BatchNorm, use_running_average=True)
    model = VariantBasicBlock(4, kernel, norm, nn.relu, ordering=ordering, zero_init_last=True)
    y, _ = jax.jit(model.init_with_output)(jax.random.key(0), x)
    close(y, x)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ordering": "orginal"}, "no ordering 'orginal'.*original"),
        ({"ordering": "relu_before_addition", "zero_init_last": True}, "nothing can be learnt"),
        ({**FULL, "gate": "both"}, "no gate 'both'"),
        ({**FULL, "gate": "exclusive", "shortcut": "none"}, "nothing to gate"),
        ({**FULL, "shortcut_span": 3}, "does not divide"),
        ({**FULL, "shortcut_span": 1, "block": VariantBottleneck}, "no shortcut_span"),
    ],
)
def test_what_does_not_exist_says_so(fields, message):
    with pytest.raises(UserError, match=message) as error:
        shapes(create_model("cifar_resnet110_v2", **{**small, **fields}))
    assert "\n" not in str(error.value)

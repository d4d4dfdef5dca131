from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.models.nin import NiN

FEATURES = ((8, 6, 4), (8, 6, 4), (8, 6))


def small(**fields):
    return NiN(**{"num_classes": 5, "features": FEATURES, "kernel_sizes": (5, 5, 3), **fields})


def shapes(model, size=32):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, size, size, 3)))


WIDE = ((192, 160, 96), (192, 192, 192), (192, 192))


@pytest.mark.parametrize(
    ("name", "features", "sides"),
    [
        ("nin_cifar10", (*WIDE[:2], (*WIDE[2], 10)), (5, 5, 3)),
        ("nin_cifar100", (*WIDE[:2], (*WIDE[2], 100)), (5, 5, 3)),
        ("nin_svhn", ((128, 96, 64), (320, 256, 128), (384, 256, 10)), (5, 5, 5)),
        ("nin_mnist", ((96, 64, 48), (128, 96, 48), (128, 96, 10)), (5, 5, 5)),
        (
            "nin_imagenet",
            ((96, 96, 96), (256, 256, 256), (384, 384, 384), (1024, 1024, 1000)),
            (11, 5, 3, 3),
        ),
    ],
)
def test_layers_of_the_released_networks(name, features, sides, trace):
    params = trace(name).variables["params"]
    for i, (widths, side) in enumerate(zip(features, sides, strict=True), start=1):
        stage = dict(params[f"stage{i}"])
        if i == len(features):
            stage["conv3"] = params["classifier"]
        kernels = [stage[f"conv{j}"]["kernel"].shape for j in (1, 2, 3)]
        assert [kernel[:2] for kernel in kernels] == [(side, side), (1, 1), (1, 1)]
        assert tuple(kernel[3] for kernel in kernels) == widths
        assert all("bias" in layer for layer in stage.values())
    assert len(params) == len(features) + 1


@pytest.mark.parametrize(
    ("name", "size", "sides"),
    [
        ("nin_cifar10", 32, (32, 16, 8)),
        ("nin_mnist", 28, (28, 14, 7)),
        ("nin_imagenet", 224, (54, 27, 13, 6)),
    ],
)
def test_sizes_of_the_maps(name, size, sides):
    model = create_model(name)
    x = jnp.zeros((1, size, size, 3))
    apply = partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    state = jax.eval_shape(apply, shapes(model, size), x)[1]["intermediates"]
    maps = [state[f"stage{i}"]["__call__"][0].shape[1:3] for i in range(1, len(sides) + 1)]
    assert maps == [(side, side) for side in sides]
    assert state["classifier"]["__call__"][0].shape[1:3] == (sides[-1],) * 2


def test_what_the_network_computes(start):
    """By hand: pools with a last window that only partly fits, maps of classes after their ReLU."""
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    model = small(pools=("max", "avg"))
    variables = start(model, x)
    params = variables["params"]

    def conv(parameters, x):
        features, side = parameters["bias"].size, parameters["kernel"].shape[0]
        layer = nn.Conv(features, (side, side), padding="SAME")
        return nn.relu(layer.apply({"params": parameters}, x))

    def halved(x, reduce):  # 8 to 4 and 4 to 2: windows of 3, the last one of 2
        side = x.shape[1] // 2
        rows = [reduce(x[:, 2 * i : 2 * i + 3], axis=1) for i in range(side)]
        x = jnp.stack(rows, axis=1)
        return jnp.stack([reduce(x[:, :, 2 * i : 2 * i + 3], axis=2) for i in range(side)], axis=2)

    @jax.jit
    def both():
        y = x
        for i, reduce in ((1, jnp.max), (2, jnp.mean), (3, None)):
            stage = params[f"stage{i}"]
            for layer in sorted(stage):
                y = conv(stage[layer], y)
            y = y if reduce is None else halved(y, reduce)
        return model.apply(variables, x), conv(params["classifier"], y).mean((1, 2))

    got, expected = both()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    assert np.all(got >= 0)


@pytest.mark.parametrize(("last_only", "rates"), [(False, [0, 0.5, 0.5]), (True, [0, 0, 0.5])])
def test_dropout_stands_between_the_stages(last_only, rates):
    seen = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            assert not context.module.deterministic
            seen.append(context.module.rate)
        return call(*args, **kwargs)

    model = small(dropout_last_only=last_only)
    variables, x = shapes(model), jnp.zeros((2, 32, 32, 3))
    rngs = {"dropout": jax.random.key(0)}
    with nn.intercept_methods(collect):
        jax.eval_shape(lambda v: model.apply(v, x, train=True, rngs=rngs), variables)
    assert seen == rates
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(partial(model.apply, train=True), variables, x)
    assert create_model("nin_imagenet").dropout_last_only
    assert not create_model("nin_cifar10").dropout_last_only


@pytest.mark.slow
def test_start():
    x = jnp.zeros((1, 8, 8, 3))
    wide = ((64, 64), (64, 64))
    two = {"features": wide, "kernel_sizes": (3, 3), "pools": ("max",), "num_classes": 64}

    def deviations(**fields):
        params = small(**two, **fields).init(jax.random.key(0), x)["params"]
        leaves = flax.traverse_util.flatten_dict(params, sep="/")
        assert all(np.all(v == 0) for k, v in leaves.items() if k.endswith("bias"))
        return {k: np.std(v) for k, v in leaves.items() if k.endswith("kernel")}

    assert all(found == pytest.approx(0.05, rel=0.1) for found in deviations().values())
    expected = {
        "stage1/conv1/kernel": 0.01,
        "stage1/conv2/kernel": 0.05,
        "stage2/conv1/kernel": 0.2,
        "stage2/conv2/kernel": 0.05,
        "classifier/kernel": 0.03,
    }
    assert deviations(deviations=(0.01, 0.2, 0.03)) == pytest.approx(expected, rel=0.1)
    expected["stage1/conv2/kernel"] = 0.1
    assert deviations(deviations=((0.01, 0.1), 0.2, 0.03)) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("name", "size"), [("nin_cifar10", 4), ("nin_imagenet", 39)])
def test_smallest_image(name, size):
    shapes(create_model(name), size)
    with pytest.raises(UserError, match=f"{size}x{size} or larger"):
        shapes(create_model(name), size - 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pools": ("max",)}, r"pools=\('max',\).*need 2"),
        ({"pools": ("max", "averag")}, "'averag'.*avg"),
        ({"kernel_sizes": (5, 5)}, "kernel_sizes.*need 3"),
        ({"kernel_sizes": (5, 4, 3)}, "must be odd"),
        ({"deviations": (0.05, 0.05)}, "deviations.*need 4"),
        ({"deviations": ()}, "deviations.*need 4"),
        ({"deviations": ((0.05,), 0.05, 0.05, 0.05)}, "a number or a pair"),
    ],
)
def test_fields_that_do_not_fit_say_so(fields, message):
    with pytest.raises(UserError, match=message) as error:
        shapes(small(**fields))
    assert "\n" not in str(error.value)

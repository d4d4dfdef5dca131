"""The deconvnet of every family with max-pools, against networks that have its rules built in.

The other way to the same projection: the network is made with an activation whose gradient is the
rule (the field `act`), its pools and its LRN are replaced by functions whose gradients are written
out, and the plain gradient is taken. In float64, to 1e-12 of the largest value.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import attribution, create_model
from jaxcnn.ops import pool
from jaxcnn.ops.lrn import response_norm

# One of each family, with small inputs: (H, C), and fields.
NETWORKS = {
    "fractalnet_narrow_c4": ((32, 3), {}),
    "nin_mnist": ((28, 1), {}),
    "zfnet": (
        (64, 3),
        {"features": (4, 8, 8, 8, 8), "hidden_features": (16, 8)},
    ),
    "alexnet": ((67, 3), {}),
    "alexnet_torchvision": ((63, 3), {}),
    "densenet121": ((32, 3), {}),
    "dfn_mr_imagenet": ((32, 3), {}),
    "dsn_cifar10": ((32, 3), {}),
    "googlenet": ((64, 3), {}),
    "highway_mnist_w16": ((28, 1), {}),
    "inception_resnet_v1": ((107, 3), {}),
    "inception_v2": ((107, 3), {}),
    "inception_v2_slim": ((64, 3), {}),
    "inception_v3": ((107, 3), {}),
    "inception_v4": ((107, 3), {}),
    "ladder_conv_large_gamma": ((32, 3), {"act": nn.relu}),
    "lenet5_full_c3": ((32, 1), {"act": nn.relu}),
    "plain18": ((64, 3), {}),
    "resnet18": ((64, 3), {}),
    "resnet18_v2": ((64, 3), {}),
    "resnet50": ((64, 3), {}),
    "resnext50_32x4d": ((64, 3), {}),
    "vgg11": ((32, 3), {}),
    "vgg11_lrn": ((32, 3), {}),
    "zfnet_keras": ((64, 3), {}),
}
IN_THE_GATE = {"nin_mnist", "zfnet"}  # with and without LRN


@jax.custom_vjp
def rectifier(x):
    return nn.relu(x)


rectifier.defvjp(lambda x: (nn.relu(x), None), lambda _, signal: (jnp.maximum(signal, 0),))


def switched_pool(x, window):
    """Maxima; backwards each signal is added at the place of its maximum, found by argmax."""

    def forward(x):
        sizes = window.outputs(x.shape)
        padded = jnp.pad(x, [(0, 0), *window.pads, (0, 0)], constant_values=-jnp.inf)
        numbers = jnp.arange(padded[0, ..., 0].size).reshape(padded.shape[1:3])
        windows, places = [], []
        for row, column in np.ndindex(*window.shape):
            cut = tuple(
                slice(start, start + (count - 1) * stride + 1, stride)
                for start, count, stride in zip((row, column), sizes, window.strides, strict=True)
            )
            windows.append(padded[:, *cut])
            places.append(numbers[cut])
        best = jnp.argmax(jnp.stack(windows), axis=0)
        maxima = jnp.max(jnp.stack(windows), axis=0)
        return maxima, jnp.take_along_axis(
            jnp.stack(places)[:, None, :, :, None], best[None], axis=0
        )[0]

    def backward(switches, signal):
        count, channels = x.shape[0], x.shape[-1]
        around = [
            length + sum(pads) for length, pads in zip(x.shape[1:3], window.pads, strict=True)
        ]
        flat = jnp.zeros((count, around[0] * around[1], channels), signal.dtype)
        n, c = np.arange(count)[:, None, None, None], np.arange(channels)[None, None, None]
        flat = flat.at[n, switches, c].add(signal)
        (top, _), (left, _) = window.pads
        whole = flat.reshape(count, *around, channels)
        return (whole[:, top : top + x.shape[1], left : left + x.shape[2]],)

    @jax.custom_vjp
    def pooled(x):
        return forward(x)[0]

    pooled.defvjp(forward, backward)
    return pooled(x)


def passing(function):
    """LRN whose gradient is the identity."""

    @jax.custom_vjp
    def normalise(x):
        return function(x)

    normalise.defvjp(lambda x: (function(x), None), lambda _, signal: (signal,))
    return normalise


def drawn64(model, images):
    """Kernels of He's variance, scales around one: signals of one size at every depth."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        noise, name = rng.normal(size=leaf.shape), path[-1].key
        if leaf.ndim > 1:
            return noise * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return (name in ("scale", "var")) + 0.1 * np.abs(noise)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.exhaustive] * (n not in IN_THE_GATE)) for n in NETWORKS],
)
def test_the_deconvnet_is_the_gradient_of_a_network_with_its_rules(name, monkeypatch):
    (size, channels), fields = NETWORKS[name]
    fields = {"dtype": jnp.float64, "param_dtype": jnp.float64, **fields}
    with jax.enable_x64(True):
        images = np.random.default_rng(1).normal(size=(1, size, size, channels))
        model = create_model(name, **fields)
        variables = drawn64(model, images)
        logits = jax.jit(model.apply)(variables, images)
        got = np.asarray(attribution.deconvnet(model, variables, images, 1))
        plain = np.asarray(attribution.pixel_gradient(model, variables, images, 1))

        pools = []
        monkeypatch.setattr(
            pool, "_max_pool", lambda x, window: pools.append(window) or switched_pool(x, window)
        )
        if lrn := response_norm(getattr(model, "lrn", None)):
            fields["lrn"] = passing(lrn)
        ruled = create_model(name, **{**fields, "act": rectifier})

        def score(images):
            logits = ruled.apply(variables, images, train=False)
            return logits[0, 1], logits

        expected, same = jax.jit(jax.grad(score, has_aux=True))(images)
        assert pools, "the network has max-pools"
        scale = np.abs(expected).max()
        np.testing.assert_allclose(same, logits, rtol=1e-9, atol=1e-9 * np.abs(logits).max())
        assert 0 < scale < np.inf
        print(name, np.abs(got - expected).max() / scale)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * scale)
        assert np.abs(plain - expected).max() > 1e-3 * scale, "the rules make a difference"

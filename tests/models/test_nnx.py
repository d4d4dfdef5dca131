"""Our networks in Flax NNX, by the recipe of docs/python.md."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.interop.small import filled
from tests.models.test_contracts import build

STEPS = 10


@pytest.fixture(scope="module")
def network():
    """A network with BatchNorm and dropout, its variables, and a batch for every step."""
    fields = {"stage_sizes": (1,), "stage_features": (8,), "hidden_features": (8,)}
    model = build("vgg", dropout_rate=0.5, **fields)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(STEPS, 4, 8, 8, 3)).astype(np.float32)
    labels = rng.integers(0, 5, (STEPS, 4))
    variables = filled(jax.eval_shape(model.init, jax.random.key(0), images[0]))
    return model, variables, images, labels


def to_nnx(model, variables, images):
    @nnx.jit
    def create():
        rngs = nnx.Rngs(params=0, dropout=1)
        return nnx.bridge.ToNNX(model, rngs=rngs).lazy_init(images)

    bridged = create()
    for kind, values in ((nnx.Param, "params"), (nnx.BatchStat, "batch_stats")):
        state = nnx.state(bridged, kind)
        nnx.replace_by_pure_dict(state, variables[values])
        nnx.update(bridged, state)
    return bridged


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@nnx.jit
def nnx_step(model, optimizer, images, labels):
    def loss(model):
        return cross_entropy(model(images, train=True, mutable=["batch_stats"]), labels)

    value, gradients = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradients)
    return value


def linen_steps(model, variables, batches, keys, optimizer):
    @jax.jit
    def step(params, statistics, state, images, labels, key):
        def loss(params):
            logits, changed = model.apply(
                {"params": params, "batch_stats": statistics},
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            return cross_entropy(logits, labels), changed["batch_stats"]

        (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), statistics, state, value

    params, statistics = variables["params"], variables["batch_stats"]
    state, losses = optimizer.init(params), []
    for (images, labels), key in zip(batches, keys, strict=True):
        params, statistics, state, value = step(params, statistics, state, images, labels, key)
        losses.append(value)
    return {"params": params, "batch_stats": statistics}, losses


@pytest.mark.slow
def test_ten_training_steps_are_those_of_linen(network):
    model, variables, images, labels = network
    optimizer = optax.sgd(0.05, momentum=0.9)
    bridged = to_nnx(model, variables, images[0])
    keys = nnx.Rngs(params=0, dropout=1).fork()  # as `ToNNX` does
    keys.dropout()  # of `lazy_init`
    keys = [keys.dropout() for _ in range(STEPS)]
    wanted, losses = linen_steps(
        model, variables, list(zip(images, labels, strict=True)), keys, optimizer
    )
    trained = nnx.Optimizer(bridged, optimizer, wrt=nnx.Param)
    found = [nnx_step(bridged, trained, *batch) for batch in zip(images, labels, strict=True)]
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    assert len({*map(float, found)}) == STEPS
    for kind, name in ((nnx.Param, "params"), (nnx.BatchStat, "batch_stats")):
        values = nnx.to_pure_dict(nnx.state(bridged, kind))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
            values,
            wanted[name],
        )
    logits = nnx.jit(lambda model, images: model(images))(bridged, images[0])
    np.testing.assert_allclose(
        logits, jax.jit(model.apply)(wanted, jnp.asarray(images[0])), rtol=1e-4, atol=1e-5
    )

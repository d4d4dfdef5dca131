from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.models.dsn import DSN
from jaxcnn.models.nin import NiN

SMALL = {
    "num_classes": 5,
    "features": ((8, 6, 4), (8, 6, 4), (8, 6)),
    "kernel_sizes": (5, 5, 3),
    "dropout_rate": 0.0,
}
HEADS = {"aux1_head", "aux2_head", "aux3_head"}
X = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)


@pytest.mark.slow
def test_companions_see_the_first_convolutions_before_their_relu(start):
    model = DSN(**SMALL, aux_heads=True)
    variables = start(model, X)
    params = variables["params"]
    apply = partial(model.apply, capture_intermediates=True, mutable=["intermediates", "aux"])
    _, state = apply(variables, X)
    assert set(state["aux"]) == {"aux1", "aux2", "aux3"}
    for i, side in ((1, 16), (2, 8), (3, 4)):
        maps = state["intermediates"][f"stage{i}"]["conv1"]["__call__"][0]
        assert maps.shape == (2, side, side, 8)
        assert maps.min() < 0
        head = params[f"aux{i}_head"]["classifier"]
        expected = maps.reshape(2, -1) @ head["kernel"] + head["bias"][None]
        np.testing.assert_allclose(state["aux"][f"aux{i}"], expected, rtol=1e-4, atol=1e-5)


def test_companions_only_train():
    model = DSN(**SMALL, aux_heads=True)
    variables = jax.eval_shape(model.init, jax.random.key(0), X)
    trained = jax.eval_shape(partial(model.init, train=True), jax.random.key(0), X)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, trained)
    assert set(variables["params"]) == {"stage1", "stage2", "stage3", "classifier"} | HEADS
    _, state = jax.eval_shape(partial(model.apply, train=True, mutable=["aux"]), variables, X)
    assert {logits.shape for logits in jax.tree.leaves(state)} == {(2, 5)}
    without = {"params": {k: v for k, v in variables["params"].items() if k not in HEADS}}
    assert jax.eval_shape(model.apply, without, X).shape == (2, 5)
    for fields in ({}, {"aux_heads": True, "num_classes": 0}):
        other = jax.eval_shape(DSN(**{**SMALL, **fields}).init, jax.random.key(0), X)
        assert not set(other["params"]) & HEADS


def test_without_companions_it_is_nin_with_logits_of_either_sign(start):
    dsn, nin = DSN(**SMALL), NiN(**SMALL, final_act=False)
    variables = start(dsn, X)
    logits = dsn.apply(variables, X)
    np.testing.assert_array_equal(logits, nin.apply(variables, X))
    assert logits.min() < 0 < logits.max()
    published = {"aux_heads", "final_act", "parent", "name"}
    theirs, ours = vars(create_model("nin_cifar10")), vars(create_model("dsn_cifar10"))
    same = (theirs.keys() & ours.keys()) - published
    assert all(theirs[k] == ours[k] for k in same if not k.startswith("_"))


@pytest.mark.exhaustive
def test_gradients_of_a_companion_reach_its_own_stage_and_no_later_one(start):
    model = DSN(**SMALL, aux_heads=True)
    variables = start(model, X)

    def second(params):
        _, state = model.apply({"params": params}, X, train=True, mutable=["aux"])
        return jnp.sum(state["aux"]["aux2"] ** 2)

    grads = jax.grad(second)(variables["params"])
    reached = {k for k, v in grads.items() if any(np.any(g != 0) for g in jax.tree.leaves(v))}
    assert reached == {"stage1", "stage2", "aux2_head"}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_companions_have_logits_of_float32(dtype):
    model = DSN(**SMALL, aux_heads=True, dtype=dtype)
    variables = jax.eval_shape(model.init, jax.random.key(0), X)
    _, state = jax.eval_shape(partial(model.apply, mutable=["aux"]), variables, X)
    assert {logits.dtype for logits in jax.tree.leaves(state)} == {jnp.dtype("float32")}

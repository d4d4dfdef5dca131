"""The same weights give the same logits, gradients and training as in torchvision and timm."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from jaxcnn.interop import from_torch, to_torch
from tests.compiling import AS_USERS
from tests.parity import references
from tests.parity.references import relative_error

# Left to `pytest -m exhaustive`: what another reference of the same family shows with less work.
EXHAUSTIVE = {
    *(name for name in references.names("forward") if name.endswith(("_224", "_299"))),
    "densenet121_64",
    "googlenet_64",
    "resnet18_grad64",
    "vgg_small_traj28",
    "inception_v4_96",
    "resnetv2_50_64",
    "alexnet_224",
    "inception_v3_96",
    "mobilenetv1_100_grad64",
    "resnext_small_grad64",
    "vgg_small_grad28",
    "resnet18_traj64",
    "resnext50_32x4d_64",
    "wide_resnet50_2_64",
    "mobilenetv1_100_64",
    "densenet121_grad64",
    "googlenet_grad64",
    "resnetv2_small_traj64",
    "inception_resnet_v2_96",
    "vgg11_bn_64",
    "vgg11_bn_grad224",
    "alexnet_grad224",
    "inception_v3_grad96",
    "inception_v4_grad96",
    "inception_resnet_v2_grad96",
    "resnet18_traj64_gentle",
    "alexnet_traj64",
    "googlenet_traj64",
    "mobilenetv1_100_traj64",
    "resnext_small_traj64",
}

# Of whose weights the names have the form of another one's.
LIKE_OTHERS = {
    "vgg11_224",
    "vgg11_bn_grad224",
    "inception_v4_299",
    "inception_v3_299",
    "inception_resnet_v2_96",
    "alexnet_224",
    "vgg16_bn_224",
    "resnet18_224",
    "resnext50_32x4d_224",
    "wide_resnet50_2_224",
}

# Compiled as a user's programs are, unlike those of other tests; see `tests.conftest`.
jit = partial(jax.jit, compiler_options=AS_USERS)


def marked(kind):
    return [
        pytest.param(name, marks=pytest.mark.exhaustive if name in EXHAUSTIVE else ())
        for name in references.names(kind)
    ]


def network(name, dtype=jnp.float32, **fields):
    entry = references.entry(name)
    return from_torch(
        references.state(name),
        entry["library"],
        entry["model"],
        dtype=dtype,
        param_dtype=dtype,
        **overrides(entry),
        **fields,
    )


def overrides(entry):
    """Fields of our network, for members that have no name."""
    given = entry.get("overrides", {})
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}


def without_dropout(name):
    """Fields for the training mode of the references, which drop nothing: as timm does itself."""
    model, _ = network(name)
    asked = references.entry(name)["library"] != "timm" and hasattr(model, "dropout_rate")
    return {"dropout_rate": 0.0} if asked else {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision", [pytest.param("float32", marks=pytest.mark.exhaustive), "float64"]
)
@pytest.mark.parametrize("name", marked("forward"))
def test_logits(name, precision):
    entry, expected = references.entry(name), references.arrays(name)
    with jax.enable_x64(precision == "float64"):
        model, variables = network(name, jnp.dtype(precision))
        images = references.images(entry["input_shape"], 0).astype(precision)
        mutable = ["aux"] if "aux1" in expected else []
        logits, sown = jit(lambda v, x: model.apply(v, x, mutable=mutable))(variables, images)
    got = {"logits": logits, **sown.get("aux", {})}
    tolerance = entry["tol" if precision == "float32" else "tol_x64"]
    for key, value in got.items():
        assert value.dtype == precision
        assert relative_error(value, expected[key]) <= tolerance, key
    assert set(got) == {key for key in expected if not key.startswith("stage")}


def gradients(model, variables, images, labels):
    """Returns (loss, logits, updated statistics), gradients."""

    def loss(params):
        logits, updates = model.apply(
            {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), (logits, updates)

    return jax.value_and_grad(loss, has_aux=True)(variables["params"])


@pytest.mark.slow
@pytest.mark.parametrize("name", marked("grad"))
def test_gradients(name):
    entry, expected = references.entry(name), references.arrays(name)
    with jax.enable_x64(True):
        model, variables = network(name, jnp.float64, **without_dropout(name))
        images = references.images(entry["input_shape"], 0).astype(np.float64)
        step = jit(lambda v, x: gradients(model, v, x, jnp.arange(8)))
        (loss, (logits, updates)), grads = step(variables, images)
        named = to_torch(
            {"params": grads, **updates}, entry["library"], entry["model"], **overrides(entry)
        )

    assert relative_error(loss, expected["loss"]) <= entry["tol_grad_x64"]
    assert relative_error(logits, expected["logits"]) <= entry["tol_x64"]
    for key, norm, along in zip(
        entry["params"], expected["grad_norm"], expected["grad_proj"], strict=True
    ):
        if key in entry["grad_zero"]:
            continue
        gradient = named[key]
        direction = references.normal(f"grad:{key}", gradient.shape)
        assert abs(np.linalg.norm(gradient) - norm) <= entry["tol_grad_x64"] * norm, key
        assert abs(np.vdot(direction, gradient) - along) <= entry["tol_grad_x64"] * norm, key
    for end in ("first", "last") if "bn_first" in entry else ():
        for ours, theirs in (("mean", "mean"), ("var", "var_biased")):
            key = f"{entry[f'bn_{end}']}.running_{ours}"
            assert relative_error(named[key], expected[f"bn_{end}_{theirs}"]) <= entry["tol_x64"]


@pytest.mark.slow
@pytest.mark.parametrize("name", marked("trajectory"))
def test_ten_steps_of_training(name):
    entry, expected = references.entry(name), references.arrays(name)
    sgd = entry["sgd"]
    optimizer = optax.chain(
        optax.add_decayed_weights(sgd["weight_decay"]),
        optax.sgd(sgd["lr"], sgd["momentum"], nesterov=sgd["nesterov"]),
    )
    with jax.enable_x64(True):
        model, variables = network(name, jnp.float64, **without_dropout(name))

        @jit
        def step(variables, opt_state, images, labels):
            (loss, (_, stats)), grads = gradients(model, variables, images, labels)
            updates, opt_state = optimizer.update(grads, opt_state, variables["params"])
            params = optax.apply_updates(variables["params"], updates)
            return {"params": params, **stats}, opt_state, loss

        opt_state, losses = optimizer.init(variables["params"]), []
        for number in range(sgd["steps"]):
            images = references.images(entry["input_shape"], number).astype(np.float64)
            labels = (jnp.arange(8) + number) % 10
            variables, opt_state, loss = step(variables, opt_state, images, labels)
            losses.append(float(loss))
        logits = jit(model.apply)(variables, images)

    for got, loss, tolerance in zip(
        losses, expected["losses"], entry["tol_losses_x64"], strict=True
    ):
        assert abs(got - loss) <= tolerance * abs(loss)
    assert relative_error(logits, expected["final_logits_biased_var"]) <= entry["tol_x64"]


def test_weights_and_images_are_those_of_the_references():
    for name in ("resnet18_64", "mobilenetv1_100_64"):
        entry = references.entry(name)
        images = references.images(entry["input_shape"], 0).transpose(0, 3, 1, 2)
        assert references.checksum([images]) == entry["images_crc32"]


WEIGHTS = sorted({references.entry(name)["state"] for name in references.names("forward")})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.exhaustive if name in LIKE_OTHERS else ())
        for name in WEIGHTS
    ],
)
def test_weights_come_back_bit_by_bit(name):
    entry, state = references.entry(name), references.state(name)
    counters = {"some.num_batches_tracked": np.zeros((), np.int64)}
    _, variables = from_torch(
        state | counters, entry["library"], entry["model"], **overrides(entry)
    )
    back = to_torch(variables, entry["library"], entry["model"], **overrides(entry))
    assert sorted(back) == sorted(state)
    for key, value in back.items():
        assert value.dtype == np.float32
        assert value.flags.c_contiguous
        np.testing.assert_array_equal(value, state[key], strict=True)
    leaves = traverse_util.flatten_dict(variables)
    assert sum(leaf.size for leaf in leaves.values()) == sum(a.size for a in state.values())

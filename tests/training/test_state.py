import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.config import config_dict
from jaxcnn.config.build import make_optimizer
from jaxcnn.models.densenet import DenseNet
from jaxcnn.models.lenet import LeNet5Modern
from jaxcnn.run import distributed
from jaxcnn.training.initialize import prepare_state
from jaxcnn.training.state import (
    count_parameters,
    initial_state,
    leaf_digests,
    state_sha256,
)
from tests.marks import slow

SHAPE = (16, 16, 1)


def small_densenet():
    return DenseNet(num_classes=5, growth_rate=4, stage_sizes=(1, 1), cifar_stem=True)


def optimizer_of(name="sgd", schedule="cosine"):
    config = config_dict.base_config()
    config.optimizer.name, config.schedule.name = name, schedule
    return make_optimizer(config, total_steps=10, steps_per_epoch=10)


def fresh(model, optimizer=None, averaged=False, seed=0):
    initial = initial_state(model, optimizer or optimizer_of(), SHAPE, averaged)
    return prepare_state(initial, jax.random.key(seed))()


@pytest.mark.slow
@pytest.mark.parametrize("many", [slow(0), 2000], ids=["one by one", "compiled"])
@pytest.mark.parametrize("model", [small_densenet(), LeNet5Modern()], ids=["densenet", "lenet"])
def test_a_fresh_state_has_the_values_of_the_model_s_own_init(model, many, monkeypatch):
    monkeypatch.setattr("jaxcnn.training.initialize.MANY_LEAVES", many)
    state = fresh(model, seed=3)
    plain = model.init(jax.random.key(3), jnp.zeros((1, *SHAPE)))

    def close(a, b):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)

    jax.tree.map(close, state.params, plain["params"])
    jax.tree.map(close, state.batch_stats, plain.get("batch_stats", {}))
    chex.assert_trees_all_equal(state.opt_state, optimizer_of().init(state.params))
    assert state.step == 0
    assert state.ema is None
    np.testing.assert_array_equal(state.rng, jax.random.key_data(jax.random.key(3)))


@pytest.mark.slow
def test_different_seeds_give_different_parameters():
    kernels = [fresh(LeNet5Modern(), seed=seed).params["c1"]["kernel"] for seed in (0, 1)]
    assert not np.allclose(*kernels)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize(
    ("name", "schedule"), [("sgd", "plateau"), ("adamw", "cosine"), ("lars", "cosine")]
)
def test_what_is_saved_has_the_promised_form(name, schedule, averaged):
    initial = initial_state(small_densenet(), optimizer_of(name, schedule), SHAPE, averaged)
    form = initial.state_shape
    real = distributed.fetch(distributed.replicate(prepare_state(initial, jax.random.key(0))()))
    assert jax.tree.structure(form) == jax.tree.structure(real)

    def same(promised, leaf):
        assert isinstance(promised, jax.ShapeDtypeStruct)
        assert (promised.shape, promised.dtype) == (leaf.shape, leaf.dtype)

    jax.tree.map(same, form, real)


@pytest.mark.slow
def test_averages_start_at_the_weights_and_the_state_can_be_donated():
    state = fresh(small_densenet(), averaged=True)
    pairs = zip(jax.tree.leaves(state.variables()), jax.tree.leaves(state.ema), strict=True)
    for leaf, average in pairs:
        np.testing.assert_array_equal(leaf, average)
    step = distributed.pmap_train_step(lambda state, batch: (state.replace(step=state.step + 1), 0))
    state, _ = step(distributed.replicate(state), jnp.zeros((4, 1)))  # no buffer handed over twice
    assert distributed.fetch(state.step) == 1


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [True, False])
def test_a_step_that_was_compiled_ahead_is_not_compiled_again(ahead, caplog):
    def add(state, batch, shift, nothing):
        assert nothing is None
        total = jax.lax.pmean(batch["image"].sum(), distributed.AXIS)
        return state.replace(step=state.step + 1), {"loss": total + shift.sum()}

    shift = distributed.replicate(np.array([3.0, 4.0], np.float32))
    step = distributed.pmap_train_step(add, shift, None)
    other = distributed.pmap_eval_step(add, shift, None)
    for one, again in zip(
        step.fixed[0].addressable_shards, other.fixed[0].addressable_shards, strict=True
    ):
        assert one.data.unsafe_buffer_pointer() == again.data.unsafe_buffer_pointer()  # no copy
    initial = initial_state(LeNet5Modern(), optimizer_of(), SHAPE)
    batch = distributed.shard({"image": np.ones((8, 2), np.float32)})
    state = prepare_state(initial, jax.random.key(0))
    if ahead:
        distributed.compile_train_step(step, initial.state_shape, distributed.shapes(batch))
    state = distributed.replicate(state())
    with jax.log_compiles():
        for _ in range(2):
            state, metrics = step(state, batch)
    compilations = [line for line in caplog.messages if "Finished XLA compilation" in line]
    assert any("step_in_place" in line for line in compilations) is not ahead
    assert (distributed.fetch(state.step), metrics["loss"]) == (2, 11)


def test_a_state_that_cannot_be_compiled_ends_the_run(monkeypatch):
    def fail(*given, **fields):
        raise MemoryError("too large")

    initial = initial_state(LeNet5Modern(), optimizer_of(), SHAPE)
    monkeypatch.setattr(jax.stages.Lowered, "compile", fail)
    state = prepare_state(initial, jax.random.key(0))
    with pytest.raises(MemoryError, match="too large"):
        state()


@pytest.mark.slow
def test_variables_are_raw_or_averaged():
    state = fresh(small_densenet(), averaged=True)
    state = state.replace(ema=jax.tree.map(lambda x: x + 1, state.ema))
    raw, averaged = state.variables(), state.variables(averaged=True)
    assert raw.keys() == averaged.keys() == {"params", "batch_stats"}
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a + 1, b), raw, averaged)


def test_parameters_are_counted_as_scalars():
    params = nn.Dense(5).init(jax.random.key(0), jnp.zeros((1, 7)))["params"]
    assert count_parameters(params) == 7 * 5 + 5
    assert count_parameters({"scalar": jnp.zeros(()), "none": None}) == 1


def example_variables():
    return {
        "params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.ones(1)},
        "batch_stats": {"mean": np.zeros((), np.float32)},
    }


def with_leaf(change):
    variables = example_variables()
    variables["params"]["kernel"] = change(variables["params"]["kernel"])
    return variables


def flip_one_bit(array):
    changed = array.copy()
    changed.view(np.uint32)[1, 2] ^= 1
    return changed


def renamed():
    variables = example_variables()
    variables["params"]["weight"] = variables["params"].pop("kernel")
    return variables


@pytest.mark.parametrize(
    "other",
    [
        with_leaf(flip_one_bit),
        with_leaf(lambda x: x.view(np.int32)),
        with_leaf(lambda x: x.reshape(3, 2)),
        with_leaf(lambda x: x.reshape(1, 2, 3)),
        with_leaf(lambda x: x.T.copy().T * -1),
        renamed(),
        {"params": example_variables()["params"]},
    ],
    ids=["bit", "dtype", "shape", "rank", "sign", "name", "missing"],
)
def test_any_difference_changes_the_digest(other):
    assert state_sha256(other) != state_sha256(example_variables())


@pytest.mark.parametrize(
    "same",
    [
        {key: example_variables()[key] for key in ("batch_stats", "params")},
        with_leaf(lambda x: x.T.copy().T),  # other strides
        with_leaf(jnp.asarray),
    ],
    ids=["order", "strides", "jax"],
)
def test_equal_bits_have_equal_digests(same):
    assert state_sha256(same) == state_sha256(example_variables())


def test_signed_zero_and_quiet_nan_are_bits_like_others():
    assert leaf_digests({"x": np.float32([0.0])}) != leaf_digests({"x": np.float32([-0.0])})
    nans = np.uint32([0x7FC00000, 0x7FC00001]).view(np.float32)
    assert leaf_digests({"x": nans[:1]}) != leaf_digests({"x": nans[1:]})


def test_digests_are_by_path_and_read_bfloat16():
    tree = {"a": (np.ones(2, jnp.bfloat16), {"b": np.zeros((), np.int32)})}
    assert set(leaf_digests(tree)) == {"a/0", "a/1/b"}

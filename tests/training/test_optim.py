from fractions import Fraction

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.config import build, config_dict
from jaxcnn.errors import UserError
from jaxcnn.training.fields import OptimizerConfig
from jaxcnn.training.optim import decay_mask, limit_rms, make_transform

RATES = (0.1, 0.1, 0.02, 0.05, 0.3)
SHAPES = {"conv/kernel": (3, 2), "conv/bias": (2,), "norm/scale": (2,)}
DECAY, MOMENTUM, EPSILON = 0.01, 0.9, 1e-3


def nested(flat):
    tree = {}
    for path, value in flat.items():
        module, name = path.split("/")
        tree.setdefault(module, {})[name] = jnp.asarray(value, jnp.float32)
    return tree


def transform_of(name, patterns=("kernel$",), **options):
    usual = {
        "momentum": MOMENTUM,
        "rms_decay": 0.8,
        "epsilon": EPSILON,
        "beta2": 0.99,
        "weight_decay": DECAY,
    }
    return make_transform(OptimizerConfig(name=name, decay_mask=patterns, **(usual | options)))


def trajectory(transform):
    """Parameters after each of the steps, gradients being the same for every optimizer."""
    rng = np.random.default_rng(0)
    params = nested({path: rng.normal(size=shape) for path, shape in SHAPES.items()})

    @jax.jit  # the rate is an argument, as in a training step
    def update(params, state, grads, rate):
        updates, state = transform(rate).update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    state, visited = transform(0.0).init(params), []
    form = jax.tree.structure(state)
    for rate in RATES:
        grads = nested({path: rng.normal(size=shape) for path, shape in SHAPES.items()})
        params, state = update(params, state, grads, rate)
        assert jax.tree.structure(state) == form
        visited.append({p: np.asarray(params[p.split("/")[0]][p.split("/")[1]]) for p in SHAPES})
    return visited


def reference(rule):
    """The same with `rule(memory, w, g, rate, step, decays) -> w` in float64, leaf by leaf."""
    rng = np.random.default_rng(0)
    params = {path: rng.normal(size=shape) for path, shape in SHAPES.items()}
    memories = {path: {} for path in SHAPES}
    visited = []
    for step, rate in enumerate(RATES, 1):
        for path, shape in SHAPES.items():
            grad = rng.normal(size=shape)
            decays = path.endswith("kernel")
            params[path] = rule(memories[path], params[path], grad, rate, step, decays)
        visited.append(dict(params))
    return visited


def sgd(nesterov):
    def rule(memory, w, g, rate, step, decays):
        g = g + DECAY * decays * w
        v = memory["v"] = MOMENTUM * memory.get("v", 0) + g
        return w - rate * (g + MOMENTUM * v if nesterov else v)

    return rule


def plain_sgd(memory, w, g, rate, step, decays):
    return w - rate * (g + DECAY * decays * w)


def tensorflow_rmsprop(memory, w, g, rate, step, decays):
    g = g + DECAY * decays * w
    ms = memory["ms"] = 0.8 * memory.get("ms", 1.0) + 0.2 * g**2
    mom = memory["mom"] = MOMENTUM * memory.get("mom", 0) + rate * g / np.sqrt(ms + EPSILON)
    return w - mom


def adam_direction(memory, g, step):
    m = memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    v = memory["v"] = 0.99 * memory.get("v", 0) + 0.01 * g**2
    return (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + EPSILON)


def adam(memory, w, g, rate, step, decays):
    return w - rate * adam_direction(memory, g + DECAY * decays * w, step)


def adamw(memory, w, g, rate, step, decays):
    return w - rate * (adam_direction(memory, g, step) + DECAY * decays * w)


def lamb(memory, w, g, rate, step, decays):
    direction = adam_direction(memory, g, step) + DECAY * decays * w
    return w - rate * np.linalg.norm(w) / np.linalg.norm(direction) * direction


def lars(memory, w, g, rate, step, decays):
    g = g + DECAY * decays * w
    trust = 0.001 * np.linalg.norm(w) / np.linalg.norm(g) if decays else 1
    v = memory["v"] = MOMENTUM * memory.get("v", 0) + rate * trust * g
    return w - v


@pytest.mark.parametrize(
    ("name", "options", "rule"),
    [
        ("sgd", {}, sgd(nesterov=False)),
        ("sgd", {"nesterov": True}, sgd(nesterov=True)),
        ("sgd", {"momentum": 0.0}, plain_sgd),
        ("rmsprop", {}, tensorflow_rmsprop),
        ("adam", {}, adam),
        ("adamw", {}, adamw),
        ("lars", {}, lars),
        ("lamb", {}, lamb),
    ],
    ids=["sgd", "nesterov", "no momentum", "rmsprop", "adam", "adamw", "lars", "lamb"],
)
def test_an_optimizer_follows_its_published_rule_under_a_changing_rate(name, options, rule):
    found, expected = trajectory(transform_of(name, **options)), reference(rule)
    for step, (here, there) in enumerate(zip(found, expected, strict=True)):
        for path in SHAPES:
            np.testing.assert_allclose(
                here[path], there[path], rtol=2e-5, atol=1e-6, err_msg=f"{path} after step {step}"
            )


@pytest.mark.parametrize(
    ("patterns", "decaying"),
    [
        (("kernel$",), {"stem/conv1/kernel", "classifier/kernel"}),
        (("",), {"stem/conv1/kernel", "stem/norm/scale", "classifier/kernel", "classifier/bias"}),
        ((), set()),
        (("^classifier/", "scale"), {"classifier/kernel", "classifier/bias", "stem/norm/scale"}),
    ],
)
def test_what_a_pattern_finds_decays(patterns, decaying):
    leaf = jnp.zeros(())
    params = {
        "stem": {"conv1": {"kernel": leaf}, "norm": {"scale": leaf}},
        "classifier": {"kernel": leaf, "bias": leaf},
    }
    mask = decay_mask(patterns)(params)
    paths = jax.tree_util.tree_leaves_with_path(mask)
    assert {
        jax.tree_util.keystr(path, simple=True, separator="/") for path, decays in paths if decays
    } == decaying


def test_clipping_scales_the_whole_gradient_and_not_the_decay():
    params = {"a": {"kernel": jnp.array([1.0, 2.0])}, "b": {"bias": jnp.array([5.0])}}
    grads = {"a": {"kernel": jnp.array([3.0, 0.0])}, "b": {"bias": jnp.array([4.0])}}  # norm 5
    transform = transform_of("sgd", momentum=0.0, weight_decay=0.1, clip_norm=1.0)(0.5)
    updates, _ = transform.update(grads, transform.init(params), params)
    np.testing.assert_allclose(updates["a"]["kernel"], [-0.5 * (0.6 + 0.1), -0.5 * 0.2], rtol=1e-6)
    np.testing.assert_allclose(updates["b"]["bias"], [-0.5 * 0.8], rtol=1e-6)


def test_a_gradient_below_the_limit_is_left_alone():
    params = {"kernel": jnp.array([1.0])}
    transform = transform_of("sgd", momentum=0.0, weight_decay=0.0, clip_norm=5.0)(1.0)
    updates, _ = transform.update({"kernel": jnp.array([4.0])}, transform.init(params), params)
    np.testing.assert_array_equal(updates["kernel"], [-4.0])


FACTORS = (("bias$", 2.0), ("^conv/", 0.5), ("scale", 0.0))
PRODUCTS = {"conv/kernel": 0.5, "conv/bias": 1.0, "norm/scale": 0.0}


@pytest.mark.parametrize(
    ("name", "rule"), [("sgd", sgd(nesterov=True)), ("rmsprop", tensorflow_rmsprop), ("lars", lars)]
)
def test_a_factor_is_another_learning_rate_of_its_parameters(name, rule):
    """Under a momentum that the rate enters, too."""
    nesterov = name == "sgd"
    found = trajectory(transform_of(name, nesterov=nesterov, lr_multipliers=FACTORS))
    for path, factor in PRODUCTS.items():

        def scaled(memory, w, g, rate, step, decays, factor=factor):
            return rule(memory, w, g, factor * rate, step, decays)

        for here, there in zip(found, reference(scaled), strict=True):
            np.testing.assert_allclose(here[path], there[path], rtol=2e-5, atol=1e-6)


def test_factors_that_cannot_be_are_answered():
    message = "lr_multipliers=.* is not a tuple, each value of it .regular expression, factor"
    for factors in (
        (("kernel[", 2.0),),
        (("bias$", -1.0),),
        (("bias$", "2"),),
        ("bias$", 2.0),
    ):
        with pytest.raises(UserError, match=message):
            transform_of("sgd", lr_multipliers=factors)(0.1)
    transform = transform_of("sgd", lr_multipliers=(("offset", 2.0),))(0.1)
    with pytest.raises(UserError, match=r"no parameter matches 'offset', and one is 'conv/bias'"):
        transform.init(nested({path: np.zeros(shape) for path, shape in SHAPES.items()}))


def filters(seed=0):
    rng = np.random.default_rng(seed)
    sizes = np.array([0.05, 0.2, 1.0, 0.0])  # one filter of each
    return {
        "first": {"kernel": jnp.asarray(rng.normal(size=(3, 3, 2, 4)) * sizes, jnp.float32)},
        "last": {"kernel": jnp.ones((2, 4)), "bias": jnp.ones(4)},
    }


def test_filters_above_the_limit_are_scaled_to_it_after_the_update():
    params, grads = filters(), jax.tree.map(jnp.ones_like, filters())
    options = {"momentum": 0.0, "weight_decay": 0.0}
    mask = ("^first/.*kernel$",)
    limited = transform_of("sgd", **options, max_rms=0.1, max_rms_mask=mask)(0.01)
    free = transform_of("sgd", **options)(0.01)

    def after(transform):
        updates, _ = transform.update(grads, transform.init(params), params)
        return jax.tree.map(lambda w, u: np.asarray(w + u), params, updates)

    found, expected = after(limited), after(free)
    rms = np.sqrt((expected["first"]["kernel"] ** 2).mean((0, 1, 2)))
    assert (rms > 0.1).tolist() == [False, True, True, False]
    expected["first"]["kernel"] = expected["first"]["kernel"] * np.minimum(1, 0.1 / rms)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-7)
    # By default kernels are filters and nothing else is.
    found = after(transform_of("sgd", **options, max_rms=0.1)(0.01))
    np.testing.assert_allclose(found["last"]["kernel"], 0.1, rtol=1e-6)
    np.testing.assert_allclose(found["last"]["bias"], 0.99, rtol=1e-6)


def test_a_filter_of_zeros_has_no_strange_gradient():
    params = jax.tree.map(jnp.zeros_like, filters())
    transform = transform_of("sgd", max_rms=0.1)(0.1)
    updates, _ = transform.update(params, transform.init(params), params)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates))


def test_a_config_limits_filters_and_varies_the_rate():
    config = config_dict.base_config()
    config.optimizer.update(momentum=0.0, weight_decay=0.0, max_rms=0.1)
    config.optimizer.update(max_rms_mask=("^first/",), lr_multipliers=(("bias$", 2.0),))
    optimizer = build.make_optimizer(config, total_steps=9, steps_per_epoch=Fraction(3))
    params = filters()
    grads = jax.tree.map(jnp.ones_like, params)
    transform = optimizer.transform(0.01)
    updates, _ = transform.update(grads, transform.init(params), params)
    new = jax.tree.map(jnp.add, params, updates)
    assert float(jnp.abs(new["first"]["kernel"]).max()) < 0.5
    np.testing.assert_allclose(new["last"]["bias"], 0.98, rtol=1e-6)
    np.testing.assert_allclose(new["last"]["kernel"], 0.99, rtol=1e-6)
    with pytest.raises(UserError, match=r"max_rms=-1\.0"):
        OptimizerConfig(max_rms=-1.0)


def test_unknown_names_and_patterns_are_answered():
    with pytest.raises(UserError, match=r"'rmsprob'.*rmsprop"):
        transform_of("rmsprob")
    with pytest.raises(UserError, match=r"decay_mask.*kernel\["):
        decay_mask(("kernel[",))


def plateau_optimizer(**schedule):
    config = config_dict.base_config()
    config.schedule.update(
        name="plateau", learning_rate=2.0, factor=0.1, patience=2, threshold=0.01, max_drops=2
    )
    config.schedule.update(**schedule)
    return build.make_optimizer(config, total_steps=100, steps_per_epoch=Fraction(10))


def plateau_rates(optimizer, values):
    state = optimizer.init({"kernel": jnp.zeros(3)})
    found = []
    for value in values:
        state = {**state, "plateau": optimizer.observe(state["plateau"], value)}
        found.append(float(optimizer.rate(7, state)))
    return found


@pytest.mark.slow
def test_a_plateau_drops_after_patience_evaluations_without_improvement():
    #        best  no     no (2)  best  no   best  no    no (2)
    values = [0.5, 0.495, 0.5, 0.4, 0.4, 0.3, 0.3, 0.35]
    found = plateau_rates(plateau_optimizer(), values)
    assert found == pytest.approx([2, 2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.02])


@pytest.mark.slow
def test_a_plateau_drops_at_most_so_often():
    found = plateau_rates(plateau_optimizer(), [0.5] * 12)
    assert found == pytest.approx([2, 2, 0.2, 0.2] + [0.02] * 8)


def test_a_plateau_does_not_count_a_value_that_is_not_a_number_as_improvement():
    found = plateau_rates(plateau_optimizer(), [0.5, float("nan"), float("nan"), 0.4])
    assert found == pytest.approx([2, 2, 0.2, 0.2])


def test_only_a_plateau_can_observe():
    with pytest.raises(ValueError, match="watches no metric"):
        plateau_optimizer(name="cosine").observe((), 0.5)


@pytest.mark.parametrize(("reference_batch", "rate"), [(0, 0.1), (64, 0.1), (256, 0.025)])
def test_the_rate_is_scaled_from_the_reference_batch(reference_batch, rate):
    optimizer = plateau_optimizer(
        name="constant", learning_rate=0.1, reference_batch=reference_batch
    )
    assert float(optimizer.rate(0, {})) == pytest.approx(rate)


def test_a_limit_of_no_filter_is_refused():
    transform = limit_rms(0.1, decay_mask(("^nothere",)))
    with pytest.raises(UserError, match="max_rms_mask"):
        transform.init({"conv": {"kernel": jnp.ones((3, 3, 1, 2))}})

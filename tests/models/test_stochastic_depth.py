from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from jaxcnn import create_model
from jaxcnn.analysis.lesion import lesioned
from jaxcnn.errors import UserError
from jaxcnn.layers.shortcut import average_and_pad
from jaxcnn.models.resnet import cifar_resnet
from jaxcnn.models.stochastic_depth import cifar_stochastic_depth
from tests.marks import slow

close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
small = {"stage_sizes": (1, 2), "width": 4, "num_classes": 5}
PATHS = ("stage1/block1", "stage2/block1", "stage2/block2")


def images(batch=4):
    return np.random.default_rng(1).normal(size=(batch, 8, 8, 3)).astype(np.float32)


def draw(model, key):
    return model.apply({}, method="alive", rngs={"drop_path": key})


def key_of(model, *alive):
    """A key under which exactly these units survive."""
    draws = jax.jit(jax.vmap(partial(draw, model)))
    keys = jax.random.split(jax.random.key(0), 200)
    return keys[int(np.argmax(np.all(np.asarray(draws(keys)) == alive, axis=1)))]


def training(model, variables, x, key):
    """Logits and new statistics."""
    logits, state = model.apply(
        variables, x, train=True, rngs={"drop_path": key}, mutable=["batch_stats"]
    )
    return logits, state["batch_stats"]


@pytest.mark.parametrize("survival", ["linear", "uniform"])
def test_survival_is_as_frequent_as_it_should_be(survival):
    model = cifar_stochastic_depth(20, survival_probability=0.4, survival=survival)
    keys = jax.random.split(jax.random.key(3), 10_000)
    share = np.asarray(jax.jit(jax.vmap(partial(draw, model)))(keys)).mean(0)
    units = np.arange(1, 10)
    p = 1 - units / 9 * 0.6 if survival == "linear" else np.full(9, 0.4)
    np.testing.assert_allclose(model.survival_probabilities(), p)
    assert np.all(np.abs(share - p) <= 3 * np.sqrt(p * (1 - p) / 10_000))


def test_expected_depth_of_the_paper():
    probabilities = create_model("cifar_resnet110_sd").survival_probabilities()
    assert (len(probabilities), probabilities[-1]) == (54, 0.5)
    assert sum(probabilities) == pytest.approx(40.25)


def test_a_units_draw_is_its_own():
    """Folding in the unit's number: further units change nothing for the earlier ones."""
    few, many = (
        cifar_stochastic_depth(depth, survival="uniform").clone(parent=None) for depth in (20, 32)
    )
    for seed in range(5):
        key = jax.random.key(seed)
        np.testing.assert_array_equal(draw(many, key)[:9], draw(few, key))


def test_evaluation_weights_the_branches_by_their_survival(start):
    """p·f(x) is f(x) with the last scale and bias times p."""
    model, x = cifar_stochastic_depth(20, **small), images()
    plain = cifar_resnet(20, **small, shortcut="average")
    variables = start(model, x)
    weighted = jax.tree.map(np.asarray, variables)
    for path, p in zip(PATHS, (5 / 6, 4 / 6, 3 / 6), strict=True):
        stage, block = path.split("/")
        norm = weighted["params"][stage][block]["norm2"]
        norm.update({key: p * norm[key] for key in norm})
    got, expected, unweighted = jax.jit(
        lambda: (model.apply(variables, x), plain.apply(weighted, x), plain.apply(variables, x))
    )()
    close(got, expected)
    assert np.abs(got - unweighted).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("skip_dropped", [False, True])
def test_training_adds_the_branches_that_are_alive(skip_dropped, start):
    model, x = cifar_stochastic_depth(20, **small, skip_dropped=skip_dropped), images()
    variables = start(model, x)
    key = key_of(model, False, True, False)
    left = lesioned(cifar_resnet(20, **small, shortcut="average"), (PATHS[0], PATHS[2]))
    (logits, stats), (expected, moved) = jax.jit(
        lambda: (training(model, variables, x, key), training(left, variables, x, key))
    )()
    close(logits, expected)
    before = variables["batch_stats"]
    for number, path in enumerate(PATHS):
        stage, block = path.split("/")
        then = moved[stage][block] if number == 1 else before[stage][block]
        same = np.testing.assert_array_equal if number != 1 else close
        jax.tree.map(same, stats[stage][block], then)
    assert np.any(stats["stem"]["norm"]["mean"] != before["stem"]["norm"]["mean"])
    assert np.any(stats["stage2"]["block1"]["norm1"]["mean"] != 0)


@pytest.mark.slow
def test_computing_and_skipping_are_equal(start):
    x, labels = images(), np.arange(4)
    computing, skipping = (
        cifar_stochastic_depth(20, **small, shortcut="B", skip_dropped=skip)
        for skip in (False, True)
    )
    variables = start(computing, x)

    def outcome(model, key):
        def loss(params):
            logits, stats = training(model, {**variables, "params": params}, x, key)
            return -jnp.mean(jax.nn.log_softmax(logits)[np.arange(4), labels]), stats

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    keys = [key_of(computing, *alive) for alive in ((True, False, True), (False, True, False))]
    # Keys are arguments, or the compiler would see which units are dropped.
    outcomes = jax.jit(lambda key: (outcome(computing, key), outcome(skipping, key)))
    for key in keys:
        both = outcomes(key)
        jax.tree.map(close, *both)
        alive = np.asarray(draw(computing, key))
        for _, gradients in both:
            for path, survives in zip(PATHS, alive, strict=True):
                stage, block = path.split("/")
                kernel = gradients[stage][block]["conv1"]["kernel"]
                assert np.any(kernel != 0) == survives


def convolutions(jaxpr, within=False):
    """Convolutions of a program, outside and inside of a `cond`."""
    counts = np.zeros(2, int)
    for eqn in jaxpr.eqns:
        if eqn.params.get("name") == "conv_general_dilated":
            counts[int(within)] += 1
            continue
        inside = within or eqn.primitive.name == "cond"
        for inner in jaxprs_in_params(eqn.params):
            counts += convolutions(inner, inside)
    return counts


def test_skipping_leaves_nothing_of_a_unit_outside_of_the_condition(start):
    x, key = images(), jax.random.key(0)
    found = {}
    for skip in (False, True):
        model = cifar_stochastic_depth(20, **small, skip_dropped=skip)
        variables = jax.eval_shape(model.init, key, x)
        program = jax.make_jaxpr(partial(training, model))(variables, x, key)
        found[skip] = convolutions(program.jaxpr).tolist()
    assert found == {False: [7, 0], True: [1, 6]}


@pytest.mark.slow
@pytest.mark.parametrize("skip_dropped", [False, slow(True)])
def test_replicas_drop_the_same_units(skip_dropped, start):
    model, x = cifar_stochastic_depth(20, **small, skip_dropped=skip_dropped), images(8)
    variables = start(model, x)
    keys = jax.random.split(jax.random.key(7), 6)
    devices = jax.local_devices()[:2]

    def step(variables, x, key):
        return training(model, variables, x, key), model.apply(
            {}, method="alive", rngs={"drop_path": key}
        )

    mapped = jax.pmap(step, in_axes=(None, 0, None), devices=devices)
    halves, single = x.reshape(2, 4, 8, 8, 3), jax.jit(step)
    for key in keys:
        (logits, _), alive = mapped(variables, halves, key)
        np.testing.assert_array_equal(alive[0], alive[1])
        for replica in range(2):
            close(logits[replica], single(variables, halves[replica], key)[0][0])
    draws = np.stack([np.asarray(draw(model, key)) for key in keys])
    assert len(np.unique(draws, axis=0)) > 1


def test_parameters_are_those_of_constant_depth():
    x = images()
    sd, plain = create_model("cifar_resnet110_sd", **small), cifar_resnet(20, **small)
    init = [jax.eval_shape(model.init, jax.random.key(0), x) for model in (sd, plain)]
    assert init[0] == init[1]
    assert (sd.shortcut, sd.survival_probability, sd.survival) == ("average", 0.5, "linear")
    assert create_model("cifar_resnet1202_sd").stage_sizes == (200, 200, 200)


@pytest.mark.parametrize("size", [6, 7])
def test_shortcut_averages_and_appends_zero_channels(size):
    x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
    y = np.asarray(average_and_pad(x, 5, 2))
    assert y.shape == (2, -(-size // 2), -(-size // 2), 5)
    for i, j in ((0, 0), (1, 2), (size // 2 - 1, 0), (y.shape[1] - 1, y.shape[2] - 1)):
        window = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        np.testing.assert_allclose(y[:, i, j, :3], window.mean((1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(y[..., 3:], 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"survival_probability": 0.0}, "survival_probability=0.0"),
        ({"survival_probability": 1.5}, "survival_probability=1.5"),
        ({"survival": "linar"}, "no survival 'linar'.*linear"),
        ({"shortcut": "none"}, "without shortcuts"),
    ],
)
def test_what_cannot_be_says_so(fields, message):
    with pytest.raises(UserError, match=message) as error:
        jax.eval_shape(
            create_model("cifar_resnet110_sd", **{**small, **fields}).init,
            jax.random.key(0),
            images(),
        )
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"6n\+2"):
        cifar_stochastic_depth(21)

"""What theory says of the size of signals, against draws of weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.analysis import variance
from jaxcnn.analysis.tracing.graph import trace
from jaxcnn.layers import BatchNorm
from jaxcnn.layers.initializers import he_normal
from jaxcnn.models import create_model
from tests.marks import slow

KEY = jax.random.key(0)


class Tiny(nn.Module):
    """A convolution of two weights, ReLU, and a dense layer of four."""

    act: callable = nn.relu

    @nn.compact
    def __call__(self, x, train=False):
        x = self.act(nn.Conv(1, (1, 2), use_bias=False, name="conv")(x))
        return nn.Dense(2, use_bias=False, name="classifier")(x.reshape(len(x), -1))


@pytest.mark.slow
@pytest.mark.parametrize("act", [nn.relu, nn.leaky_relu])
def test_predicted_squares_are_the_mean_over_all_signs_of_the_weights(act):
    """Exactly: each weight is ±s, all 2^6 draws are averaged, and borders are padded."""
    model, images = Tiny(act), jax.random.normal(KEY, (3, 1, 2, 1))
    signs = jnp.array(list(itertools.product([-1.0, 1.0], repeat=6)))
    labels = jnp.zeros(3, int)

    def of_draw(sign):
        kernels = 0.7 * sign[:2].reshape(1, 2, 1, 1), 1.3 * sign[2:].reshape(2, 2)
        layers = zip(("conv", "classifier"), kernels, strict=True)
        params = {name: {"kernel": kernel} for name, kernel in layers}
        return variance.predictions(model, {"params": params}, images, labels)

    found = jax.jit(jax.vmap(of_draw))(signs)
    for name, one in found.items():
        measured = np.mean(np.square(one.measured.rms))
        np.testing.assert_allclose(np.square(one.rms), measured, rtol=1e-5, err_msg=name)
    assert np.ptp(found["classifier"].measured.rms) > 0.1


class Deep(nn.Module):
    """Convolutions and ReLUs, with weights of variance `gain` by fan-in."""

    gain: float = 2.0
    depth: int = 8

    @nn.compact
    def __call__(self, x, train=False):
        scaled = nn.initializers.variance_scaling(self.gain, "fan_in", "normal")
        for number in range(self.depth):
            x = nn.relu(nn.Conv(64, (3, 3), kernel_init=scaled, name=f"conv{number}")(x))
        return nn.Dense(5, kernel_init=scaled, name="classifier")(x.mean((1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_a_deep_relu_network_is_predicted_in_both_directions(gain):
    """One prediction for each layer, from the weights alone; with gain 1 over two decades."""
    model, images, labels = Deep(gain), jax.random.normal(KEY, (8, 8, 8, 3)), jnp.arange(8) % 5
    variables = model.init(KEY, images)
    found = jax.device_get(variance.predictions(model, variables, images, labels))
    for name in (f"conv{number}" for number in range(8)):
        one = found[name]
        assert abs(np.log(one.rms / one.measured.rms)) < np.log(1.5), name
        assert abs(np.log(one.gradient_rms / one.measured.gradient_rms)) < np.log(1.5), name


@pytest.mark.slow
@pytest.mark.parametrize("act", [nn.relu, nn.leaky_relu])
@pytest.mark.parametrize("bias", [-0.5, 1.0])
def test_biases_that_are_not_zero_are_predicted(act, bias):
    """As in AlexNet, whose biases begin with 1: ReLU lets more than half of the square through."""

    class Wide(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            settings = {
                "kernel_init": nn.initializers.he_normal(),
                "bias_init": nn.initializers.constant(bias),
            }
            x = act(nn.Dense(2000, name="fc1", **settings)(x.reshape(len(x), -1)))
            return nn.Dense(5, name="classifier")(act(nn.Dense(2000, name="fc2", **settings)(x)))

    images = jax.random.normal(KEY, (8, 4, 4, 3))
    variables = Wide().init(KEY, images)
    found = jax.device_get(variance.predictions(Wide(), variables, images, jnp.arange(8) % 5))
    del found["classifier"]  # of five outputs only
    assert len(found) == 4 + ("flatten" in found)
    for name, one in found.items():
        assert one.rms == pytest.approx(float(one.measured.rms), rel=0.06), name
    for name in ("fc1", "fc2"):
        one = found[name]
        assert one.gradient_rms == pytest.approx(float(one.measured.gradient_rms), rel=0.06), name


class Pooled(nn.Module):
    """Layers of which the theory says nothing."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(8, (3, 3), kernel_init=he_normal(), name="conv1")(x)
        x = nn.relu(BatchNorm(use_running_average=not train, name="norm")(x))
        x = nn.max_pool(x, (3, 3), (2, 2))
        x = nn.Conv(8, (3, 3), kernel_init=he_normal(), name="conv2")(x)
        return nn.Dense(5, name="classifier")(nn.sigmoid(x).mean((1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("batch_statistics", [slow(False), True])
def test_behind_other_layers_squares_begin_again_with_the_measured_ones(batch_statistics):
    model, images, labels = Pooled(), jax.random.normal(KEY, (4, 8, 8, 3)), jnp.arange(4)
    variables = model.init(KEY, images)
    found = jax.device_get(
        variance.predictions(model, variables, images, labels, batch_statistics=batch_statistics)
    )
    for name in ("norm", "max_pool", "sigmoid", "global_avg_pool"):
        assert found[name].rms == pytest.approx(float(found[name].measured.rms), rel=1e-5), name
    # In front of them the gradients do, too.
    for name in ("conv1", "relu", "conv2", "sigmoid"):
        one = found[name]
        rel = 0.05 if name == "conv1" else 1e-4  # through the statistics of a batch
        assert one.gradient_rms == pytest.approx(float(one.measured.gradient_rms), rel=rel), name
    assert found["conv2"].rms == pytest.approx(float(found["conv2"].measured.rms), rel=0.3)
    assert found["conv2"].rms != pytest.approx(float(found["conv2"].measured.rms), rel=1e-5)


class Added(nn.Module):
    """A sum of two layers."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(64, (1, 1), name="conv1")(x)
        x = nn.relu(x + nn.Conv(64, (1, 1), name="conv2")(nn.relu(x)))
        return nn.Dense(5, name="classifier")(x.mean((1, 2)))


@pytest.mark.slow
def test_the_squares_of_a_sum_are_the_sum_of_the_squares():
    model, images = Added(), jax.random.normal(KEY, (4, 4, 4, 3))
    variables = model.init(KEY, images)
    found = jax.device_get(variance.predictions(model, variables, images, jnp.arange(4)))
    squares = {name: float(one.rms) ** 2 for name, one in found.items()}
    assert squares["add"] == pytest.approx(squares["conv1"] + squares["conv2"], rel=1e-5)
    assert found["add"].rms == pytest.approx(float(found["add"].measured.rms), rel=0.15)
    assert squares["relu_2"] == pytest.approx(squares["add"] / 2, rel=1e-5)


@pytest.mark.slow
def test_predictions_too_small_for_float32_are_missing():
    model, images = Deep(depth=2), jax.random.normal(KEY, (1, 4, 4, 3))
    variables = jax.tree.map(lambda leaf: 1e-8 * leaf, model.init(KEY, images))
    found = variance.predictions(model, variables, images, jnp.zeros(1, int))
    assert found["conv0"].rms > 0
    assert np.isnan(found["classifier"].rms)
    assert found["classifier"].measured.rms > 0


def test_scales_are_those_of_the_kernels():
    class Grouped(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.Conv(8, (3, 3), name="conv1")(x)
            x = nn.Conv(12, (5, 1), feature_group_count=4, name="conv2")(x)
            return nn.Dense(5, name="classifier")(x.mean((1, 2)))

    model, images = Grouped(), jnp.ones((1, 6, 6, 3))
    shapes = jax.eval_shape(model.init, KEY, images)
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, leaf.dtype), shapes)
    found = variance.scales(model, variables, images)
    assert found == {
        "conv1": (27, 72, 0.25, 6.75, 18),
        "conv2": (10, 15, 0.25, 2.5, 3.75),
        "classifier": (12, 5, 0.25, 3, 1.25),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "shape"),
    [
        pytest.param(*("lenet5", {}, (32, 32, 1)), marks=pytest.mark.exhaustive),
        pytest.param(*("alexnet", {}, (64, 64, 3)), marks=pytest.mark.exhaustive),
        pytest.param(
            "vgg11_bn",
            {"stage_sizes": (1, 2), "stage_features": (4, 8), "pool_size": (1, 1)},
            None,
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            *("cifar_resnet20", {"stage_sizes": (1, 1), "width": 4}, None),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            *("cifar_resnet110_v2", {"stage_sizes": (1, 1), "width": 4}, None),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            *("densenet_40_12", {"stage_sizes": (2, 2), "growth_rate": 4}, None),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(*("highway_fc10", {}, (28, 28, 1)), marks=pytest.mark.exhaustive),
        pytest.param(*("fractalnet20_cifar10", {}, (32, 32, 3)), marks=pytest.mark.exhaustive),
        pytest.param(*("dfn_mr1", {"stage_sizes": (1, 1)}, None), marks=pytest.mark.exhaustive),
    ],
)
def test_every_kind_of_network_has_its_predictions(name, fields, shape):
    model = create_model(name, **fields)
    images, labels = jax.random.normal(KEY, (2, *(shape or (16, 16, 3)))), jnp.arange(2)
    variables = model.lazy_init(KEY, jax.ShapeDtypeStruct(images.shape, images.dtype))
    found = variance.predictions(model, variables, images, labels, batch_statistics=True)
    assert list(found) == [node.name for node in trace(model, variables, images).nodes]
    assert np.isfinite(np.array([one[:2] for one in found.values()])).all()
    first = next(iter(variance.scales(model, variables, images)))
    assert found[first].rms == pytest.approx(float(found[first].measured.rms), rel=0.5)

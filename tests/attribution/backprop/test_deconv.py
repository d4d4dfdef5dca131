"""Deconvnet and guided backpropagation, against passes that are written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import attribution, create_model
from jaxcnn.errors import UserError
from jaxcnn.ops.pool import max_pool
from tests.attribution.backprop.explicit import Passes
from tests.attribution.small import Small, drawn, pictures
from tests.marks import slow

METHODS = {
    "deconvnet": attribution.deconvnet,
    "guided": attribution.guided_backprop,
    "gradient": attribution.pixel_gradient,
}
UNIT_METHODS = {
    "deconvnet": attribution.deconvnet_unit,
    "guided": attribution.guided_backprop_unit,
}


class ByHand(nn.Module):
    """A value minus its right neighbour, plus 0.5; ReLU; 2x2 maxima; one class."""

    num_classes: int = 1

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Conv(1, (1, 2), name="conv")(x))
        return nn.Dense(1, name="dense")(max_pool(x, (2, 2), (2, 2)).reshape(-1, 4))


BY_HAND = {
    "params": {
        "conv": {"kernel": np.float32([[[[1]], [[-1]]]]), "bias": np.float32([0.5])},
        "dense": {"kernel": np.float32([[2], [-1], [1], [3]]), "bias": np.float32([10])},
    }
}
IMAGE = np.float32(
    [
        [1, 2, -1, 0],
        [0, 3, 1, -2],
        [-1, 0, -3, -1],
        [1, -3, -3, -1],
    ]
).reshape(1, 4, 4, 1)
# Before the ReLU:  -0.5  3.5 -0.5  0.5   Switches: (0, 1) and (1, 2); (3, 0) and, of four zeros,
#                   -2.5  2.5  3.5 -1.5   the first, (2, 2). The dense layer sends 2 and -1, 1 and 3
#                   -0.5  3.5 -1.5 -0.5   there. The deconvnet drops -1, as it is negative; the
#                    4.5  0.5 -1.5 -0.5   gradient drops 3, as the ReLU was closed; guided both.
EXPECTED = {
    "deconvnet": [[0, 2, -2, 0], [0, 0, 0, 0], [0, 0, 3, -3], [1, -1, 0, 0]],
    "gradient": [[0, 2, -2, 0], [0, 0, -1, 1], [0, 0, 0, 0], [1, -1, 0, 0]],
    "guided": [[0, 2, -2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, -1, 0, 0]],
}


@pytest.mark.parametrize("method", METHODS)
def test_an_example_worked_out_by_hand(method):
    got = METHODS[method](ByHand(), BY_HAND, IMAGE)
    np.testing.assert_array_equal(got[0, ..., 0], EXPECTED[method])


@pytest.mark.parametrize(
    ("positions", "activation", "expected"),
    [
        (None, 4.5, {(3, 0): 4.5, (3, 1): -4.5}),
        ([[0, 1]], 3.5, {(1, 2): 3.5, (1, 3): -3.5}),
        ([[1, 1]], 0, {}),
    ],
)
def test_units_worked_out_by_hand(positions, activation, expected):
    """The strongest unit of the pool is the lower left one, 4.5."""
    given = None if positions is None else np.array(positions)
    got = attribution.deconvnet_unit(ByHand(), BY_HAND, IMAGE, "max_pool", 0, given)
    pixels = np.zeros((4, 4))
    for place, value in expected.items():
        pixels[place] = value
    np.testing.assert_array_equal(got.pixels[0, ..., 0], pixels)
    assert got.activations.tolist() == [activation]
    assert got.positions.tolist() == ([[1, 0]] if positions is None else positions)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "window", "lrn", "act"),
    [
        pytest.param("deconvnet", 2, False, nn.relu, marks=pytest.mark.exhaustive),
        ("deconvnet", 3, True, nn.relu),  # only the deconvnet passes LRN over
        pytest.param("deconvnet", 3, False, nn.relu6, marks=pytest.mark.exhaustive),
        ("guided", 3, False, nn.relu),
        pytest.param("guided", 2, False, nn.relu6, marks=pytest.mark.exhaustive),
        ("gradient", 3, False, nn.relu),
    ],
)
def test_the_passes_are_those_written_out(method, window, lrn, act):
    """Also with pools whose windows overlap, LRN and ReLU6; to 1e-12 in float64."""
    most = 6.0 if act is nn.relu6 else np.inf
    with jax.enable_x64(True):
        model, images = Small(window=window, lrn=lrn, act=act), pictures(size=11, dtype=np.float64)
        variables = jax.tree.map(lambda leaf: 2 * leaf, drawn(model, images))
        passes, classes = Passes(model, variables, images, most), np.array([3, 1])
        np.testing.assert_allclose(model.apply(variables, images), passes.logits, rtol=1e-12)
        expected = passes.from_logits(classes, method)
        got = METHODS[method](model, variables, images, classes)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
        assert np.count_nonzero(expected) > 20
        if method in UNIT_METHODS:
            expected = passes.from_pool([5, 2], method)
            unit = UNIT_METHODS[method](model, variables, images, "max_pool_2", np.array([5, 2]))
            tolerance = 1e-12 * np.abs(expected).max()
            np.testing.assert_allclose(unit.pixels, expected, rtol=1e-12, atol=tolerance)
            strongest = passes.pooled.max((1, 2))[[0, 1], [5, 2]]
            np.testing.assert_allclose(unit.activations, strongest, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["deconvnet", "guided"])
def test_where_all_signals_are_positive_they_are_the_gradient(method):
    model, images = Small(param_dtype=np.float32), np.abs(pictures())
    variables = jax.tree.map(np.abs, drawn(model, images))
    got = METHODS[method](model, variables, images)
    np.testing.assert_allclose(got, attribution.pixel_gradient(model, variables, images), rtol=1e-5)
    assert np.asarray(got).min() >= 0 < np.asarray(got).max()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["deconvnet", slow("guided")])
def test_an_image_in_a_batch_is_the_image_alone(method):
    model, images = Small(param_dtype=np.float32), pictures(count=3)
    variables, channels = drawn(model, images), np.array([0, 5, 2])
    together = METHODS[method](model, variables, images)
    alone = np.concatenate([METHODS[method](model, variables, one[None]) for one in images])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    units = UNIT_METHODS[method](model, variables, images, "max_pool_2", channels)
    for n, image in enumerate(images):
        one = UNIT_METHODS[method](model, variables, image[None], "max_pool_2", channels[n])
        np.testing.assert_allclose(one.pixels[0], units.pixels[n], rtol=1e-4, atol=1e-5)
        assert one.positions[0].tolist() == units.positions[n].tolist()


@pytest.mark.slow
def test_a_unit_of_a_dense_layer_is_a_class_times_its_logit():
    model, images = Small(param_dtype=np.float32), pictures()
    variables = drawn(model, images)
    logits = np.asarray(model.apply(variables, images))
    assert logits.max(-1).min() > 0
    unit = attribution.deconvnet_unit(model, variables, images, "dense", logits.argmax(-1))
    np.testing.assert_allclose(unit.activations, logits.max(-1), rtol=1e-5)
    expected = attribution.deconvnet(model, variables, images) * logits.max(-1)[:, None, None, None]
    np.testing.assert_allclose(unit.pixels, expected, rtol=1e-4, atol=1e-5)
    assert unit.positions.tolist() == [[0, 0], [0, 0]]


@pytest.mark.slow
def test_a_projection_lies_in_the_receptive_field_of_its_unit():
    """Conv 3x3, pool, conv 3x3, pool at stride 2 each: 10 pixels at stride 4, from -3 on."""
    model, images = Small(param_dtype=np.float32), pictures(size=16, count=3)
    variables = drawn(model, images)
    places = np.array([[1, 2], [0, 0], [3, 1]])
    unit = attribution.deconvnet_unit(model, variables, images, "max_pool_2", 1, places)
    boxes = attribution.unit_boxes(model, images.shape[1:], "max_pool_2", unit.positions)
    assert boxes.tolist() == [[1, 5, 11, 15], [-3, -3, 7, 7], [9, 1, 19, 11]]
    rest = np.array(unit.pixels)
    for n, (top, left, bottom, right) in enumerate(boxes):
        rest[n, max(top, 0) : bottom, max(left, 0) : right] = 0
    assert not rest.any()
    patches = attribution.cut_patches(unit.pixels, boxes)
    assert patches.shape == (3, 10, 10, 2)
    np.testing.assert_array_equal(patches[0], unit.pixels[0, 1:11, 5:15])
    np.testing.assert_array_equal(patches[1, 3:, 3:], unit.pixels[1, :7, :7])
    np.testing.assert_array_equal(patches[2, :7], unit.pixels[2, 9:, 1:11])
    assert not patches[1, :3].any()
    assert not patches[2, 7:].any()
    assert [np.abs(patch).max() > 0 for patch in patches].count(True) >= 2
    whole = attribution.unit_boxes(model, images.shape[1:], "dense", [[0, 0]])
    np.testing.assert_array_equal(attribution.cut_patches(images[:1], whole), images[:1])


def test_a_layer_of_its_own_precision_keeps_the_rules():
    """A rectifier in bfloat16 that is cast behind it."""

    class Cast(nn.Module):
        num_classes: int = 2

        @nn.compact
        def __call__(self, x, train=False):
            x = nn.relu(nn.Conv(3, (1, 1), name="conv")(x).astype(jnp.bfloat16))
            return nn.Dense(2, name="dense")(x.astype(jnp.float32).mean((1, 2)))

    images = pictures()
    variables = drawn(Cast(), images)
    kernel, dense = (variables["params"][name]["kernel"] for name in ("conv", "dense"))
    signal = np.maximum(dense[:, 1] / images[0, ..., 0].size, 0)
    got = attribution.deconvnet(Cast(), variables, images, 1)
    expected = np.broadcast_to(kernel[0, 0] @ signal, images.shape)
    np.testing.assert_allclose(got, expected, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "max_pool_3"}, "no layer 'max_pool_3': did you mean max_pool"),
        ({"channels": 6}, "max_pool_2 has no channel 6: it has 6, from 0"),
        ({"channels": [0.5, 1]}, r"channels are float32 \[2\]: give one whole number"),
        ({"positions": [[0, 0], [0, 2]]}, "max_pool_2 has no column 2: it has 2, from 0"),
        ({"positions": [[-1, 0], [0, 0]]}, "max_pool_2 has no row -1"),
        ({"positions": [0, 0]}, r"positions are int32 \[2\]: give row and column"),
    ],
)
def test_units_that_there_are_not(arguments, message):
    model, images = Small(param_dtype=np.float32), pictures()
    given = {"layer": "max_pool_2", "channels": 0, **arguments}
    with pytest.raises(UserError, match=message) as error:
        attribution.deconvnet_unit(model, drawn(model, images), images, **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", ["deconvnet", "guided"])
def test_a_network_without_relu_is_refused_in_one_line(method):
    images = pictures(size=16, channels=1)
    model = create_model("lenet5")
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    with pytest.raises(UserError, match=f"LeNet5 has no ReLU.*{method}") as error:
        jax.eval_shape(lambda variables: METHODS[method](model, variables, images), variables)
    assert "\n" not in str(error.value)
    relu = create_model("lenet5", act=nn.relu)
    jax.eval_shape(lambda variables: METHODS[method](relu, variables, images), variables)

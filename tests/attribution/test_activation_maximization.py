import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attribution.activation_maximization import Ascent, maximize, maximize_pixels
from jaxcnn.attribution.objective import Objective
from jaxcnn.errors import UserError
from tests.attribution.tiny import MAPS, Tiny, identity, linear, small
from tests.marks import slow

QUICK = Ascent(steps=25)
SHAPE = (12, 12, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        slow(Objective(2)),
        Objective(3, "relu_2"),
        pytest.param(Objective(3, "conv2", (2, 4)), marks=pytest.mark.exhaustive),
        pytest.param(
            Objective(node="conv1", direction=(1, -1, 0, 0, 0.5, 0)), marks=pytest.mark.exhaustive
        ),
    ],
    ids=["class", "channel", "unit", "direction"],
)
def test_the_objective_rises(objective):
    model, variables, _ = small()
    found = maximize(model, variables, [objective] * 2, SHAPE, jax.random.key(0), ascent=QUICK)
    assert found.images.shape == found.pixels.shape == (2, *SHAPE)
    assert found.history.shape == (25, 2)
    assert (found.end > found.start + 0.05).all()
    assert found.pixels.min() >= 0
    assert found.pixels.max() <= 1
    assert not np.allclose(found.pixels[0], found.pixels[1])  # starts of their own


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"parametrization": "pixels"},
        slow({"parametrization": "pixels", "decorrelate": False}),
        {"jitter": 0, "rotate": 0, "scale": (1.0, 1.0)},
    ],
)
def test_every_parametrization_rises(fields):
    model, variables, _ = small()
    ascent = Ascent(steps=25, **fields)
    found = maximize(model, variables, [Objective(1)], SHAPE, jax.random.key(0), ascent=ascent)
    assert (found.end > found.start + 0.05).all()


@pytest.mark.slow
def test_what_is_said_of_the_image_is_what_the_network_says():
    model, variables, _ = small()
    units = [Objective(2), Objective(0)]
    found = maximize(model, variables, units, SHAPE, jax.random.key(0), ascent=QUICK)
    logits = model.apply(variables, found.images)
    np.testing.assert_allclose(found.end, [logits[0, 2], logits[1, 0]], rtol=1e-4)


@pytest.mark.slow
def test_an_image_depends_on_its_key_and_its_number():
    model, variables, _ = small()

    def images(key, *channels):
        units = [Objective(channel) for channel in channels]
        key = jax.random.key(key)
        return np.asarray(maximize(model, variables, units, SHAPE, key, ascent=QUICK).images)

    first = images(0, 1, 2)
    np.testing.assert_array_equal(images(0, 1, 2), first)
    np.testing.assert_allclose(images(0, 1)[0], first[0], atol=1e-4)
    np.testing.assert_allclose(images(0, 1, 3)[0], first[0], atol=1e-4)
    assert not np.allclose(images(1, 1, 2), first, atol=0.1)


def test_bounds_are_the_inputs_of_black_and_white():
    model, variables, _ = small()
    low, high = np.array([-2.0, -1, 0]), np.array([2.0, 1, 3])
    found = maximize(
        model, variables, [Objective(1)], SHAPE, jax.random.key(0), bounds=(low, high), ascent=QUICK
    )
    pixels = np.asarray(found.pixels)
    np.testing.assert_allclose(found.images, low + (high - low) * pixels, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("field", "strong"), [("tv", 100.0), slow("l2", 100.0)])
def test_penalties_hold_images_back(field, strong):
    model, variables, _ = small()

    def spread(weight):
        ascent = Ascent(steps=25, **{field: weight})
        pixels = maximize(
            model, variables, [Objective(1)], SHAPE, jax.random.key(0), ascent=ascent
        ).pixels
        rough = np.abs(np.diff(pixels, axis=1)).mean()
        return rough if field == "tv" else np.abs(np.asarray(pixels) - 0.5).mean()

    assert spread(strong) < 0.5 * spread(0.0)


@pytest.mark.slow
def test_a_unit_that_is_off_at_the_start_gets_on():
    """Its ReLU has no gradient there, and nothing would ever happen."""
    variables = {
        "params": {
            "conv": {"kernel": jnp.full((1, 1, 3, 2), 1.0)},
            "classifier": linear(np.eye(2)),
        }
    }
    bounds = (-2.0, 1.0)  # grey is below zero
    ascent = Ascent(steps=60)
    found = maximize(
        Tiny(),
        variables,
        [Objective(0, "relu")],
        SHAPE,
        jax.random.key(0),
        bounds=bounds,
        ascent=ascent,
    )
    assert found.start == 0
    assert found.end > 0.1


def test_ascent_on_pixels_by_hand():
    """The gradient of the mean of a map is 1/4 where its ReLU is on."""
    variables = {"params": {"conv": identity(), "classifier": linear([[2, 0], [0, 1]])}}
    plain = {"steps": 1, "learning_rate": 4.0}
    found = maximize_pixels(Tiny(), variables, [Objective(0)], MAPS, **plain)
    on = MAPS[0, :, :, 0] > 0
    np.testing.assert_allclose(found.images[0, :, :, 0], MAPS[0, :, :, 0] + 2 * on)
    np.testing.assert_array_equal(found.images[..., 1], MAPS[..., 1])
    np.testing.assert_allclose(found.start, [2 * 6 / 4 + 0.5])
    np.testing.assert_allclose(found.end, [2 * 12 / 4 + 0.5])
    decayed = maximize_pixels(Tiny(), variables, [Objective(0)], MAPS, l2=0.1, **plain)
    np.testing.assert_allclose(decayed.images, found.images - 0.8 * MAPS, rtol=1e-5)


def test_ascent_on_pixels_keeps_a_norm_and_rises():
    model, variables, images = small()
    found = maximize_pixels(
        model, variables, [Objective(1), Objective(2)], images, steps=30, norm=20.0
    )
    np.testing.assert_allclose(jnp.sqrt(jnp.sum(found.images**2, (1, 2, 3))), 20, rtol=1e-4)
    assert (found.end > found.start).all()
    assert (np.diff(found.history, axis=0) > -1e-4).mean() > 0.8
    np.testing.assert_allclose(found.pixels.min((1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(found.pixels.max((1, 2, 3)), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ([], "0 objectives for 0 images"),
        ([Objective(1), Objective(1, "conv2")], r"several layers \(conv2, the logits\)"),
        ([Objective(1, "conv3")], "no layer 'conv3': did you mean conv"),
        ([Objective(4)], "classifier has no channel 4: 0 to 3"),
        ([Objective()], "classifier needs a channel or a direction"),
        ([Objective(1, direction=(1, 1, 1, 1))], "and not both"),
        ([Objective(1, "conv2", (6, 0))], r"conv2 has no unit at \(6, 0\): its maps are 6x6"),
        ([Objective(node="conv2", direction=(1.0,))], "a direction of 1 numbers for conv2"),
    ],
)
def test_refusals(objectives, message):
    model, variables, _ = small()
    with pytest.raises(UserError, match=message):
        maximize(model, variables, objectives, SHAPE, jax.random.key(0), ascent=QUICK)


def test_an_unknown_parametrization_is_refused():
    model, variables, _ = small()
    ascent = Ascent(parametrization="fourrier")
    with pytest.raises(UserError, match="did you mean fourier"):
        maximize(model, variables, [Objective(1)], SHAPE, jax.random.key(0), ascent=ascent)

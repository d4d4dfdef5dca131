"""Occlusion: networks whose answer is known, and the maps against images made one by one."""

import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import attribution
from jaxcnn.attribution import occlude
from jaxcnn.errors import UserError
from tests.attribution.small import Small, drawn, pictures


class OnePixel(nn.Module):
    """Class 1 where the pixel (5, 2) is bright, else class 0; maps are the image and twice it."""

    num_classes: int = 2
    ignores: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        maps = nn.relu(nn.Conv(2, (1, 1), use_bias=False, name="conv")(x))
        seen = maps[:, 5, 2, :] * (0 if self.ignores else 1) + 0 * maps.sum((1, 2))
        return nn.Dense(2, name="dense")(seen)


DETECTOR = {
    "params": {
        "conv": {"kernel": np.float32([[[[1, 2]]]])},
        "dense": {"kernel": np.float32([[-4, 4], [0, 0]]), "bias": np.float32([2, -2])},
    }
}
BRIGHT = np.ones((1, 8, 10, 1), np.float32)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 1), (3, 2), (4, 3), (3, None)])
def test_a_detector_of_one_pixel_is_found(size, stride):
    result = attribution.occlusion(OnePixel(), DETECTOR, BRIGHT, size=size, stride=stride)
    assert result.classes.tolist() == [1]
    rows = (result.tops <= 5) & (result.tops + size > 5)
    columns = (result.lefts <= 2) & (result.lefts + size > 2)
    covered = rows[:, None] & columns[None]
    np.testing.assert_array_equal(result.likeliest[0], np.where(covered, 0, 1))
    p, q = 1 / (1 + np.exp(-4)), 1 / (1 + np.exp(4))
    np.testing.assert_allclose(result.probability[0], np.where(covered, q, p), rtol=1e-5)
    np.testing.assert_allclose(result.whole_probability, p, rtol=1e-5)
    assert (result.tops[0], result.tops[-1], result.lefts[-1]) == (0, 8 - size, 10 - size)
    assert covered.any() > covered.all()
    found = np.asarray(attribution.occlusion_map(result, 8, 10))[0]
    assert found[5, 2] == found.max() == pytest.approx(p - q, rel=1e-4)
    far = np.ones((8, 10), bool)
    far[max(0, 6 - size) : 5 + size, max(0, 3 - size) : 2 + size] = False
    np.testing.assert_allclose(found[far], 0, atol=1e-6)


def test_of_a_network_that_ignores_the_image_the_map_is_flat():
    images = pictures(size=8, channels=1)
    result = attribution.occlusion(OnePixel(ignores=True), DETECTOR, images, size=3, stride=2)
    assert np.ptp(result.probability, axis=(1, 2)).max() == 0
    assert np.ptp(result.likeliest, axis=(1, 2)).max() == 0
    np.testing.assert_allclose(attribution.occlusion_map(result, 8, 8), 0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [None, "conv1"])
def test_maps_are_those_of_images_made_one_by_one(layer):
    """More squares than go at once, the last batch not full."""
    model, images = Small(param_dtype=np.float32), pictures(count=2, size=10)
    variables, classes = drawn(model, images), np.array([2, 0])
    result = attribution.occlusion(
        model, variables, images, classes, size=4, stride=1, fill=0.3, layer=layer
    )
    assert result.probability.shape == (2, 7, 7)
    assert occlude.BATCH < 49
    assert result.layer == (layer or "max_pool_2")

    def answers(x):
        if layer:
            kernel = nn.Conv(5, (3, 3))
            maps = kernel.apply({"params": variables["params"]["conv1"]}, x)
        else:
            maps = stages(x, variables)
        logits = np.asarray(model.apply(variables, x))
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True), np.asarray(maps).sum((1, 2))

    whole, sums = answers(images)
    np.testing.assert_array_equal(result.channels, sums.argmax(-1))
    np.testing.assert_allclose(result.whole_feature, sums.max(-1), rtol=1e-4)
    np.testing.assert_allclose(result.whole_probability, whole[[0, 1], classes], rtol=1e-4)
    for row, column in ((0, 0), (3, 5), (6, 6)):
        x = images.copy()
        x[:, row : row + 4, column : column + 4] = 0.3
        probabilities, sums = answers(x)
        got = (one[:, row, column] for one in (result.probability, result.feature))
        np.testing.assert_allclose(next(got), probabilities[[0, 1], classes], rtol=1e-4)
        np.testing.assert_allclose(next(got), sums[[0, 1], result.channels], rtol=1e-4)
        np.testing.assert_array_equal(result.likeliest[:, row, column], probabilities.argmax(-1))


def stages(x, variables):
    """The second pool of `Small`."""
    for number, features in enumerate((5, 6)):
        params = {"params": variables["params"][f"conv{number + 1}"]}
        x = nn.max_pool(nn.relu(nn.Conv(features, (3, 3)).apply(params, x)), (2, 2), (2, 2))
    return x


@pytest.mark.slow
def test_an_image_in_a_batch_is_the_image_alone():
    model, images = Small(param_dtype=np.float32), pictures(count=3)
    variables = drawn(model, images)
    together = attribution.occlusion(model, variables, images, size=4)
    for n, image in enumerate(images):
        alone = attribution.occlusion(model, variables, image[None], size=4)
        for name in ("probability", "likeliest", "feature", "channels", "whole_feature"):
            np.testing.assert_allclose(
                getattr(alone, name)[0], getattr(together, name)[n], rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size=0 is too small"),
        ({"size": 9}, "size=9 is too large: 8 or less"),
        ({"size": 3, "stride": 4}, "stride=4 is too large: 3 or less"),
        ({"size": 3, "layer": "dense"}, "dense has no maps"),
        ({"size": 3, "layer": "conv9"}, "no layer 'conv9'"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(UserError, match=message) as error:
        attribution.occlusion(OnePixel(), DETECTOR, BRIGHT, **settings)
    assert "\n" not in str(error.value)

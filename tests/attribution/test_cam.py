import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn import attribution
from jaxcnn.attribution.class_activation_maps import cam, grad_cam, grad_cam_plus_plus, layer_cam
from jaxcnn.attribution.score_weighted_maps import score_cam
from jaxcnn.errors import UserError
from tests.attribution.tiny import MAPS, Tiny, identity, linear, small

METHODS = (cam, grad_cam, grad_cam_plus_plus, layer_cam, score_cam)
# Weights of the two maps for class 0 and class 1.
POOLED = {"params": {"conv": identity(), "classifier": linear([[4, 1], [-4, 2]])}}
# A weight for each pixel of each map, in the order of the array, for class 0 and class 1.
PIXELS = {
    "params": {
        "conv": identity(),
        "classifier": linear([[1, 0], [-1, 0], [2, 0], [3, 0], [0, 0], [1, 1], [4, 0], [-2, 0]]),
    }
}
ZERO, ONE = jnp.array([0]), jnp.array([1])


def test_cam_by_hand():
    found = cam(Tiny(), POOLED, MAPS, ZERO)
    # 4·[[1, 2], [3, 0]] - 4·[[4, 0], [0, 2]]
    np.testing.assert_allclose(found.coarse, [[[-12, 8], [12, -8]]])
    np.testing.assert_allclose(found.maps, found.coarse)  # the images are as small as the maps
    assert found.layer == "relu"
    np.testing.assert_allclose(cam(Tiny(), POOLED, MAPS, ONE).coarse, [[[9, 2], [3, 4]]])


def test_grad_cam_by_hand():
    found = grad_cam(Tiny(), POOLED, MAPS, ZERO)
    np.testing.assert_allclose(found.coarse, [[[-3, 2], [3, -2]]])  # a fourth of CAM
    np.testing.assert_allclose(found.maps, [[[0, 2], [3, 0]]])
    # Means of the weights of the pixels: (1 + 2 + 0 + 4) / 4 and (-1 + 3 + 1 - 2) / 4.
    found = grad_cam(Tiny(pooled=False), PIXELS, MAPS, ZERO)
    np.testing.assert_allclose(found.coarse, [[[2.75, 3.5], [5.25, 0.5]]])


def test_grad_cam_plus_plus_by_hand():
    # g = 1 and -1, the first map's sum 6: 4 pixels of 1 / (2 + 6); the second has no g above 0.
    found = grad_cam_plus_plus(Tiny(), POOLED, MAPS, ZERO)
    np.testing.assert_allclose(found.coarse, [[[0.5, 1], [1.5, 0]]])
    # g of the first map 1, 2, 0, 4, its sum 6: 1/8 + 2·4/(8 + 48) + 4·16/(32 + 384).
    first = 1 / 8 + 8 / 56 + 64 / 416
    # g of the second map -1, 3, 1, -2, its sum 6: 3·9/(18 + 162) + 1/8.
    second = 27 / 180 + 1 / 8
    found = grad_cam_plus_plus(Tiny(pooled=False), PIXELS, MAPS, ZERO)
    expected = [[first + 4 * second, 2 * first], [3 * first, 2 * second]]
    np.testing.assert_allclose(found.coarse, [expected], rtol=1e-6)


def test_layer_cam_by_hand():
    # max(g, 0) times the maps:
    # [[1, 2], [0, 4]]·[[1, 2], [3, 0]] + [[0, 3], [1, 0]]·[[4, 0], [0, 2]]
    found = layer_cam(Tiny(pooled=False), PIXELS, MAPS, ZERO)
    np.testing.assert_allclose(found.coarse, [[[1, 4], [0, 0]]])


def test_score_cam_by_hand():
    # The masks are [[1/3, 2/3], [1, 0]] and [[1, 0], [0, 1/2]]. Masked maps and their means:
    #   first:  [[1/3, 4/3], [3, 0]] 14/12   [[4/3, 0], [-5, 0]] 4/12
    #   second: [[1, 0], [0, 0]] 1/4         [[4, 0], [0, 1]] 5/4
    logits = np.array([4 * 14 / 12 - 4 * 4 / 12 + 0.5, 4 / 4 - 4 * 5 / 4 + 0.5])
    weights = np.exp(logits) / np.exp(logits).sum()
    found = score_cam(Tiny(), POOLED, MAPS, ZERO)
    maps = np.maximum(MAPS[0], 0)
    np.testing.assert_allclose(found.coarse, [maps @ weights], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("cifar_resnet20", {"stage_sizes": (1, 1)}),
        pytest.param("nin_cifar10", {}, marks=pytest.mark.exhaustive),
    ],
)
def test_cam_and_grad_cam_are_one_where_pooling_is_global(name, fields):
    """And the mean of CAM is the logit but for the bias."""
    model = jaxcnn.create_model(name, num_classes=5, **fields)
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    variables = jax.jit(model.init)(jax.random.key(1), images)
    logits = model.apply(variables, images)
    classes = jnp.array([3, 1])
    plain, by_gradient = (
        cam(model, variables, images, classes),
        grad_cam(model, variables, images, classes),
    )
    assert plain.layer == by_gradient.layer
    _, height, width = plain.coarse.shape
    assert height * width > 1
    np.testing.assert_allclose(plain.coarse, height * width * by_gradient.coarse, atol=1e-5)
    bias = variables["params"]["classifier"]["bias"] if name == "cifar_resnet20" else jnp.zeros(5)
    own = logits[jnp.arange(2), classes] - bias[classes]
    np.testing.assert_allclose(plain.coarse.mean((1, 2)), own, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_maps_have_the_size_of_images_and_do_not_depend_on_the_batch(method):
    model, variables, images = small()
    both = method(model, variables, images)
    assert both.maps.shape == (2, 12, 12)
    assert both.coarse.shape == (2, 6, 6)
    assert both.maps.dtype == both.coarse.dtype == jnp.float32
    likeliest = jnp.argmax(model.apply(variables, images), axis=-1)
    np.testing.assert_array_equal(both.classes, likeliest)
    for number in range(2):
        one = method(model, variables, images[number : number + 1])
        np.testing.assert_allclose(one.maps[0], both.maps[number], rtol=1e-4, atol=1e-6)
        assert one.layer == both.layer == "relu_2"
        assert np.ptp(one.maps) > 0


@pytest.mark.parametrize("method", [grad_cam, grad_cam_plus_plus, layer_cam, score_cam])
def test_any_layer_with_maps_is_taken(method):
    model, variables, images = small()
    found = method(model, variables, images, layer="conv1")
    assert found.layer == "conv1"
    assert found.coarse.shape == (2, 12, 12)
    with pytest.raises(UserError, match="no layer 'conv3': did you mean conv"):
        method(model, variables, images, layer="conv3")
    no_maps = "classifier has no maps of more than one pixel: its output is 4; .* layer relu_2"
    with pytest.raises(UserError, match=no_maps):
        method(model, variables, images, layer="classifier")


@pytest.mark.parametrize("fields", [{"pooled": False}, {"hidden": True}])
def test_cam_refuses_what_has_more_behind_the_pooling(fields):
    model = Tiny(**fields)
    variables = model.init(jax.random.key(0), MAPS)
    with pytest.raises(UserError, match="logits are a linear layer behind global average pooling"):
        cam(model, variables, MAPS)


def test_maps_of_one_pixel_are_refused():
    """They would be the same everywhere."""
    model, variables, _ = small()
    images = jnp.ones((1, 2, 2, 3))
    with pytest.raises(UserError, match=r"relu_2 has no maps .*: its output is 1x1x8"):
        cam(model, variables, images)
    assert grad_cam(model, variables, images).layer == "relu"


@pytest.mark.slow
def test_score_cam_does_not_depend_on_how_many_masks_go_at_once():
    model, variables, images = small()
    whole = score_cam(model, variables, images, batch=64)
    np.testing.assert_allclose(
        score_cam(model, variables, images, batch=5).maps, whole.maps, rtol=1e-4, atol=1e-6
    )


def test_classes_are_checked():
    model, variables, images = small()
    for method in METHODS:
        with pytest.raises(UserError, match="no class 4"):
            method(model, variables, images, [4, 0])


def test_names_of_the_package_stay_functions():
    """A module of the same name would take the place of a function once it is imported."""
    for name in attribution.__all__:
        assert getattr(attribution, name) is getattr(attribution, name)
        assert not isinstance(getattr(attribution, name), types.ModuleType)

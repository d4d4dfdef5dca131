import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.analysis.tracing.graph import trace
from jaxcnn.attribution.class_activation_maps import grad_cam
from jaxcnn.attribution.sanity import Sanity, layers_from_top, randomize, sanity_check
from jaxcnn.attribution.similarity import spearman
from tests.attribution.tiny import small


def edges(variables, images, classes):
    """A detector of edges, which no network changes."""
    across = jnp.abs(jnp.diff(images, axis=2, append=images[:, :, -1:]))
    return jnp.sum(across, axis=-1)


def by_gradient(model):
    def gradient(variables, images, classes):
        def score(images):
            logits = model.apply(variables, images)
            return jnp.take_along_axis(logits, classes[:, None], axis=-1).sum()

        return jax.grad(score)(images)

    return gradient


@pytest.mark.slow
def test_a_method_that_looks_at_the_image_alone_fails():
    model, variables, images = small(size=16, count=4)
    methods = {"edges": edges, "gradient": by_gradient(model)}
    found = sanity_check(model, variables, images, methods, jax.random.key(5))
    assert found.methods == ("edges", "gradient")
    assert found.layers == ("classifier", "conv2", "conv1")
    assert found.rank_correlation.shape == found.ssim.shape == (2, 3, 4)
    np.testing.assert_allclose(found.rank_correlation[0], 1, atol=1e-6)
    np.testing.assert_allclose(found.ssim[0], 1, atol=1e-5)
    assert np.abs(found.rank_correlation[1, -1]).mean() < 0.4
    assert found.failing() == ("edges",)
    assert found.failing(above=-1) == ("edges", "gradient")
    neighbours = spearman(edges(None, images, None), jnp.roll(edges(None, images, None), 1, axis=0))
    np.testing.assert_allclose(found.two_images[0], neighbours, atol=1e-6)


def test_a_method_fails_by_both_measures_at_half_of_the_layers():
    high, low = np.ones((1, 4, 3)), np.zeros((1, 4, 3))

    def failing(rank_correlation, ssim):
        layers = ("classifier", "conv3", "conv2", "conv1")
        return Sanity(("any",), layers, rank_correlation, ssim, np.zeros((1, 3))).failing()

    assert failing(high, high) == ("any",)
    assert failing(high, low) == failing(low, high) == ()
    fades = high * np.array([1, 0.5, 0.4, 0.1])[None, :, None]
    assert failing(fades, high) == ("any",)
    assert failing(fades - 0.01, high) == ()


@pytest.mark.slow
def test_of_many_layers_several_become_random_at_once():
    model, variables, images = small()

    def norm(variables, images, classes):
        return jnp.broadcast_to(jnp.sum(variables["params"]["conv1"]["kernel"]), images.shape)

    found = sanity_check(model, variables, images, {"norm": norm}, jax.random.key(5), most_steps=2)
    assert found.layers == ("classifier", "conv1")
    np.testing.assert_array_equal(found.rank_correlation[0, 0], 1)
    np.testing.assert_array_equal(found.rank_correlation[0, 1], 0)


def test_maps_of_the_same_parameters_are_alike():
    """With the network's own initialisation as the random one nothing changes."""
    model, _, images = small()
    key = jax.random.key(7)
    same = model.init(key, images)

    def method(variables, images, classes):
        return grad_cam(model, variables, images, classes).maps

    found = sanity_check(model, same, images, {"grad_cam": method}, key)
    np.testing.assert_allclose(found.rank_correlation, 1, atol=1e-6)
    np.testing.assert_allclose(found.ssim, 1, atol=1e-5)


def test_the_class_stays_that_of_the_trained_network_and_layers_stay_random():
    model, variables, images = small()
    seen = []

    def method(variables, images, classes):
        kernels = {name: layer["kernel"] for name, layer in variables["params"].items()}
        seen.append((np.asarray(classes), kernels))
        return images

    sanity_check(model, variables, images, {"any": method}, jax.random.key(5))
    expected = jnp.argmax(model.apply(variables, images), axis=-1)
    for classes, _ in seen:
        np.testing.assert_array_equal(classes, expected)
    own = seen[0][1]
    random = [{name for name in own if (kernels[name] != own[name]).any()} for _, kernels in seen]
    top = ["classifier", "conv2", "conv1"]
    assert random == [{*top[:count]} for count in range(4)]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_layers_become_random_from_the_top_each_once(depth):
    model = jaxcnn.create_model("cifar_resnet20", num_classes=5, stage_sizes=(1, 2))
    images = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)

    def init(value):
        shapes = jax.eval_shape(model.init, jax.random.key(0), images)
        return jax.tree.map(lambda leaf: np.full(leaf.shape, value, leaf.dtype), shapes)

    trained, fresh = init(0), init(1)
    layers = layers_from_top(trace(model, trained, images), depth)
    assert layers[0] == "classifier"
    assert layers[-1].split("/")[0] == "stem"
    if depth == 1:
        assert layers == ("classifier", "stage2", "stage1", "stem")
    changed = 0
    for number, layer in enumerate(layers, 1):
        mixed = randomize(trained, fresh, layers[:number], depth)
        leaves = jax.tree.leaves(mixed)
        assert jax.tree.structure(mixed) == jax.tree.structure(trained)
        own = jax.tree.leaves(randomize(trained, fresh, [layer], depth))
        changed += sum(int(leaf.all()) for leaf in own)
        assert sum(int(leaf.all()) for leaf in leaves) == changed
    assert changed == len(jax.tree.leaves(trained))

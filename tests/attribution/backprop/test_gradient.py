"""Gradients of a class: against finite differences, and sums that are known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import attribution, create_model
from jaxcnn.attribution import targets
from jaxcnn.errors import UserError
from tests.attribution.small import Small, drawn, pictures

METHODS = {
    "saliency": attribution.saliency,
    "pixel_gradient": attribution.pixel_gradient,
    "gradient_times_input": attribution.gradient_times_input,
    "smoothgrad": partial(attribution.smoothgrad, key=jax.random.key(3), samples=10),
    "vargrad": partial(attribution.vargrad, key=jax.random.key(3), samples=10),
    "integrated": lambda *args: attribution.integrated_gradients(*args, steps=10).pixels,
}

SOME = [  # the others are compiled alike
    pytest.param(name, marks=[pytest.mark.exhaustive] * (name not in ("smoothgrad", "integrated")))
    for name in METHODS
]


@pytest.mark.parametrize("score", targets.SCORES)
def test_the_gradient_is_that_of_finite_differences(score):
    """Central differences of the network alone, computed apart, in float64."""
    functions = {
        "logit": lambda z: z,
        "log_probability": lambda z: z - np.log(np.exp(z).sum(-1, keepdims=True)),
        "probability": lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True),
    }
    with jax.enable_x64(True):
        model, images = Small(), pictures(size=6, dtype=np.float64)
        variables, classes, step = drawn(model, images), np.array([3, 1]), 1e-6
        got = attribution.pixel_gradient(model, variables, images, classes, score=score)
        moved = np.eye(images[0].size).reshape(-1, *images.shape[1:]) * step
        apply = jax.jit(partial(model.apply, variables))
        for image, label, gradient in zip(images, classes, got, strict=True):
            ahead, behind = (
                functions[score](np.asarray(apply(image + sign * moved)))[:, label]
                for sign in (1, -1)
            )
            expected = ((ahead - behind) / (2 * step)).reshape(image.shape)
            np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
        assert got.dtype == np.float64
        largest = attribution.saliency(model, variables, images, classes, score=score)
        np.testing.assert_array_equal(largest, np.abs(got).max(-1))


@pytest.mark.slow
def test_without_biases_gradient_times_input_adds_up_to_the_logit():
    model, images = Small(use_bias=False, param_dtype=np.float32), pictures()
    variables = drawn(model, images)
    logits = np.asarray(model.apply(variables, images))
    got = attribution.gradient_times_input(model, variables, images)
    np.testing.assert_allclose(got.sum((1, 2, 3)), logits.max(-1), rtol=1e-4, atol=1e-5)
    got = attribution.gradient_times_input(model, variables, images, 2)
    np.testing.assert_allclose(got.sum((1, 2, 3)), logits[:, 2], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_an_image_in_a_batch_is_the_image_alone(name):
    model, images = Small(param_dtype=np.float32), pictures(count=3)
    variables, method = drawn(model, images), METHODS[name]
    together = method(model, variables, images)
    assert together.dtype == np.float32
    assert together.shape == (images.shape[:3] if name == "saliency" else images.shape)
    alone = np.concatenate([method(model, variables, image[None]) for image in images])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)
    assert np.abs(np.asarray(together)).max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_no_class_is_the_likeliest(name):
    model, images = Small(param_dtype=np.float32), pictures(count=3, seed=2)
    variables, method = drawn(model, images, seed=1), METHODS[name]
    classes = np.asarray(model.apply(variables, images)).argmax(-1)
    assert len(set(classes.tolist())) > 1
    own = method(model, variables, images)
    np.testing.assert_array_equal(own, method(model, variables, images, classes))
    other = method(model, variables, images, (classes + 1) % 4)
    assert np.abs(own - other).max() > 1e-2


@pytest.mark.slow
def test_methods_can_be_compiled_and_mapped_by_their_user():
    model, images = Small(param_dtype=np.float32), pictures()
    variables = drawn(model, images)
    compiled = jax.jit(partial(attribution.saliency, model))
    expected = attribution.saliency(model, variables, images, np.array([0, 1]))
    np.testing.assert_allclose(compiled(variables, images, np.array([0, 1])), expected, rtol=1e-5)
    mapped = jax.vmap(lambda image: attribution.saliency(model, variables, image[None])[0])
    np.testing.assert_allclose(
        mapped(images), attribution.saliency(model, variables, images), rtol=1e-5
    )


class Listing(nn.Module):
    """A network that has no hash."""

    features: list

    @nn.compact
    def __call__(self, x, train=False):
        for features in self.features:
            x = nn.Dense(features)(x)
        return x.mean((1, 2))


@pytest.mark.slow
def test_a_network_is_compiled_once_with_or_without_a_hash():
    images = pictures()
    traced = []

    @targets.jit_with_model()
    def apply(model, variables, images):
        traced.append(model)
        return model.apply(variables, images)

    first, second = Listing([3]), Listing([3, 4])
    with pytest.raises(TypeError):
        hash(first)
    hashed = [create_model("lenet5_modern", act=nn.relu) for _ in range(2)]
    grey = np.zeros((1, 16, 16, 1), np.float32)
    for model, inputs in ((first, images), (second, images), (hashed[0], grey), (hashed[1], grey)):
        variables = drawn(model, inputs)
        for _ in range(2):
            got = apply(model, variables, inputs)
            np.testing.assert_allclose(got, model.apply(variables, inputs), rtol=1e-5, atol=1e-6)
    assert traced == [first, second, hashed[0]]


class Pair(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return x, x.mean((1, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((2, 8, 8, 2), np.uint8)}, r"images are uint8 \[2, 8, 8, 2\]"),
        ({"images": np.zeros((8, 8, 2), np.float32)}, r"images are float32 \[8, 8, 2\]"),
        ({"classes": 4}, "no class 4: the network has 4"),
        ({"classes": [0, -1]}, "no class -1"),
        ({"classes": [0.0, 1.0]}, r"classes are float32 \[2\]"),
        ({"classes": [0, 1, 2]}, r"classes are int32 \[3\].* 2 images"),
        ({"score": "logits"}, "no score 'logits': did you mean logit"),
        ({"model": Pair()}, r"returns \[\[2, 8, 8, 2\], \[2, 2\]\]: attribution needs logits"),
    ],
)
def test_what_cannot_be_explained_is_said_in_one_line(arguments, message):
    given = {"model": Small(param_dtype=np.float32), "images": jnp.zeros((2, 8, 8, 2)), **arguments}
    variables = drawn(given["model"], np.zeros((2, 8, 8, 2), np.float32))
    with pytest.raises(UserError, match=message) as error:
        attribution.saliency(variables=variables, **given)
    assert "\n" not in str(error.value)

"""Scores of the protocols, against forward passes written out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.data.augmentation.augment import normalize
from jaxcnn.data.views import grid
from jaxcnn.errors import UserError
from jaxcnn.evaluation.multicrop import PROTOCOLS, applied, make_protocol, make_scores
from tests.marks import exhaustive, slow

SIZE = 16


class Linear(nn.Module):
    """Sees every pixel of its images, at once; the least that tells views apart."""

    num_classes: int = 4

    @nn.compact
    def __call__(self, images, train=False):
        del train
        return nn.Dense(self.num_classes)(images.reshape(len(images), -1))


class Pooled(nn.Module):
    """Takes images of any size."""

    @nn.compact
    def __call__(self, images, train=False):
        del train
        return nn.Dense(4)(nn.relu(nn.Conv(8, (3, 3))(images)).mean((1, 2)))


def to_float(images):
    return normalize(images, mean=(0.5,), std=(0.2,))


@pytest.fixture(scope="module")
def linear():
    model = Linear()
    return model, model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))


def images_of(protocol, count=3):
    """Images wider than high, and their rows."""
    images = np.random.default_rng(0).integers(0, 256, (count, 24, 40, 3)).astype(np.uint8)
    return images, np.stack([protocol.views.cut(image) for image in images])


def mean_probability(model, variables, views):
    """Of uint8 [V, b, H, W, C], each passed by itself."""
    passes = [nn.softmax(model.apply(variables, to_float(view))) for view in views]
    return np.mean(passes, axis=0)


@pytest.mark.parametrize(
    ("name", "passes"), [("ten_crop", 10), exhaustive("multi_crop", 150), slow("googlenet144", 144)]
)
@pytest.mark.parametrize("rows", [0, 7])
def test_crops_are_the_mean_of_their_passes(name, passes, rows, linear):
    model, variables = linear
    protocol = make_protocol(name, size=SIZE, channels=3)
    _, packed = images_of(protocol)
    crops = [v for part in protocol.views.unpack(packed) for v in part.swapaxes(0, 1)]
    views = [*crops, *(view[:, :, ::-1] for view in crops)]
    assert len(views) == passes
    scores = jax.jit(make_scores(model, to_float, protocol, rows))(variables, packed)
    expected = mean_probability(model, variables, views)
    np.testing.assert_allclose(np.exp(scores), expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected - mean_probability(model, variables, crops)).max() > 1e-3


def test_ten_crops_cut_by_hand(linear):
    model, variables = linear
    protocol = make_protocol("ten_crop", size=SIZE, channels=3, scales=(24,))
    images, packed = images_of(protocol)
    square = images[:, :, 8:32]  # 40 pixels wide
    corners = [square[:, y : y + 16, x : x + 16] for y in (0, 8) for x in (0, 8)]
    crops = [*corners, square[:, 4:20, 4:20]]
    views = [*crops, *(crop[:, :, ::-1] for crop in crops)]
    scores = make_scores(model, to_float, protocol)(variables, packed)
    np.testing.assert_allclose(
        np.exp(scores), mean_probability(model, variables, views), rtol=1e-4, atol=1e-6
    )


def test_the_centre_alone_gives_the_logits_and_flip_the_mean_with_the_mirror_image(linear):
    model, variables = linear
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)
    logits = model.apply(variables, to_float(images))
    centre = make_protocol("center", size=SIZE, channels=3)
    np.testing.assert_array_equal(make_scores(model, to_float, centre)(variables, images), logits)
    flip = make_protocol("flip", size=SIZE, channels=3)
    scores = make_scores(model, to_float, flip)(variables, images)
    expected = mean_probability(model, variables, [images, images[:, :, ::-1]])
    np.testing.assert_allclose(np.exp(scores), expected, rtol=1e-4, atol=1e-6)


def test_a_certain_network_has_finite_scores(linear):
    model, variables = linear
    certain = jax.tree.map(lambda leaf: 1e4 * leaf, variables)
    protocol = make_protocol("ten_crop", size=SIZE, channels=3)
    _, packed = images_of(protocol)
    assert np.isfinite(make_scores(model, to_float, protocol)(certain, packed)).all()


NARROW = {"hidden_features": (16, 8)}
NETWORKS = {
    "vgg11": (64, {"stage_sizes": (1, 1, 2), "stage_features": (4, 8, 8), "pool_size": (8, 8)}),
    "vgg11_bn": (64, {"stage_sizes": (1, 1, 2), "stage_features": (4, 8, 8), "pool_size": (8, 8)}),
    "alexnet": (67, {"features": (4, 8, 8, 8, 8), "pool_size": (1, 1)}),
    "alexnet_torchvision": (127, {"features": (4, 8, 8, 8, 8), "pool_size": (3, 3)}),
    "zfnet": (93, {"features": (4, 8, 8, 8, 8), "pool_size": (2, 2)}),
}


def start(model, size):
    """Variables off their special values, without compiling an init."""
    rng = np.random.default_rng(0)
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    return jax.tree.map(
        lambda leaf: (
            (np.abs(rng.normal(size=leaf.shape)) + 0.5).astype(np.float32)
            if leaf.ndim == 1
            else (rng.normal(size=leaf.shape) / np.prod(leaf.shape[:-1]) ** 0.5).astype(np.float32)
        ),
        shapes,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg11", *map(exhaustive, [*NETWORKS][1:])])
def test_dense_evaluation_of_one_place_is_the_forward_pass(name):
    size, fields = NETWORKS[name]
    model = create_model(name, 5, **fields, **NARROW)
    variables = start(model, size)
    protocol = make_protocol("dense", size=size, channels=3, scales=(size,))
    form = applied(model, protocol)
    assert form.fully_convolutional
    x = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype(np.float32)
    plain, dense = jax.jit(model.apply)(variables, x), jax.jit(form.apply)(variables, x)
    assert np.abs(plain).max() > 0.1
    np.testing.assert_allclose(dense, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_dense_evaluation_is_the_mean_over_the_windows_of_the_last_map():
    model = create_model("vgg11", 5, **NETWORKS["vgg11"][1], **NARROW, fully_convolutional=True)
    variables = start(model, 64)
    x = np.random.default_rng(1).normal(size=(2, 72, 80, 3)).astype(np.float32)
    capture = {"capture_intermediates": True, "mutable": ["intermediates"]}
    logits, state = jax.jit(lambda v, x: model.apply(v, x, **capture))(variables, x)
    maps = nn.max_pool(state["intermediates"]["stage3"]["__call__"][0], (2, 2), (2, 2))
    assert maps.shape[1:3] == (9, 10)
    params, found = variables["params"], []
    for i in range(2):
        for j in range(3):
            y = np.asarray(maps[:, i : i + 8, j : j + 8]).reshape(2, -1)
            for layer in (params["fc6"]["dense"], params["fc7"]["dense"]):
                y = np.maximum(y @ layer["kernel"] + layer["bias"], 0)
            found.append(y @ params["classifier"]["kernel"] + params["classifier"]["bias"])
    assert np.std(found, axis=0).max() > 1e-3
    np.testing.assert_allclose(logits, np.mean(found, axis=0), rtol=1e-4, atol=1e-4)
    features = model.clone(num_classes=0).apply(variables, x)
    assert features.shape == (2, 8)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "by_place"), [("dense", True), slow("multi_scale_dense", False)])
def test_the_softmax_of_a_dense_map_is_taken_where_the_paper_takes_it(name, by_place):
    model = create_model("vgg11", 5, **NETWORKS["vgg11"][1], **NARROW)
    variables = start(model, 64)
    protocol = make_protocol(name, size=64, channels=3, scales=(72,))
    protocol = protocol._replace(views=dataclasses.replace(protocol.views, aspect=(16, 12)))
    images = np.random.default_rng(0).integers(0, 256, (2, 72, 96, 3)).astype(np.uint8)
    packed = np.stack([protocol.views.cut(image) for image in images])

    def class_map(images):
        keep = {"capture_intermediates": True, "mutable": ["intermediates"]}
        form = model.clone(fully_convolutional=True)
        _, kept = form.apply(variables, to_float(images), **keep)
        (found,) = kept["intermediates"]["classifier"]["__call__"]
        assert found.shape == (2 * len(sides), 2, 5, 5)
        return found

    sides = [images, images[:, :, ::-1]] if protocol.mirrored else [images]
    maps = jnp.split(jax.jit(class_map)(np.concatenate(sides)), len(sides))
    every = [nn.softmax(m).mean((1, 2)) if by_place else nn.softmax(m.mean((1, 2))) for m in maps]
    other = [nn.softmax(m.mean((1, 2))) if by_place else nn.softmax(m).mean((1, 2)) for m in maps]
    scores = jax.jit(make_scores(model, to_float, protocol))(variables, packed)
    np.testing.assert_allclose(np.exp(scores), np.mean(every, axis=0), rtol=1e-4, atol=1e-6)
    assert np.abs(np.exp(scores) - np.mean(other, axis=0)).max() > 1e-3


@pytest.mark.slow
def test_dense_evaluation_of_a_resnet_is_its_classifier_at_every_place():
    model = create_model("resnet18", 5, stage_sizes=(1,), width=4)
    protocol = make_protocol("dense", size=16, channels=3, scales=(32,))
    assert applied(model, protocol) is model
    variables = start(model, 16)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    packed = np.stack([protocol.views.cut(image) for image in images])
    capture = {"capture_intermediates": True, "mutable": ["intermediates"]}

    def posteriors(images):
        _, state = model.apply(variables, to_float(images), **capture)
        head = variables["params"]["classifier"]
        maps = np.asarray(state["intermediates"]["stage1"]["__call__"][0])
        class_map = maps @ head["kernel"] + head["bias"]
        assert class_map.shape[1:3] == (8, 8)
        return nn.softmax(class_map.mean((1, 2)))

    expected = (posteriors(images) + posteriors(images[:, :, ::-1])) / 2
    scores = make_scores(model, to_float, protocol)(variables, packed)
    np.testing.assert_allclose(np.exp(scores), expected, rtol=1e-4, atol=1e-5)
    same_size = make_protocol("multi_scale_dense", size=16, channels=3, scales=(16,))
    small = images[:, :16, :16]
    rows = np.stack([same_size.views.cut(image) for image in small])
    dense = make_scores(model, to_float, same_size)(variables, rows)
    plain = nn.log_softmax(model.apply(variables, to_float(small)))
    np.testing.assert_allclose(dense, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_scales_of_a_dense_protocol_are_averaged():
    model = Pooled()
    protocol = make_protocol("multi_scale_dense", size=14, channels=3)
    assert protocol.views.scales == (14, 16, 24, 30, 40)
    variables = start(model, 14)
    _, packed = images_of(protocol)
    views = [part[:, 0] for part in protocol.views.unpack(packed)]
    scores = make_scores(model, to_float, protocol, rows=3)(variables, packed)
    expected = mean_probability(model, variables, views)
    np.testing.assert_allclose(np.exp(scores), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("tencrop", {}, r"no eval.protocol 'tencrop'.*ten_crop"),
        ("ten_crop", {"scales": (20, 15)}, r"16x16 from a short side of 15 pixels.*16 or more"),
        ("googlenet144", {"scales": (20.5,)}, r"short side of 20\.5"),
        ("ten_crop", {"resize": 12}, r"short side of 12 pixels.*data\.resize"),
        ("dense", {"scales": (0,)}, r"short side of 0 pixels.*1 or more"),
        ("flip", {"scales": (20,)}, r"flip takes the crop of evaluation"),
    ],
)
def test_what_cannot_be_says_so(name, fields, message):
    with pytest.raises(UserError, match=message):
        make_protocol(name, size=16, channels=3, **fields)


@pytest.mark.parametrize(
    ("model", "size", "fields", "message"),
    [
        ("lenet5_modern", 32, {}, r"LeNet5Modern of images of 32x32 has no dense form at 37x37"),
        ("lenet5", 32, {}, r"LeNet5 of images of 32x32 has no dense form at 37x37"),
        ("highway_fc10", 28, {}, r"no dense form at 32x32"),
        ("vgg11", 32, {"stage_features": (2,) * 5, **NARROW}, r"at 32x32 \(the last maps are 1x1"),
    ],
)
def test_a_network_without_dense_form_says_so(model, size, fields, message):
    network = create_model(model, 5 if fields else None, **fields)
    channels = 3 if model == "vgg11" else 1
    protocol = make_protocol("dense", size=size, channels=channels)
    with pytest.raises(UserError, match=message):
        applied(network, protocol)


def test_scales_follow_the_size_of_the_images():
    assert PROTOCOLS["multi_crop"].boxes is grid
    assert make_protocol("multi_crop", size=32, channels=1).views.scales == (37, 55, 73)

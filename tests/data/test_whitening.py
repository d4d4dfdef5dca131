"""Statistics of the training split against NumPy, and the same ones wherever they are used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.data import load, whitening
from jaxcnn.data.augment import augment, example_keys, normalize
from jaxcnn.errors import UserError

PLAIN = {"mean": (0.5,), "std": (0.25,)}


@pytest.fixture(scope="module")
def source():
    return load("synthetic", "train", image_size=6, num_examples=700, num_classes=5)


def contrast(pixels, scale=55.0):
    """As in pylearn2: subtract the image's mean, divide by its length."""
    rows = pixels.reshape(len(pixels), -1) / 255
    rows = rows - rows.mean(1, keepdims=True)
    return scale * rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_mean_image_is_subtracted_pixel_by_pixel(source):
    statistics = whitening.measure(source, "mean_image")
    expected = (source.images / 255).mean(0)
    np.testing.assert_allclose(statistics.mean, expected, atol=1e-6)
    found = normalize(source.images[:50], statistics=statistics, **PLAIN)
    np.testing.assert_allclose(found, (source.images[:50] / 255 - expected) / 0.25, atol=1e-5)


def test_contrast_normalisation_is_of_each_image(source):
    statistics = whitening.measure(source, "gcn", scale=10.0)
    found = np.asarray(normalize(source.images[:50], statistics=statistics, **PLAIN))
    expected = contrast(source.images[:50], 10.0).reshape(found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    even = np.full((1, 6, 6, 3), 77, np.uint8)
    assert np.abs(normalize(even, statistics=statistics, **PLAIN)).max() < 1e-4  # of 10


def test_whitened_images_are_uncorrelated_up_to_epsilon(source):
    epsilon = 0.1
    statistics = whitening.measure(source, "zca", epsilon=epsilon)
    found = np.asarray(normalize(source.images, statistics=statistics, **PLAIN), np.float64)
    rows = contrast(source.images)
    centred = rows - rows.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
    expected = centred @ (vectors / np.sqrt(values + epsilon)) @ vectors.T
    np.testing.assert_allclose(found.reshape(rows.shape), expected, atol=2e-3)
    covariance = np.cov(found.reshape(rows.shape).T, bias=True)
    spread = vectors * (np.maximum(values, 0) / (np.maximum(values, 0) + epsilon)) @ vectors.T
    np.testing.assert_allclose(covariance, spread, atol=2e-3)
    np.testing.assert_allclose(statistics.whiten, statistics.whiten.T, atol=1e-5)


def test_training_whitens_before_it_shifts(source):
    statistics = whitening.measure(source, "zca")
    keys = example_keys(jax.random.key(0), jnp.zeros(30, int), jnp.arange(30))
    plain = np.asarray(normalize(source.images[:30], statistics=statistics, **PLAIN))
    found = np.asarray(augment(source.images[:30], keys, statistics=statistics, pad=1, **PLAIN))
    padded = np.pad(plain, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for number in range(30):
        places = [padded[number, y : y + 6, x : x + 6] for y in range(3) for x in range(3)]
        assert any(np.allclose(found[number], place, atol=1e-4) for place in places)


def test_a_large_split_is_measured_at_even_distances(source, monkeypatch):
    monkeypatch.setattr(whitening, "MOST_EXAMPLES", 7)
    found = whitening.measure(source, "mean_image").mean
    np.testing.assert_allclose(found, (source.images[::100] / 255).mean(0), atol=1e-6)


@pytest.mark.parametrize("kind", ["mean_image", "gcn", "zca"])
def test_what_is_written_is_read_to_the_bit_and_damage_is_noticed(source, kind, tmp_path):
    statistics, path = whitening.measure(source, kind), tmp_path / "statistics.npz"
    assert whitening.read(path) is None
    whitening.write(path, statistics, {"examples": 700})
    found, about = whitening.read(path)
    assert about == {"examples": 700}
    assert (found.kind, found.scale) == (kind, 55.0)
    for name in ("mean", "whiten"):
        np.testing.assert_array_equal(getattr(found, name), getattr(statistics, name))
    assert list(tmp_path.iterdir()) == [path]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert whitening.read(path) is None


def test_channels_need_no_statistics(source):
    assert whitening.measure(source, "channels") is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "zac"}, r"preprocess='zac' does not exist: did you mean zca\?"),
        ({"kind": "zca", "epsilon": 0.0}, "zca_epsilon=0.0 must be positive"),
        ({"kind": "gcn", "scale": -1.0}, "gcn_scale=-1.0 must be positive"),
    ],
)
def test_what_cannot_be_measured_is_one_line(source, fields, message):
    with pytest.raises(UserError, match=message):
        whitening.measure(source, **fields)


def test_other_sizes_are_refused(source):
    large = load("synthetic", "train", image_size=96, num_examples=2)
    with pytest.raises(UserError, match="cannot whiten images of 96x96x3"):
        whitening.measure(large, "zca")
    statistics = whitening.measure(source, "mean_image")
    with pytest.raises(UserError, match="measured on images of 6x6x3 and these are 96x96x3"):
        normalize(large.images, statistics=statistics, **PLAIN)

"""Mixed images: shares as published, labels to match, the same on whatever devices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.data import load
from jaxcnn.data.augmentation.augment import AugmentConfig, augment, example_keys
from jaxcnn.data.augmentation.mixup import MixupConfig, cutmix, mixup, mixup_or_cutmix
from jaxcnn.data.fields import BatchConfig
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import UserError

COUNT = 2000
ALL = MixupConfig(mixup=0.8, cutmix=1.0, mix_probability=0.9)


def keys(count=COUNT, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def shares_of(kind, alpha, shape=(1, 1, 1)):
    zeros, ones = jnp.zeros(shape), jnp.ones(shape)
    return jax.jit(jax.vmap(lambda key: kind(ones, zeros, key, alpha)))(keys())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_draws_its_share_from_the_beta_distribution(alpha):
    images, shares = shares_of(mixup, alpha)
    assert scipy.stats.kstest(shares, scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.01
    np.testing.assert_allclose(images[:, 0, 0, 0], shares)


@jax.jit
def pasted_white(own, of_examples):
    return jax.vmap(lambda key: cutmix(own, jnp.zeros_like(own), key, 1.0))(of_examples)


@pytest.mark.slow
@given(st.sampled_from([(2, 3), (8, 5), (9, 9)]), st.integers(0, 2**30))
@settings(deadline=None, max_examples=15)
def test_the_share_of_cutmix_is_the_area_that_is_left(sides, seed):
    images, shares = pasted_white(jnp.ones((*sides, 1)), keys(8, seed))
    np.testing.assert_allclose(images.mean((1, 2, 3)), shares, atol=1e-6)
    for image in images[..., 0]:
        pasted = np.argwhere(np.asarray(image) == 0)
        if len(pasted):  # one box
            assert np.prod(np.ptp(pasted, axis=0) + 1) == len(pasted)


@pytest.mark.slow
def test_boxes_of_cutmix_have_the_published_areas_and_places():
    images, shares = shares_of(cutmix, 1.0, (64, 64, 1))
    pasted = np.asarray(images)[..., 0] == 0
    # With alpha 1 the area is uniform, of a box that is cut off where it stands out.
    draw = np.random.default_rng(0)
    side = np.floor(64 * np.sqrt(draw.random((2, 50000))[0]))
    middle = draw.integers(0, 64, (2, 50000))
    low = np.maximum(middle - side // 2, 0)
    extent = np.minimum(middle - side // 2 + side, 64) - low
    expected = 1 - extent.prod(0) / 64**2
    assert scipy.stats.ks_2samp(shares, expected).pvalue > 0.01
    assert abs(np.argwhere(pasted)[:, 1:].mean(0) - 31.5).max() < 1
    np.testing.assert_allclose(pasted.mean((1, 2)), 1 - shares, atol=1e-6)


def rows(count=COUNT, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.random((count, 1, 1, 1)).astype(np.float32)
    images = jnp.broadcast_to(values, (count, 4, 4, 1))
    return images, jnp.asarray(rng.integers(0, 9, count), jnp.int32), jnp.ones(count)


@pytest.mark.slow
def test_neighbours_are_mixed_and_labels_follow():
    images, labels, weights = rows()
    own, other = images[:, 0, 0, 0], images.reshape(-1, 2, 4, 4, 1)[:, ::-1].reshape(images.shape)
    for config in (MixupConfig(mixup=1.0), MixupConfig(cutmix=1.0), ALL):
        found = mixup_or_cutmix(images, labels, weights, keys(), config)
        expected = found.shares * own + (1 - found.shares) * other[:, 0, 0, 0]
        np.testing.assert_allclose(found.images.mean((1, 2, 3)), expected, atol=1e-6)
        np.testing.assert_array_equal(found.partners[::2], labels[1::2])
        np.testing.assert_array_equal(found.partners[1::2], labels[::2])


@pytest.mark.slow
def test_each_row_takes_one_kind_with_the_probability():
    images, labels, weights = rows()
    found = mixup_or_cutmix(images, labels, weights, keys(), MixupConfig(8.0, 1.0, 0.6))
    flat = np.ptp(found.images, axis=(1, 2, 3)) < 1e-7
    left = np.asarray(found.shares == 1)
    blended = (flat & ~left).mean()
    assert abs(blended - 0.3) < 0.04
    # A box of less than one of these pixels pastes nothing, one in sixteen with its corners.
    assert 0.4 - 0.04 < left.mean() < 0.4 + 0.04 + 0.3 / 8


@pytest.mark.slow
def test_a_row_whose_partner_could_not_be_read_stays():
    images, labels, weights = rows(8)
    weights = weights.at[2].set(0)
    found = mixup_or_cutmix(images, labels, weights, keys(8), MixupConfig(mixup=1.0))
    assert found.shares[3] == 1
    np.testing.assert_array_equal(found.images[3], images[3])
    assert np.all(np.delete(np.asarray(found.shares), 3) < 1)


@pytest.mark.parametrize(
    ("count", "fields", "message"),
    [
        (3, {"mixup": 1.0}, "3 rows on a device cannot be mixed in pairs"),
        (4, {"mixup": -1.0}, "mixup=-1.0 is not a number from 0"),
        (4, {"cutmix": -0.1}, "cutmix=-0.1 is not a number from 0"),
        (4, {"mixup": 1.0, "mix_probability": 1.5}, "mix_probability=1.5 is not a number from 0"),
    ],
)
def test_what_cannot_be_mixed_is_one_line(count, fields, message):
    with pytest.raises(UserError, match=message):
        mixup_or_cutmix(*rows(count), keys(count), MixupConfig(**fields))


# The batch as the network sees it, with everything on ------------------------------------------

SOURCE = load("synthetic", "train", image_size=8, num_examples=40, num_classes=3)
SIZE = 16


@jax.jit
def seen(batch):
    """What the training step makes of its rows."""
    places = (jnp.asarray(batch[name]) for name in ("epoch", "index", "repeat"))
    of_examples = example_keys(jax.random.key(7), *places)
    images = augment(
        jnp.asarray(batch["image"]),
        of_examples,
        AugmentConfig(flip=True, pad=1, random_erasing=0.5),
        mean=(0.5,),
        std=(0.25,),
    )
    return mixup_or_cutmix(images, batch["label"], batch["weight"], of_examples, ALL)


OVER = {devices: jax.pmap(seen, devices=jax.devices()[:devices]) for devices in (2, 4)}


@pytest.mark.exhaustive
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4]))
@settings(deadline=None, max_examples=4)
def test_a_batch_is_the_same_on_any_devices_and_processes_at_any_step(step, repeats):
    def block(process, processes):
        return train_batch(
            SOURCE,
            BatchConfig(repeats=repeats),
            batch_size=SIZE,
            seed=2,
            step=step,
            process_index=process,
            process_count=processes,
        )

    whole = block(0, 1)
    halves = jax.tree.map(lambda *parts: np.concatenate(parts), block(0, 2), block(1, 2))
    chex.assert_trees_all_equal(halves, whole)
    expected = seen(whole)
    for devices, run in OVER.items():
        split = jax.tree.map(lambda x, d=devices: x.reshape(d, -1, *x.shape[1:]), whole)
        found = jax.tree.map(lambda x: x.reshape(SIZE, *x.shape[2:]), run(split))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), found, expected)
        np.testing.assert_array_equal(found.partners, expected.partners)

"""What ablations measure on a trained network, against networks whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.ablation import measures
from jaxcnn.config import build, build_data, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.data.pipeline import train_batch
from tests.interop import small as weights

CONFIG = freeze(recipes.recipe("cifar_resnet20"))
RNG = np.random.default_rng(0)


def scaled(pixels):
    return pixels.astype(jnp.float32) / 255


def use(monkeypatch, model, variables, pixels, labels):
    run = measures.Trained(model, variables, pixels, np.asarray(labels), scaled)
    monkeypatch.setattr(measures, "_trained", lambda config, directory, split="test": run)
    return run


class Columns(nn.Module):
    """Tells the column of the light, which a shift changes; or only whether there is one."""

    pooled: bool = False

    @nn.compact
    def __call__(self, images, train=False):
        columns = images.sum(axis=(1, 3))
        if self.pooled:
            return jnp.stack([columns.max(-1), 1 - columns.max(-1)], axis=-1)
        return columns


@pytest.mark.parametrize(("pooled", "expected"), [(False, [0, 0.5, 0.5]), (True, [0, 0, 0])])
def test_a_shift_moves_what_is_seen(monkeypatch, tmp_path, pooled, expected):
    """Two of four shifts are along the rows, of which the network knows nothing."""
    pixels = np.zeros((3, 8, 8, 1), np.uint8)
    for number in range(3):
        pixels[number, 4, 3 + number] = 255
    use(monkeypatch, Columns(pooled), {}, pixels, [0] * 3 if pooled else [3, 4, 5])
    found = measures.shifts(CONFIG, tmp_path, most=2)
    assert found == [(float(move), value) for move, value in enumerate(expected)]


class Rectified(nn.Module):
    """Four channels behind a ReLU; their biases decide which are dead."""

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(4, (1, 1), name="conv")(images))
        return nn.relu(nn.Dense(2, name="dense")(x.mean(axis=(1, 2))))


def test_a_channel_that_is_never_positive_is_dead(monkeypatch, tmp_path):
    model, pixels = Rectified(), RNG.integers(0, 255, (5, 4, 4, 1), np.uint8)
    variables = model.init(jax.random.key(0), scaled(jnp.asarray(pixels)))
    params = variables["params"]
    params["conv"]["kernel"] = jnp.ones_like(params["conv"]["kernel"])
    params["conv"]["bias"] = jnp.array([0.0, -9.0, 0.0, 0.0])
    params["dense"]["kernel"] = jnp.ones_like(params["dense"]["kernel"])
    params["dense"]["bias"] = jnp.array([0.0, -99.0])
    use(monkeypatch, model, variables, pixels, [0] * 5)
    found = measures.dead_channels(CONFIG, tmp_path)
    assert found == [(1.0, 0.25), (2.0, pytest.approx((0.25 + 0.5) / 2))]


def test_what_units_add_is_measured(monkeypatch, tmp_path):
    """The last normalisation of every branch has ten times its scale."""
    model = create_model("cifar_resnet20", stage_sizes=(2,), width=4, num_classes=3)
    pixels = RNG.integers(0, 255, (4, 8, 8, 1), np.uint8)
    shapes = jax.eval_shape(model.init, jax.random.key(0), scaled(jnp.asarray(pixels)))
    variables = weights.filled(shapes)
    use(monkeypatch, model, variables, pixels, [0] * 4)
    first = measures.branch_sizes(CONFIG, tmp_path)
    assert [x for x, _ in first] == [1.0, 2.0]

    def larger(path, leaf):
        names = [str(part.key) for part in path]
        return leaf * 10 if "norm2" in names and names[0] == "params" else leaf

    use(monkeypatch, model, jax.tree_util.tree_map_with_path(larger, variables), pixels, [0] * 4)
    assert measures.branch_sizes(CONFIG, tmp_path)[0][1] == pytest.approx(
        10 * first[0][1], rel=1e-4
    )


def test_the_largest_logit_is_counted_from_the_mean(monkeypatch, tmp_path):
    pixels = np.zeros((2, 2, 4, 1), np.uint8)
    pixels[:, 0, 1] = 255
    use(monkeypatch, Columns(), {}, pixels, [0, 0])
    assert measures.largest_logit(CONFIG, tmp_path) == [(0.0, pytest.approx(0.75))]


class Dropping(nn.Module):
    """Right without dropout; each of its two inputs alone is right for one class."""

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dropout(0.5, deterministic=not train)(images.reshape(len(images), -1))


def test_sub_networks_are_averaged(monkeypatch, tmp_path):
    pixels = np.zeros((40, 1, 2, 1), np.uint8)
    labels = np.arange(40) % 2
    pixels[np.arange(40), 0, labels] = 255
    use(monkeypatch, Dropping(), {}, pixels, labels)
    assert measures.sub_networks(CONFIG, tmp_path, count=0) == [(0.0, 0.0)]
    found = measures.sub_networks(CONFIG, tmp_path, count=30)
    assert [x for x, _ in found] == [1, 2, 5, 10, 20, 30]
    assert found[-1][1] == 0.0


def test_a_linear_probe_finds_what_a_layer_tells_apart(monkeypatch, tmp_path):
    model = Rectified()
    labels = np.arange(60) % 2
    pixels = (labels[:, None, None, None] * 200 + RNG.integers(0, 40, (60, 4, 4, 1))).astype(
        np.uint8
    )
    variables = model.init(jax.random.key(1), scaled(jnp.asarray(pixels)))
    use(monkeypatch, model, variables, pixels, labels)
    ((x, accuracy),) = measures.linear_probe(CONFIG, tmp_path, layer="conv")
    assert (x, accuracy) == (0.0, 1.0)


def test_the_first_epoch_that_reaches_an_accuracy(tmp_path):
    lines = [f'{{"step": {i}, "epoch": {i}.0, "test/top1": {i / 10}}}\n' for i in range(1, 8)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    assert measures.epochs_to(CONFIG, tmp_path, accuracy=0.35) == [(0.0, 4.0)]
    assert measures.epochs_to(CONFIG, tmp_path, accuracy=0.95) == [(0.0, float("inf"))]


class Damaged(nn.Module):
    """Three units, of which the second alone tells the class; with shortcuts or without."""

    shortcut: str = "A"

    @nn.compact
    def __call__(self, images, train=False):
        x = images
        for number in (1, 2, 3):
            y = nn.Conv(1, (1, 1), name=f"conv{number}")(x)
            x = y if self.shortcut == "none" else x + y
        return jnp.concatenate([x.mean(axis=(1, 2)), jnp.full((len(x), 1), 0.5)], axis=-1)


def test_a_lesion_counts_what_it_adds_to_the_error(monkeypatch, tmp_path):
    """The mean over draws of one of three units, of which one is needed."""
    model, pixels = Damaged("none"), np.full((4, 2, 2, 1), 255, np.uint8)
    variables = model.init(jax.random.key(0), scaled(jnp.asarray(pixels)))
    for number, factor in ((1, 1.0), (2, 1 / 4), (3, 1.0)):
        variables["params"][f"conv{number}"]["kernel"] = jnp.full((1, 1, 1, 1), factor)
    use(monkeypatch, model, variables, pixels, [1] * 4)
    (none, one) = measures.lesion(CONFIG, tmp_path, most=1)
    draw = np.random.default_rng(CONFIG.seed)
    hits = [draw.choice(3, 1)[0] == 1 for _ in range(measures.LESIONS)]
    assert none == (0.0, 0.0)
    assert one == (1.0, pytest.approx(np.mean(hits)))


@pytest.mark.slow
def test_the_first_gradient_is_that_of_all_heads(tmp_path):
    config = recipes.recipe("dsn_cifar10", "glyphs")
    config.data.update(image_size=16, num_examples=72)
    config.model.overrides.features = ((6, 4), (6, 4), (6,))
    config.train.batch_size = 8
    config = freeze(config)
    source = build_data.load_data(config, "train")
    model = build.make_model(config, 36)
    batch = train_batch(source, batch_size=8, seed=config.seed, step=0)
    images = build_data.make_normalize(config)(jnp.asarray(batch["image"]))
    variables = jax.jit(model.init)(jax.random.key(config.seed), images)
    first = measures._layers(model, images)[0].split("/")

    def of_head(head):
        def loss(params):
            logits, found = model.apply({**variables, "params": params}, images, mutable=["aux"])
            logits = found["aux"][head] if head else logits
            return -jax.nn.log_softmax(logits)[jnp.arange(8), batch["label"]].mean()

        gradient = jax.jit(jax.grad(loss))(variables["params"])
        for name in first:
            gradient = gradient[name]
        return gradient

    heads = sorted(
        jax.eval_shape(lambda: model.apply(variables, images, mutable=["aux"])[1])["aux"]
    )
    for weight in (0.0, 0.3):
        total = of_head("") + weight * sum(of_head(head) for head in heads)
        ((_, found),) = measures.first_gradient(config, tmp_path, auxiliary=weight)
        assert found == pytest.approx(float(jnp.linalg.norm(total)), rel=1e-4)

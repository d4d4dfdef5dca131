"""What ablations measure on a trained network, against networks whose answer is known."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from jaxcnn import ablation, create_model
from jaxcnn.ablation import averaging, measures, robustness, trained
from jaxcnn.analysis.lesion import lesioned, removable
from jaxcnn.config import build, build_data, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.config.schema import changed
from jaxcnn.data.pipeline import eval_batches, train_batch
from jaxcnn.models.vgg import FROM_NET_A
from jaxcnn.run.checkpoint import init_from
from jaxcnn.training import train
from tests.interop import small as weights
from tests.marks import exhaustive, slow

ABLATIONS = Path(__file__).parents[2] / "configs" / "ablations"
CONFIG = freeze(recipes.recipe("cifar_resnet20"))
RNG = np.random.default_rng(0)


def scaled(pixels):
    return pixels.astype(jnp.float32) / 255


def use(monkeypatch, model, variables, pixels, labels):
    run = trained.Trained(model, variables, pixels, np.asarray(labels), scaled)
    monkeypatch.setattr(trained, "read", lambda config, directory, split="test": run)
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
    found = robustness.shifts(CONFIG, tmp_path, most=2)
    assert found == [(float(move), value) for move, value in enumerate(expected)]


class Rectified(nn.Module):
    """Four channels behind a ReLU; their biases decide which are dead."""

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(4, (1, 1), name="conv")(images))
        return nn.relu(nn.Dense(2, name="dense")(x.mean(axis=(1, 2))))


@pytest.mark.slow
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
    assert averaging.sub_networks(CONFIG, tmp_path, count=0) == [(0.0, 0.0)]
    found = averaging.sub_networks(CONFIG, tmp_path, count=30)
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
    (none, one) = robustness.lesion(CONFIG, tmp_path, most=1)
    draw = np.random.default_rng(CONFIG.seed)
    hits = [draw.choice(3, 1)[0] == 1 for _ in range(robustness.DRAWS)]
    assert none == (0.0, 0.0)
    assert one == (1.0, pytest.approx(np.mean(hits)))


class Chain(nn.Module):
    """Convolutions in a row; the other class has 0.5."""

    @nn.compact
    def __call__(self, images, train=False):
        x = images
        for number in (1, 2, 3, 4):
            x = nn.relu(nn.Conv(1, (1, 1), name=f"conv{number}")(x))
        return self.logits(x)

    def logits(self, x):
        x = x.mean(axis=(1, 2))
        return jnp.concatenate([x, jnp.full_like(x, 0.5)], axis=-1)


def chain(*layers):
    """The variables of a Chain by (factor, bias) of each layer."""
    params = {
        f"conv{number}": {
            "kernel": jnp.full((1, 1, 1, 1), float(factor)),
            "bias": jnp.full((1,), float(bias)),
        }
        for number, (factor, bias) in enumerate(layers, 1)
    }
    return {"params": params}


WHITE = np.full((4, 2, 2, 1), 255, np.uint8)


def test_each_unit_of_a_part_is_removed_alone(monkeypatch, tmp_path):
    """The image is 1 and the answer 0: only the third layer makes it so."""
    variables = chain((1, 0), (1, 0), (0, 0), (1, 0))
    use(monkeypatch, Chain(), variables, WHITE, [1] * 4)
    first = robustness.lesion_of_each(CONFIG, tmp_path, start=0, end=0.5)
    last = robustness.lesion_of_each(CONFIG, tmp_path, start=0.5, end=1)
    assert first == [(1.0, 0.0), (2.0, 0.0)]
    assert last == [(3.0, 1.0), (4.0, 0.5)]


def test_units_of_a_highway_network_can_be_removed():
    model = create_model("highway_fc10", depth=4, num_classes=3)
    images = jnp.ones((2, 4, 4, 1))
    variables = model.init(jax.random.key(0), images)
    units = removable(model, images.shape[1:])
    assert units == ["stage1/block1", "stage1/block2", "stage1/block3"]
    params = variables["params"]
    x = images.reshape(2, -1) @ params["stage1"]["first"]["kernel"]
    expected = nn.relu(x) @ params["classifier"]["kernel"]
    found = lesioned(model, units).apply(variables, images)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gates_differ_between_images(monkeypatch, tmp_path):
    """Those of the first unit follow the pixel; the second's are the same for all images."""
    model = create_model("highway_fc10", depth=3, width=1, num_classes=2)
    pixels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    variables = model.init(jax.random.key(0), scaled(jnp.asarray(pixels)))
    stage = variables["params"]["stage1"]
    stage["first"]["kernel"] = jnp.ones((1, 1))
    for unit, slope in (("block1", 2.0), ("block2", 0.0)):
        stage[unit]["gate"] = {"kernel": jnp.full((1, 1), slope), "bias": jnp.zeros(1)}
    use(monkeypatch, model, variables, pixels, [0, 1])
    (_, first) = measures.gate_variation(CONFIG, tmp_path, start=0, end=0.5)[0]
    assert first == pytest.approx((1 / (1 + np.exp(-2)) - 0.5) / 2)
    assert measures.gate_variation(CONFIG, tmp_path, start=0.5, end=1) == [(2.0, 0.0)]


def test_units_of_equal_shapes_change_places(monkeypatch, tmp_path):
    """x + 1, then twice it, is more than 2x + 1: 1 becomes 4 or 3, the other class has 3.5."""

    class Ordered(Chain):
        def logits(self, x):
            x = x.mean(axis=(1, 2))
            return jnp.concatenate([x, jnp.full_like(x, 3.5)], axis=-1)

    variables = chain((1, 1), (2, 0), (1, 0), (1, 0))
    assert robustness._exchangeable(variables, ["conv1", "conv2"]) == [("conv1", "conv2")]
    wide = {"params": {**variables["params"], "conv2": {"kernel": jnp.ones((1, 1, 1, 2))}}}
    assert robustness._exchangeable(wide, ["conv1", "conv2", "conv3"]) == [("conv1", "conv3")]
    monkeypatch.setattr(robustness, "removable", lambda *args, **given: ["conv1", "conv2"])
    use(monkeypatch, Ordered(), variables, WHITE, [0] * 4)
    found = robustness.permutation(CONFIG, tmp_path, most=2)
    assert found == [(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]  # twice is as before


def test_noise_costs_what_the_network_gets_wrong_with_it(monkeypatch, tmp_path):
    """Which half of an image is lighter: sure at 40 against 0, a guess in much noise."""

    class Lighter(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            return images.reshape(len(images), -1)

    labels = np.arange(400) % 2
    pixels = np.zeros((400, 1, 2, 1), np.uint8)
    pixels[np.arange(400), 0, labels] = 40
    use(monkeypatch, Lighter(), {}, pixels, np.where(np.arange(400) < 200, labels, 1 - labels))
    found = robustness.noise(CONFIG, tmp_path, most=200.0)
    assert [x for x, _ in found] == [0, 50, 100, 150, 200]
    assert found[0][1] == 0
    assert 0.1 < found[1][1] < found[-1][1] < 0.5
    assert found == robustness.noise(CONFIG, tmp_path, most=200.0)


def test_answers_are_halved_by_the_certainty_of_the_output(monkeypatch, tmp_path):
    """Classes of sure images are told apart by the first layer, of the others by the second."""

    class Staged(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            first = nn.Dense(1, use_bias=False, name="first")(images[:, 0, 0, :1])
            sure = images[:, 0, 0, 2:]
            x = jnp.where(sure > 0.5, first, images[:, 0, 0, 1:2])
            return jnp.concatenate([x, 1 - x], axis=-1) * (1 + 9 * sure)

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    sure = np.arange(80) % 2
    noise = rng.integers(0, 2, 80)
    seen = np.stack([np.where(sure, 1 - labels, noise), 1 - labels, sure], axis=-1)
    pixels = (255 * seen[:, None, None]).astype(np.uint8)
    variables = {"params": {"first": {"kernel": jnp.ones((1, 1))}}}
    use(monkeypatch, Staged(), variables, pixels, labels)
    ((_, lost),) = measures.lost_at_layer(CONFIG, tmp_path, layer="first", sure=True)
    assert lost == 0
    ((_, lost),) = measures.lost_at_layer(CONFIG, tmp_path, layer="first", sure=False)
    assert 0.2 < lost < 0.8


def test_views_are_shifted_and_resized(monkeypatch, tmp_path):
    """A light in the corner leaves the image in views shifted that way, and is still counted."""
    pixels = np.zeros((1, 5, 5, 1), np.uint8)
    pixels[0, 0, 2] = 255
    seen = []

    class Seeing(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            jax.debug.callback(lambda x: seen.append(np.asarray(x)), images)
            light = images.sum(axis=(1, 2))
            return jnp.concatenate([light, jnp.full_like(light, 0.5)], axis=-1)

    use(monkeypatch, Seeing(), {}, pixels, [0])
    assert averaging.views(CONFIG, tmp_path) == [(1.0, 0.0)]
    seen.clear()
    assert averaging.views(CONFIG, tmp_path, shifts=(-1, 0, 1)) == [(9.0, 0.0)]
    jax.effects_barrier()
    assert len(seen) == 9
    assert {tuple(np.argwhere(one[0, :, :, 0])[0]) for one in seen if one.any()} == {
        (i, j) for i in (0, 1) for j in (1, 2, 3)
    }
    seen.clear()
    assert averaging.views(CONFIG, tmp_path, sides=(4, 5))[0][0] == 2.0
    jax.effects_barrier()
    assert sorted(one.shape[1] for one in seen) == [4, 5]


@pytest.mark.slow
def test_weights_are_read_by_their_source(monkeypatch, tmp_path):
    model = create_model(
        "densenet_40_12", stage_sizes=(2, 2), growth_rate=2, compression=0.5, num_classes=3
    )
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    variables = model.init(jax.random.key(0), scaled(jnp.asarray(pixels)))
    layer = variables["params"]["stage2"]["layer2"]
    kept = layer["conv1"]["kernel"].shape[2] - 2
    weights = jnp.where(jnp.arange(kept + 2) < kept, -0.25, 0.75)[None, None, :, None]
    layer["conv1"]["kernel"] = jnp.broadcast_to(weights, (3, 3, kept + 2, 2))
    kernel = variables["params"]["classifier"]["kernel"]
    rows = jnp.concatenate([jnp.full(kept, 1.0), jnp.full(2, 2.0), jnp.full(2, 4.0)])
    variables["params"]["classifier"]["kernel"] = jnp.broadcast_to(rows[:, None], kernel.shape)
    use(monkeypatch, model, variables, pixels, [0])

    def value(of, source):
        ((_, found),) = measures.reused_weights(CONFIG, tmp_path, of=of, source=source)
        return found

    assert value("layers", "input") == pytest.approx(0.25)
    assert value("layers", "layers") == pytest.approx(0.75)
    assert value("classifier", "early") == pytest.approx(2)
    assert value("classifier", "late") == pytest.approx(4)


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


def tiny():
    config = recipes.recipe("vgg11", "digits")
    config.data.image_size = 16
    config.model.overrides.update(stage_features=(4, 4, 4), stage_sizes=(1, 1, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(4, 4))
    config.train.update(length="4steps", batch_size=16)
    config.log.every = "2steps"
    config.eval.every = "4steps"
    return freeze(config)


@pytest.mark.slow
def test_networks_of_other_seeds_are_averaged(tmp_path):
    """The run is the first; those that are trained are not trained again."""
    train.run(tiny(), tmp_path)
    points = averaging.networks(tiny(), tmp_path, count=2)
    assert [x for x, _ in points] == [1.0, 2.0]
    other = tmp_path / "network1"
    written = (other / "metrics.jsonl").read_text()
    probabilities = []
    for seed, place in ((0, tmp_path), (10_001, other)):
        run = trained.read(changed(tiny(), {"seed": seed}), place)
        probabilities.append(jax.nn.softmax(run.model.apply(run.variables, run.images)))
    assert not np.allclose(*probabilities)
    error = np.mean(np.mean(probabilities, axis=0).argmax(-1) != run.labels)
    assert points[1][1] == pytest.approx(error)
    assert averaging.networks(tiny(), tmp_path, count=2) == points
    assert (other / "metrics.jsonl").read_text() == written


@pytest.mark.slow
def test_a_network_starts_from_layers_of_another(tmp_path):
    """The rate is 0, so that what was taken over is still there."""
    still = {"schedule.learning_rate": 0.0, "optimizer.weight_decay": 0.0}
    config = changed(tiny(), {**still, "model.overrides.stage_sizes": (1, 1, 3)})
    shallow = {"model.overrides.stage_sizes": (1, 1, 2), "schedule.learning_rate": 1e-3}
    points = measures.copied_start(config, tmp_path, first=shallow, layers=FROM_NET_A)
    assert [x > 0 for x, _ in points] == [True, True]
    params = {
        place: init_from.read(tmp_path / place).variables["params"] for place in ("first", "copied")
    }
    flat = {place: traverse_util.flatten_dict(tree, sep="/") for place, tree in params.items()}
    for name in ("stage1/conv1/kernel", "fc6/dense/kernel", "classifier/bias"):
        np.testing.assert_array_equal(flat["first"][name], flat["copied"][name])
    assert "stage3/conv3/kernel" in flat["copied"].keys() - flat["first"].keys()
    # As variants of one config: in the same directory.
    assert len(measures.copied_start(config, tmp_path)) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"first", "copied", "random"}


MEASURED_AFTER_TRAINING = (
    measures.branch_sizes,
    measures.dead_channels,
    measures.gate_variation,
    measures.largest_logit,
    measures.linear_probe,
    measures.lost_at_layer,
    measures.reused_weights,
    robustness.lesion,
    robustness.lesion_of_each,
    robustness.noise,
    robustness.permutation,
    robustness.shifts,
    averaging.sub_networks,
    averaging.views,
)


IN_THE_GATE = ("highway_lesion", "noise", "scaled_views", "shift_invariance")


@pytest.mark.parametrize(
    "name",
    [
        (slow if file.stem in IN_THE_GATE else exhaustive)(file.stem)
        for file in sorted(ABLATIONS.glob("*.py"))
    ],
)
def test_what_a_file_measures_can_be_measured(name, monkeypatch, tmp_path):
    """On untrained networks and few images: else it would fail after the training."""
    plan, _ = ablation.load(ABLATIONS / f"{name}.py")
    each = (
        plan.measure
        if isinstance(plan.measure, dict)
        else dict.fromkeys(plan.variants, plan.measure)
    )
    for variant, measure in each.items():
        if getattr(measure, "func", measure) not in MEASURED_AFTER_TRAINING:
            continue
        config = plan.config(variant, 0)
        images = build_data.load_data(config, "test")
        model = build.make_model(config, images.num_classes)
        batch = next(eval_batches(images, batch_size=72))
        normalize = build_data.make_normalize(config)
        seen = normalize(jnp.asarray(batch["image"]))
        variables = jax.jit(model.init)(jax.random.key(0), seen[:1])
        run = trained.Trained(model, variables, batch["image"], batch["label"], normalize)
        monkeypatch.setattr(trained, "read", lambda *arguments, run=run: run)
        curve = measure(config, tmp_path)
        assert np.isfinite(np.array(curve)).all()

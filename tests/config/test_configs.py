"""Every config on every data set of its recipe is built; a small one of each family is trained."""

import contextlib
import difflib
import runpy
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.config import build, build_data, datasets
from jaxcnn.config.config_dict import freeze
from jaxcnn.config.recipes import recipe, recipes_of
from jaxcnn.data.fields import BatchConfig
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import make_evaluator
from jaxcnn.models.published import networks
from jaxcnn.run import distributed
from jaxcnn.training.initialize import prepare_state
from jaxcnn.training.state import initial_state
from jaxcnn.training.steps import StepParts, make_train_step
from tests.marks import exhaustive
from tests.models.test_contracts import SMALL

FILES = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
# One of each family that `tests.test_digits` does not train, on the data of its paper; where a
# relative compiles sooner, that one.
FAMILIES = [
    exhaustive("lenet5", "mnist"),
    ("lenet5_1998", "mnist"),
    exhaustive("zfnet", "imagenet2012"),
    ("dsn_cifar10", "cifar10"),
    ("highway_mnist_w16", "mnist"),
    exhaustive("highway_fc10", "mnist"),
    exhaustive("ladder_conv_large_gamma", "cifar10"),
    exhaustive("googlenet_torchvision", "imagenet2012"),
    ("wrn_16_8", "cifar10"),
    exhaustive("cifar_resnet110_sd", "cifar10"),
    ("fractalnet_narrow_c2", "cifar10"),
    exhaustive("dfn_fuse3_d20", "cifar10"),
    exhaustive("dfn_mr1", "cifar10"),
]
AS_IN_THE_RECIPE = {
    "act",
    "final_act",
    "norm",
    "noise",
    "dropout_rate",
    "drop_path_rate",
    "survival_probability",
}


def offered(file):
    found, get_config = {}, runpy.run_path(str(file))["get_config"]
    for dataset in datasets.DATASETS:
        with contextlib.suppress(UserError):
            found[dataset] = get_config(dataset)
    return found


def data_sets(stem):
    found = recipes_of(stem)
    return {**found.ours, **found.published}


PRODUCT = [(file.stem, dataset) for file in FILES for dataset in data_sets(file.stem)]


def config_of(stem, dataset):
    file = next(file for file in FILES if file.stem == stem)
    return offered(file)[dataset]


def test_the_smallest_sides_are_right():
    checked = set()
    for name, row in networks().items():
        if not (least := row["smallest_side"]):
            continue
        checked.add(name)
        config = recipe(name)
        assert config.data.image_size >= least
        model = build.make_model(config, 10)
        images = jax.ShapeDtypeStruct((2, least - 1, least, config.data.channels), jnp.float32)
        with pytest.raises(UserError, match=f"takes {least}x{least} or larger"):
            jax.eval_shape(model.init, jax.random.key(0), images)
    assert {"alexnet", "alexnet_torchvision", "inception_v4"} <= checked


@pytest.mark.exhaustive
@pytest.mark.parametrize("stem", [file.stem for file in FILES])
def test_network_of_every_data_set_is_built(stem):
    file = next(file for file in FILES if file.stem == stem)
    configs = offered(file).values()
    seen = set()
    for config in sorted(configs, key=lambda config: config.data.image_size):
        size, channels, classes = (
            config.data[field] for field in ("image_size", "channels", "num_classes")
        )
        # Parameters depend on the section and the channels, and the classifier alone on the
        # classes; of the remaining differences the size decides whether the network fits: the
        # smallest.
        section = config.model.to_dict()
        section["overrides"].pop("scan_units", None)  # which has the same parameters
        section = str(section | {"kernel_init": ""})
        if (section, channels) in seen:
            continue
        seen.add((section, channels))
        if config.dataset == "digits":
            size = networks()[config.model.name]["smallest_side"] or size
        model = build.make_model(config, classes)
        images = jax.ShapeDtypeStruct((2, size, size, channels), jnp.float32)
        logits, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
        assert logits.shape == (2, classes)
        assert logits.dtype == jnp.float32


def small_fields(config):
    """Returns what makes a network small: of its class in `tests.models`, the likest name.

    Nothing for those that have no small fellow, or whose other fields go with their size.
    """
    name, given = config.model.name, config.model.overrides

    def kind(name):
        model = create_model(name)
        return type(model), getattr(model, "cardinality", 1) > 1

    alike = {other: fields for other, fields, *_ in SMALL.values() if kind(other) == kind(name)}
    if not alike or name in ("ladder_mnist_mlp", "nin_imagenet") or "deviations" in given:
        return {}
    likest = difflib.get_close_matches(name, alike, n=1, cutoff=0)[0]
    return {k: v for k, v in alike[likest].items() if k not in AS_IN_THE_RECIPE}


def two_steps(config, evaluated=True, **fields):
    """Trains two steps on made-up data of the config's shape.

    Args:
      config: of a recipe.
      evaluated: whether it is evaluated, too.
      **fields: of the network, in place of its own.
    """
    config.data.update(kind="synthetic", num_examples=16)
    config.data.holdout = config.data.labelled = config.data.eval_image_size = 0
    config.data.holdout_per_class = ()
    config.data.repeats = min(config.data.repeats, 2)
    unlabelled = config.data.unlabelled_per_labelled
    # Two images of each kind on each device, or BN sees one.
    size = config.train.batch_size = config.eval.batch_size = 8 * (1 + unlabelled)
    dataset = build_data.load_data(config, "train")
    if config.data.preprocess == "zca":  # whitening 3,072 values takes long to measure
        config.data.preprocess = "gcn"
    statistics = build_data.measure_statistics(config, dataset)
    model = build.make_model(config, dataset.num_classes).clone(**fields)
    optimizer = build.make_optimizer(config, total_steps=2, steps_per_epoch=Fraction(2))
    step = distributed.pmap_train_step(
        make_train_step(
            StepParts(
                model,
                optimizer,
                build.make_loss(config),
                build_data.make_augment(config, statistics),
                mixup=build_data.make_mixup(config),
                total_steps=2,
                semi_supervised=unlabelled > 0,
                ema_decay=config.train.ema_decay,
                axis_name=distributed.AXIS,
            )
        )
    )
    averaged = config.train.ema_decay > 0
    initial = initial_state(model, optimizer, dataset.image_shape, averaged)
    state = distributed.replicate(prepare_state(initial, jax.random.key(0))())
    before = distributed.fetch(state.params)
    for number in range(2):
        batch = train_batch(
            dataset,
            BatchConfig(unlabelled_per_labelled=unlabelled),
            batch_size=size,
            seed=0,
            step=number,
        )
        state, metrics = step(state, distributed.shard(batch))
        assert np.isfinite(metrics["loss"])
        assert not metrics["skipped"]
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, distributed.fetch(state.params))
    # Drop-path may leave the same columns out of both steps, stochastic depth the same units.
    leaves_out = getattr(model, "drop_path_rate", 0) > 0 or getattr(model, "survival", None)
    flat = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(moved)}
    # A scale of 1 stays that when it moves by less than its rounding, as in a small VGG.
    still = [path for path, leaf in flat.items() if not leaf and not path.endswith("['scale']")]
    assert any(flat.values()) if leaves_out else not still
    if not evaluated:
        return
    results = make_evaluator(
        build_data.during_training(freeze(config)), model, dataset, statistics
    )(distributed.replicate(state.variables()))
    assert 0 <= results["top1"] <= results["top5"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "dataset"), FAMILIES)
def test_a_small_network_of_each_family_takes_two_steps(stem, dataset):
    config = config_of(stem, dataset)
    two_steps(config, evaluated=False, **small_fields(config))


@pytest.mark.exhaustive
@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(("stem", "dataset"), PRODUCT)
def test_a_small_network_takes_two_steps_by_every_config(stem, dataset):
    config = config_of(stem, dataset)
    two_steps(config, **small_fields(config))


@pytest.mark.exhaustive
@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(("stem", "dataset"), PRODUCT)
def test_every_config_takes_two_steps(stem, dataset):
    two_steps(config_of(stem, dataset))

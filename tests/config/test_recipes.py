"""Every config file loads anywhere and says what the paper says; no field does nothing."""

import ast
import contextlib
import re
import runpy
import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from jaxcnn import data, list_models, model_info
from jaxcnn.config import build, build_data, config_dict, datasets, generate, recipes, schema
from jaxcnn.errors import UserError
from jaxcnn.training import averages
from jaxcnn.training.lengths import length_in_steps

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs").glob("*.py"))
EXAMPLES = {
    "mnist": 60000,
    "fashion_mnist": 60000,
    "svhn": 604388,
    "cifar10": 50000,
    "cifar100": 50000,
    "imagenet2012": 1281167,
}

by_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(file):
    """The file's `get_config`."""
    return runpy.run_path(str(file))["get_config"]


def offered(get_config):
    """The data sets for which a file has a recipe."""
    found = {}
    for name in datasets.DATASETS:
        with contextlib.suppress(UserError):
            found[name] = get_config(name)
    return found


def optimizer_of(config, examples=None):
    examples = examples or EXAMPLES.get(config.dataset, 1437) - config.data.holdout
    plan = build.make_plan(config, examples)
    optimizer = build.make_optimizer(
        config, total_steps=plan.total, steps_per_epoch=plan.steps_per_epoch
    )
    return optimizer, plan.total


@by_file
def test_a_file_loads_anywhere_for_all_its_data_sets_and_builds(file):
    get_config = load(file)
    configs = offered(get_config)
    assert {"digits", "synthetic"} <= configs.keys()
    assert get_config().to_dict() == configs["digits"].to_dict(), "digits are the default"
    fields = config_dict.base_config().to_dict()
    for dataset, config in configs.items():
        assert config.dataset == dataset
        assert config.model.name in list_models()
        found = config.to_dict()
        assert {s: set(f) for s, f in found.items() if isinstance(f, dict)} == {
            s: set(f) for s, f in fields.items() if isinstance(f, dict)
        }
        section = config.data
        assert section.kind in data.KINDS
        assert len(section.mean) == len(section.std)
        assert len(section.mean) in (1, section.channels)
        for text in (config.eval.every, config.checkpoint.every, config.log.every):
            length_in_steps(text, Fraction(1))
        optimizer, total = optimizer_of(config)
        assert total > 0
        assert float(optimizer.learning_rate(total // 2)) > 0
        model = build.make_model(config, section.num_classes)
        build.make_loss(config)
        fitted = averages.fit(model, config, total)
        if dataset == "imagenet2012" or dataset.startswith("cifar"):
            assert fitted is model, "the paper's statistics, over the paper's length"
        if own := getattr(model, "norm_momentum", 0):
            assert fitted.norm_momentum in (own, 0.9)
            assert fitted.norm_momentum**total < 1.01e-5, "statistics that settle"


@by_file
def test_a_file_is_named_after_its_network_and_its_text_is_right(file):
    get_config = load(file)
    configs = offered(get_config)
    name = configs["digits"].model.name
    assert name == recipes.NETWORKS.get(file.stem, file.stem)
    text = ast.get_docstring(ast.parse(file.read_text()))
    assert f"{model_info(name).params:,} parameters" in text
    commands = re.findall(r"--config=configs/(\w+)\.py(?::(\w+))?", text)
    assert {stem for stem, _ in commands} == {file.stem}
    ours = re.findall(r":(\w+)", text.partition("\nBy a recipe of ours: ")[2])
    named = [dataset or "digits" for _, dataset in commands] + ours
    assert sorted(named) == sorted(configs)


def test_every_network_has_a_file():
    names = {load(file)().model.name for file in FILES}
    assert names == set(list_models())


def test_configs_are_generated(tmp_path):
    """After a change of a network, its row or its recipe: the command of `generate`."""
    wanted = generate.files()
    stale = generate.stale(ROOT / "configs", wanted)
    assert stale == [], "run: python -m jaxcnn.config.generate configs"
    assert {file.stem for file in FILES} == {*wanted, *generate.HAND_WRITTEN}
    assert not wanted.keys() & {*generate.HAND_WRITTEN}
    shutil.copy(ROOT / "configs" / "vgg11.py", tmp_path)
    assert len(generate.stale(tmp_path, wanted)) == len(wanted) - 1  # the file of a new network
    (tmp_path / "vgg11.py").write_text("")
    assert tmp_path / "vgg11.py" in generate.stale(tmp_path, wanted)


def test_an_unknown_data_set_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"densenet121 has no recipe for 'cifar1'.*cifar10"):
        load(ROOT / "configs" / "densenet121.py")("cifar1")
    with pytest.raises(UserError, match=r"highway_fc10 has no recipe for 'cifar10'.*digits"):
        load(ROOT / "configs" / "highway_fc10.py")("cifar10")


def test_two_configs_share_nothing():
    first, second = config_dict.base_config(), config_dict.base_config()
    first.model.overrides.dropout_rate = 0.2
    first.data.image_size = 8
    assert second.to_dict() == config_dict.base_config().to_dict()


# How each network is tested in its paper; all others see one centre crop, and so do those that have
# figures of other trainers only.
TESTED = {
    "ten_crop": (
        "alexnet alexnet_one_tower alexnet_owt"
        " zfnet zfnet_keras zfnet_wide"
        " plain18 plain34 resnet18 resnet18_a resnet34 resnet34_a resnet34_c resnet50 resnet50_v1"
        " resnet101 resnet101_v1 resnet152 resnet152_v1"
        " fractalnet34"
    ),
    "dense": "vgg11 vgg11_lrn vgg13 vgg16 vgg16_1x1 vgg19",
    "googlenet144": "googlenet googlenet_bn",
}
IN_WORDS = {
    "ten_crop": "on ten crops",
    "dense": "densely, at Q = 256",
    "googlenet144": "on 144 crops",
    "center": "on one centre crop",
}


def test_every_network_is_tested_as_its_paper_tested_it_and_its_text_says_so():
    wanted = {stem: name for name, stems in TESTED.items() for stem in stems.split()}
    seen = set()
    for file in FILES:
        get_config = load(file)
        if ":imagenet2012" not in file.read_text():
            continue
        seen.add(file.stem)
        name = wanted.get(file.stem, "center")
        imagenet, digits = get_config("imagenet2012"), get_config("digits")
        assert (imagenet.eval.protocol, digits.eval.protocol) == (name, "center"), file.stem
        protocol = build_data.make_test_protocol(imagenet)
        if protocol.views is not None and name != "googlenet144":
            assert protocol.views.scales == (256,)
        words = IN_WORDS[name]
        if file.stem.startswith("resnet") and file.stem.endswith("_v2"):
            words = "on one 320 crop"
            values(imagenet, data__eval_image_size=320, data__resize=320, data__image_size=224)
        text = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split())
        assert f"A run here is tested {words}." in text, file.stem
    assert wanted.keys() <= seen
    for model in ("vgg16", "resnet50"):
        values(recipes.recipe(model, "cifar10"), eval__protocol="center")


# The papers' values -----------------------------------------------------------------------------


def values(config, **expected):
    """The same fields of the config: section__field=value."""
    found = {}
    for name in expected:
        section, field = name.split("__")
        found[name] = config[section][field]
    assert found == expected


def rates(config, steps):
    optimizer, _ = optimizer_of(config)
    return [float(optimizer.learning_rate(step)) for step in steps]


def test_ladder_on_cifar():
    config = recipes.recipe("ladder_conv_large_gamma", "cifar10")
    values(
        config,
        optimizer__name="adam",
        optimizer__weight_decay=0.0,
        train__batch_size=200,
        train__length="70epochs",
        data__labelled=4000,
        data__unlabelled_per_labelled=1,
        data__flip=False,
        data__pad=0,
    )
    assert config.model.overrides.to_dict() == {"decoder": True}
    epoch = 500
    expected = pytest.approx([2e-3, 2e-3, 1e-3, 0], abs=1e-9)
    assert rates(config, [0, 60 * epoch - 1, 65 * epoch, 70 * epoch]) == expected


def test_preprocessing_is_the_papers_and_small_sets_fit_the_network():
    for model, kind in (
        ("nin_cifar10", "zca"),
        ("dsn_cifar10", "gcn"),
        ("highway_cifar10", "gcn"),
        ("ladder_conv_large_gamma", "zca"),
        ("cifar_resnet20", "mean_image"),
        ("cifar_resnet164_v2", "channels"),
    ):
        values(recipes.recipe(model, "cifar10"), data__preprocess=kind)
    values(
        recipes.recipe("lenet5_1998", "mnist"),
        train__length="20epochs",
        data__image_size=32,
        data__train_crop="frame",
        data__eval_crop="frame",
        data__pad=0,
    )
    values(recipes.recipe("nin_mnist", "mnist"), data__train_crop="none", data__image_size=28)
    values(recipes.recipe("vgg16", "mnist"), data__train_crop="frame", data__flip=False)
    values(recipes.recipe("alexnet", "cifar10"), data__train_crop="resize", data__image_size=64)
    values(recipes.recipe("vgg16", "svhn"), train__length="40epochs", data__flip=False, data__pad=4)


def test_plain_networks_on_small_images_go_by_their_authors_code():
    small_start = {"deviations": ((0.001, 0.01), 0.05, 0.05, 0.05)}
    for model, dataset, classifier, start in (
        ("nin_cifar10", "cifar100", 0.1, {}),
        ("nin_cifar100", "cifar100", None, small_start),
        ("nin_mnist", "mnist", None, {}),
        ("nin_svhn", "svhn", 0.1, {}),
    ):
        config = recipes.recipe(model, dataset)
        assert dict(config.optimizer.lr_multipliers).get("^classifier/") == classifier
        assert config.model.overrides.to_dict() == start
        if dataset != "svhn":
            values(config, train__length="260epochs")
            epoch = EXAMPLES[dataset] // 128 + 1
            wanted = pytest.approx([0.02, 0.02, 0.002, 0.0002])
            assert rates(config, [0, 199 * epoch, 201 * epoch, 231 * epoch]) == wanted
    for dataset, loss in (("cifar10", "squared_hinge"), ("svhn", "cross_entropy")):
        config = recipes.recipe("dsn_cifar10", dataset)
        values(config, train__length="200000steps", loss__name=loss)
        wanted = pytest.approx([0.025, 0.025, 0.00158, 1e-4], rel=1e-2)
        assert rates(config, [0, 149_999, 150_001, 170_001]) == wanted
    values(recipes.recipe("cifar_resnet110_sd", "svhn"), eval__every="200steps")


def test_papers_on_svhn_augment_nothing():
    for config, length, batch, first in (
        (recipes.recipe("densenet_40_12", "svhn"), "40epochs", 64, 0.1),
        (recipes.recipe("wrn_16_8", "svhn"), "160epochs", 128, 0.01),
        (recipes.recipe("cifar_resnet110_sd", "svhn"), "50epochs", 128, 0.1),
        (recipes.recipe("fractalnet20_cifar10", "svhn"), "20epochs", 100, 0.02),
        (recipes.recipe("nin_svhn", "svhn"), "120000steps", 128, 0.1),
        (recipes.recipe("dsn_cifar10", "svhn"), "200000steps", 100, 0.025),
    ):
        values(
            config,
            train__length=length,
            train__batch_size=batch,
            schedule__learning_rate=first,
            data__flip=False,
            data__pad=0,
            data__train_split="train+extra",
            data__test_split="test",
        )
    assert recipes.recipe("wrn_16_8", "svhn").model.overrides.dropout_rate == 0.4
    assert recipes.recipe("densenet_40_12", "svhn").model.overrides.dropout_rate == 0.2


def test_what_papers_hold_out_of_svhn():
    sermanet = {"data__holdout": 0, "data__holdout_per_class": (400, 200)}
    values(recipes.recipe("cifar_resnet110_sd", "svhn"), **sermanet)
    values(recipes.recipe("nin_svhn", "svhn"), **sermanet, optimizer__weight_decay=1e-4)
    values(recipes.recipe("dsn_cifar10", "svhn"), **sermanet)
    values(recipes.recipe("densenet_40_12", "svhn"), data__holdout=6000)
    for config in (
        recipes.recipe("wrn_16_8", "svhn"),
        recipes.recipe("fractalnet20_cifar10", "svhn"),
    ):
        values(config, data__holdout=0, data__holdout_per_class=())
        assert build_data.validation_split(config) == "test"
    for config in (
        recipes.recipe("nin_svhn", "svhn"),
        recipes.recipe("densenet_40_12", "svhn"),
    ):
        assert build_data.validation_split(config) == "validation"


def test_pixels_are_scaled_as_published():
    zero_to_one = {"data__mean": (0.0,), "data__std": (1.0,), "data__preprocess": "channels"}
    values(recipes.recipe("highway_mnist_w32", "mnist"), **zero_to_one)
    values(recipes.recipe("densenet_40_12", "svhn"), **zero_to_one)
    values(recipes.recipe("wrn_16_8", "svhn"), **zero_to_one)
    for dataset in ("cifar10", "svhn"):
        config = recipes.recipe("cifar_resnet110_sd", dataset)
        values(config, data__preprocess="mean_image")


def test_the_modern_recipe_is_torchvisions():
    config = recipes.recipe("resnet50_modern", "imagenet2012")
    values(
        config,
        optimizer__name="sgd",
        optimizer__momentum=0.9,
        optimizer__weight_decay=2e-5,
        train__length="600epochs",
        train__batch_size=1024,
        loss__label_smoothing=0.1,
        data__auto_augment="trivialaugment",
        data__mixup=0.2,
        data__cutmix=1.0,
        data__random_erasing=0.1,
        data__repeats=4,
        data__image_size=176,
        data__eval_image_size=224,
        data__resize=232,
        data__flip=True,
    )
    per_epoch = 1281167 / 1024
    near = [0, int(5 * per_epoch) + 1, int(302.5 * per_epoch), int(600 * per_epoch)]
    assert rates(config, near) == pytest.approx([0.005, 0.5, 0.25, 0], abs=1e-3)
    assert (1 - config.train.ema_decay) * 32 == pytest.approx(2e-5 * 1024 * 32 / 600, rel=0.01)


@pytest.mark.parametrize("model", ["densenet_40_12", "densenet_bc_190_40"])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_densenet_on_cifar(model, dataset):
    config = recipes.recipe(model, dataset)
    values(
        config,
        optimizer__name="sgd",
        optimizer__momentum=0.9,
        optimizer__nesterov=True,
        optimizer__weight_decay=1e-4,
        optimizer__decay_mask=("",),
        train__batch_size=64,
        train__length="300epochs",
        data__flip=True,
        data__pad=4,
        data__image_size=32,
        data__holdout=0,
        loss__label_smoothing=0.0,
    )
    assert config.model.overrides.to_dict() == {}  # no dropout where there is augmentation
    half, three_quarters = 150 * 50000 / 64, 225 * 50000 / 64
    near = [0, half - 1, half + 1, three_quarters - 1, three_quarters + 1, 300 * 50000 / 64 - 1]
    assert rates(config, map(int, near)) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_densenet_on_imagenet():
    config = recipes.recipe("densenet121", "imagenet2012")
    values(
        config,
        optimizer__momentum=0.9,
        optimizer__nesterov=True,
        optimizer__weight_decay=1e-4,
        optimizer__decay_mask=("",),
        train__batch_size=256,
        train__length="90epochs",
        data__train_crop="random_resized",
        data__eval_crop="center",
        data__image_size=224,
        data__flip=True,
        data__color_jitter=0.4,
        data__lighting=0.1,
        data__mean=(0.485, 0.456, 0.406),
        data__std=(0.229, 0.224, 0.225),
        data__test_split="validation",
        data__num_classes=1000,
    )
    epoch = 1281167 / 256
    near = [0, int(30 * epoch) - 1, int(30 * epoch) + 2, int(60 * epoch) - 1, int(60 * epoch) + 2]
    assert rates(config, near) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


@pytest.mark.parametrize(
    ("model", "first"),
    [
        ("cifar_resnet20", 0.1),
        ("cifar_resnet56", 0.1),
        ("cifar_resnet110", 0.01),
        ("cifar_resnet1202", 0.01),
        ("cifar_plain110", 0.01),
        ("resnet50", 0.1),
    ],
)
def test_resnet_on_cifar(model, first):
    config = recipes.recipe(model, "cifar10")
    values(
        config,
        optimizer__name="sgd",
        optimizer__momentum=0.9,
        optimizer__nesterov=False,
        optimizer__weight_decay=1e-4,
        optimizer__decay_mask=("",),
        train__batch_size=128,
        train__length="64000steps",
        data__flip=True,
        data__pad=4,
        data__holdout=5000,
    )
    found = rates(config, [0, 399, 400, 31999, 32000, 47999, 48000, 63999])
    assert found == pytest.approx([first, first, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_resnet_on_imagenet():
    values(
        recipes.recipe("resnet50", "imagenet2012"),
        optimizer__momentum=0.9,
        optimizer__nesterov=False,
        optimizer__weight_decay=1e-4,
        optimizer__decay_mask=("",),
        schedule__name="plateau",
        schedule__learning_rate=0.1,
        schedule__factor=0.1,
        train__batch_size=256,
        train__length="600000steps",
        data__train_crop="scale_jitter",
        data__scale_range=(256, 480),
        data__flip=True,
        data__lighting=0.1,
        data__color_jitter=0.0,
    )


PAPERS = {
    "alexnet": (
        recipes.recipe("alexnet", "imagenet2012"),
        {
            "data__image_size": 227,
            "data__scale_range": (256, 256),
            "data__lighting": 0.1,
            "train__batch_size": 128,
            "optimizer__weight_decay": 5e-4,
            "schedule__name": "plateau",
            "schedule__learning_rate": 0.01,
        },
    ),
    "vgg": (
        recipes.recipe("vgg16", "imagenet2012"),
        {
            "data__scale_range": (256, 256),
            "train__batch_size": 256,
            "train__length": "74epochs",
            "optimizer__weight_decay": 5e-4,
            "schedule__name": "plateau",
            "schedule__learning_rate": 0.01,
            "schedule__max_drops": 3,
        },
    ),
    "googlenet": (
        recipes.recipe("googlenet", "imagenet2012"),
        {
            "data__train_crop": "random_resized",
            "train__batch_size": 32,
            "train__length": "2400000steps",
            "optimizer__weight_decay": 2e-4,
            "loss__aux_weight": 0.3,
        },
    ),
    "inception_v3": (
        recipes.recipe("inception_v3", "imagenet2012"),
        {
            "data__image_size": 299,
            "data__mean": (0.5, 0.5, 0.5),
            "train__batch_size": 50 * 32,
            "train__ema_decay": 0.9999,
            "optimizer__name": "rmsprop",
            "optimizer__epsilon": 1.0,
            "optimizer__weight_decay": 4e-5,
            "optimizer__clip_norm": 2.0,
            "loss__label_smoothing": 0.1,
            "loss__aux_weight": 0.4,
        },
    ),
    "inception_v4": (
        recipes.recipe("inception_v4", "imagenet2012"),
        {"train__batch_size": 20 * 32, "optimizer__clip_norm": 0.0, "loss__label_smoothing": 0.1},
    ),
    "preact_resnet": (
        recipes.recipe("resnet152_v2", "imagenet2012"),
        {"data__color_jitter": 0.4, "train__batch_size": 256, "optimizer__nesterov": False},
    ),
    "wide_resnet": (
        recipes.recipe("wrn_28_10", "cifar10"),
        {
            "data__pad_mode": "reflect",
            "data__holdout": 0,
            "train__batch_size": 128,
            "optimizer__nesterov": True,
            "optimizer__weight_decay": 5e-4,
        },
    ),
    "resnext29": (
        recipes.recipe("resnext29_8x64d", "cifar10"),
        {"train__batch_size": 128, "optimizer__weight_decay": 5e-4, "data__pad": 4},
    ),
}
# Rates in the middle of these epochs.
RATES = {
    "googlenet": {e: 0.01 * (1 - (e + 0.5) / 59.94) ** 0.5 for e in (0, 45)},
    "inception_v3": {0: 0.045, 2: 0.045 * 0.94, 99: 0.045 * 0.94**49},
    "preact_resnet": {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001},
    "wide_resnet": {59: 0.1, 60: 0.02, 120: 0.004, 199: 0.0008},
    "resnext29": {149: 0.1, 150: 0.01, 225: 0.001},
}


@pytest.mark.parametrize("family", PAPERS)
def test_values_of_the_paper(family):
    config, expected = PAPERS[family]
    values(config, optimizer__momentum=0.9, data__flip=True, **expected)
    steps_per_epoch = EXAMPLES[config.dataset] / config.train.batch_size
    for epoch, rate in RATES.get(family, {}).items():
        (found,) = rates(config, [int((epoch + 0.5) * steps_per_epoch)])
        assert found == pytest.approx(rate, rel=1e-3)


def test_batch_normalised_inception_decays_six_times_as_fast():
    config = recipes.recipe("bn_inception", "imagenet2012")
    values(config, train__batch_size=32, optimizer__weight_decay=4e-5, loss__label_smoothing=0.0)
    epoch = 1281167 / 32
    first, later = rates(config, [0, int(8.1 * epoch)])
    assert (first, later) == pytest.approx((0.045, 0.045 * 0.96**6))


@pytest.mark.parametrize(
    ("model", "first"), [("cifar_resnet110_v2", 0.01), ("cifar_resnet164_v2", 0.01)]
)
def test_preactivation_on_cifar_warms_up(model, first):
    config = recipes.recipe(model, "cifar10")
    values(config, train__length="64000steps", data__holdout=0, optimizer__nesterov=False)
    assert rates(config, [0, 399, 400, 32000]) == pytest.approx([first, first, 0.1, 0.01])


def test_mobilenet_decays_no_depthwise_kernel():
    config = recipes.recipe("mobilenet_v1_100", "imagenet2012")
    values(config, optimizer__name="rmsprop", optimizer__weight_decay=4e-5)
    (pattern,) = config.optimizer.decay_mask
    assert not re.search(pattern, "stage1/block1/depthwise/conv/kernel")
    assert re.search(pattern, "stage1/block1/pointwise/conv/kernel")
    assert not re.search(pattern, "stage1/block1/pointwise/norm/scale")


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (recipes.recipe("alexnet"), 64),
        (recipes.recipe("inception_v3"), 96),
        (recipes.recipe("vgg11"), 32),
    ],
)
def test_digits_are_as_large_as_the_network_needs(config, size):
    values(config, data__image_size=size, data__pad=size // 16)


def test_a_rate_for_another_batch_is_scaled():
    config = recipes.recipe("densenet_40_12", "cifar10")
    config.train.batch_size = 256
    assert rates(config, [0]) == pytest.approx([0.4])


# Fields -----------------------------------------------------------------------------------------


@by_file
def test_a_recipe_by_name_is_its_file(file):
    for dataset, config in offered(load(file)).items():
        assert recipes.recipe(file.stem, dataset).to_dict() == config.to_dict()


@pytest.mark.slow
def test_every_field_is_read():
    read = {
        node.attr
        for path in (ROOT / "jaxcnn").rglob("*.py")
        if "recipes" not in path.relative_to(ROOT).parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert {name.rpartition(".")[2] for name in schema.FIELDS} <= read

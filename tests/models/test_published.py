"""The data of the networks: whole, true, and the same that the configs use."""

import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import jaxcnn
from jaxcnn import create_model, model_info
from jaxcnn.config.recipes import NETWORKS, recipe
from jaxcnn.errors import UserError
from jaxcnn.models import MODELS
from jaxcnn.models.published import Crop, networks, papers
from tests.parity.verified import verified

ROOT = Path(__file__).parents[2]
NAMES = pytest.mark.parametrize("name", networks())


def test_rows_have_the_same_columns_and_name_their_papers():
    assert len({tuple(row) for row in networks().values()}) == 1
    assert {row["paper"] for row in networks().values()} == papers().keys()
    years = [papers()[row["paper"]]["year"] for row in networks().values()]
    assert min(years) == 1998
    for paper in papers().values():
        assert paper["url"].startswith("https://")
        assert paper["arxiv"] is None or paper["url"].endswith(paper["arxiv"])
        assert paper["arxiv"] is None or paper["year"] == 2000 + int(paper["arxiv"][:2])


@NAMES
def test_an_error_goes_with_its_protocol(name):
    row = networks()[name]
    errors = [row["top1_err"], row["top5_err"]]
    assert (row["crop_protocol"] is None) == (errors == [None, None])
    if None not in errors:
        assert 0 < row["top5_err"] < row["top1_err"] < 100


@NAMES
def test_what_was_verified_is_in_the_references(name):
    assert networks()[name]["verified"] == verified(name), "run python -m tests.parity.verified"


def test_verified_tells_the_network_from_its_family():
    assert verified("resnet18") == "torchvision 0.28.0 logits, gradients, training"
    assert verified("resnet34") == "family torchvision 0.28.0 logits, gradients, training"
    assert verified("densenet121") == (
        "torchvision 0.28.0 logits, gradients; family torchvision 0.28.0 training"
    )
    assert verified("mobilenet_v1_100").endswith("(act, norm_epsilon, padding as there)")
    for other in ("resnet50_v1", "cifar_resnet20", "plain34", "mobilenet_v1_050"):
        assert verified(other) == "counts"


@NAMES
def test_info_is_what_the_configs_use(name):
    info = model_info(name)
    benchmark = {
        "ImageNet-1k": "imagenet2012",
        "CIFAR-10": "cifar10",
        "CIFAR-100": "cifar100",
        "SVHN": "svhn",
        "MNIST": "mnist",
    }
    files = {network: file for file, network in NETWORKS.items() if file != "resnet50_modern"}
    config = recipe(files.get(name, name), benchmark[info.dataset.split()[0]])
    assert config.model.name == name
    assert info.input_size == (config.data.image_size,) * 2 + (config.data.channels,)
    assert (info.mean, info.std) == (tuple(config.data.mean), tuple(config.data.std))
    assert info.preprocess == config.data.preprocess
    assert info.num_classes == config.data.num_classes
    if config.data.eval_crop == "center":
        size = config.data.eval_image_size or config.data.image_size
        assert info.crop == Crop(config.data.resize or round(size * 256 / 224), size)
    else:
        assert info.crop is None


def test_info_of_a_network():
    info = model_info("resnet50")
    assert info.paper == "Deep Residual Learning for Image Recognition"
    assert (info.year, info.url) == (2015, "https://arxiv.org/abs/1512.03385")
    assert (info.input_size, info.num_classes, info.layers) == ((224, 224, 3), 1000, 50)
    assert info.mean == (0.485, 0.456, 0.406)
    assert (info.crop.short_side, info.crop.size, info.crop.fraction) == (256, 224, 0.875)
    assert (info.params, info.macs, info.params_with_aux) == (25_557_032, 4_089_184_256, None)
    weights = (23.87, 7.138, "1 crop, torchvision's weights")
    assert (info.top1_err, info.top5_err, info.crop_protocol) == weights
    assert model_info("mobilenet_v1_100").top1_err == 29.4
    assert model_info("cifar_resnet20").crop is None
    assert model_info("inception_v4").mean == (0.5, 0.5, 0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.params = 1


def test_data_sets_have_their_own_mean_and_deviation():
    """Published constants of the training pixels; MNIST's as in PyTorch's example."""
    assert (model_info("nin_mnist").mean, model_info("nin_mnist").std) == ((0.1307,), (0.3081,))
    svhn = model_info("nin_svhn")
    assert svhn.mean == (0.4377, 0.4438, 0.4728)
    assert svhn.std == (0.198, 0.201, 0.197)
    assert (model_info("highway_mnist_w16").mean, model_info("highway_mnist_w16").std) == (
        (0,),
        (1,),
    )


@pytest.mark.parametrize(
    ("name", "top1", "top5"),
    [
        ("resnet18", 30.242, 10.922),  # shortcut B: the paper has A
        ("resnet18_a", 27.88, None),
        ("resnet34_a", 25.03, 7.76),
        ("resnet34", 24.52, 7.46),
        ("resnet34_c", 24.19, 7.4),
        ("resnet50", 23.87, 7.138),  # stride on the 3x3: the paper has it on the 1x1
        ("resnet50_v1", 22.85, 6.71),
        ("resnet101", 22.626, 6.454),
        ("resnet101_v1", 21.75, 6.05),
        ("resnet152", 21.688, 5.954),
        ("resnet152_v1", 21.43, 5.71),
    ],
)
def test_an_error_is_that_of_the_variant_itself(name, top1, top5):
    assert (model_info(name).top1_err, model_info(name).top5_err) == (top1, top5)


def test_no_row_borrows_an_error():
    assert not [n for n, row in networks().items() if "errors are those" in (row["notes"] or "")]


def counted(name, **fields):
    """Parameters of a network at its own size."""
    images = jax.ShapeDtypeStruct((1, *model_info(name).input_size), jnp.float32)
    init = create_model(name, **fields).init
    params = jax.eval_shape(init, jax.random.key(0), images)["params"]
    return sum(math.prod(x.shape) for x in jax.tree.leaves(params))


@pytest.mark.parametrize("name", ["cifar_resnet20", "nin_cifar100", "fractalnet_narrow_c1"])
def test_parameters_with_another_number_of_classes(name):
    for classes, count in networks()[name]["params_by_classes"].items():
        assert counted(name, num_classes=int(classes)) == count


@NAMES
def test_classes_change_the_classifier_alone(name):
    row = networks()[name]
    for classes, count in (row["params_by_classes"] or {}).items():
        outputs = int(classes) - row["num_classes"]
        features, rest = divmod(count - row["params"], outputs)
        assert not rest
        assert features > 1


def test_aliases_have_the_info_of_their_network():
    assert model_info("vgg_d") == model_info("vgg16")
    assert model_info("vgg_d").name == "vgg16"
    assert "vgg_d" in model_info("vgg_d").aliases


def test_unknown_name_offers_the_nearest():
    with pytest.raises(UserError, match=r"'vgg_dd'.*vgg_d\b"):
        jaxcnn.model_info("vgg_dd")


@pytest.mark.slow
@NAMES
def test_auxiliary_heads_are_counted_where_there_are_any(name):
    fields = {field.name for field in dataclasses.fields(create_model(name))}
    asked_for = fields & {"aux_heads", "decoder"}
    has_heads = bool(asked_for)
    info = model_info(name)
    assert has_heads == (info.params_with_aux is not None)
    if has_heads:
        images = jax.ShapeDtypeStruct((1, *info.input_size), jnp.float32)
        init = create_model(name, **dict.fromkeys(asked_for, True)).init
        params = jax.eval_shape(init, jax.random.key(0), images)["params"]
        assert sum(math.prod(x.shape) for x in jax.tree.leaves(params)) == info.params_with_aux


def test_the_data_travel_with_the_package():
    assert "published.json" in (ROOT / "pyproject.toml").read_text()
    assert MODELS.keys() == networks().keys()

"""Every name in MODELS against what is published, by shapes only."""

import importlib
import math
import re

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax.extend.core import Literal, jaxprs_in_params

import jaxcnn.models
from jaxcnn import create_model, list_models, model_info, register_model
from jaxcnn.config.build import make_model
from jaxcnn.config.config_dict import base_config
from jaxcnn.errors import EXIT_USAGE, UserError
from jaxcnn.models import MODELS, input_size
from jaxcnn.models.published import networks
from jaxcnn.ops.conv import conv_general_dilated
from tests.marks import exhaustive

PUBLISHED = networks()
LONG = {
    "bn_inception",
    "cifar_plain56",
    "cifar_resnet56",
    "cifar_resnet110_sd",
    "densenet_40_12",
    "dfn_mr3",
    "dfn_mr_imagenet",
    "fractalnet_narrow_c5",
    "highway_cifar100",
    "inception_resnet_v1",
    "inception_resnet_v2",
    "inception_v4",
    "resnet101",
    "resnet101_v1",
    "resnext101_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet101_2",
    "cifar_plain110",
    "cifar_resnet110",
    "densenet161",
    "densenet169",
    "densenet201",
    "densenet_bc_100_12",
    "fractalnet34",
    "fractalnet_narrow_c6",
    "inception_resnet_v2_paper",
    "inception_v2",
    "resnet152",
    "resnet152_v1",
    "resnet200_v2",
    "cifar_resnet1001_v2",
    "cifar_resnet1202",
    "cifar_resnet1202_sd",
    "densenet_100_12",
    "densenet_100_24",
    "densenet_bc_190_40",
    "densenet_bc_250_24",
}


def scalars(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def test_registry_and_published_data_have_the_same_rows():
    assert sorted(MODELS) == sorted(PUBLISHED)


def longest_way(jaxpr, reached=()):
    """The most convolutions and dense layers between an input and an output of a program."""
    depth = dict(zip(jaxpr.invars, reached, strict=False))
    for eqn in jaxpr.eqns:
        at = [depth.get(var, 0) for var in eqn.invars if not isinstance(var, Literal)]
        deepest = max(at, default=0)
        weighted = "conv_general_dilated" in (eqn.primitive.name, eqn.params.get("name"))
        if weighted or eqn.primitive.name == "dot_general":
            deepest += 1
        elif len(inner := list(jaxprs_in_params(eqn.params))) == 1:
            deepest = longest_way(inner[0], [deepest] * len(eqn.invars))
        depth.update(dict.fromkeys(eqn.outvars, deepest))
    return max((depth.get(v, 0) for v in jaxpr.outvars if not isinstance(v, Literal)), default=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        # Long to trace, for what their relatives show.
        pytest.param(name, marks=pytest.mark.exhaustive if name in LONG else ())
        for name in sorted(MODELS)
    ],
)
def test_counts_are_exact(name, trace):
    row, (program, logits, variables, convolutions) = PUBLISHED[name], trace(name)
    assert scalars(variables["params"]) == row["params"]
    assert scalars(variables.get("batch_stats", {})) == row["bn_moving_stats"]
    assert set(variables) <= {"params", "batch_stats"}
    assert (logits.shape, logits.dtype) == ((2, row["num_classes"]), jnp.float32)
    of_dense_layers = name.startswith(("highway_fc", "ladder_mnist"))
    assert bool(convolutions) != of_dense_layers
    assert all(conv.conv_general_dilated is conv_general_dilated for conv in convolutions)

    # As the papers count, who put the number into the name; projections stand beside the way.
    layers = longest_way(program)
    if name.startswith("wrn_"):
        layers += 3 - 1  # three projections instead of the classifier
    assert layers == row["layers"]
    if name.startswith("fractalnet20_"):
        layers -= 1  # the name has the convolutions only
    depth = re.search(r"(?<=_d)\d+" if name.startswith("dfn_fuse") else r"\d+", name)
    without = ("lenet", "nin", "dsn", "highway", "inception", "mobilenet", "fractalnet_n", "dfn_mr")
    if depth and not name.startswith(without):
        assert layers == int(depth[0])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_row_says_what_is_published(name):
    entry, row = MODELS[name], PUBLISHED[name]
    assert list(entry.input_size) == row["input_size"]
    assert list(entry.aliases) == row["aliases"]
    assert create_model(name).num_classes == row["num_classes"]
    assert input_size(name) == entry.input_size


def test_aliases_find_their_row_and_only_that():
    aliases = [alias for row in PUBLISHED.values() for alias in row["aliases"]]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(MODELS)
    for name, row in PUBLISHED.items():
        for alias in row["aliases"]:
            assert create_model(alias) == create_model(name)
            assert input_size(alias) == tuple(row["input_size"])


@pytest.mark.parametrize(
    "name", ["cifar_resnet20", *map(exhaustive, ("densenet121", "resnet50", "densenet_bc_100_12"))]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_of_one_or_three_channels(name, channels):
    images = jax.ShapeDtypeStruct((2, 32, 32, channels), jnp.float32)
    logits, variables = jax.eval_shape(
        create_model(name, 7).init_with_output, jax.random.key(0), images
    )
    assert logits.shape == (2, 7)
    assert variables["params"]["stem"]["conv"]["kernel"].shape[2] == channels


def test_registry_hides_no_file_of_the_package():
    """A function named as its module would take the module's place in the package."""
    for family in ("densenet", "lenet", "resnet"):
        module = importlib.import_module(f"jaxcnn.models.{family}")
        assert getattr(jaxcnn.models, family) is module


def test_list_models_matches_and_sorts():
    assert list_models() == sorted(MODELS)
    assert list_models("densenet_bc_*") == [
        "densenet_bc_100_12",
        "densenet_bc_190_40",
        "densenet_bc_250_24",
    ]
    assert list_models("no_such*") == []


def test_overrides_reach_the_module():
    model = create_model("densenet_40_12", 100, jnp.bfloat16, dropout_rate=0.2, act=nn.gelu)
    assert (model.num_classes, model.dtype, model.dropout_rate) == (100, jnp.bfloat16, 0.2)
    assert model.act is nn.gelu
    assert model.growth_rate == 12
    assert create_model("densenet_40_12").dropout_rate == 0


@pytest.mark.parametrize("ask", [create_model, input_size])
def test_unknown_name_offers_the_nearest(ask):
    with pytest.raises(UserError, match=r"'densnet121'.*densenet121") as error:
        ask("densnet121")
    assert error.value.exit_code == EXIT_USAGE
    assert "\n" not in str(error.value)


def test_unknown_name_offers_aliases_too():
    with pytest.raises(UserError, match="resnet1202_cifar"):
        create_model("resnet1203_cifar")


@pytest.mark.parametrize(
    ("name", "field", "near"),
    [
        ("densenet121", "growthrate", "growth_rate"),
        ("resnet50", "zero_init", "zero_init_last"),
        ("resnet50", "growth_rate", "for example|did you mean"),
        ("lenet5_modern", "norm", "choose one of act, conv"),
    ],
)
def test_unknown_field_offers_the_nearest_of_that_network(name, field, near):
    with pytest.raises(UserError, match=rf"{name} .*'{field}': .*({near})"):
        create_model(name, **{field: 1})


class Own(nn.Module):
    num_classes: int
    dtype: object = jnp.float32
    width: int = 2

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(self.num_classes)(images.mean((1, 2)))


SIZES = {"num_classes": 5, "input_size": (8, 8, 1)}


def test_a_user_s_own_network_is_one_of_the_registry(monkeypatch):
    monkeypatch.setattr(jaxcnn.models.registry, "MODELS", dict(MODELS))
    assert register_model("own", Own, **SIZES) is Own

    @register_model("own_wide", **SIZES)
    def own_wide(**fields):
        return Own(**{"width": 9, **fields})

    assert (own_wide(num_classes=1).width, create_model("own_wide", 3).width) == (9, 9)
    assert create_model("own") == Own(5)
    assert create_model("own", 3, jnp.bfloat16, width=4) == Own(3, jnp.bfloat16, 4)
    assert list_models("own*") == ["own", "own_wide"]
    assert input_size("own") == (8, 8, 1)
    info = model_info("own")
    assert (info.name, info.input_size, info.num_classes) == ("own", (8, 8, 1), 5)
    assert (info.params, info.paper, info.top1_err) == (5 + 5, None, None)
    with pytest.raises(UserError, match=r"'widht'.*did you mean width"):
        create_model("own", widht=1)
    config = base_config()
    config.model.name = "own"
    assert make_model(config, 4) == Own(4)
    with pytest.raises(UserError, match="'own' already"):
        register_model("own", Own, **SIZES)
    assert "own" not in MODELS, "the test leaves the table as it was"


def without_train(**fields):
    class Net(nn.Module):
        num_classes: int
        dtype: object

        def __call__(self, images):
            return images

    return Net(**fields)


@pytest.mark.parametrize(
    ("name", "constructor", "line"),
    [
        ("resnet50", Own, "already"),
        ("vgg_d", Own, "already"),
        ("mine/own", Own, "without / and :"),
        ("mine:own", Own, "without / and :"),
        ("", Own, "without / and :"),
        (7, Own, "without / and :"),
        ("own", nn.Dense, "own takes no num_classes"),
        ("own", lambda num_classes, dtype: Own(num_classes), "own takes no parent"),
        ("own", lambda **fields: None, "returns a NoneType"),
        ("own", lambda depth, **fields: Own(**fields), "cannot be built: TypeError.*depth"),
        ("own", without_train, "takes no train"),
        ("own", "Own", "no Flax module class"),
    ],
)
def test_what_cannot_be_registered_is_said(name, constructor, line):
    before = dict(MODELS)
    with pytest.raises(UserError, match=line):
        register_model(name, constructor, **SIZES)
    assert before == MODELS


@pytest.mark.parametrize("num_classes", [-1, 2.5, True, "10"])
def test_a_number_of_classes_that_is_none(num_classes):
    with pytest.raises(UserError, match=r"num_classes=.*whole number"):
        create_model("lenet5", num_classes)


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "alexnet", "highway_fc10"])
@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (2, 1, 28, 28)])
def test_channels_in_front_are_seen(name, shape):
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    with pytest.raises(UserError, match=r"looks like \(N, C, H, W\): .*transpose"):
        jax.eval_shape(create_model(name).init, jax.random.key(0), images)


@pytest.mark.parametrize("shape", [(1, 8, 8, 64), (1, 3, 32, 16), (1, 1, 784, 1), (1, 3, 8, 64)])
def test_many_channels_and_few_rows_are_images_too(shape):
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    logits, _ = jax.eval_shape(
        create_model("mobilenet_v1_025", 3).init_with_output, jax.random.key(0), images
    )
    assert logits.shape == (1, 3)

"""A run that an older version saved is built by this one."""

import dataclasses

import pytest

from jaxcnn.config import build, config_dict
from jaxcnn.config.renamed import with_new_names
from jaxcnn.layers import BatchNorm
from jaxcnn.models import create_model, list_models
from jaxcnn.models.identity_mappings import VariantResNet


def saved(name, **overrides):
    config = config_dict.base_config()
    config.model.name = name
    values = config_dict.to_saved(config_dict.freeze(config))
    values["model"]["overrides"] = overrides
    return build.make_model(config_dict.from_saved(values), 10)


@pytest.mark.parametrize("name", ["vgg11", "alexnet", "zfnet"])
def test_normalisation_by_a_flag(name):
    assert saved(name, with_norm=True) == create_model(name, 10, norm=BatchNorm)
    assert saved(name, with_norm=False) == create_model(name, 10, norm=None)


def test_the_start_of_a_run_that_has_started_is_left_out():
    assert saved("vgg16", initialization="paper", lrn=True) == create_model("vgg16", 10, lrn=True)


@pytest.mark.parametrize(
    ("overrides", "ordering"),
    [
        ({"ordering": "a"}, "original"),
        ({"ordering": "d", "gate": "shortcut"}, "relu_only_preactivation"),
        ({"shortcut_span": 1}, "full_preactivation"),
    ],
)
def test_orderings_by_the_letters_of_the_paper(overrides, ordering):
    model = saved("cifar_resnet110_v2", **overrides)
    assert isinstance(model, VariantResNet)
    others = {field: value for field, value in overrides.items() if field != "ordering"}
    assert model == create_model("cifar_resnet110_v2", 10, **others, ordering=ordering)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("highway_cifar10", "stage_features"),
        ("ladder_mnist_mlp", "hidden_features"),
        ("mobilenet_v1_100", "features"),
    ],
)
def test_widths(name, field):
    model = saved(name, features=[4, 8])
    assert getattr(model, field) == (4, 8)


def test_names_of_today_stay():
    overrides = {"norm": "none", "ordering": "original", "width": 8, "act": "elu"}
    today = {"model": {"name": "vgg11", "overrides": overrides}}
    assert with_new_names(today) == today


def test_every_field_of_every_network_stays_as_it_is():
    """Else a run would not continue: its saved config would differ from its own config."""
    for name in list_models():
        for field in dataclasses.fields(create_model(name)):
            today = {"model": {"name": name, "overrides": {field.name: 1}}}
            assert with_new_names(today) == today, (name, field.name)

"""What is known of trained weights, and how their images are prepared."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from jaxcnn.errors import UserError
from jaxcnn.interop.exchange import find_network
from jaxcnn.models import list_models
from jaxcnn.pretrained.weights_info import (
    Preprocessing,
    imagenet_classes,
    imagenet_synsets,
    list_pretrained,
    weights_info,
)

ALL = [weights_info(name) for name in list_pretrained()]
CROPS = np.load(Path(__file__).with_name("crops.npz"))


def photograph(name):
    china, flower = load_sample_images().images
    return {"china": china, "flower": flower.transpose(1, 0, 2), "small": china[100:139, 200:231]}[
        name
    ]


@pytest.mark.parametrize("case", CROPS.files)
def test_crops_are_those_of_torchvision(case):
    """The library rounds to 8 bits between its two steps, and so may differ by one of 255."""
    name, size, resize, interpolation = case.split("/")
    zero_to_one = (0.0,) * 3, (1.0,) * 3
    way = Preprocessing(int(size), int(resize), interpolation, *zero_to_one)
    off = np.abs(way(photograph(name))[0] * 255 - CROPS[case])
    assert off.max() < 1.001
    assert off.mean() < 0.2


def test_inputs_are_normalised_by_channel():
    way = Preprocessing(4, 4, "bilinear", (0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    pixels = np.full((4, 4, 3), 255, np.uint8)
    np.testing.assert_allclose(way(pixels)[0, 0, 0], [1.0, 3.0, 0.5])
    assert way([pixels, pixels]).shape == (2, 4, 4, 3)
    assert way(pixels).dtype == np.float32


def test_a_short_name_is_the_default_weights():
    assert weights_info("resnet50").name == "resnet50.a1_in1k"
    assert weights_info("timm/resnetv2_50.a1h_in1k").name == "resnet50_v2.a1h_in1k"
    assert weights_info("googlenet_torchvision").overrides == {"transform_input": True}


def test_a_default_is_never_one_that_forbids_commercial_use():
    names = {name.partition(".")[0] for name in list_pretrained()}
    assert not any(weights_info(name).noncommercial for name in names)
    forbidden = [info.name for info in ALL if info.noncommercial]
    assert "resnet50.fb_ssl_yfcc100m_ft_in1k" in forbidden


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"did you mean.*resnet50\.tv_in1k"):
        weights_info("resnet50.tv_in1")


def test_names_are_found_by_a_pattern():
    assert set(list_pretrained("vgg16*")) >= {"vgg16.tv_in1k", "vgg16_bn.tv_in1k"}
    assert list_pretrained("vgg16.*")[0] == "vgg16.tv_in1k"
    assert list_pretrained("nothing*") == []


@pytest.mark.parametrize("info", ALL, ids=lambda info: info.name)
def test_a_row_of_the_table_is_complete(info):
    assert info.model in list_models()
    assert info.name.count(".") == 1
    assert bool(info.url) != bool(info.repository)
    assert info.url.startswith("https://") or info.repository.count("/") == 1
    assert not info.sha256 or len(info.sha256) == 64
    assert info.licence in ("Apache-2.0", "BSD-3-Clause", "MIT", "CC-BY-NC-4.0")
    assert not info.top1 or (40 < info.top1 < 90 and info.measured_by)
    assert info.preprocessing.resize >= info.preprocessing.image_size
    if info.library in ("timm", "torchvision"):
        assert find_network(info.library, info.library_name).model == info.model


def test_every_network_that_a_library_has_has_weights():
    """Of timm and torchvision; timm has no weights of resnetv2_152."""
    from jaxcnn.interop.name_tables import LIBRARIES

    named = {(info.library, info.library_name) for info in ALL}
    wanted = {(library, name) for library, names in LIBRARIES.items() for name in names}
    missing = {pair for pair in wanted - named if pair[0] in ("timm", "torchvision")}
    assert missing == {("timm", "resnetv2_152")}


def test_classes_have_words_and_synsets():
    words, synsets = imagenet_classes(), imagenet_synsets()
    assert len(set(words)) == len(set(synsets)) == 1000
    assert words[281] == "tabby"
    assert synsets[281] == "n02123045"
    assert list(synsets) == sorted(synsets)  # the order of outputs
    assert weights_info("resnet18").class_names == words


def test_the_page_of_all_weights_is_of_today():
    """Written by `python docs/pretrained.py`."""
    docs = Path(__file__).parents[2] / "docs"
    spec = importlib.util.spec_from_file_location("docs_pretrained", docs / "pretrained.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == (docs / "pretrained.md").read_text(encoding="utf-8")

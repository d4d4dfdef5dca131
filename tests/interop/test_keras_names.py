"""Layers are found by the names of any of Keras's files, and what does not fit is named."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.interop import from_keras, from_torch, to_torch
from jaxcnn.interop.convert import main as convert_main
from jaxcnn.interop.exchange import create_library_model, find_network, rules_of, variable_shapes
from jaxcnn.interop.folder import read_folder
from jaxcnn.interop.keras_names import layer_kinds, layer_names, names_by_number, names_by_place
from jaxcnn.run.checkpoint import init_from
from tests.interop.keras_small import (
    FILES,
    FOLDER,
    LAYERS,
    assert_same,
    network,
    plain,
    state,
    without_names,
)

# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if "V2" in name else ()) for name in LAYERS],
)
def test_layers_have_the_places_that_keras_gives_them(name):
    """In `.weights.h5` a layer is named by its class and its place among those of the class."""
    chosen = find_network("keras", name)
    model = create_library_model("keras", name, parent=None)
    rules = rules_of(model, chosen)
    leaves = variable_shapes(model, None, chosen)
    names = layer_names(rules, {"/".join(path[1:-1]) for path in leaves})

    classes = {"Conv2D": "conv2d", "DepthwiseConv2D": "depthwise_conv2d", "Dense": "dense"}
    expected, count = {}, {}
    for kind, layer, _ in LAYERS[name]:
        kind = classes.get(kind, "batch_normalization")
        number = count[kind] = count.get(kind, -1) + 1
        expected[f"{kind}_{number}" if number else kind] = layer
    assert set(names.values()) == set(expected.values())
    assert names_by_place(expected, names, layer_kinds(leaves, rules)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50V2", "VGG16"])
def test_a_file_without_names_is_read_by_places(name, tmp_path):
    arrays = without_names(FOLDER / FILES[name], tmp_path / "x.weights.h5")
    assert all(re.search(r"layers/[a-z0-9_]+/vars/\d$", key) for key in arrays)
    assert_same(network(name, arrays=arrays)[1], plain(name)[1])
    folder = "_layer_checkpoint_dependencies\\"
    older = {key.replace("layers/", folder): value for key, value in arrays.items()}
    assert_same(network(name, arrays=older)[1], plain(name)[1])


@pytest.mark.slow
def test_numbers_of_layers_may_begin_anywhere():
    arrays = state("InceptionResNetV2")
    pattern = re.compile(r"^(conv2d|batch_normalization)(?:_(\d+))?/")
    moved = {
        pattern.sub(lambda found: f"{found[1]}_{int(found[2] or 0) + 95}/", key): value
        for key, value in arrays.items()
    }
    assert not moved.keys() & {key for key in arrays if pattern.match(key)}
    assert_same(network("InceptionResNetV2", arrays=moved)[1], plain("InceptionResNetV2")[1])


def test_a_missing_layer_does_not_move_the_others():
    names = ("conv2d", "conv2d_1", "conv2d_2", "conv_7b")
    for given, expected in {
        ("conv2d_9", "conv2d_10", "conv2d_12"): names[:3],  # as many as there are
        ("conv2d_10", "conv2d_9"): ("conv2d_1", "conv2d"),
        ("conv2d_9", "conv2d_11"): ("conv2d", "conv2d_2"),
        ("conv2d_3", "conv2d_4", "conv2d_5", "conv2d_6"): (*names[:3], "conv2d_3"),
    }.items():
        assert names_by_number(given, names) == dict(zip(given, expected, strict=True))
    given = ("batch_normalization_v1_3", "batch_normalization_v1")
    expected = ("batch_normalization_1", "batch_normalization")
    assert names_by_number(given, expected) == dict(zip(given, expected, strict=True))
    assert names_by_number(("conv2d_1", "dense_4"), ("conv1", "predictions")) == {}


OLD = {
    "VGG16": lambda key: (
        re.sub(r"(\w+)/(\w+)", r"\1/\1_\2_1:0", key)
        .replace("_kernel_1", "_W_1")
        .replace("_bias_1", "_b_1")
    ),
    "DenseNet121": lambda key: re.sub(r"^conv1_(\w+)/", r"conv1/\1/conv1/\1/", key) + ":0",
    "MobileNet": lambda key: re.sub(r"(dw_\d+)/kernel", r"\1/depthwise_kernel", key) + ":0",
    "ResNet50": lambda key: key.replace("predictions/", "probs/probs/") + ":0",
}


@pytest.mark.parametrize("name", OLD)
def test_names_of_older_versions_are_understood(name, caplog):
    arrays = state(name)
    old = {OLD[name](key): value for key, value in arrays.items()}
    assert not old.keys() & arrays.keys()
    assert_same(network(name, arrays=old)[1], plain(name)[1])
    assert ("probs is taken as the classifier" in caplog.text) == (name == "ResNet50")


# Classifiers, members and mistakes --------------------------------------------------------------


def without(arrays, *layers):
    return {
        key: x for key, x in arrays.items() if not key.startswith(tuple(f"{n}/" for n in layers))
    }


@pytest.mark.slow
def test_another_classifier_is_taken_by_whatever_name(caplog):
    arrays = state("ResNet50")
    own = {key.replace("predictions", "dense_7"): value for key, value in arrays.items()}
    assert_same(network("ResNet50", arrays=own)[1], plain("ResNet50")[1])
    assert "dense_7 is taken as the classifier" in caplog.text
    nested = {f"resnet50/{key}": x for key, x in without(arrays, "predictions").items()}
    nested |= {f"dense/{key}": arrays[f"predictions/{key}"] for key in ("kernel", "bias")}
    assert_same(network("ResNet50", arrays=nested)[1], plain("ResNet50")[1])
    two = nested | {"other/kernel": np.zeros((32, 2))}
    with pytest.raises(UserError, match=r"no classifier \(predictions/kernel is missing\)"):
        network("ResNet50", arrays=two)

    headless = network("ResNet50", num_classes=0)[1]
    assert "classifier" not in headless["params"]
    for given in (two, nested, own, without(arrays, "predictions")):
        model, variables = network("ResNet50", arrays=given, num_classes=0)
        assert model.num_classes == 0
        assert_same(variables, headless)


def test_mobilenet_has_a_convolution_or_a_dense_layer_as_classifier():
    arrays = state("MobileNet")
    assert arrays["conv_preds/kernel"].shape == (1, 1, 64, 5)
    assert arrays["conv1/kernel"].dtype == np.float16
    model, variables = plain("MobileNet")
    assert model.width_multiplier == 0.0625
    assert variables["params"]["classifier"]["kernel"].shape == (64, 5)
    own = {key.replace("conv_preds", "dense"): value for key, value in arrays.items()}
    own["dense/kernel"] = own["dense/kernel"][0, 0]
    assert_same(network("MobileNet", arrays=own)[1], variables)


def test_vgg_without_its_top_has_no_hidden_layers():
    arrays = state("VGG16")
    model, _ = plain("VGG16")
    assert (model.hidden_features, model.pool_size) == ((8, 7), (2, 2))
    top = ("fc1", "fc2", "predictions")
    model, variables = network("VGG16", arrays=without(arrays, *top), num_classes=0)
    images = jnp.ones((1, 32, 32, 3))
    assert jax.eval_shape(model.apply, variables, images).shape == (1, 6)
    own = without(arrays, *top) | {"dense/kernel": np.zeros((6, 3)), "dense/bias": np.zeros(3)}
    model, variables = network("VGG16", arrays=own)
    assert jax.eval_shape(model.apply, variables, images).shape == (1, 3)


def test_the_stem_s_bias_is_an_argument_of_keras_s_function():
    for name in ("ResNet50", "ResNet50V2"):
        arrays = state(name)
        lacking = {key: x for key, x in arrays.items() if not key.endswith("conv1_conv/bias")}
        zero = {key: x if key in lacking else 0 * x for key, x in arrays.items()}
        model, variables = network(name, arrays=lacking)
        expected = network(name, arrays=zero)[1]
        if name == "ResNet50V2":
            assert not model.stem_bias
            assert not expected["params"]["stem"]["conv"].pop("bias").any()
        assert_same(variables, expected)


def test_other_channels_and_prefixes(caplog):
    arrays = state("ResNet50")
    grey = arrays | {"conv1_conv/kernel": arrays["conv1_conv/kernel"][:, :, :1]}
    assert network("ResNet50", arrays=grey)[1]["params"]["stem"]["conv"]["kernel"].shape[2] == 1
    network("ResNet50", arrays=arrays, num_classes=0)
    assert "prefix" not in caplog.text
    deep = {f"model/resnet50/{key}": value for key, value in arrays.items()}
    assert_same(network("ResNet50", arrays=deep)[1], plain("ResNet50")[1])
    assert "prefix 'model/resnet50/'" in caplog.text
    both = {f"{prefix}/{key}": x for prefix in ("a", "b") for key, x in arrays.items()}
    with pytest.raises(UserError, match="several networks, under 'a' and 'b'"):
        network("ResNet50", arrays=both)


def test_differences_are_listed_in_one_message():
    arrays = state("ResNet50")
    key = "conv2_block1_1_conv/kernel"
    wrong = without(arrays, "conv3_block2_3_bn") | {
        key: arrays[key][..., :1],
        "conv2_block1_1_conv/more": arrays["conv1_bn/beta"],
        "optimizer/vars/3": np.zeros(3),
        "dropout/seed_generator/seed_generator_state": np.zeros(2, np.uint32),
    }
    with pytest.raises(UserError) as info:
        network("ResNet50", arrays=wrong)
    message = str(info.value)
    assert message.startswith(
        "these are no weights of Keras's ResNet50: 4 missing: conv3_block2_3_bn/"
    )
    assert "1 not used: conv2_block1_1_conv/more" in message
    assert f"1 misshapen: {key} (1, 1, 4, 1) instead of (1, 1, 4, 4)" in message
    with pytest.raises(UserError, match=r"missing: conv2_block\d_\d_conv/bias"):
        network(
            "ResNet50",
            arrays={k: x for k, x in arrays.items() if not k.endswith("/bias")}
            | {"predictions/bias": arrays["predictions/bias"]},
        )
    with pytest.raises(UserError, match="91 missing: conv"):
        network("ResNet50", arrays={})
    with pytest.raises(UserError, match="no table for keras's 'ResNet51'"):
        from_keras({}, "ResNet51")


def test_torch_s_functions_send_keras_to_its_own():
    for call in (from_torch, to_torch):
        with pytest.raises(UserError, match="read by from_keras"):
            call({}, "keras", "ResNet50")


# Fields and the command -------------------------------------------------------------------------


def test_the_command_converts_and_keeps_what_it_read_off(tmp_path, capsys):
    for name, flags in (
        ("ResNet50", ["--override=stage_sizes=(2,2)", "--override=width=4"]),
        ("VGG16", ["--override=stage_features=(2,3,4,5,6)"]),
        ("MobileNet", []),
    ):
        source, out = FOLDER / FILES[name], tmp_path / name
        command = ["--library=keras", f"--name={name}", f"--source={source}", f"--out={out}"]
        assert convert_main([*command, *flags]) == 0
        said = capsys.readouterr().out
        assert ("biases of convolutions, subtracted" in said) == (name == "ResNet50")
        assert ("float16 to float32" in said) == (name == "MobileNet")
        folder = read_folder(out)
        model, variables = plain(name)
        assert folder.model == model
        assert_same(folder.variables, variables)
        assert (folder.record["num_classes"], folder.record["channels"]) == (5, 3)
    assert folder.record["overrides"] == {"width_multiplier": 0.0625}
    flags = "--config.model.name=keras/MobileNet --config.model.overrides.width_multiplier=0.0625"
    assert init_from.read(out).flags == flags
    assert folder.model.act is nn.relu6

"""What is wrong with a state is said by its names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from jaxcnn.errors import UserError
from jaxcnn.interop import from_torch, to_torch
from jaxcnn.interop.exchange import create_library_model, find_network, input_channels
from tests.interop import small

RESNET = ("torchvision", "resnet18")


@pytest.fixture(scope="module")
def whole():
    return small.state()


def refused(state, *parts, name=RESNET, **fields):
    with pytest.raises(UserError) as info:
        from_torch(state, *name, **(fields or small.FIELDS))
    message = str(info.value)
    assert message.isprintable()
    for part in parts:
        assert part in message
    return message


def without(state, *keys):
    return {key: value for key, value in state.items() if key not in keys}


def test_a_library_or_network_without_a_table_is_answered_with_the_nearest(whole):
    refused(whole, "'torchvison'", "torchvision", name=("torchvison", "resnet18"))
    refused(whole, "torchvision's 'resnet81'", "resnet18", name=("torchvision", "resnet81"))
    refused(whole, "'stage_size'", "stage_sizes", stage_size=(1, 1))
    with pytest.raises(UserError, match="no library 'tim'"):
        to_torch({}, "tim", "resnet18")


def test_differences_are_counted_and_named(whole):
    key = "layer1.0.conv1.weight"
    message = refused(without(whole, key), f"1 missing: {key}")
    assert "not used" not in message
    assert "misshapen" not in message
    refused(whole | {"more": np.zeros(3)}, "torchvision's resnet18: 1 not used: more")
    refused(
        without(whole, key) | {"layer1.0.conv1.kernel": whole[key]},
        f"1 missing: {key}",
        "1 not used: layer1.0.conv1.kernel",
    )
    refused({}, "32 missing: layer1.0", ", …")


def test_a_kernel_whose_axes_are_in_another_order_is_named(whole):
    for key, order, shapes in (
        ("conv1.weight", (2, 3, 1, 0), "(7, 7, 3, 8) instead of (8, 7, 3, 7)"),
        ("layer2.0.conv1.weight", (1, 0, 2, 3), "(8, 16, 3, 3) instead of (16, 8, 3, 3)"),
    ):
        message = refused(whole | {key: whole[key].transpose(order)}, f"misshapen: {key}")
        if key != "conv1.weight":  # whose input channels are read off it
            assert shapes in message
    refused(whole | {"fc.weight": whole["fc.weight"].T}, "fc.bias (10,) instead of (16,)")


def test_what_has_no_classifier_misses_it(whole):
    refused(without(whole, "fc.weight", "fc.bias"), "no classifier (fc.weight is missing)")
    refused(without(whole, "fc.bias"), "1 missing: fc.bias")
    refused(whole | {"fc.weight": np.zeros(())}, "misshapen", "fc.weight")


def test_classes_channels_and_types_are_read_off_the_state(whole):
    state = small.state(num_classes=3)
    state["conv1.weight"] = state["conv1.weight"][:, :1].astype(np.float16)
    model, variables = from_torch(state, *RESNET, **small.FIELDS)
    assert model.num_classes == 3
    assert variables["params"]["stem"]["conv"]["kernel"].shape == (7, 7, 1, 8)
    assert variables["params"]["stem"]["conv"]["kernel"].dtype == jnp.float32
    assert input_channels(variables, model, find_network(*RESNET)) == 1
    assert input_channels({}, model, find_network(*RESNET)) is None
    assert jax.eval_shape(model.apply, variables, jnp.ones((1, 32, 32, 1))).shape == (1, 3)


def test_names_of_old_files_are_understood():
    fields = {"growth_rate": 4, "stage_sizes": (1, 1), "stem_features": 8}
    state = small.state(name="densenet121", **fields)
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in state.items()
    }
    assert old.keys() != state.keys()
    for given in (state, old):
        _, variables = from_torch(given, "torchvision", "densenet121", **fields)
        back = to_torch(variables, "torchvision", "densenet121", **fields)
        assert back.keys() == {key for key in state if not key.endswith("tracked")}


@pytest.mark.slow
def test_auxiliary_heads_are_there_if_the_state_has_them(googlenet):
    name = ("torchvision", "googlenet")
    model, variables = from_torch(googlenet, *name)
    assert model.aux_heads
    assert {"aux1_head", "aux2_head"} <= variables["params"].keys()

    bare = {key: value for key, value in googlenet.items() if not key.startswith("aux")}
    model, variables = from_torch(bare, *name)
    assert not model.aux_heads
    assert to_torch(variables, *name).keys() | {"bn1.num_batches_tracked"} == bare.keys()

    half = {key: value for key, value in googlenet.items() if not key.startswith("aux1")}
    refused(half, "missing: aux1.conv", name=name, aux_heads=True)


def test_variables_of_another_network_are_refused_with_their_paths(whole):
    _, variables = from_torch(whole, *RESNET, **small.FIELDS)
    flat = traverse_util.flatten_dict(variables)
    moved = flat | {("params", "stem", "kernel"): flat["params", "stem", "conv", "kernel"]}
    with pytest.raises(UserError, match=r"1 not used: params/stem/kernel"):
        to_torch(traverse_util.unflatten_dict(moved), *RESNET, **small.FIELDS)
    del moved["params", "stem", "kernel"], moved["batch_stats", "stem", "norm", "mean"]
    with pytest.raises(UserError, match=r"1 missing: batch_stats/stem/norm/mean"):
        to_torch(traverse_util.unflatten_dict(moved), *RESNET, **small.FIELDS)
    with pytest.raises(UserError, match=r"no variables of our resnet18 as torchvision's"):
        to_torch(variables, *RESNET)


def test_a_network_of_a_library_has_the_library_s_fields():
    model = create_library_model("timm", "mobilenetv1_100", 7, head_features=32)
    assert (model.num_classes, model.head_features) == (7, 32)
    assert model.act is nn.relu6
    assert model.norm_epsilon == 1e-5
    assert create_library_model("timm", "mobilenetv1_100").num_classes == 1000

"""Keys as wrappers of torch write them, and weights without a classifier."""

import chex
import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.interop import from_torch, read_weights, write_weights
from jaxcnn.interop.convert import main as convert_main
from jaxcnn.interop.folder import read_folder
from tests.interop import small

RESNET = ("torchvision", "resnet18")


@pytest.fixture(scope="module")
def network():
    """Fields, and the state of a small ResNet of them."""
    state = small.state()
    state.pop("bn1.num_batches_tracked")
    return small.FIELDS, state


PREFIXES = [
    "_orig_mod.",
    "model.",
    "backbone.",
    "module.",
    "state_dict.",
    "state_dict.model.backbone.",
    "module._orig_mod.",
    "a.new.name.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_of_all_keys_is_dropped_and_said(network, prefix, caplog):
    fields, state = network
    _, plain = from_torch(state, *RESNET, **fields)
    wrapped = {f"{prefix}{key}": value for key, value in state.items()}
    _, found = from_torch(wrapped, *RESNET, **fields)
    chex.assert_trees_all_equal(found, plain)
    assert repr(prefix) in caplog.text


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_the_command_says_it(network, suffix, tmp_path, capsys):
    _, state = network
    source = tmp_path / f"weights{suffix}"
    write_weights({f"module._orig_mod.{key}": value for key, value in state.items()}, source)
    flags = small.FLAGS
    where = [f"--source={source}", f"--out={tmp_path / 'out'}"]
    library = [f"--library={RESNET[0]}", f"--name={RESNET[1]}"]
    assert convert_main([*library, *where, *flags]) == 0
    assert "prefix 'module._orig_mod.' dropped" in capsys.readouterr().out


def test_two_networks_in_one_state_are_named(network):
    fields, state = network
    both = {f"{prefix}{key}": x for prefix in ("student.", "ema.") for key, x in state.items()}
    with pytest.raises(UserError, match=r"several networks, under 'student\.' and 'ema\.'"):
        from_torch(both, *RESNET, **fields)


def test_what_has_no_classifier_is_said_with_the_way_out(network, tmp_path, capsys):
    fields, state = network
    headless = {key: value for key, value in state.items() if not key.startswith("fc.")}
    with pytest.raises(UserError, match=r"no classifier \(fc\.weight .*num_classes=0") as error:
        from_torch(headless, *RESNET, **fields)
    assert "\n" not in str(error.value)
    for given in (headless, state):
        model, variables = from_torch(given, *RESNET, **fields, num_classes=0)
        assert model.num_classes == 0
        assert "classifier" not in variables["params"]

    source, out = tmp_path / "headless.npz", tmp_path / "out"
    write_weights({f"backbone.{key}": value for key, value in headless.items()}, source)
    library = [f"--library={RESNET[0]}", f"--name={RESNET[1]}"]
    flags = small.FLAGS
    command = [*library, f"--source={source}", f"--out={out}", *flags]
    assert convert_main(command) == 2
    assert "--override num_classes=0" in capsys.readouterr().err
    assert convert_main([*command, "--override=num_classes=0"]) == 0
    assert read_folder(out).model.num_classes == 0


def test_nested_entries_of_a_torch_checkpoint_are_unwrapped(network, tmp_path):
    torch = pytest.importorskip("torch")
    _, state = network
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    for nested in ({"state_dict": {"model": tensors}}, {"model": {"state_dict": tensors}}):
        path = tmp_path / "nested.pth"
        torch.save({"epoch": 3, **nested}, path)
        assert read_weights(path).keys() == state.keys()

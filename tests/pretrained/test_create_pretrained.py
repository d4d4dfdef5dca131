"""From a name to a trained network: the verb, and the commands that take --weights."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxcnn
from jaxcnn import explain, export, features, predict
from jaxcnn.errors import UserError
from jaxcnn.interop import convert, write_weights
from jaxcnn.run.checkpoint import init_from
from tests.pretrained.small import FAMILIES


def pictures(channels=3, count=2):
    return jax.random.normal(jax.random.key(1), (count, 32, 32, channels))


def create(small, *args, **fields):
    return jaxcnn.create_pretrained(small.name, *args, allow_noncommercial=True, **fields)


def answers(model, variables, images):
    return np.asarray(jax.jit(model.apply)(variables, images))


# One of each form of file is in the gate, and the first one in the plain run of the tests.
MARKS = {"resnet18": [], "resnet50": [pytest.mark.slow], "resnet34": [pytest.mark.slow]}


@pytest.mark.slow
@pytest.mark.parametrize(
    "small",
    [pytest.param(name, marks=MARKS.get(name, [pytest.mark.exhaustive])) for name in FAMILIES],
    indirect=True,
)
def test_a_network_has_the_variables_of_the_file_and_answers_in_every_form(small):
    model, variables = create(small)
    jax.tree.map(np.testing.assert_array_equal, variables, small.variables)
    exact = answers(model, variables, pictures())
    assert exact.shape == (2, small.info.num_classes)

    model, variables = create(small, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    assert np.abs(answers(model, variables, pictures()) - exact).max() < 0.1 * np.abs(exact).max()

    model, variables = create(small, 0)  # the features are the classifier's input
    assert "classifier" not in variables["params"]
    head = small.variables["params"]["classifier"]
    found = answers(model, variables, pictures()) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)

    model, variables = create(small, channels=1)  # a grey image as three equal channels
    grey = np.asarray(pictures(1))
    wanted = answers(create(small)[0], small.variables, np.repeat(grey, 3, axis=-1))
    np.testing.assert_allclose(answers(model, variables, grey), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_new_classifier_is_drawn_with_the_key(small):
    with pytest.raises(UserError, match=r"that of the weights has 10: give the key"):
        create(small, 7)
    ones, twos = (create(small, 7, key=jax.random.key(seed)) for seed in (1, 2))
    assert jax.eval_shape(ones[0].apply, ones[1], pictures()).shape == (2, 7)
    heads = [variables["params"]["classifier"]["kernel"] for _, variables in (ones, twos)]
    assert np.abs(heads[0] - heads[1]).max() > 0
    stems = [variables["params"]["stem"]["conv"]["kernel"] for _, variables in (ones, twos)]
    np.testing.assert_array_equal(*stems)


def test_fields_of_the_network_can_be_set(small):
    model, _ = create(small, act=jax.nn.gelu)
    assert model.act is jax.nn.gelu
    with pytest.raises(UserError, match="depht"):
        create(small, depht=3)


@pytest.mark.parametrize("small", ["vgg11_bn"], indirect=True)
def test_a_licence_against_commercial_use_must_be_allowed(small):
    with pytest.raises(UserError, match=r"CC-BY-NC-4.0, which forbids commercial use"):
        jaxcnn.create_pretrained(small.name)


def test_a_changed_file_is_refused(small, cache):
    file = cache / small.name / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="SHA-256"):
        create(small)


def test_what_is_no_name_and_no_folder_is_one_line(small, tmp_path):
    with pytest.raises(UserError, match=r"no trained weights 'resnet18\.smal': did you mean"):
        jaxcnn.create_pretrained("resnet18.smal")
    with pytest.raises(UserError, match="nor a name"):
        jaxcnn.create_pretrained(tmp_path / "nothing")


@pytest.mark.slow
def test_a_converted_folder_and_a_run_come_through_the_same_door(photo_run, small, cache, tmp_path):
    library, theirs, fields = FAMILIES["resnet18"]
    source = cache / small.name / "model.safetensors"
    convert.convert(library, theirs, source, tmp_path / "weights", fields)
    _, variables = jaxcnn.create_pretrained(tmp_path / "weights")
    jax.tree.map(np.testing.assert_array_equal, variables, small.variables)
    model, variables = jaxcnn.create_pretrained(photo_run.workdir)
    images = jnp.zeros((1, 16, 16, 3))
    assert jax.eval_shape(model.apply, variables, images).shape == (1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("small", ["resnet34"], indirect=True)
def test_fields_that_an_onnx_file_has_are_named_for_a_config(small):
    found = init_from._read_named(small.name, True)
    assert "model.name=resnet18 " in found.flags
    assert "model.overrides.stage_sizes=(1, 2, 1, 1)" in found.flags
    assert "num_classes" not in found.flags


@pytest.mark.slow
def test_load_has_classes_and_preprocessing(small):
    network = jaxcnn.load("resnet18")  # the default weights
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    given = np.asarray(network.preprocess(pixels))
    np.testing.assert_allclose(given, small.info.preprocess(pixels), atol=1e-6)
    assert given.shape == (1, 32, 32, 3)
    assert network.class_names == tuple(map(str, range(10)))
    logits = answers(network.model, network.variables, given)
    np.testing.assert_allclose(network.predict(pixels), jax.nn.softmax(logits), atol=1e-5)


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


@pytest.mark.slow
def test_commands_take_weights_by_name(small, image, tmp_path, capsys):
    name, wanted = f"--weights={small.name}", jaxcnn.load(small.name).predict(image)[0]
    predict.main([name, "--topk=1", str(image)])
    assert f"{wanted.argmax()} {wanted.max():.2%}" in capsys.readouterr().out
    features.main([name, str(image), f"--out={tmp_path}/f.npz"])
    model, variables = create(small, 0)
    found = answers(model, variables, small.info.preprocess(image))
    np.testing.assert_allclose(np.load(tmp_path / "f.npz")["features"], found, rtol=1e-4, atol=1e-5)
    export.main([name, f"--out={tmp_path}/m.stablehlo"])
    about = json.loads((tmp_path / "m.stablehlo.json").read_text())
    assert (about["weights"], about["workdir"]) == (small.name, "")
    explain.main([name, "--method=saliency", str(image), f"--out={tmp_path}/o"])
    assert (tmp_path / "o" / "sheet.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "name one network"),
        (["--workdir=w", "--weights=resnet18"], "name one network"),
        (["--weights=resnet18", "--checkpoint=best"], "--checkpoint is of a run"),
        (["--weights=resnet99"], "no trained weights 'resnet99'"),
    ],
)
def test_a_mistake_of_the_command_line_is_one_line(flags, message, image):
    with pytest.raises(UserError, match=message):
        predict.main([*flags, str(image)])


def test_a_run_starts_from_weights_by_name(small):
    from jaxcnn.run.checkpoint import init_from

    found = init_from.read(Path(small.name))
    jax.tree.map(np.testing.assert_array_equal, found.variables, small.variables)
    assert "--config.model.name=resnet18" in found.flags


@pytest.mark.slow
def test_a_file_laid_into_the_cache_is_all_that_a_prediction_needs(cache, image, capsys):
    """The whole network under its public name, with ImageNet's classes in words."""
    from tests.interop.small import state

    arrays = state(1000, "timm", "resnet18", stage_sizes=(2, 2, 2, 2))
    (cache / "resnet18.tv_in1k").mkdir(parents=True)
    write_weights(arrays, cache / "resnet18.tv_in1k" / "model.safetensors")
    predict.main(["--weights=resnet18.tv_in1k", str(image)])
    line = capsys.readouterr().out
    words = jaxcnn.weights_info("resnet18").class_names
    assert sum(f"{word} " in line for word in words) >= 5
    assert line.count("%") == 5

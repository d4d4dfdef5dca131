"""A run starts from given weights; they are evaluated as they are; what does not fit is said."""

import functools
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxcnn.config import build, build_data, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.errors import UserError
from jaxcnn.evaluation import evaluate
from jaxcnn.interop import write_weights
from jaxcnn.interop.convert import convert
from jaxcnn.interop.folder import WEIGHTS, read_folder
from jaxcnn.run import workdir
from jaxcnn.run.checkpoint import init_from
from jaxcnn.run.checkpoint.checkpoints import Checkpoints
from jaxcnn.training import train
from tests.interop import small
from tests.runs import ROOT, finish, start

FIELDS = {"stage_sizes": (1,), "width": 8}


def config_of(init_from, channels=1, **fields):
    """The small network on small digits; three steps at a learning rate of zero."""
    config = recipes.recipe("resnet18")
    config.init_from = str(init_from)
    config.model.overrides.update({**FIELDS, **fields})
    config.data.update(image_size=8, channels=channels, pad=0)
    if channels == 3:
        config.data.update(mean=(0.3, 0.4, 0.5), std=(0.2, 0.3, 0.4))
    config.train.update(length="3steps", batch_size=32, ema_decay=0.5)
    config.schedule.update(name="constant", learning_rate=0.0, warmup="0steps")
    return config


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("weights")
    write_weights(small.state(**FIELDS), directory / "x.npz")
    convert("torchvision", "resnet18", directory / "x.npz", directory / "small", FIELDS)
    return directory / "small"


@pytest.fixture(scope="module")
def trained(converted, tmp_path_factory):
    """A run on grey digits from the weights of a network for colour images."""
    directory = tmp_path_factory.mktemp("run")
    gone = shutil.copytree(converted, directory / "gone")
    train.run(freeze(config_of(gone)), directory)
    shutil.rmtree(gone)
    return directory


def saved(directory):
    checkpoints = Checkpoints(directory / "checkpoints", read_only=True)
    try:
        return checkpoints.restore(None).state
    finally:
        checkpoints.close()


def load(config, num_classes=10):
    model = build.make_model(config, num_classes)
    return init_from.load(config, model, small.shapes(model, config.data.channels))


def refused(config, *parts, num_classes=10):
    with pytest.raises(UserError) as info:
        load(config, num_classes)
    message = str(info.value)
    assert message.isprintable()
    for part in (f"init_from={config.init_from}", *parts):
        assert part in message


@pytest.mark.slow
def test_a_run_starts_from_the_weights_and_so_do_its_averages(converted, trained):
    given = read_folder(converted).variables
    params, statistics = given["params"], given["batch_stats"]
    grey = params["stem"]["conv"]["kernel"].sum(2, keepdims=True)
    expected = {**params, "stem": {**params["stem"], "conv": {"kernel": grey}}}
    state = saved(trained)
    assert state["step"] == 3
    chex.assert_trees_all_equal(state["params"], expected)  # the rate was zero
    close = functools.partial(np.testing.assert_allclose, rtol=3e-7)  # a mean of equals is rounded
    jax.tree.map(close, state["ema"]["params"], expected)
    same = jax.tree.map(np.array_equal, state["batch_stats"], statistics)
    assert not any(jax.tree.leaves(same))


@pytest.mark.slow
def test_a_resumed_run_does_not_look_for_the_weights_again(trained, tmp_path, capsys):
    directory = shutil.copytree(trained, tmp_path / "run")
    config = config_of(directory / "gone")
    config.init_from = str(trained / "gone")  # which is gone
    config.train.length = "4steps"
    config.allow_change = "train.length"
    assert train.run(freeze(config), directory)["step"] == 4
    said = capsys.readouterr().out
    assert "continues  from step 3" in said
    assert "taken" not in said
    config.init_from = str(trained)
    with pytest.raises(UserError, match=r"init_from .*/gone → "):
        train.run(freeze(config), directory)


@pytest.mark.slow
def test_a_start_says_what_it_takes(trained, tmp_path, capsys):
    config = config_of(trained)
    config.data.update(kind="synthetic", num_classes=7, num_examples=64, channels=3)
    train.run(freeze(config), tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    names = [line.split(maxsplit=1)[0] for line in lines]
    first = names.index("taken")
    assert names[first : first + 3] == ["taken", "adapted", "new"]
    assert lines[first].endswith(" 14 of 17 arrays from resnet18, step 3, averaged")
    assert lines[first + 1].endswith(" stem/conv: shared out among 3 input channels")
    assert lines[first + 2].endswith(" classifier: 7 classes instead of 10")


@pytest.mark.slow
def test_weights_are_evaluated_without_a_run(converted, tmp_path):
    config = config_of(converted, channels=3)
    flags = [
        f"--config={ROOT}/configs/resnet18.py",
        f"--config.init_from={converted}",
        "--config.model.overrides.stage_sizes=(1,)",
        "--config.model.overrides.width=8",
        "--config.data.image_size=8",
        "--config.data.channels=3",
        "--config.data.mean=(0.3,0.4,0.5)",
        "--config.data.std=(0.2,0.3,0.4)",
    ]
    out, _ = finish(start("--mode=evaluate", *flags))
    printed = {name: float(value) for name, value in (line.split() for line in out.splitlines())}

    dataset = build_data.load_data(config, "test")
    images = build_data.make_normalize(config)(jnp.asarray(dataset.images))
    model, variables, _ = read_folder(converted)
    logits = jax.jit(model.apply)(variables, images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(dataset.labels))
    assert printed.keys() == {"test/loss", "test/nll", "test/top1", "test/top5"}
    assert printed["test/loss"] == pytest.approx(float(losses.mean()), rel=1e-4)
    assert printed["test/top1"] == pytest.approx(float((logits.argmax(1) == dataset.labels).mean()))


@pytest.mark.slow
def test_a_run_s_best_averages_are_evaluated_as_the_run_did(trained):
    config = config_of(trained)
    of_run = evaluate.run(trained, checkpoint="best")
    results = evaluate.run_weights(freeze(config))
    for name, value in results.items():
        assert value == pytest.approx(of_run[f"{name}_ema"], rel=1e-6)


def test_evaluation_wants_all_the_weights(converted):
    config = config_of(converted)
    config.data.update(kind="synthetic", num_classes=7)
    with pytest.raises(UserError, match=r"has not all weights .*7 classes instead of 10"):
        evaluate.run_weights(freeze(config))


# What it may be ---------------------------------------------------------------------------------


def test_a_weights_file_alone_is_taken_whatever_the_network_s_fields(converted, tmp_path):
    shutil.copy(converted / WEIGHTS, tmp_path / "mine.npz")
    variables, title, done = load(config_of(tmp_path / "mine.npz", channels=3, norm_epsilon=1e-3))
    assert title == "a weights file"
    assert len(done.copied) == 17
    chex.assert_trees_all_equal(variables, read_folder(converted).variables)


def test_what_is_no_weights_is_said_with_what_would_be(tmp_path):
    refused(config_of(tmp_path / "none"), "there is nothing", "jaxcnn.interop.convert")
    refused(config_of(tmp_path), "no such weights", "the workdir of a run")
    write_weights(small.state(), tmp_path / "torch.npz")
    refused(config_of(tmp_path / "torch.npz"), "convert it first", "--source=")


def test_of_a_run_it_is_the_best_checkpoint_and_the_latest_if_none_was_evaluated(tmp_path):
    config = config_of("")
    form = small.shapes(build.make_model(config, 10), 1)
    for name, metrics, expected in (
        ("evaluated", [{"top1": 0.5}, {"top1": 0.9}, {"top1": 0.1}], 2),
        ("not evaluated", [None, None, None], 3),
    ):
        checkpoints = Checkpoints(tmp_path / name / "checkpoints", keep_latest=3)
        for step, metric in enumerate(metrics, start=1):
            state = {**small.filled(form, seed=step), "step": np.int32(step)}
            checkpoints.save(step, state, {"num_classes": 10}, metric)
        checkpoints.wait()
        checkpoints.close()
        workdir.write_config(tmp_path / name, freeze(config))
        source = init_from.read(tmp_path / name)
        assert source.title == f"resnet18, step {expected}"  # and nothing of averages
        jax.tree.map(
            np.testing.assert_array_equal, source.variables, small.filled(form, seed=expected)
        )


@pytest.mark.slow
def test_a_run_without_a_checkpoint_is_none(trained, tmp_path):
    shutil.copy(trained / "config.json", tmp_path)
    refused(config_of(tmp_path), "no checkpoint in it yet")


# What does not fit ------------------------------------------------------------------------------


def test_a_network_with_other_fields_is_refused_with_the_flags_that_would_do(converted):
    flags = (
        "--config.model.name=resnet18 '--config.model.overrides.stage_sizes=(1,)'"
        " --config.model.overrides.width=8"
    )
    refused(config_of(converted, norm_epsilon=1e-3), "norm_epsilon 1e-05 instead of 0.001", flags)
    refused(config_of(converted, width=4), "torchvision's resnet18", "width 8 instead of 4", flags)
    config = config_of(converted)
    config.model.name, config.model.overrides = "lenet5_modern", {}
    refused(config, "the weights are of a ResNet and the config has a LeNet5Modern", flags)


def test_what_matters_in_training_alone_may_differ(converted):
    config = config_of(converted, norm_momentum=0.99, zero_init_last=True)
    config.model.dtype = "bfloat16"
    config.train.sync_bn = True
    _, _, done = load(config)
    assert len(done.copied) == 16


def test_another_class_count_and_colour_are_no_other_network(converted):
    variables, _, done = load(config_of(converted, channels=3), num_classes=7)
    assert done.new == ["classifier: 7 classes instead of 10"]
    assert isinstance(variables["params"]["classifier"]["bias"], jax.ShapeDtypeStruct)
    refused(config_of(converted, channels=2), "1 misshapen: params/stem/conv/kernel")


@pytest.mark.slow
def test_a_run_of_another_network_names_its_own(trained):
    refused(
        config_of(trained, width=16),
        "resnet18, step 3, averaged",
        "width 8 instead of 16",
        "--config.model.overrides.width=8",
    )


def test_a_library_s_network_is_trained_under_the_library_s_name(tmp_path):
    """Its functions cannot be set by flags: the name brings them."""
    fields = {"stage_sizes": (1, 1), "features": (4, 8, 8)}
    state = small.state(library="timm", name="mobilenetv1_100", **fields)
    write_weights(state, tmp_path / "x.npz")
    convert("timm", "mobilenetv1_100", tmp_path / "x.npz", tmp_path / "out", fields)
    config = config_of(tmp_path / "out")
    config.model.name = "mobilenet_v1_100"
    config.model.overrides = fields
    flag = "--config.model.name=timm/mobilenetv1_100 "
    refused(config, "act relu6 instead of relu", "padding symmetric instead of SAME", flag)
    config.model.name = "timm/mobilenetv1_100"
    assert build.make_model(config, 10).act is nn.relu6
    assert load(config)[2].new == []
    config.model.name = "tim/mobilenetv1_100"
    with pytest.raises(UserError, match="no library 'tim': did you mean timm"):
        load(config)


# Some of the weights ----------------------------------------------------------------------------


def vgg_config(name, init_from="", **fields):
    config = recipes.recipe(name)
    fields = {"stage_features": (2, 2, 3, 3, 3), "hidden_features": (5, 4), **fields}
    config.model.overrides.update(fields)
    config.init_from = str(init_from)
    return config


@pytest.fixture(scope="module")
def net_a(tmp_path_factory):
    """What a run of VGG's net A leaves; its variables."""
    directory = tmp_path_factory.mktemp("net_a")
    config = vgg_config("vgg11")
    variables = small.filled(small.shapes(build.make_model(config, 10), 1))
    checkpoints = Checkpoints(directory / "checkpoints")
    checkpoints.save(7, {**variables, "step": np.int32(7)}, {"num_classes": 10}, None)
    checkpoints.wait()
    checkpoints.close()
    workdir.write_config(directory, freeze(config))
    return directory, variables["params"]


@pytest.mark.parametrize("name", ["vgg13", "vgg16_1x1", "vgg19"])
def test_a_deep_vgg_starts_from_four_convolutions_and_the_dense_layers_of_net_a(net_a, name):
    directory, given = net_a
    config = vgg_config(name, directory)
    refused(config, "a network with stage_sizes")
    config.init_map = ("vgg_a",)
    variables, title, done = load(config)
    assert title == "vgg11, step 7"
    params = variables["params"]
    taken = [("stage1", "conv1"), ("stage2", "conv1"), ("stage3", "conv1"), ("stage3", "conv2")]
    taken += [("fc6", "dense"), ("fc7", "dense")]
    for stage, layer in taken:
        chex.assert_trees_all_equal(params[stage].pop(layer), given[stage][layer])
    chex.assert_trees_all_equal(params.pop("classifier"), given["classifier"])
    assert len(done.copied) == 14
    rest = jax.tree.leaves(params)
    assert rest
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in rest)
    assert done.new[0].startswith("stage1/conv2, stage2/conv2, ")
    assert done.left_out == ["stage4/conv1, stage4/conv2, stage5/conv1, stage5/conv2"]


def test_arrays_may_have_another_name_there(net_a):
    directory, given = net_a
    config = vgg_config("vgg16", directory)
    config.init_map = (("^stage3/conv3", "stage3/conv2"), "^fc6")
    variables, _, done = load(config)
    found = variables["params"]["stage3"]["conv3"]
    chex.assert_trees_all_equal(found, given["stage3"]["conv2"])
    assert sorted(done.copied) == [
        f"params/{path}"
        for path in (
            "fc6/dense/bias",
            "fc6/dense/kernel",
            "stage3/conv3/bias",
            "stage3/conv3/kernel",
        )
    ]


def test_what_a_map_names_must_be_there_and_fit(net_a):
    directory, _ = net_a
    config = vgg_config("vgg13", directory, hidden_features=(5, 6))
    for entries, parts in (
        (("stage1",), ("init_map: 2 missing: params/stage1/conv2/",)),
        (("vgg_a",), ("init_map: ", "3 misshapen: params/", "(5, 4) instead of (5, 6)")),
        (("stage9",), ("no array of the network matches 'stage9'",)),
        (("stage[",), ("init_map: 'stage['",)),
        (((1, 2),), ("init_map: (1, 2) is neither",)),
        (((r"^fc", r"\2"),), ("init_map: '^fc'", "invalid group reference")),
    ):
        config.init_map = entries
        refused(config, *parts)


def test_a_part_of_the_weights_is_not_evaluated(net_a):
    config = vgg_config("vgg13", net_a[0])
    config.init_map = ("vgg_a",)
    with pytest.raises(UserError, match=r"has not all weights .*stage1/conv2"):
        evaluate.run_weights(freeze(config))

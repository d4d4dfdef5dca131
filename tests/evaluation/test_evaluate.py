"""Whole evaluations of runs: protocols, ensembles, reports."""

import csv
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from flax import linen as nn

from jaxcnn.config import build, build_data, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.data import load
from jaxcnn.data.views import aspect_of
from jaxcnn.errors import UserError
from jaxcnn.evaluation import evaluate, evaluator
from jaxcnn.evaluation.multicrop import make_scores
from jaxcnn.run import distributed
from jaxcnn.training import train
from tests.marks import exhaustive, slow
from tests.runs import finish, start


def config_of(size, seed=0, **fields):
    """A highway network of three layers on small digits; sixty steps."""
    config = recipes.recipe("highway_fc10")
    config.seed = seed
    config.model.overrides.depth = 3
    config.data.update(image_size=size, pad=0)
    config.train.update(length="60steps", batch_size=32, **fields)
    config.eval.every = "never"
    config.schedule.update(name="constant", learning_rate=0.05, warmup="0steps")
    config.optimizer.update(name="sgd", momentum=0.9)
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs at different sizes; the second keeps averages and was evaluated with flips."""
    directory = tmp_path_factory.mktemp("runs")
    train.run(freeze(config_of(8)), directory / "a")
    other = config_of(12, seed=1, ema_decay=0.9)
    other.eval.protocol = "flip"
    train.run(freeze(other), directory / "b")
    return directory / "a", directory / "b"


def rows(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def predictions_of(directory, protocol):
    changes = {"eval.protocol": protocol}
    with evaluate._opened(directory, "latest", "test", changes) as opened:
        averaged = opened.state.ema is not None
        predict = evaluator.make_predictor(opened.config, opened.model, opened.dataset)
        return predict(distributed.replicate(opened.state.variables(averaged)))


@pytest.mark.slow
def test_a_run_is_tested_by_its_own_protocol_unless_another_is_asked_for(runs):
    lines = (runs[1] / "metrics.jsonl").read_text().splitlines()
    *_, watched, last = (line for line in map(json.loads, lines) if "test/loss" in line)
    own = evaluate.run(runs[1])
    assert own["step"] == 60
    for name in ("test/loss", "test/top1", "test/top5", "test/loss_ema", "test/top1_ema"):
        assert own[name] == pytest.approx(last[name])
    centre = evaluate.run(runs[1], changes={"eval.protocol": "center"})
    assert centre["test/loss"] != pytest.approx(own["test/loss"], rel=1e-3)
    assert watched["test/loss"] == pytest.approx(centre["test/loss"])  # as during training
    assert centre["test/top1"] > 0.5


def test_what_cannot_be_tested_is_not_trained(tmp_path):
    config = config_of(8)
    config.eval.protocol = "dense"
    with pytest.raises(UserError, match="no dense form"):
        train.run(freeze(config), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["center", "ten_crop"])
def test_means_are_those_of_the_predictions(runs, protocol, tmp_path):
    changes = {"eval.protocol": protocol}
    plain = evaluate.run(runs[0], changes=changes)
    reported = evaluate.run(runs[0], changes=changes, report=tmp_path)
    assert reported.keys() - plain.keys() == {"test/ece"}
    assert {name: reported[name] for name in plain} == pytest.approx(plain, rel=1e-5)


SOURCES = {
    "digits": {"kind": "digits", "channels": 1},
    "synthetic": {"kind": "synthetic", "channels": 3, "num_examples": 10, "num_classes": 3},
    "folder": {"kind": "folder", "channels": 3, "eval_crop": "center"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of three files, of two shapes; the third cannot be read."""
    directory = tmp_path_factory.mktemp("folder")
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("ant", "bee"):
            (directory / part / name).mkdir(parents=True)
            for number in range(3):
                shape = (30, 20, 3) if name == "bee" and number < 2 else (20, 30, 3)
                pixels = rng.integers(0, 256, shape).astype(np.uint8)
                PIL.Image.fromarray(pixels).save(directory / part / name / f"{number}.png")
    (directory / "test" / "ant" / "2.png").write_bytes(b"no image")
    return directory


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        ("digits", "flip"),
        slow("digits", "multi_scale_dense"),
        exhaustive("synthetic", "googlenet144"),
        exhaustive("folder", "googlenet144"),
        ("folder", "dense"),
    ],
)
def test_four_devices_in_small_portions_see_what_one_sees_at_once(kind, protocol, folder):
    config = recipes.recipe("resnet18", "digits")
    config.model.overrides.update(stage_sizes=(1,), width=4)
    config.data.update(image_size=8, mean=(0.5,), std=(0.5,), **SOURCES[kind])
    config.eval.update(protocol=protocol, batch_size=64)
    config.data.dir = str(folder)
    dataset = build_data.load_test_data(config, "test")
    count = min(dataset.num_examples, 10)
    dataset = dataset.subset(np.arange(count), "test")
    model = build.make_model(config, dataset.num_classes)
    shape = jnp.zeros((1, *dataset.image_shape))
    variables = jax.jit(model.init)(jax.random.key(0, impl="rbg"), shape)
    assert jax.device_count() == 4
    predictions = evaluator.make_predictor(config, model, dataset)(distributed.replicate(variables))
    assert predictions.indices.tolist() == [i for i in range(count) if kind != "folder" or i != 2]

    test = build_data.make_test_protocol(config)
    normalize = build_data.make_normalize(config)
    found = {}
    for i in predictions.indices:
        image = dataset.read(int(i), None)[0] if dataset.images is None else dataset.images[i]
        own = test
        if test.dense:
            aspect = aspect_of(image.shape[1], image.shape[0])
            own = test._replace(views=dataclasses.replace(test.views, aspect=aspect))
        row = image if own.views is None else own.views.cut(image)
        found.setdefault(own, []).append((i, row))
    assert len(found) == (2 if kind == "folder" and test.dense else 1)
    alone = np.zeros_like(predictions.log_probabilities)
    for own, rows_of in found.items():
        places, images = zip(*rows_of, strict=True)
        scores = jax.jit(make_scores(model, normalize, own))(variables, np.stack(images))
        alone[np.searchsorted(predictions.indices, places)] = nn.log_softmax(scores)
    assert np.std(alone, axis=0).max() > 1e-3
    np.testing.assert_allclose(predictions.log_probabilities, alone, atol=1e-5)


@pytest.mark.slow
def test_an_ensemble_is_the_mean_of_its_members(runs, tmp_path):
    report = tmp_path / "new" / "report"
    changes = {"eval.protocol": "center"}
    results = evaluate.run_ensemble(runs, changes=changes, report=report)
    members = [predictions_of(directory, "center") for directory in runs]
    labels = load("digits", "test").labels
    mean = np.mean([np.exp(member.log_probabilities) for member in members], axis=0)
    assert results["members"] == 2
    for directory, member in zip(runs, members, strict=True):
        hits = member.log_probabilities.argmax(1) == labels
        assert results[f"test/top1[{directory}]"] == pytest.approx(hits.mean())
    assert results["test/top1"] == pytest.approx((mean.argmax(1) == labels).mean())
    nll = -np.log(mean[np.arange(len(labels)), labels]).mean()
    assert results["test/nll"] == pytest.approx(nll, rel=1e-5)
    assert "test/loss" not in results  # an objective is of one network's scores
    predicted = rows(report / "predictions.csv")
    assert [int(row["prediction"]) for row in predicted] == mean.argmax(1).tolist()
    confidence = [float(row["confidence"]) for row in predicted]
    np.testing.assert_allclose(confidence, mean.max(1), atol=2e-6)
    facts = json.loads((report / "report.json").read_text())
    assert [member["weights"] for member in facts["members"]] == list(map(str, runs))
    assert {member["protocol"] for member in facts["members"]} == {"center"}
    assert facts["num_examples"] == 360
    assert facts["nll"] == pytest.approx(nll, rel=1e-5)


def test_members_of_an_ensemble_have_the_same_classes_in_the_same_order():
    evaluate.check_same_names(("cat", "dog"), ["cat", "dog"], "runs/b")
    for names in (("dog", "cat"), ("ant", "dog")):
        with pytest.raises(UserError, match=f"class 0 is 'cat' .* '{names[0]}' in runs/b"):
            evaluate.check_same_names(("cat", "dog"), names, "runs/b")
    with pytest.raises(UserError, match=r"class 1 is 'dog' .* 'missing'"):
        evaluate.check_same_names(("cat", "dog"), ("cat",), "runs/b")


@pytest.mark.slow
def test_the_report_of_one_run_and_what_is_refused(runs, tmp_path):
    report = tmp_path / "report"
    results = evaluate.run(runs[1], report=report)
    facts = json.loads((report / "report.json").read_text())
    assert facts["top1"] == results["test/top1_ema"]  # the averaged weights
    assert [member["protocol"] for member in facts["members"]] == ["flip"]
    with pytest.raises(UserError, match=r"report exists"):
        evaluate.run(runs[0], report=report)
    evaluate._prepare(report, [runs[1]], "test")  # its own is made anew, as with matplotlib then
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot make the folder .*file/report"):
        evaluate.run(runs[0], report=tmp_path / "file" / "report")
    with pytest.raises(UserError, match=r"config\.model\.name cannot be changed"):
        evaluate.run(runs[0], changes={"model.name": "lenet5"})
    with pytest.raises(UserError, match=r"no field 'eval\.protocoll'.*eval\.protocol"):
        evaluate.run(runs[0], changes={"eval.protocoll": "flip"})
    with pytest.raises(UserError, match="no dense form"):
        evaluate.run(runs[0], changes={"eval.protocol": "dense"})
    same = {"model.name": "highway_fc10", "eval.protocol": "center"}
    assert evaluate.run(runs[0], changes=same)["test/top1"] > 0.5


@pytest.mark.exhaustive
def test_the_command_gives_the_same_on_one_and_four_devices(runs, tmp_path):
    flags = ["--mode=evaluate", f"--workdir={runs[0]},{runs[1]}", "--config.eval.batch_size=50"]
    flags.append("--config.eval.protocol=ten_crop")
    commands = [start(*flags, f"--report={tmp_path / str(n)}", devices=n) for n in (1, 4)]
    printed = [finish(command)[0] for command in commands]
    assert "members 2" in printed[0]
    one, four = (
        {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines())}
        for text in printed
    )
    assert one.keys() == four.keys() >= {"test/top1", "test/top5", "test/nll", "test/ece"}
    assert one == pytest.approx(four, rel=1e-4)
    assert rows(tmp_path / "1" / "confusion.csv") == rows(tmp_path / "4" / "confusion.csv")
    assert one["test/top1"] == pytest.approx(
        evaluate.run_ensemble(runs, changes={"eval.protocol": "ten_crop"})["test/top1"]
    )

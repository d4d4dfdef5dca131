"""What is chosen by an evaluation is not chosen on the split that is reported, or it is said."""

import json
import logging
import runpy
import shutil
from pathlib import Path

import pytest

from jaxcnn.config import build_data, config_dict, datasets
from jaxcnn.config.config_dict import freeze
from jaxcnn.errors import UserError
from jaxcnn.evaluation import evaluate
from jaxcnn.run.checkpoint import restore
from jaxcnn.training import selection, train
from tests import photos

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


def make_config(root):
    """Of a network that is compiled in no time."""
    config = photos.make_config(root)
    config.model.name, config.model.overrides = "highway_fc10", {}
    config.train.ema_decay = 0.0
    config.data.update(flip=False, train_crop="resize")
    config.optimizer.decay_mask = ("kernel$",)
    return config


def pairs():
    """All configs on all data."""
    for file in CONFIGS:
        get_config = runpy.run_path(str(file))["get_config"]
        for dataset in datasets.DATASETS:
            try:
                config = get_config(dataset)
            except UserError:
                continue
            yield file.stem, dataset, config


@pytest.mark.slow
def test_every_recipe_holds_out_or_says_so():
    number, plateaus = 0, 0
    for name, dataset, config in pairs():
        watched = build_data.validation_split(config)
        line = selection.warning(config, watched, "test")
        assert ("chosen on the test split, which is also reported" in line) == (watched == "test")
        number += 1
        if config.schedule.name == "plateau":
            plateaus += 1
            assert watched == "validation" or (dataset == "folder" and line), (name, dataset)
    assert number > 900
    assert plateaus > 20


@pytest.mark.parametrize("dataset", datasets.HOLDOUTS)
def test_a_plateau_s_part_is_held_out_of_every_data_set(dataset, monkeypatch):
    from jaxcnn.config.recipes import common

    def recipe(config):
        config.schedule.name = "plateau"

    config = common.start("lenet5_modern", dataset, common.Recipes({dataset: recipe}, {}))
    assert config.data.holdout == datasets.HOLDOUTS[dataset]
    if dataset in ("digits", "synthetic"):
        sizes = [
            build_data.load_data(config, split).num_examples for split in ("train", "validation")
        ]
        assert sizes == ([1293, 144] if dataset == "digits" else [1792, 256])


def test_what_is_chosen_is_named():
    config = config_dict.base_config()
    assert selection.warning(config, "validation", "test") == ""
    assert selection.warning(config, "test", "test") == (
        "the best checkpoint is chosen on the test split, which is also reported:"
        " set --config.data.holdout=N to choose on other images"
    )
    config.data.holdout = 9  # of class folders without splits
    assert "make folders train, val and test" in selection.warning(config, "test", "test")
    config.data.holdout = 0
    config.schedule.name = "plateau"
    both = "the learning rate and the best checkpoint are chosen on the test split"
    assert selection.warning(config, "test", "test").startswith(both)
    config.checkpoint.keep_best = 0
    assert "rate is chosen" in selection.warning(config, "test", "test")
    config.schedule.name = "cosine"
    assert selection.warning(config, "test", "test") == ""
    assert "no test split" in selection.warning(config, "validation", "validation")


def test_results_on_a_split_that_was_chosen_on_are_too_good():
    config = config_dict.base_config()
    found = selection.description(config, "validation")
    assert "best was selected on this split, validation" in selection.bias(
        found, "best", "validation"
    )
    for checkpoint, split in [("best", "test"), ("latest", "validation"), ("best", None)]:
        assert selection.bias(found, checkpoint, split) == ""
    config.schedule.name = "plateau"
    found = selection.description(config, "test")
    assert "rate was chosen on this split, test" in selection.bias(found, "latest", "test")
    assert selection.bias(found, "latest") == ""
    assert "best was selected on the test split" in selection.bias(found, "best")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("selection")
    photos.write_photos(root)
    return root


def run(config, directory, capsys):
    record = train.run(freeze(config), directory)
    return record, capsys.readouterr().out


@pytest.mark.exhaustive
def test_folders_with_and_without_each_split(folder, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("jaxcnn"), "propagate", True)
    said = "chosen on the test split, which is also reported"
    config = make_config(folder)
    record, out = run(config, tmp_path / "test", capsys)
    assert out.count(said) == 2  # at the start and at the result
    assert run(config, tmp_path / "test", capsys)[1].count(said) == 1  # it is finished
    report = tmp_path / "report"
    evaluate.run(tmp_path / "test", checkpoint="best", report=report)
    assert "best was selected on this split, test" in caplog.text
    (member,) = json.loads((report / "report.json").read_text())["members"]
    assert "best was selected on this split" in member["bias"]
    caplog.clear()
    evaluate.run_ensemble([tmp_path / "test"] * 2, checkpoint="best")
    assert caplog.text.count("best was selected on this split, test") == 2
    caplog.clear()
    restore.restore(tmp_path / "test", config, checkpoint="best")
    assert "best was selected on the test split" in caplog.text

    shutil.copytree(folder, tmp_path / "three")
    shutil.copytree(folder / "test", tmp_path / "three" / "val")
    (tmp_path / "three" / "val" / "dog" / "0.png").unlink()
    config.data.dir = str(tmp_path / "three")
    record, out = run(config, tmp_path / "run-three", capsys)
    assert "11 validation" in out
    assert said not in out
    assert {"validation/top1", "test/top1"} <= record.keys()
    caplog.clear()
    of_best = evaluate.run(tmp_path / "run-three", checkpoint="best", split="validation")
    assert "validation/top1" in of_best
    assert "best was selected on this split, validation" in caplog.text
    config.data.holdout = 3
    with pytest.raises(UserError, match=r"data\.holdout=3: .*three/val is the validation split"):
        train.run(freeze(config), tmp_path / "refused")


@pytest.mark.slow
def test_training_images_alone(folder, tmp_path, capsys):
    shutil.copytree(folder / "train", tmp_path / "photos" / "train")
    config = make_config(tmp_path / "photos")
    with pytest.raises(UserError, match=r"no test split .*--config\.data\.holdout=N"):
        train.run(freeze(config), tmp_path / "refused")
    config.data.holdout = 3
    record, out = run(config, tmp_path / "run", capsys)
    before, _, after = out.partition("\nstep ")
    assert "chosen on the validation split, which is also reported: there is no test" in before
    assert "there is no test split" in after
    assert out.splitlines()[-1].startswith("step 4: validation top1")
    assert "validation/top1" in record
    assert not any(key.startswith("test/") for key in record)
    assert train.run(freeze(config), tmp_path / "run") == record
    with pytest.raises(UserError, match="--split=validation"):
        evaluate.run(tmp_path / "run")

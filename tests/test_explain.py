"""The command that shows what in an image speaks for a class, and what features respond to."""

import csv
import re

import numpy as np
import pytest
from PIL import Image

from jaxcnn.attribution.methods import METHODS
from jaxcnn.errors import UserError
from jaxcnn.explain import main
from jaxcnn.inspection import attributions, show, subject
from jaxcnn.inspection.pictures import PICTURES
from jaxcnn.models.published import networks
from tests.marks import exhaustive

COLUMNS = (
    "file,class,label,probability,true_class,method,layer,"
    "least,greatest,sum,row,column,other,seconds"
)


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def photos(photo_run):
    return [f"{photo_run.images}/{name}/0.png" for name in ("dog", "eel")]


@pytest.mark.slow
def test_every_image_and_method_has_an_overlay_and_a_row(photo_run, photos, tmp_path, capsys):
    flags = [f"--workdir={photo_run.workdir}", "--method=saliency,grad_cam", *photos]
    main([*flags, f"--out={tmp_path}/new/out", f"--csv={tmp_path}/n.csv"])
    assert {path.name for path in (tmp_path / "new" / "out").iterdir()} == {
        *("0-saliency.png", "0-2-saliency.png", "0-grad_cam.png", "0-2-grad_cam.png", "sheet.png")
    }
    assert (tmp_path / "n.csv").read_text().splitlines()[0] == COLUMNS
    rows = table(tmp_path / "n.csv")
    assert [(row["file"], row["method"]) for row in rows] == [
        (photo, method) for photo in photos for method in ("saliency", "grad_cam")
    ]
    assert [row["true_class"] for row in rows] == ["dog", "dog", "eel", "eel"]
    assert rows[1]["layer"].startswith("stage2")
    network = subject.of_run(photo_run.workdir).network
    shares = network.predict(photos)
    for row, share in zip(rows[::2], shares, strict=True):
        assert float(row["probability"]) == pytest.approx(share.max(), rel=1e-4)
        assert row["class"] == network.class_names[share.argmax()]
    out = capsys.readouterr().out
    assert re.search(r"grad_cam of layer stage2\S+, [\d.]+ s: .*0-grad_cam.png and 1 more", out)
    assert f"{photos[0]}: " in out


def test_the_place_in_a_row_is_that_of_the_largest_magnitude():
    values = np.zeros((1, 4, 5), np.float32)
    values[0, 2, 3], values[0, 1, 1] = -7.0, 5.0
    answer = attributions.Answer(values, "conv", {"gap": np.array([0.125])})
    result = attributions.Result("saliency", answer, "", 2.0)
    assert attributions._numbers(result, 0) == ("conv", "-7", "5", "-2", 2, 3, "gap=0.125")


@pytest.mark.slow
def test_one_class_is_explained_for_all_images(photo_run, photos, tmp_path):
    flags = [f"--workdir={photo_run.workdir}", "--method=saliency", f"--out={tmp_path}/o", *photos]
    for given in ("dog", "1"):
        main([*flags, f"--class={given}", f"--csv={tmp_path}/n.csv"])
        assert {(row["class"], row["label"]) for row in table(tmp_path / "n.csv")} == {("dog", "1")}
    with pytest.raises(UserError, match="no class 'dgo' of 3: did you mean dog"):
        main([*flags, "--class=dgo"])


@pytest.mark.slow
def test_a_method_that_refuses_is_one_line_and_the_others_go_on(tmp_path, capsys):
    image = tmp_path / "a.png"
    Image.fromarray(np.full((32, 32), 80, np.uint8)).save(image)
    flags = ["--fresh=lenet5_modern", str(image), f"--out={tmp_path}/o", f"--csv={tmp_path}/n.csv"]
    main([*flags, "--method=cam,saliency"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("cam: left out: CAM needs a network") for line in lines) == 1
    whole, refused = table(tmp_path / "n.csv")
    assert refused["other"].startswith("CAM needs a network")
    assert refused["greatest"] == ""
    assert float(whole["greatest"]) > 0
    with pytest.raises(UserError, match="CAM needs a network"):
        main([*flags, "--method=cam"])


@pytest.mark.slow
def test_a_map_does_not_depend_on_the_batch(photo_run):
    seen = subject.of_run(photo_run.workdir)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8)
    cases = attributions.make_cases(seen, ["a", "b", "c"], pixels, [""] * 3)
    for method in ("saliency", "grad_cam"):
        answers = [
            attributions.answer(seen, attributions.ask(seen, cases, batch=batch), method).answer
            for batch in (2, 16)
        ]
        assert answers[0].values.shape == (3, 16, 16)
        np.testing.assert_allclose(answers[0].values, answers[1].values, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_names_of_strangers_stay_text(photo_run, tmp_path, capsys):
    hostile = tmp_path / "=cmd|<b>$x$\x1b[31m.png"
    hostile.write_bytes((photo_run.images / "dog" / "0.png").read_bytes())
    flags = [f"--workdir={photo_run.workdir}", "--method=saliency", str(hostile)]
    main([*flags, f"--out={tmp_path}/o", f"--csv={tmp_path}/n.csv"])
    assert "\x1b" not in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "o").iterdir()} == {
        *("cmd-b-x-x1b-31m-saliency.png", "sheet.png")
    }


def test_a_class_is_said_in_words():
    case = attributions.Case("a", np.zeros((1, 1, 1), np.uint8), 3, "dog", 0.875, "eel")
    assert case.words == "dog, 87.5%, true: eel"
    assert case._replace(truth="dog").words == "dog, 87.5%"
    assert case._replace(class_name="3", truth="").words == "class 3, 87.5%"
    long = case._replace(class_name="d" * 200, truth="e" * 200)
    assert long.lines(10) == ["dddddd…ddd, 87.5%", "true: eeeeee…eee"]


def test_files_have_short_different_names():
    given = ["a/cat.jpg", "b/cat.png", "test:17", "x" * 99 + ".png", "…", ".hidden"]
    names = attributions.file_names(given)
    assert names == ["cat", "cat-2", "test-17", "x" * 40, "image", "hidden"]
    clashing = ["a/cat.jpg", "b/cat.jpg", "cat-2.jpg", "Cat.jpg"]
    assert attributions.file_names(clashing) == ["cat", "cat-2", "cat-2-2", "Cat-3"]


@pytest.mark.slow
def test_filters_need_no_image(photo_run, tmp_path, capsys):
    main([f"--workdir={photo_run.workdir}", "--method=filters", f"--out={tmp_path}"])
    assert [path.name for path in tmp_path.iterdir()] == ["filters.png"]
    assert "filters of stem/conv" in capsys.readouterr().out


def test_layers_are_listed(photo_run, capsys):
    main([f"--workdir={photo_run.workdir}", "--layer=list"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stem/conv", "conv", "8x8x4"]
    assert lines[-1].split()[0] == "classifier"


def test_groups_of_methods_have_names():
    assert show.choose("all") == (tuple(METHODS), ())
    assert show.choose("features") == ((), tuple(PICTURES))
    assert show.choose("maps, grad_cam,filters") == (("grad_cam",), ("filters", "maps"))
    assert not METHODS.keys() & PICTURES.keys()


WRONG = {
    "no network": ([], "name one network"),
    "two networks": (["--workdir={run}", "--fresh=resnet18"], "name one network"),
    "no images": (["--workdir={run}"], "name images to explain"),
    "a method": (["--workdir={run}", "--method=gradcam", "{image}"], "did you mean grad_cam"),
    "a layer": (["--workdir={run}", "--layer=stage9", "{image}"], "has no layer 'stage9'"),
    "an index": (["--workdir={run}", "--index=1", "{image}"], "numbers from 0 to 0"),
    "no method": (["--workdir={run}", "--method=,", "{image}"], "--method=, names no method"),
    "a checkpoint": (["--fresh=lenet5", "--checkpoint=best", "{image}"], "are of a run"),
    "sanity": (["--workdir={run}", "--sanity", "--method=filters"], "--sanity checks methods"),
    "no index": (["--workdir={run}", "--index=-1", "{image}"], "give whole numbers"),
    "a size": (["--workdir={run}", "--image-size=8", "{image}"], "--image-size is of a --fresh"),
    "both": (["--workdir={run}", "--split=test", "{image}"], "either --split or image files"),
    "csv": (["--workdir={run}", "--method=filters", "--csv=x.csv"], "--csv holds the numbers"),
    "no such split": (["--workdir={run}", "--split=tets"], "split 'tets' does not exist"),
    "no images for maps": (["--workdir={run}", "--method=maps"], "it needs images"),
    "no maps of classes": (
        ["--workdir={run}", "--method=class_maps", "{image}"],
        "has no maps of classes",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_line(photo_run, photos, tmp_path, name):
    flags, message = WRONG[name]
    given = [flag.format(run=photo_run.workdir, image=photos[0]) for flag in flags]
    with pytest.raises(UserError, match=re.escape(message)):
        main([*given, f"--out={tmp_path}/o"])


def smallest():
    """The network of each paper with the fewest parameters, and a side of images that it takes."""
    found = {}
    for name, row in networks().items():
        kept = found.setdefault(row["paper"], name)
        if row["params"] < networks()[kept]["params"]:
            found[row["paper"]] = name
    sides = {name: networks()[name] for name in found.values()}
    return {
        name: row["smallest_side"] or min(64, row["input_size"][0]) for name, row in sides.items()
    }


REFUSALS = "CAM needs a network|has no ReLU|has no maps of more than one pixel"


def explain_all(name, side, folder, capsys):
    """Explains an image with all methods: whatever is left out has its reason in one line."""
    image = folder / "image.png"
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(image)
    main([f"--fresh={name}", f"--image-size={side}", str(image), f"--out={folder}/o"])
    lines = capsys.readouterr().out.splitlines()
    refused = [line for line in lines if ": left out: " in line]
    assert all(re.search(REFUSALS, line) for line in refused)
    written = {path.name for path in (folder / "o").iterdir()}
    assert len(written) == len(METHODS) - len(refused) + 1  # and the contact sheet
    return {line.partition(":")[0] for line in refused}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side", "refused"),
    [
        ("lenet5_modern", 32, {"cam"}),
        ("nin_mnist", 28, set()),
        exhaustive("cifar_resnet20", 16, set()),
        exhaustive("dsn_cifar10", 16, set()),
        exhaustive("highway_mnist_w16", 28, {"cam"}),
    ],
)
def test_five_families_are_explained(name, side, refused, tmp_path, capsys):
    assert explain_all(name, side, tmp_path, capsys) == refused


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "side"), smallest().items())
def test_every_family_is_explained(name, side, tmp_path, capsys):
    explain_all(name, side, tmp_path, capsys)


@pytest.mark.exhaustive
def test_pictures_of_features_are_drawn_of_a_run(tmp_path, capsys):
    """Of a run with kept checkpoints, and its own data."""
    workdir = make_run(tmp_path / "run")
    main([f"--workdir={workdir}", "--method=features", "--split=test", f"--out={tmp_path}/o"])
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert {"filters.png", "evolution.png", "likeliest.png", "class_maps.png"} <= names
    assert {f"maps-{number}.png" for number in range(show.FIRST)} <= names
    assert "patches-stage1-relu_3.png" in names
    assert "6 maps of classifier at 3 checkpoints" in capsys.readouterr().out


def make_run(directory):
    from jaxcnn.config import recipes
    from jaxcnn.config.config_dict import freeze
    from jaxcnn.training import train

    config = recipes.recipe("nin_mnist", "digits")
    config.data.image_size = 12
    config.train.update(length="4steps", batch_size=32)
    config.checkpoint.update(every="never", keep_at=("1steps", "2steps"), keep_best=0)
    train.run(freeze(config), directory)
    return directory

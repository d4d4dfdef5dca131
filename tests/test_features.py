"""Features are what the named layer puts out; neighbours are the nearest of them."""

import re
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxcnn.config import build, build_data, recipes
from jaxcnn.errors import UserError
from jaxcnn.features import BORDER, GAP, LINE, SIDE, layer_shapes, main
from jaxcnn.run.checkpoint import restore


def load(path):
    with np.load(path) as file:  # which refuses pickled arrays
        return dict(file)


@pytest.fixture(scope="module")
def outputs(photo_run):
    """The test images, and what every layer makes of them by Flax's own account."""
    config = photo_run.config()
    cropper = build_data.make_cropper(config)
    files = sorted(path for path in photo_run.images.rglob("*") if path.is_file())
    pixels = np.stack([cropper(file.read_bytes(), None, "") for file in files])
    model = build.make_model(config, 3)
    logits, kept = model.apply(
        photo_run.state()["ema"],
        build_data.make_normalize(config)(pixels),
        train=False,
        capture_intermediates=True,
        mutable=["intermediates"],
    )
    return files, pixels, logits, kept["intermediates"]


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["stage1/block1/conv2", "stage2", "classifier"])
def test_features_are_the_layer_s_outputs_averaged_over_space(photo_run, outputs, tmp_path, layer):
    files, _, _, kept = outputs
    common = [f"--workdir={photo_run.workdir}", f"--layer={layer}", str(photo_run.images)]
    main([*common, "--batch=5", f"--out={tmp_path}/new/x.npz"])
    found = load(tmp_path / "new" / "x.npz")
    assert found["files"].tolist() == list(map(str, files))
    assert found["layer"] == layer
    for part in layer.split("/"):
        kept = kept[part]
    maps = np.asarray(kept["__call__"][0])
    pooled = maps.mean((1, 2)) if maps.ndim == 4 else maps
    assert found["features"].dtype == np.float32
    np.testing.assert_allclose(found["features"], pooled, atol=1e-5)
    if layer == "stage2":
        main([*common, "--no-pool", f"--out={tmp_path}/x.npz"])
        np.testing.assert_allclose(load(tmp_path / "x.npz")["features"], maps, atol=1e-5)


def test_units_of_a_loop_are_layers_too():
    config = recipes.recipe("cifar_resnet110")
    config.data.image_size = 8
    config.model.overrides.stage_sizes = (1, 3)
    model = build.make_model(config, 10)
    assert model.scan_units
    form = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    found = types.SimpleNamespace(model=model, variables=form)
    assert {"stage2/block1/conv1", "stage2/block3/conv2"} <= layer_shapes(config, found).keys()


def test_the_last_hidden_layer_is_what_the_classifier_multiplies(photo_run, outputs, tmp_path):
    main([f"--workdir={photo_run.workdir}", f"--out={tmp_path}/x.npz", str(photo_run.images)])
    classifier = photo_run.state()["ema"]["params"]["classifier"]
    features = load(tmp_path / "x.npz")["features"]
    logits = features @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(logits, outputs[2], atol=1e-5)


def test_layers_are_listed_in_the_order_of_use(photo_run, capsys):
    main([f"--workdir={photo_run.workdir}", "--layer=list"])
    lines = dict(line.split("  ") for line in capsys.readouterr().out.splitlines())
    assert list(lines)[:3] == ["stem/conv", "stem/norm", "stem"]
    assert lines["stem"] == "8x8x4"
    assert lines["stage2/block1/proj/norm"] == "2x2x8"
    assert list(lines.items())[-1] == ("classifier", "3")
    config = photo_run.config()
    found = restore.restore(photo_run.workdir, config)
    assert list(layer_shapes(config, found)) == list(lines)


@pytest.mark.slow
def test_a_figure_shows_each_query_and_its_nearest_images(photo_run, outputs, tmp_path, capsys):
    files, pixels, _, _ = outputs
    queries = [files[7], files[2]]
    main(
        [
            f"--workdir={photo_run.workdir}",
            str(photo_run.images),
            *(f"--query={query}" for query in queries),
            "--neighbours=3",
            f"--figure={tmp_path}/near.png",
            f"--out={tmp_path}/x.npz",
        ]
    )
    features = load(tmp_path / "x.npz")["features"]
    lines = capsys.readouterr().out.splitlines()[1:3]
    with Image.open(tmp_path / "near.png") as figure:
        drawn = np.asarray(figure)
    times = SIDE // 16
    wide, high, head = SIDE + 2 * BORDER, SIDE + 2 * BORDER + 2 * LINE, LINE + 2 * BORDER
    assert drawn.shape == (head + 2 * high, 4 * wide + GAP, 3)
    assert drawn[:head].min() == 0  # there is a title
    for down, query in enumerate(queries):
        distances = np.linalg.norm(features - features[files.index(query)], axis=1)
        order = [number for number in np.argsort(distances) if files[number] != query][:3]
        wanted = [f"{files[number]} {distances[number]:.4g}" for number in order]
        assert lines[down] == "  ".join([str(query), *wanted])
        for across, number in enumerate([files.index(query), *order]):
            top, left = head + down * high, across * wide + BORDER + GAP * (across > 0)
            tile = drawn[top : top + SIDE, left : left + SIDE]
            np.testing.assert_array_equal(tile[::times, ::times], pixels[number])
            below = drawn[top + SIDE : top + SIDE + 2 * LINE, left : left + SIDE]
            assert below[:LINE].min() == below[LINE:].min() == 0  # a name, and a distance


MISTAKES = {
    "unknown layer": (["--layer=stag2", "{images}", "--out={out}"], "did you mean stage2"),
    "nothing asked": (["{images}"], "--out=features.npz"),
    "no images": (["--out={out}"], "name images"),
    "figure of nothing": (["{images}", "--out={out}", "--figure=x.png"], "--query=IMAGE"),
    "neighbours of nothing": (["{images}", "--out={out}", "--neighbours=3"], "--query"),
    "a list is no file": (["--layer=list", "--out={out}"], "--layer=list"),
    "out is a folder": (["{images}", "--out={images}"], "cannot write"),
    "figure below a file": (["{images}", "--query={one}", "--figure={one}/x"], "cannot write"),
    "unreadable query": (["{images}", "--query={run}/config.json", "--out={out}"], "not one of 1"),
    "no such query": (["{images}", "--query=gone.png"], "gone.png"),
    "alone": (["{one}", "--query={one}"], "is the only image"),
    "no neighbours": (["{images}", "--query={one}", "--neighbours=0"], "--neighbours=0"),
}


@pytest.mark.parametrize(("flags", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_user_errors(photo_run, tmp_path, flags, message):
    places = {
        "run": photo_run.workdir,
        "images": photo_run.images,
        "one": photo_run.images / "dog" / "0.png",
        "out": tmp_path / "x.npz",
    }
    with pytest.raises(UserError, match=message) as info:
        main([f"--workdir={photo_run.workdir}", *(flag.format(**places) for flag in flags)])
    assert info.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_an_unreadable_image_is_left_out_and_said_at_the_end(photo_run, tmp_path, caplog, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "torn.png").write_bytes(b"no image")
    shutil.copy(photo_run.images / "dog" / "0.png", folder)
    queries = [f"--query={folder}", f"--query={photo_run.images / 'eel' / '0.png'}", "--query=gone"]
    main([f"--workdir={photo_run.workdir}", f"--out={tmp_path}/x.npz", str(folder), *queries[1:]])
    first, second = [one.message for one in caplog.records if one.name == "jaxcnn"]
    assert re.match(r"1 of 2 images .*torn\.png \(not an image", first)
    assert second.startswith("1 of 2 images cannot be read and are left out: gone (")
    assert len(capsys.readouterr().out.splitlines()) == 2  # the file's, and one query's
    assert load(tmp_path / "x.npz")["files"].tolist() == [str(folder / "0.png")]
    assert sorted(tmp_path.iterdir()) == [folder, tmp_path / "x.npz"]

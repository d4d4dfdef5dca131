"""It finds what is there, names what is not with the line that helps, and says 0 or 2."""

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jaxcnn import doctor
from jaxcnn.data.datasets.tfds import PREPARED_HERE
from jaxcnn.errors import UserError

ROOT = Path(__file__).parents[1]


def test_it_knows_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements):
        return {text.split(">")[0].split("!")[0].split("[")[0].strip() for text in requirements}

    assert set(doctor.REQUIRED) == names(project["dependencies"])
    extras = project["optional-dependencies"]
    for extra, distribution, _, _ in doctor.EXTRAS:
        assert distribution in names(extras[extra])
    for excluded in doctor.WRONG_VALUES["jax"]:
        assert f"!={excluded}" in project["dependencies"][0]


@pytest.mark.slow
def test_the_command(tmp_path):
    command = [sys.executable, "-m", "jaxcnn.doctor", f"--data={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert f"ok      jax {importlib.metadata.version('jax')}" in lines
    assert any("cpu device" in line for line in lines)
    fix = f"python -m jaxcnn.data.prepare mnist --source=DIR --out={tmp_path}"
    assert f"--      data not in {tmp_path}: {', '.join(PREPARED_HERE)}; {fix}" in lines
    assert lines[-1] == "all that is needed is there"


def test_a_package_that_is_missing_does_not_load_or_is_a_wrong_one(monkeypatch, tmp_path):
    assert doctor.package("chex", "chex").state == doctor.OK
    missing = doctor.package("nothing-such", "nothing_such")
    assert missing == (doctor.BROKEN, "nothing-such is missing: pip install 'nothing-such'")
    (tmp_path / "halfdone.py").write_text("raise OSError('libhalf.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    half = doctor.package("chex", "halfdone")
    assert half.state == doctor.BROKEN
    assert "does not load (libhalf.so: no such file): pip install --upgrade" in half.text
    monkeypatch.setitem(doctor.WRONG_VALUES, "chex", (importlib.metadata.version("chex"),))
    assert "computes wrong values" in doctor.package("chex", "chex").text


def test_something_broken_is_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "REQUIRED", {"nothing-such": "nothing_such"})
    assert doctor.main([]) == 2
    assert "BROKEN  nothing-such is missing" in capsys.readouterr().out
    with pytest.raises(UserError, match="no flag --fast"):
        doctor.main(["--fast"])


def test_an_extra_that_is_missing_is_no_fault(monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", (("plots", "nothing-such", "nothing_such", "figures"),))
    (found,) = doctor.extras()
    fix = "pip install 'jaxcnn[plots]'"
    assert found == (doctor.OPTIONAL, f"nothing-such is missing, for figures: {fix}")


def test_a_gpu_that_is_not_used(tmp_path):
    (devices,) = doctor.devices(tmp_path / "none")
    assert devices.state == doctor.OK
    driver = tmp_path / "version"
    driver.write_text("")
    *_, hint = doctor.devices(driver)
    assert hint.text.endswith("pip install 'jaxcnn[cuda]'")


def test_a_device_that_computes_wrong_values(monkeypatch):
    import jax.numpy as jnp

    total = jnp.sum
    monkeypatch.setattr(jnp, "sum", lambda values: total(values) * 1.05)
    found, *_ = doctor.devices()
    assert found.state == doctor.BROKEN
    assert found.text.endswith("a product of matrices has wrong values")


def test_data_sets(tmp_path):
    def write(path, **changes):
        folder = tmp_path / path
        folder.mkdir(parents=True)
        split = {"name": "train", "shardLengths": ["3", "1234"]}
        info = {"name": "mnist", "fileFormat": "array_record", "splits": [split], **changes}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        return folder

    whole = write("mnist/3.0.1")
    for number in range(2):
        (whole / f"mnist-train.array_record-0000{number}-of-00002").write_text("")
    lacking = write("mnist/9.0.0")
    (lacking / "mnist-train.array_record-00000-of-00002").write_text("")
    old = write("up/small/1.0.0", fileFormat="tfrecord")
    write("down/1.0.0", splits=None)
    write("other/1.0.0", fileFormat="riegeli")
    write("svhn_cropped/3.1.0", name="svhn_cropped", splits=[])
    hidden = write("cifar10/.3.0.2.incomplete/data")
    (hidden.parent / "plan.json").write_text("{}")

    found = {text: state for state, text in doctor.data_sets(tmp_path)}
    assert found["data mnist/3.0.1: array_record; train 1,237"] == doctor.OK
    texts = "\n".join(text for text, state in found.items() if state == doctor.OPTIONAL)
    assert "mnist/9.0.0 lacks 1 of 2 files, mnist-train.array_record-00001-of-00002" in texts
    convert = f"python -m jaxcnn.data.prepare convert --source={old} --out=DIR"
    assert f"data up/small/1.0.0 is tfrecord, which is not read: {convert}" in texts
    assert "data other/1.0.0 is riegeli, which is not read: prepare it as array_record" in texts
    assert "data down/1.0.0 cannot be read" in texts
    assert "data cifar10 is half prepared" in texts
    assert f"data not in {tmp_path}: fashion_mnist, cifar10, cifar100, imagenet2012;" in texts

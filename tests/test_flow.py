"""The command writes what flows through a network, and says what it leaves out."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.analysis import signal
from jaxcnn.errors import UserError
from jaxcnn.flow import main
from jaxcnn.inspection import subject

SMALL = ["--override=stage_sizes=(1,)", "--override=width=4", "--image-size=8", "--batch=2"]


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.exhaustive
def test_initialisers_are_compared(tmp_path, capsys):
    out = tmp_path / "flow"
    inits = "--kernel-init=he_normal,normal"
    main(["cifar_plain20", *SMALL, "--override=norm=none", inits, f"--out={out}"])
    said = capsys.readouterr().out
    assert "no residual: the network has no residual units" in said
    assert "no dropout: the network drops nothing" in said
    written = {"signal", "dead_units", "fields"}
    assert {path.name for path in out.iterdir()} == {
        f"{name}.{kind}" for name in written for kind in ("csv", "png")
    }
    rows = table(out / "signal.csv")
    assert {row["network"] for row in rows} == {"he_normal", "normal"}
    assert [row["layer"] for row in rows][:2] == ["stem/conv", "stem/relu"]
    last = {row["network"]: float(row["std"]) for row in rows if row["layer"] == "classifier"}
    assert last["he_normal"] > 100 * last["normal"]
    stem = rows[0]
    assert (stem["fan_in"], stem["fan_out"]) == ("27", "36")
    assert float(stem["weight_variance"]) == pytest.approx(2 / 27, rel=0.5)


@pytest.mark.slow
def test_numbers_are_those_of_the_functions(tmp_path):
    """Of a fresh network with BatchNorm: by the statistics of the images, noise of the seed."""
    arguments = ["cifar_resnet20", *SMALL, "--part=signal,residual", "--seed=3"]
    main([*arguments, f"--out={tmp_path}"])
    fields = {"overrides.stage_sizes": (1,), "overrides.width": 4}
    network = subject.of_name("cifar_resnet20", 8, 3, fields).network
    drawing, labelling = jax.random.split(jax.random.key(3))
    images = jax.random.normal(drawing, (2, 8, 8, 3))
    labels = jax.random.randint(labelling, (2,), 0, 10)
    expected = signal.moments(
        network.model, network.variables, images, labels, batch_statistics=True
    )
    rows = table(tmp_path / "signal.csv")
    assert [row["layer"] for row in rows] == list(expected)
    found = [[float(row[name]) for name in signal.Moments._fields] for row in rows]
    np.testing.assert_allclose(found, np.array(list(expected.values())), rtol=1e-4, atol=1e-6)
    (unit,) = table(tmp_path / "residual.csv")
    assert unit["unit"] == "stage1/block1/add"
    assert float(unit["branch"]) == pytest.approx(1, abs=0.01)


@pytest.mark.exhaustive
def test_checkpoints_of_a_run_are_compared_on_files(photo_run, tmp_path, capsys, caplog):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG")
    main(
        [
            *(f"--workdir={photo_run.workdir}", "--checkpoint=all", "--part=signal,dead_units"),
            *(f"--images={photo_run.images}", f"--images={broken}", "--batch=5"),
            f"--out={tmp_path}",
        ]
    )
    rows = table(tmp_path / "dead_units.csv")
    assert {row["network"] for row in rows} == {"step 2", "step 4"}
    assert all(0 <= float(row["units"]) <= 1 for row in rows)
    assert len(table(tmp_path / "signal.csv")) % 2 == 0
    assert "dead_units.csv: 12 images" in capsys.readouterr().out
    assert "1 of 13 images cannot be read" in caplog.text
    assert "broken.png" in caplog.text


@pytest.mark.slow
def test_a_network_without_what_is_asked_for_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no auxiliary heads"):
        main(["cifar_resnet20", *SMALL, "--part=heads", f"--out={tmp_path}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the name of a network, --workdir=DIR or --weights=NAME|DIR"),
        (["lenet5", "--workdir=x"], "give the name of a network"),
        (["--workdir=x", "--kernel-init=normal"], "are of a network with random weights"),
        (["lenet5", "--split=test"], "are of a run"),
        (["lenet5", "--checkpoint=all"], "are of a run"),
        (["--workdir=x", "--split=test", "--images=y"], "either --split or --images"),
        (["lenet5", "--part=dead"], "--part=dead: did you mean dead_units"),
        (["lenet5", "--part=,"], "--part=, names no part"),
        (["lenet5", "--override=norm"], "write FIELD=VALUE"),
        (["lenet5", "--batch=0"], "--batch=0 is too small"),
        (["lenet6"], "no model named 'lenet6'"),
        (["resnet18", "--kernel-init=hee"], "no initializer 'hee'"),
        (["resnet18", "--override=dept=3"], "dept"),
        (["--workdir=nowhere"], "is not the workdir of a run"),
    ],
)
def test_mistakes_are_answered_in_one_line(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        main([*arguments, f"--out={tmp_path}"])


@pytest.mark.slow
def test_dropout_is_compared_with_the_scaled_network(tmp_path):
    main(
        [
            *("densenet_40_12", "--override=stage_sizes=(2,)", "--override=dropout_rate=0.2"),
            *("--override=growth_rate=4", "--image-size=8", "--part=dropout,reuse", "--samples=6"),
            f"--out={tmp_path}",
        ]
    )
    rows = table(tmp_path / "dropout.csv")
    assert [row["members"] for row in rows] == ["1.0", "2.0", "4.0"]
    assert all(0 < float(row["arithmetic"]) < 1 for row in rows)
    assert {row["error"] for row in rows} == {"nan"}  # of noise nothing is true
    assert jnp.isfinite(jnp.array([float(row["geometric"]) for row in rows])).all()

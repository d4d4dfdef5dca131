"""Ablations: what a file says, what runs do when they are interrupted, what the report computes."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ablation, create_model
from jaxcnn.ablation import Ablation, Sizes, measures, progress, report, runs, sizes
from jaxcnn.config import build, build_data, config_dict, recipes
from jaxcnn.data import normalization
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import UserError
from jaxcnn.run import init_from, workdir
from jaxcnn.training import train
from jaxcnn.training.losses import cross_entropy
from tests.interop import small as weights

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs" / "ablations").glob("*.py"))

SMALL = '''"""Two rates.

Claim: none.
"""

from jaxcnn.config import recipes
from jaxcnn.ablation import Ablation


def get_ablation():
    config = recipes.recipe("lenet5_modern")
    return Ablation(
        base=config,
        variants={"fast": {}, "slow": {"schedule.learning_rate": 0.001}},
        quick={"train.length": "1epochs"},
    )
'''


def result(variant, seed, *values):
    return runs.Result(runs.Task(variant, seed), values[-1], list(enumerate(values, 1)))


def two(**fields):
    variants = {"a": {}, "b": {"seed": 1}}
    return Ablation(**{"base": recipes.recipe("lenet5_modern"), "variants": variants, **fields})


# Reports ----------------------------------------------------------------------------------------


SIZES = {"a": sizes.Size(1000, 2_000_000), "b": sizes.Size(1100, 2_500_000)}


def test_interval_is_students():
    """Of 1, 2, 4: mean 7/3, standard error sqrt(7/3/3), t(2) = 4.302653."""
    found = report.interval([1.0, 2.0, 4.0])
    assert found.mean == pytest.approx(7 / 3)
    assert found.half == pytest.approx(4.302653 * (7 / 9) ** 0.5, rel=1e-6)
    assert str(report.interval([0.5])) == "0.5000"
    assert str(report.interval([0.5, float("nan"), 0.1])) == "not finite"


@pytest.mark.parametrize(
    ("mean", "half", "shown"),
    [
        (0.01111, 0.06, "0.011 ± 0.060"),
        (0.97, 0.0995, "0.97 ± 0.10"),
        (402.2, 480.4, "402 ± 480"),
        (4e-8, 8.04e-8, "(4.0 ± 8.0)e-8"),
        (2.3025, 0.001, "2.3025 ± 0.0010"),
        (0.936, 0.0, "0.9360 ± 0.0000"),
    ],
)
def test_a_value_and_its_interval_have_the_same_digits(mean, half, shown):
    assert str(report.Interval(mean, half)) == shown


def test_intervals_end_where_the_metric_does():
    assert report.Interval(0.975, 0.042).ends(two().bounds) == "0.933 to 1.000"
    assert report.Interval(0.55, 0.83).ends(two(metric="train/loss").bounds) == "0.00 to 1.38"
    assert two(metric="test/top5_ema").bounds == (0, 1)
    assert report.Interval(7.3, 8.0).ends(two(metric="speed").bounds) == "-0.7 to 15.3"
    for file in FILES:  # what the files measure has limits, all of it
        assert ablation.load(file)[0].bounds[0] == 0


def test_table_takes_differences_seed_by_seed(tmp_path):
    results = [result("b", 0, 3, 1.5), result("b", 1, 3, 2.5), result("a", 1, 9, 2.0)]
    results += [result("a", 0, 9, 1.0)]
    shown = report.write(two(metric="train/loss"), "Title.", results, SIZES, tmp_path)
    head, _, first, second = shown.splitlines()
    assert head.split(" | ")[-1] == "difference to a |"
    assert first == "| a | 1,000 | 2,000,000 | 2 | 1.5 ± 6.4 | 0.0 to 7.9 |  |"
    assert second.endswith("| 2 | 2.0 ± 6.4 | 0.0 to 8.4 | +0.5000 ± 0.0000 |")
    rows = list(csv.reader((tmp_path / "results.csv").open()))
    assert rows == [
        ["variant", "seed", "train/loss", "parameters", "macs"],
        ["a", "0", "1.0", "1000", "2000000"],
        ["a", "1", "2.0", "1000", "2000000"],
        ["b", "0", "1.5", "1100", "2500000"],
        ["b", "1", "2.5", "1100", "2500000"],
    ]
    assert "| b | 1,100 |" in (tmp_path / "results.md").read_text()


def test_a_variant_may_have_a_baseline_of_its_own_and_any_name(tmp_path):
    names = "a|b", "c\nd", "e"
    plan = two(variants={name: {} for name in names}, baseline={"c\nd": "a|b"})
    of = dict.fromkeys(names, sizes.Size(1, 1))
    rows = report.table(plan, [result(name, 0, 0.5) for name in names], of).splitlines()[2:]
    assert [row.split(" | ")[-1] for row in rows] == [" |", "+0.0000 |", " |"]
    assert rows[0].startswith("| a\\|b |")
    assert rows[1].startswith("| c\\\\nd |")


def test_figure_of_the_same_numbers_is_the_same_file(tmp_path):
    """And names what was compared and by what; dollar signs start no formula."""
    results = [result(name, seed, 0.3, seed / 2) for name in ("a $x_1$", "b") for seed in (0, 1)]
    plan = two(variants={"a $x_1$": {}, "b": {}})
    report.draw(plan, "Two for $5.\n\nClaim: none.", results, tmp_path)
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"
    first = (tmp_path / "figure.svg").read_text()
    for title in ("Two for $5", "a $x_1$", "test/top1", "at the end, 95 % interval"):
        assert f"<!-- {title} -->" in first
    report.draw(plan, "Two for $5.", results, tmp_path)
    assert (tmp_path / "figure.svg").read_text() == first


# Sizes ------------------------------------------------------------------------------------------


def test_unequal_networks_are_refused_unless_the_claim_says_so():
    plan = two()
    sizes.check(plan, {"a": SIZES["a"], "b": SIZES["a"]})
    with pytest.raises(UserError, match=r"b has 1,100 parameters and a 1,000, which is 1\.100"):
        sizes.check(plan, SIZES)
    with pytest.raises(UserError, match="2,500,000 macs"):
        sizes.check(two(sizes=[Sizes("macs")]), SIZES)
    with pytest.raises(UserError, match="parameters"):
        sizes.check(two(sizes=[Sizes("params")]), SIZES)
    sizes.check(two(sizes=[Sizes("parameters", ("b", "a"), least=0.9)]), SIZES)
    sizes.check(two(sizes=[]), SIZES)


SHARES = {  # of parameters; two factors are to save what the claim says of them
    "dense_growth": ("k = 12", {"B, k = 12": 0.88, "C, k = 12": 0.55, "BC, k = 12": 0.63}),
    "kernel_factorisation": ("5x5", {"two 3x3": 0.74, "1x5 and 5x1": 0.50}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES)
def test_what_a_claim_calls_smaller_is_smaller(name):
    plan, _ = ablation.load(ROOT / "configs" / "ablations" / f"{name}.py")
    found = sizes.measure(plan, quick=True)
    sizes.check(plan, found)
    first, shares = SHARES[name]
    for variant, share in shares.items():
        assert found[variant].parameters / found[first].parameters == pytest.approx(share, abs=0.01)


@pytest.mark.exhaustive
@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_compares_what_it_says(file, quick):
    plan, _ = ablation.load(file)
    sizes.check(plan, sizes.measure(plan, quick=quick))


# Files ------------------------------------------------------------------------------------------


def test_a_field_that_does_not_exist_is_named():
    with pytest.raises(UserError, match=r"train.lenght.*length"):
        two(quick={"train.lenght": "1epochs"}).config("a", 0, quick=True)
    with pytest.raises(UserError, match="optimizer"):
        two(quick={"optimiser.momentum": 0.5}).config("a", 0, quick=True)


def test_variants_override_what_is_quick():
    quick = {"schedule.learning_rate": 0.5, "data.pad": 1}
    found = two(quick=quick, variants={"a": {"data.pad": 3}, "b": {}}).config("a", 7, quick=True)
    assert (found.data.pad, found.schedule.learning_rate, found.seed) == (3, 0.5, 7)
    assert two(quick=quick).config("a", 0, quick=False).data.pad == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no ablation file"),
        ("", "has no get_ablation"),
        (SMALL.replace('"slow"', '"fast"'), "1 variants"),
        (SMALL.replace("quick=", 'baseline="medium", quick='), "medium"),
        (SMALL.replace("quick=", 'baseline={"slow": "fats"}, quick='), "fats.*fast"),
        (SMALL.replace('"slow"', '"../slow"'), "must name a folder within --out"),
        (SMALL.replace("return Ablation", "return dict"), "returns no Ablation"),
        ("def get_ablation(:", "cannot read.*SyntaxError"),
        (
            SMALL.replace("recipes.recipe", "recipe.recipe"),
            "NameError",
        ),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path, text, message):
    file = tmp_path / "small.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=message):
        ablation.load(file)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_says_its_claim_and_source_and_its_variants_can_be_made(file):
    found, text = ablation.load(file)
    assert "\nClaim: " in text
    assert "\nSource: " in text
    assert "\nFound: " in text
    for variant in found.variants:
        config = found.config(variant, 0, quick=True)
        build.make_model(config, 10)
        build.make_loss(config)
        build_data.make_augment(config)
        build.make_plan(config, 1437)
        build.make_optimizer(config, total_steps=10, steps_per_epoch=Fraction(10))


def test_the_table_in_the_docs_is_that_of_the_files():
    table = (ROOT / "docs" / "ablations.md").read_text()
    for file in FILES:
        parts = re.split(r"^(?:Claim|Source|Found|Ours): ", ablation.load(file)[1], flags=re.M)
        claim, found = (" ".join(part.split()) for part in (parts[1], parts[3]))
        assert f"| `{file.stem}` | {claim} | {found} |\n" in table


def test_layers_are_listed_from_the_image_to_the_logits():
    """So that the last point of the gradient's curve is the first layer's."""
    model = create_model("highway_fc10", depth=4)
    names = measures._layers(model, jnp.zeros((1, 28, 28, 1)))
    assert names == [
        "stage1/first/kernel",
        *(f"stage1/block{i}/layer/kernel" for i in (1, 2, 3)),
        "classifier/kernel",
    ]
    model = create_model("cifar_resnet20", stage_sizes=(11, 1), shortcut="B")
    names = measures._layers(model, jnp.zeros((1, 16, 16, 1)))
    assert names[0] == "stem/conv/kernel"
    assert names.index("stage1/block2/conv1/kernel") < names.index("stage1/block10/conv1/kernel")
    assert len(names) == 1 + 2 * 12 + 1


def whitened(config):
    config.data.update(image_size=8, preprocess="zca")
    return config, build_data.load_data(config, "train")


def normalised(images, statistics):
    see = jax.vmap(lambda image: normalization.preprocess(image, (0.0,), (1.0,), statistics))
    return see(jnp.asarray(images, jnp.float32) / 255)


def test_gradient_flow_is_of_the_images_as_training_sees_them(tmp_path):
    config, source = whitened(recipes.recipe("highway_fc10"))
    config.model.overrides.depth = 2
    batch = train_batch(source, batch_size=config.train.batch_size, seed=config.seed, step=0)
    images = normalised(batch["image"], normalization.measure(source, "zca"))
    model = build.make_model(config, source.num_classes)
    variables = jax.jit(model.init)(jax.random.key(config.seed), images)

    def loss(params):
        logits, _ = model.apply({**variables, "params": params}, images, train=True, mutable=True)
        return cross_entropy(logits, batch["label"]).mean()

    grads = jax.jit(jax.grad(loss))(variables["params"])
    found = measures.gradient_flow(config, tmp_path)
    wanted = (grads["classifier"]["kernel"], grads["stage1"]["first"]["kernel"])
    norms = [float(jnp.linalg.norm(kernel)) for kernel in wanted]
    assert [found[0][1], found[-1][1]] == pytest.approx(norms, rel=1e-4)


def test_lesions_are_of_the_images_as_the_run_saw_them(tmp_path, monkeypatch):
    config, source = whitened(recipes.recipe("cifar_resnet20"))
    config.model.overrides.update(stage_sizes=(1,), width=4)
    workdir.keep_statistics(tmp_path, config, source, lambda text: None)
    model = build.make_model(config, 10)
    variables = weights.filled(
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    )
    monkeypatch.setattr(init_from, "read", lambda path: init_from.InitialWeights("it", variables))
    monkeypatch.setattr(measures, "LESIONS", 1)
    test = build_data.load_data(config, "test")
    logits = model.apply(variables, normalised(test.images, normalization.measure(source, "zca")))
    wrong = np.mean(np.argmax(logits, -1) != test.labels)
    assert measures.lesion(config, tmp_path)[0] == (0.0, pytest.approx(wrong))


# Runs -------------------------------------------------------------------------------------------


def finish(plan, task, out, value, seconds=60.0):
    """Leaves what a run leaves."""
    record = {"value": value, "curve": [[1, value]], "seconds": seconds}
    record["config"] = config_dict.to_saved(plan.config(*task, quick=True))
    file = task.directory(out) / runs.RESULT
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record))


def test_progress_says_which_of_how_many_and_how_long(tmp_path, capsys, monkeypatch):
    plan = two()
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    every = runs.tasks(plan, 2)
    finish(plan, every[0], tmp_path, 0.5)
    shown = progress.Progress(plan, every, tmp_path, quick=True)
    shown.update(["a"])
    assert capsys.readouterr().out == ""
    every[1].directory(tmp_path).mkdir()
    (every[1].directory(tmp_path) / "run.txt").write_text("steps 130\nstep 13/130  epoch 1  …")
    clock[0] = 131.0
    shown.update(["a"])
    assert capsys.readouterr().out == "2 of 4: a, seed 1, step 13/130, 0 s\n"
    clock[0] = 160.0
    finish(plan, every[1], tmp_path, 0.75)
    shown.update(["b"])
    assert (
        capsys.readouterr().out == "2 of 4: a, seed 1: test/top1 0.7500 (1:00), about 2:00 left\n"
    )
    clock[0] = 191.0
    shown.update(["b"])
    assert capsys.readouterr().out == "3 of 4: b, seed 0, 0 s, about 3:02 left\n"


def test_a_second_runner_is_refused_and_the_runs_of_others_are_left_to_them(tmp_path, monkeypatch):
    again = pytest.raises(UserError, match=r"in use by process .* another --out")
    with runs.held(tmp_path), again, runs.held(tmp_path):
        pass

    def train_nothing(config, directory, make_programs):
        (directory / "metrics.jsonl").write_text('{"step": 1, "epoch": 1.0, "test/top1": 0.5}\n')

    monkeypatch.setattr(train, "run", train_nothing)
    plan, said = two(), []
    first, second = runs.tasks(plan, 1)
    with workdir.locked(first.directory(tmp_path)), pytest.raises(UserError, match="in use") as no:
        runs.run(plan, [first, second], tmp_path, quick=True, say=said.append)
    assert no.value.exit_code == 73
    assert runs.finished(plan, first, tmp_path, quick=True) is None
    assert runs.finished(plan, second, tmp_path, quick=True).value == 0.5
    assert said[0].startswith("2 of 2: b, seed 0: test/top1 0.5000 (")


@pytest.mark.parametrize("text", ["{", "5", '{"value": 1}', '{"value": "x", "curve": 3}', "\udcff"])
def test_a_damaged_result_is_named(tmp_path, text):
    file = runs.Task("a", 0).directory(tmp_path) / runs.RESULT
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"result.json is damaged"):
        runs.finished(two(), runs.Task("a", 0), tmp_path, quick=True)


def command(*arguments):
    return [sys.executable, "-m", "jaxcnn.ablate", *map(str, arguments)]


def ablate(*arguments, cwd=None):
    return subprocess.run(
        command(*arguments), cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )


def wait_for(file):
    begun = time.monotonic()
    while not file.exists():
        assert time.monotonic() - begun < 200
        time.sleep(0.05)


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.py"
    file.write_text(SMALL)
    return file


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What comes out where nothing is interrupted, two runs at a time.

    Of a file of one's own and in its own directory.
    """
    directory = tmp_path_factory.mktemp("whole")
    (directory / "small.py").write_text(SMALL)
    done = ablate("small.py", "--quick", "--seeds=1", "--jobs=2", cwd=directory)
    assert done.returncode == 0, done.stderr
    return directory / "runs/ablations/small-quick"


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_ablation_goes_on_without_repeating_runs(small, whole, tmp_path, how):
    broken = tmp_path / "broken"
    flags = ("--quick", "--seeds=1")
    child = subprocess.Popen(
        command(small, *flags, f"--out={broken}"), stderr=subprocess.PIPE, text=True
    )
    first = broken / "fast" / "seed0" / runs.RESULT
    wait_for(first)
    child.send_signal(how)
    said = child.communicate()[1]
    if how == signal.SIGKILL:
        assert child.returncode == -9
    else:
        assert child.returncode == 128 + how
        assert f"stopped by {how.name}" in said
        assert "1 of 2 runs are done" in said
        assert len(said.splitlines()) == 1
    assert not (broken / "results.csv").exists()
    written = first.stat().st_mtime_ns

    assert ablate(small, *flags, f"--out={broken}").returncode == 0
    assert first.stat().st_mtime_ns == written
    for name in ("results.csv", "curves.csv"):
        assert (broken / name).read_text() == (whole / name).read_text()


@pytest.mark.exhaustive
def test_a_run_by_its_number_comes_to_the_same(small, whole, tmp_path):
    """As the jobs of a cluster do it."""
    out = f"--out={tmp_path / 'out'}"
    assert ablate(small, "--quick", "--seeds=1", out, "--task=1").returncode == 0
    listed = ablate(small, "--quick", "--seeds=1", out, "--list").stdout.splitlines()
    assert listed == ["0 fast, seed 0", "1 slow, seed 0: done"]
    assert "the runs are 0 to 1" in ablate(small, "--seeds=1", out, "--task=2").stderr

    place = Path("slow", "seed0", runs.RESULT)
    record = json.loads((tmp_path / "out" / place).read_text())
    assert record["value"] == record["curve"][-1][1]
    assert record["curve"] == json.loads((whole / place).read_text())["curve"]
    small.write_text(SMALL.replace("0.001", "0.002"))
    refused = ablate(small, "--quick", "--seeds=1", out)
    assert refused.returncode == 2
    assert "learning_rate" in refused.stderr
    assert "--out" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_list_may_be_read_in_part(small):
    """As `head` does, which closes the pipe."""
    command = [sys.executable, str(ROOT / "launch" / "ablate.py"), str(small), "--list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 128 + signal.SIGPIPE  # as the shell's own tools end


def test_what_cannot_be_done_is_one_line(small, tmp_path):
    (tmp_path / "file").touch()
    for arguments, code, text in (
        ((small, f"--out={tmp_path / 'file'}"), 73, "--out="),
        ((small, "--seeds=0"), 2, "--seeds=0"),
        ((small, "--variant=fats", f"--out={tmp_path / 'out'}"), 2, "fast"),
    ):
        done = ablate(*arguments)
        assert done.returncode == code
        assert text in done.stderr
        assert len(done.stderr.splitlines()) == 1

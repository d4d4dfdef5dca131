"""Ablations: what a file says, what runs do when they are interrupted, what the report computes."""

import csv
import functools
import json
import math
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ablate as command_line
from jaxcnn import ablation, create_model
from jaxcnn.ablation import (
    Ablation,
    Claim,
    Sizes,
    evidence,
    figure,
    measures,
    processes,
    progress,
    report,
    robustness,
    runs,
    sizes,
    statistics,
    trained,
)
from jaxcnn.ablation.task import Result, Task, all_tasks, to_record
from jaxcnn.config import build, build_data, config_dict, recipes
from jaxcnn.data import normalization
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import DivergedError, UserError
from jaxcnn.run import workdir
from jaxcnn.run.checkpoint import init_from
from jaxcnn.training import train
from jaxcnn.training.losses import cross_entropy
from tests.interop import small as weights

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs" / "ablations").glob("*.py"))

SMALL = '''"""Two rates.

Claim: none.
"""

from jaxcnn.config import recipes
from jaxcnn.ablation import Ablation, Claim


def get_ablation():
    config = recipes.recipe("lenet5_modern")
    config.train.length = "1epochs"
    return Ablation(
        base=config,
        variants={"fast": {}, "slow": {"schedule.learning_rate": 0.001}},
    )
'''


def result(variant, seed, *values):
    return Result(Task(variant, seed), values[-1], list(enumerate(values, 1)))


def two(**fields):
    variants = {"a": {}, "b": {"seed": 1}}
    return Ablation(**{"base": recipes.recipe("lenet5_modern"), "variants": variants, **fields})


# Statistics -------------------------------------------------------------------------------------


def values(**variants):
    """Of each variant the values of seeds 0, 1 and so on."""
    return {name: dict(enumerate(found)) for name, found in variants.items()}


def verdict(relation, first, second, margin=None, others=(), **fields):
    """The verdict about two variants, beside further claims of the same page."""
    plan = two(claims=[Claim("a", relation, "b", margin), *others], **fields)
    return statistics.judge(plan, values(a=first, b=second))[0]


def test_interval_is_students():
    """Of 1, 2, 4: mean 7/3, standard error sqrt(7/3/3), t(2) = 4.302653."""
    found = statistics.interval([1.0, 2.0, 4.0])
    half = 4.302653 * (7 / 9) ** 0.5
    assert found == pytest.approx((7 / 3, 7 / 3 - half, 7 / 3 + half), rel=1e-6)
    assert str(statistics.interval([0.5])) == "0.5000"
    assert str(statistics.interval([0.5, float("nan"), 0.1])) == "not finite"


def test_what_ranges_over_decades_has_a_geometric_mean():
    """Of 1, 10, 100: mean 10; the standard error of the logarithms is ln(10) / sqrt(3)."""
    found = statistics.interval([1.0, 10.0, 100.0], log=True)
    assert found.mean == pytest.approx(10)
    assert found.high == pytest.approx(10 * 10 ** (4.302653 / 3**0.5), rel=1e-5)
    assert 0 < found.low < found.mean
    assert two(metric="train/loss").logarithmic
    assert not two().logarithmic


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ((0.01111, -0.049, 0.071), "0.011 (-0.049 to 0.071)"),
        ((0.97, 0.8705, 1.0695), "0.970 (0.871 to 1.069)"),
        ((402.2, -78.2, 882.6), "402 (-78 to 883)"),
        ((4e-8, -4e-8, 12e-8), "4e-08 (-4e-08 to 1.2e-07)"),
        ((0.936, 0.936, 0.936), "0.9360 (0.9360 to 0.9360)"),
    ],
)
def test_a_value_and_its_interval_have_the_same_digits(found, shown):
    assert str(statistics.Interval(*found)) == shown


@pytest.mark.slow
def test_intervals_end_where_the_metric_does():
    whole = statistics.Interval(0.975, 0.933, 1.017)
    assert str(whole.cut(two().bounds)) == "0.975 (0.933 to 1.000)"
    assert two(metric="test/top5_ema").bounds == (0, 1)
    for file in FILES:  # what the files measure has limits, all of it
        assert ablation.load(file)[0].bounds[0] in (0, -1)


SEEDS = np.array([0.50, 0.52, 0.49, 0.51, 0.50, 0.53])
NOISE = np.array([0.002, -0.001, 0.001, -0.002, 0.0, 0.001])


@pytest.mark.parametrize(
    ("relation", "gain", "expected"),
    [
        (">", 0.05, "agrees"),
        ("<", 0.05, "contradicts"),
        ("<", -0.05, "agrees"),
        (">", 0.0, "equivalent within 0.01"),
        ("~", 0.001, "agrees: equivalent within 0.01"),
        ("~", 0.05, "contradicts"),
        (">=", 0.05, "agrees"),
        (">=", -0.004, "agrees"),
        (">=", -0.05, "contradicts"),
        ("<=", -0.05, "agrees"),
        (">", 0.004, "agrees, by less than 0.01"),
        ("<=", 0.05, "contradicts"),
    ],
)
def test_a_verdict_follows_the_rule(relation, gain, expected):
    """Runs of one seed are compared, so what they share does not hide a difference."""
    assert verdict(relation, SEEDS + gain + NOISE, SEEDS).verdict == expected


def test_what_could_not_be_seen_says_what_could():
    """As in power tables: with 6 differences of standard deviation s at 5 % and 80 % the effect is
    (2.571 + 0.920) s / sqrt(6), with s at the upper end of its interval, sqrt(5 / 2.343) times."""
    noise = NOISE * 30
    found = verdict(">", SEEDS + 0.02 + noise, SEEDS)
    effect = (2.5706 + 0.9195) * np.std(noise, ddof=1) * (5 / 2.3425) ** 0.5 / 6**0.5
    assert found.detectable == pytest.approx(effect, rel=1e-3)
    assert found.verdict == f"could not be seen ({effect:.2g} would have been)"
    assert not found.answered
    assert found.seeds > 6
    few = verdict(">", [0.2, 0.9], [0.5, 0.4]).verdict
    assert few == "could not be seen (nothing would have been)"
    wide = verdict(">", np.exp(10 * noise), 1 + 0 * SEEDS, metric="train/loss").verdict
    assert wide == "could not be seen (a factor of 2.51 would have been)"


@pytest.mark.parametrize(("relation", "tails"), [(">=", 2.0150 + 0.9195), ("~", 2.0150 + 1.4759)])
def test_equality_that_could_not_be_seen_says_within_which_margin_it_could(relation, tails):
    """Equal variants are found equal with 80 %: by one test, or by both of two with 90 % each."""
    noise = NOISE * 30
    margin = tails * np.std(noise, ddof=1) * (5 / 2.3425) ** 0.5 / 6**0.5
    found = verdict(relation, SEEDS + noise, SEEDS)
    assert found.detectable == pytest.approx(margin, rel=1e-3)
    assert found.verdict == f"could not be seen (within {margin:.2g} would have been)"
    assert found.seeds == 0
    assert verdict(relation, SEEDS + noise, SEEDS, margin=2 * margin).verdict.startswith("agrees")
    ratios = verdict(relation, np.exp(10 * noise), 1 + 0 * SEEDS, metric="train/loss").verdict
    assert ratios.startswith("could not be seen (within a factor of ")
    if relation == ">=":  # not for want of power: the difference is the margin
        near = verdict(relation, SEEDS - 0.01 + NOISE, SEEDS)
        assert near.verdict == "could not be seen (the difference is near the margin)"
    lost = verdict(relation, [*SEEDS[:5] + noise[:5], float("nan")], SEEDS).verdict
    assert lost == "could not be seen (nothing would have been); lost: 1 of 6 runs of a"


def test_more_claims_need_clearer_differences():
    """The rule of Holm: the clearest counts at 5 % of all, the next at 5 % of the rest."""
    assert statistics._holm([0.01]) == [0.05]
    assert statistics._holm([0.02, 0.04]) == [0.025, 0.05]
    assert statistics._holm([0.04, 0.03]) == [0.0, 0.0]
    assert statistics._holm([0.3, 0.001, 0.02]) == [0.0, 0.05 / 3, 0.05 / 2]
    first = SEEDS + 0.006 + 3 * NOISE
    alone = verdict(">", first, SEEDS, margin=0.001)
    assert alone.verdict == "agrees"
    more = [Claim("a", ">", "b", 0.001)] * 20
    assert verdict(">", first, SEEDS, 0.001, more).verdict.startswith("could not be seen")


def test_runs_that_are_lost_count_as_the_worst():
    """Five of five against none have p = 0.008 by Fisher's test, three against none 0.1."""
    nan, good = [float("nan")] * 5, [1.0, 2.0, 1.5, 1.2, 1.1]
    loss = {"metric": "train/loss"}
    lost = "; lost: 5 of 5 runs of b"
    assert verdict("<", good, nan, **loss).verdict == f"agrees{lost}"
    assert verdict(">", good, nan, **loss).verdict == f"contradicts{lost}"
    assert verdict(">", good, nan).verdict == f"agrees{lost}", "of a share the larger is better"
    assert verdict("<", good[:3], nan[:3], **loss).verdict.startswith("could not be seen")
    assert verdict("<", nan, nan, **loss).verdict.startswith("could not be seen")
    assert verdict("~", good, nan, **loss).verdict.startswith("could not be seen")


def test_what_is_left_of_a_variant_that_diverges_is_not_praised():
    loss = {"metric": "train/loss"}
    left, whole = [1.0, 1.02, 1.01, *[float("inf")] * 2], [1.5, 1.52, 1.5, 1.51, 1.5]
    assert verdict("<", left, whole, **loss).verdict.startswith("could not be seen")
    worse = [one * 2 for one in left]
    found = verdict("<", worse, whole, **loss).verdict
    assert found == "contradicts; lost: 2 of 5 runs of a"


def test_a_norm_of_zero_is_the_least():
    norms = {"metric": "gradient norm", "limits": (0, float("inf"))}
    assert verdict("<", [0.0, 0.0, 0.0], [1e-6, 3e-6, 2e-6], **norms).verdict == "agrees"


# Reports ----------------------------------------------------------------------------------------


SIZES = {"a": sizes.Size(1000, 2_000_000), "b": sizes.Size(1100, 2_500_000)}


def left_by(results, of=SIZES):
    return evidence.Evidence(results, of)


def test_tables_compare_seed_by_seed(tmp_path):
    results = [result("b", 0, 0.3, 0.5), result("b", 1, 0.3, 0.75), result("a", 1, 0.9, 0.5)]
    results += [result("a", 0, 0.9, 0.25)]
    plan = two(claims=[Claim("b", ">", "a")])
    report.write(plan, "Title.\n\nClaim: none.", left_by(results), tmp_path, "python -m x")
    page = (tmp_path / "results.md").read_text()
    assert "| b > a | +0.2500 (0.2500 to 0.2500) | agrees |" in page
    assert "| a | 1,000 | 2,000,000 | 2 | 0.38 (0.00 to 1.00) |" in page
    assert page.startswith("# Title\n\n**Claim.** None.\n")
    rows = list(csv.reader((tmp_path / "results.csv").open()))
    assert [row[:3] for row in rows[1:]] == [
        *(["b", "0", "0.5"], ["b", "1", "0.75"], ["a", "1", "0.5"], ["a", "0", "0.25"])
    ]


def test_pages_are_made_of_what_was_saved(tmp_path):
    results = [
        Result(Task("a", 0), 0.5, [(1.0, 0.5)], 3.0, {}, 12.5, float("inf"), "2 cores"),
        Result(Task("b", 0), float("nan"), [(1.0, float("nan"))]),
    ]
    plan = two()
    evidence.save(tmp_path / "runs.jsonl", plan, left_by(results))
    again = evidence.read(tmp_path / "runs.jsonl", plan)
    text = "Title.\n\nClaim: none."
    pages = [report.page(plan, text, one, "f.svg", "c") for one in (again, left_by(results))]
    assert pages[0] == pages[1]
    assert "| 12.5 | more |" in pages[0]
    assert "2 runs (8 of 10 are missing) of 2 s on average; 2 cores." in pages[0]
    measured = two(measure=functools.partial(robustness.lesion, most=1))
    for other in (two(metric="test/loss"), two(variants={"a": {}, "b": {"seed": 2}}), measured):
        with pytest.raises(UserError, match="other variants or another metric"):
            evidence.read(tmp_path / "runs.jsonl", other)
    base = recipes.recipe("lenet5_modern")
    base.optimizer.momentum = 0.5
    with pytest.raises(UserError, match="momentum"):
        evidence.read(tmp_path / "runs.jsonl", two(base=base))
    (tmp_path / "runs.jsonl").write_text("{}\n5")
    with pytest.raises(UserError, match="is damaged"):
        evidence.read(tmp_path / "runs.jsonl", plan)


def test_a_statement_says_what_is_tested():
    """Also of what is better when it is small."""
    said = {
        (relation, metric): report.statement(
            plan, statistics.Finding(plan.claims[0], report._NOTHING, "")
        )
        for relation in (">", ">=", "<=", "~")
        for metric in ("test/top1", "train/loss")
        for plan in [two(claims=[Claim("a", relation, "b")], metric=metric)]
    }
    assert said[">", "test/top1"] == "a > b"
    assert said[">=", "test/top1"] == "a >= b - 0.01"
    assert said["<=", "test/top1"] == "a <= b + 0.01"
    assert said["<=", "train/loss"] == "a <= 1.25 x b"
    assert said["~", "train/loss"] == "a = b, within 1.25"


def test_a_run_that_skips_steps_at_its_end_has_diverged():
    assert not runs.skips_at_end([{"train/skipped": 3}, {"train/skipped": 0}, {"step": 1}])
    assert runs.skips_at_end([{"train/skipped": 0}, {"train/skipped": 1}])
    assert not runs.skips_at_end([])


@pytest.fixture
def trainings(monkeypatch):
    """The workdirs that are trained, by nothing."""
    found = []

    def run(config, directory, **given):
        directory.mkdir(parents=True, exist_ok=True)
        found.append(directory)

    monkeypatch.setattr(train, "run", run)
    return found


def test_one_training_is_measured_for_all_variants_that_are_equal(trainings, tmp_path):
    """And again only for a result that is missing."""
    seen = []

    def measure(config, directory, value):
        seen.append((directory, value))
        return [(0.0, value)]

    values = {"a": 1.0, "b": 2.0, "c": 3.0}
    plan = two(
        variants={"a": {}, "b": {}, "c": {"schedule.learning_rate": 0.1}},
        measure={name: partial(measure, value=value) for name, value in values.items()},
    )
    assert plan.same_training("b") == ["a", "b"]
    every = all_tasks(plan, 2)
    runs.run(plan, every, tmp_path, say=print)
    assert [f"{one.parent.name} {one.name}" for one in trainings] == [
        f"{name} seed{seed}" for name in "ac" for seed in (0, 1)
    ]
    assert {one.parent.name for one, value in seen if value == 2} == {"a"}
    assert [runs.finished(plan, task, tmp_path).value for task in every] == [1, 1, 2, 2, 3, 3]
    (tmp_path / "b" / "seed1" / runs.RESULT).unlink()
    runs.run(plan, every, tmp_path, say=print)
    assert trainings[4:] == [tmp_path / "b" / "seed1"]
    assert runs.finished(plan, every[3], tmp_path).value == 2


def test_variants_without_measures_of_their_own_are_trained_each():
    plan = two(variants={"a": {}, "b": {}}, measure=lambda config, directory: [])
    assert plan.same_training("b") == ["b"]


@pytest.mark.parametrize("measured", [False, True])
def test_a_training_that_was_stopped_as_it_diverged_is_a_result(measured, tmp_path, monkeypatch):
    def run(config, directory, **given):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "metrics.jsonl").write_text('{"step": 1, "epoch": 1.0, "train/loss": 9.0}\n')
        raise DivergedError("not finite")

    monkeypatch.setattr(train, "run", run)
    measure = {"measure": lambda config, directory: [(0.0, 1.0)]} if measured else {}
    plan = two(metric="train/loss", **measure)
    (task, *_) = all_tasks(plan, 1)
    runs.run(plan, [task], tmp_path, say=print)
    found = runs.finished(plan, task, tmp_path)
    assert math.isnan(found.value)
    if not measured:
        assert found.curve == [(1.0, 9.0)]
    assert "not finite" in (task.directory(tmp_path) / "run.txt").read_text()


def test_names_of_variants_are_cells():
    names = "a|b", "c\nd"
    plan = two(variants={name: {} for name in names})
    of = dict.fromkeys(names, sizes.Size(1, 1))
    found = left_by([result(name, 0, 0.5) for name in names], of)
    assert report.table(plan, found).splitlines()[2].startswith("| a\\|b |")
    assert report.verdicts(plan, found).splitlines()[2] == "| c\\\\nd and a\\|b | +0.0000 |  |"


@pytest.mark.slow
def test_figure_of_the_same_numbers_is_the_same_file(tmp_path):
    """And names what was compared and by what; dollar signs start no formula."""
    results = [result(name, seed, 0.3, seed / 2) for name in ("a $x_1$", "b") for seed in (0, 1)]
    plan = two(variants={"a $x_1$": {}, "b": {}})
    files = [tmp_path / "figure.png", tmp_path / "figure.svg"]
    figure.draw(plan, "Two for $5.\n\nClaim: none.", left_by(results), files)
    assert files[0].read_bytes()[:4] == b"\x89PNG"
    first = files[1].read_text()
    for title in ("Two for $5", "a $x_1$", "test accuracy", "at the end, 95 % interval"):
        assert f"<!-- {title} -->" in first
    figure.draw(plan, "Two for $5.", left_by(results), files)
    assert files[1].read_text() == first


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense_growth", "kernel_factorisation", "width_or_depth"])
def test_what_a_claim_calls_equal_or_smaller_is_so(name):
    plan, _ = ablation.load(ROOT / "configs" / "ablations" / f"{name}.py")
    sizes.check(plan, sizes.measure(plan))


@pytest.mark.exhaustive
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_compares_what_it_says(file):
    plan, _ = ablation.load(file)
    sizes.check(plan, sizes.measure(plan))


# Files ------------------------------------------------------------------------------------------


def test_a_field_that_does_not_exist_is_named():
    with pytest.raises(UserError, match=r"train.lenght.*length"):
        two(variants={"a": {"train.lenght": "1epochs"}}).config("a", 0)
    with pytest.raises(UserError, match="optimizer"):
        two().config("a", 0, {"optimiser.momentum": 0.5})


def test_other_data_keep_the_size_and_the_number_of_examples():
    plan = ablation.load(ROOT / "configs" / "ablations" / "degradation.py")[0]
    found = plan.on("cifar10").config("plain-20", 3)
    assert (found.dataset, found.data.name, found.data.image_size) == ("cifar10", "cifar10", 16)
    assert (found.data.labelled, found.data.train_crop, found.seed) == (720, "resize", 3)
    assert plan.on("cifar100").config("plain-20", 3).data.labelled == 700
    assert plan.on("folder").config("plain-20", 3).data.labelled == 0
    assert found.log.every == "1epochs"
    with pytest.raises(
        UserError, match="imagenet2012 has 1000 classes and the ablation trains on 720"
    ):
        plan.on("imagenet2012")
    with pytest.raises(UserError, match=r"--data=cifar: did you mean cifar10"):
        plan.on("cifar")


def test_tuning_is_on_images_held_out_of_training_and_chooses_the_best(tmp_path):
    plan = two(
        base=recipes.recipe("lenet5_modern", "glyphs"),
        tune={"schedule.learning_rate": (0.1, 0.2, 0.3)},
    )
    every = all_tasks(plan, 2)
    assert [str(task) for task in every[:4]] == [
        *("a, tuning 0", "a, tuning 1", "a, tuning 2", "a, seed 0")
    ]
    assert [fields["data.holdout"] for fields in plan.tuning()] == [216] * 3
    with pytest.raises(UserError, match="a is not tuned yet"):
        runs.run(plan, every[3:4], tmp_path, say=print)
    for task, value in zip(every, (0.5, float("nan"), 0.7), strict=False):
        finish(plan, task, tmp_path, value, fields=plan.tuning()[task.tuning])
    assert runs.tuned(plan, "a", tmp_path) == {"schedule.learning_rate": 0.3}
    assert runs.tuned(plan, "b", tmp_path) is None
    assert runs.tuned(two(), "a", tmp_path) == {}
    finish(plan, every[3], tmp_path, 0.8, fields={"schedule.learning_rate": 0.3})
    assert runs.finished(plan, every[3], tmp_path).fields == {"schedule.learning_rate": 0.3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no ablation file"),
        ("", "has no get_ablation"),
        (SMALL.replace('"slow"', '"fast"'), "1 variants"),
        (SMALL.replace("base=", 'claims=[Claim("slow", "<", "fats")], base='), "fats.*fast"),
        (SMALL.replace("base=", 'claims=[Claim("slow", "=", "fast")], base='), "a relation is"),
        (SMALL.replace("base=", 'claims=[Claim("slow", "~", "fast", 0)], base='), "more than 0"),
        (SMALL.replace("base=", 'tune={"seed": (1,)}, measure=print, base='), "cannot be tuned"),
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
    assert "\nDesign: " in text
    assert found.claims
    for variant in found.variants:
        config = found.config(variant, 0)
        build.make_model(config, 10)
        build.make_loss(config)
        build_data.make_augment(config)
        build.make_plan(config, 1437)
        build.make_optimizer(config, total_steps=10, steps_per_epoch=Fraction(10))


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


@pytest.mark.slow
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


def test_a_trained_network_is_measured_on_images_as_the_run_saw_them(tmp_path, monkeypatch):
    config, source = whitened(recipes.recipe("cifar_resnet20"))
    config.model.overrides.update(stage_sizes=(1,), width=4)
    workdir.keep_statistics(tmp_path, config, source, lambda text: None)
    model = build.make_model(config, 10)
    variables = weights.filled(
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    )
    monkeypatch.setattr(
        init_from, "read", lambda path, **given: init_from.InitialWeights("it", variables)
    )
    test = build_data.load_data(config, "test")
    seen = normalised(test.images, normalization.measure(source, "zca"))
    run = trained.read(config, tmp_path)
    np.testing.assert_allclose(run.images, seen, rtol=1e-5, atol=1e-5)
    assert np.array_equal(run.labels, test.labels)


# Runs -------------------------------------------------------------------------------------------


def finish(plan, task, out, value, seconds=60.0, fields=None):
    """Leaves what a run leaves."""
    chosen = {} if task.tuning is not None else fields or {}
    record = to_record(Result(task, value, [(1, value)], seconds, chosen))
    record["config"] = config_dict.to_saved(plan.config(task.variant, task.seed, fields))
    file = task.directory(out) / runs.RESULT
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record))


def test_progress_says_which_of_how_many_and_how_long(tmp_path, capsys, monkeypatch):
    plan = two()
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    every = all_tasks(plan, 2)
    finish(plan, every[0], tmp_path, 0.5)
    shown = progress.Progress(plan, every, tmp_path)
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
    first, second = all_tasks(plan, 1)
    with workdir.locked(first.directory(tmp_path)), pytest.raises(UserError, match="in use") as no:
        runs.run(plan, [first, second], tmp_path, say=said.append)
    assert no.value.exit_code == 73
    assert runs.finished(plan, first, tmp_path) is None
    assert runs.finished(plan, second, tmp_path).value == 0.5
    assert said[0].startswith("2 of 2: b, seed 0: test/top1 0.5000 (")


@pytest.mark.parametrize("text", ["{", "5", '{"value": 1}', '{"value": "x", "curve": 3}', "\udcff"])
def test_a_damaged_result_is_named(tmp_path, text):
    file = Task("a", 0).directory(tmp_path) / runs.RESULT
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"result.json is damaged"):
        runs.finished(two(), Task("a", 0), tmp_path)


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
    done = ablate("small.py", "--seeds=1", "--jobs=2", cwd=directory)
    assert done.returncode == 0, done.stderr
    return directory / "runs/ablations/small"


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_ablation_goes_on_without_repeating_runs(small, whole, tmp_path, how):
    broken = tmp_path / "broken"
    flags = ("--seeds=1",)
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
    assert ablate(small, "--seeds=1", out, "--task=1").returncode == 0
    listed = ablate(small, "--seeds=1", out, "--list").stdout.splitlines()
    assert listed == ["0 fast, seed 0", "1 slow, seed 0: done"]
    assert "the runs are 0 to 1" in ablate(small, "--seeds=1", out, "--task=2").stderr

    place = Path("slow", "seed0", runs.RESULT)
    record = json.loads((tmp_path / "out" / place).read_text())
    assert record["value"] == record["curve"][-1][1]
    assert record["curve"] == json.loads((whole / place).read_text())["curve"]
    small.write_text(SMALL.replace("0.001", "0.002"))
    refused = ablate(small, "--seeds=1", out)
    assert refused.returncode == 2
    assert "learning_rate" in refused.stderr
    assert "--out" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_all_files_are_listed_with_their_numbers(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no configs/ablations here: run --all in a clone"):
        command_line.main(command_line.parse(["--all"]))
    folder = tmp_path / "configs" / "ablations"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(SMALL)
    plan, _ = ablation.load(folder / "two.py")
    finish(plan, Task("fast", 0), tmp_path / "runs/ablations/two", 0.5)
    command_line.main(command_line.parse(["--all", "--seeds=1", "--list"]))
    assert capsys.readouterr().out.splitlines() == [
        "0 one: fast, seed 0",
        "1 one: slow, seed 0",
        "2 two: fast, seed 0: done",
        "3 two: slow, seed 0",
    ]
    command_line.main(command_line.parse(["--all", "--seeds=1", "--first-seed=7", "--list"]))
    assert capsys.readouterr().out.splitlines()[-1] == "3 two: slow, seed 7"
    with pytest.raises(UserError, match="--variant is of one file"):
        command_line.main(command_line.parse(["--all", "--variant=fast"]))


def test_no_runs_begin_after_the_time_is_over(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs" / "ablations"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text(SMALL)
    command_line.main(command_line.parse(["--all", "--seeds=1", "--hours=0"]))
    assert "runs left: one (2): the same command continues" in capsys.readouterr().out


def test_jobs_have_cores_of_their_own(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 7}, raising=False)
    assert processes.share_cores(2) == [{0, 1}, {2, 5}]
    assert processes.share_cores(1) == processes.share_cores(6) == []


@pytest.mark.slow
def test_a_list_may_be_read_in_part(small):
    """As `head` does, which closes the pipe."""
    command = [sys.executable, str(ROOT / "launch" / "ablate.py"), str(small), "--list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 128 + signal.SIGPIPE  # as the shell's own tools end


@pytest.mark.slow
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

"""A checkpoint comes back to the bit, or not at all."""

import errno
import logging
import shutil
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxcnn.config import build, config_dict
from jaxcnn.errors import EXIT_BAD_DATA, EXIT_WORKDIR, UserError
from jaxcnn.run.checkpoint import retention
from jaxcnn.run.checkpoint.checkpoints import ALLOWED_FAILURES, Checkpoints

META = {"config": {"seed": 0, "data": {"mean": [0.5]}}, "num_classes": 10, "git": ""}


class Moments(NamedTuple):
    count: Any
    mean: Any


def tree(seed=0):
    """Every kind of node and number that a state has."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**32, size=(64, 33), dtype=np.uint32)  # among them not-a-numbers
    return {
        "step": np.asarray(seed, np.int32),
        "params": {"stem": {"kernel": bits.view(np.float32), "bias": np.float32([0.0, -0.0])}},
        "opt_state": (Moments(np.asarray(3, np.int32), {"w": rng.normal(size=(2, 3))}), (), None),
        "ema": None,
        "half": rng.normal(size=5).astype(jnp.bfloat16),
        "rng": np.uint32([1, 2]),
    }


def form(values):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), values)


def assert_same(here, there):
    assert jax.tree.structure(here) == jax.tree.structure(there)
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        assert isinstance(a, np.ndarray)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


@pytest.fixture
def open_checkpoints(tmp_path):
    """Opens the checkpoints of one directory; called again, as the next process would."""
    opened = []

    def open_(**options):
        for checkpoints in opened:
            checkpoints.close()
        opened.clear()
        opened.append(Checkpoints(tmp_path / "checkpoints", **options))
        return opened[0]

    yield open_
    for checkpoints in opened:
        checkpoints.close()


def save_steps(checkpoints, steps):
    for step in steps:
        checkpoints.save(step, tree(step), META)
    checkpoints.wait()


def steps_on_disk(directory):
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


# What is saved comes back -----------------------------------------------------------------------


@pytest.mark.parametrize("template", [tree(9), form(tree(9))], ids=["arrays", "shapes"])
def test_a_state_comes_back_to_the_bit(open_checkpoints, template):
    save_steps(open_checkpoints(), [5])
    found = open_checkpoints().restore(template)
    assert found.step == 5
    assert found.meta == META
    assert_same(found.state, tree(5))


def test_the_newest_step_is_restored_unless_another_is_asked_for(open_checkpoints):
    save_steps(open_checkpoints(keep_latest=3), [1, 2, 10])
    checkpoints = open_checkpoints(keep_latest=3)
    assert checkpoints.latest() == 10
    assert checkpoints.restore(form(tree())).step == 10
    assert_same(checkpoints.restore(form(tree()), choice=2).state, tree(2))
    with pytest.raises(UserError, match=r"no checkpoint of step 7 .*\[1, 2, 10\]"):
        checkpoints.restore(form(tree()), choice=7)


def test_an_empty_directory_has_none(open_checkpoints):
    checkpoints = open_checkpoints()
    assert checkpoints.latest() is None
    assert checkpoints.best() is None
    assert checkpoints.restore(form(tree())) is None


def test_the_caller_s_arrays_may_change_after_save(open_checkpoints):
    checkpoints, state = open_checkpoints(), tree(1)
    checkpoints.save(1, state, META)
    state["params"]["stem"]["kernel"][:] = 0
    checkpoints.wait()
    assert_same(open_checkpoints().restore(form(tree())).state, tree(1))


def test_a_refusal_of_the_meta_data_is_passed_on_and_harms_nothing(open_checkpoints, tmp_path):
    save_steps(open_checkpoints(keep_latest=2), [1, 2])

    def refuse(meta):
        raise UserError(f"{meta['num_classes']} classes")

    with pytest.raises(UserError, match="10 classes"):
        open_checkpoints(keep_latest=2).restore(form(tree()), refuse)
    assert steps_on_disk(tmp_path / "checkpoints") == [1, 2]


@pytest.mark.slow
def test_a_plateau_goes_on_where_it_was(open_checkpoints):
    config = config_dict.base_config()
    config.schedule.update(name="plateau", learning_rate=1.0, patience=2)
    optimizer = build.make_optimizer(config, total_steps=9, steps_per_epoch=Fraction(1))
    state = jax.tree.map(np.asarray, optimizer.init({"w": np.zeros(2, np.float32)}))
    rates = []
    for step, value in enumerate([0.5, 0.5, 0.5, 0.5, 0.5], 1):  # drops at the third and fifth
        plateau = jax.tree.map(np.asarray, optimizer.observe(state["plateau"], value))
        checkpoints = open_checkpoints()
        checkpoints.save(step, {**state, "plateau": plateau}, META)
        checkpoints.wait()
        state = open_checkpoints().restore(form(state)).state
        rates.append(float(optimizer.rate(step, state)))
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


# What is kept -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep_latest", "keep_best", "kept"),
    [(1, 0, [5]), (2, 0, [4, 5]), (1, 1, [2, 5]), (2, 1, [2, 4, 5]), (1, 2, [2, 4, 5])],
)
def test_latest_and_best_are_kept(open_checkpoints, tmp_path, keep_latest, keep_best, kept):
    checkpoints = open_checkpoints(keep_latest=keep_latest, keep_best=keep_best)
    for step, top1 in [(1, 0.5), (2, 0.9), (3, None), (4, 0.7), (5, 0.6)]:
        checkpoints.save(step, tree(step), META, None if top1 is None else {"top1": top1})
    checkpoints.wait()
    assert steps_on_disk(tmp_path / "checkpoints") == kept


def test_the_best_is_the_highest_and_the_newest_of_equals(open_checkpoints):
    checkpoints = open_checkpoints(keep_latest=9, metric="top5")
    for step, metrics in [(1, {"top5": 0.8}), (2, {"top5": 0.9}), (3, {"top5": 0.9}), (4, None)]:
        checkpoints.save(step, tree(step), META, metrics)
    checkpoints.wait()
    assert (checkpoints.best(), checkpoints.best_value()) == (3, 0.9)
    for read_only in (False, True):
        reopened = open_checkpoints(keep_latest=9, metric="top5", read_only=read_only)
        assert (reopened.best(), reopened.best_value()) == (3, 0.9)


def test_the_best_of_an_earlier_process_is_kept(open_checkpoints, tmp_path):
    for step, top1 in [(1, 0.5), (2, 0.9), (3, 0.7), (4, 0.6)]:
        checkpoints = open_checkpoints(keep_latest=1, keep_best=1)
        checkpoints.save(step, tree(step), META, {"top1": top1})
        checkpoints.wait()
    assert steps_on_disk(tmp_path / "checkpoints") == [2, 4]


def test_chosen_steps_are_kept_whatever_a_later_process_is_told(open_checkpoints, tmp_path):
    for first, last in [(1, 4), (5, 7)]:  # of two processes
        checkpoints = open_checkpoints(keep_latest=1, keep_best=0)
        for step in range(first, last + 1):
            checkpoints.save(
                step, tree(step), META | {retention.KEPT: True} if step in (2, 6) else META
            )
        checkpoints.wait()
    assert steps_on_disk(tmp_path / "checkpoints") == [2, 6, 7]


def test_a_run_may_go_on_with_another_metric(open_checkpoints, tmp_path):
    checkpoints = open_checkpoints(keep_latest=2, metric="top1")
    checkpoints.save(1, tree(1), META, {"top1": 0.9})
    checkpoints.wait()
    checkpoints = open_checkpoints(keep_latest=1, metric="top5")
    for step, top5 in [(2, 0.9), (3, 0.8)]:
        checkpoints.save(step, tree(step), META, {"top5": top5}, final=True)
    assert checkpoints.best() == 2
    assert steps_on_disk(tmp_path / "checkpoints") == [2, 3]


def test_without_a_measured_step_there_is_no_best(open_checkpoints):
    checkpoints = open_checkpoints()
    save_steps(checkpoints, [1])
    assert (checkpoints.best(), checkpoints.best_value()) == (None, -np.inf)


def test_leftovers_of_a_killed_run_are_removed(open_checkpoints, tmp_path):
    save_steps(open_checkpoints(), [1])
    directory = tmp_path / "checkpoints"
    shutil.copytree(directory / "1", directory / "2.orbax-checkpoint-tmp")
    checkpoints = open_checkpoints()
    assert not list(directory.glob("*tmp*"))
    assert checkpoints.latest() == 1
    save_steps(checkpoints, [2])
    assert steps_on_disk(directory) == [2]
    assert not list(directory.glob("*tmp*"))
    assert not (directory / "trash").exists()


def test_saving_a_step_twice_keeps_it(open_checkpoints):
    checkpoints = open_checkpoints()
    checkpoints.save(1, tree(1), META)
    checkpoints.save(1, tree(1), META, final=True)
    assert_same(open_checkpoints().restore(form(tree())).state, tree(1))


# Damage -----------------------------------------------------------------------------------------


def largest_file(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def flip_a_bit(folder):
    path = largest_file(folder / "state")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def truncate(folder):
    path = largest_file(folder / "state")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(name):
    return lambda folder: shutil.rmtree(folder / name)


def empty(name):
    def damage(folder):
        assert (folder / name).stat().st_size > 0
        (folder / name).write_bytes(b"")

    return damage


DAMAGES = {
    "bit": (flip_a_bit, "bits of state/"),
    "truncated": (truncate, ""),
    "no state": (remove("state"), "state"),
    "no digests": (remove("digests"), "digests"),
    "no meta": (remove("meta"), "meta"),
    "empty digests": (empty("digests/metadata"), "JSON"),
    "empty meta": (empty("meta/metadata"), "JSON"),
    "empty index": (empty("state/_METADATA"), "JSON"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_step_is_set_aside_and_the_one_before_it_used(
    open_checkpoints, tmp_path, caplog, damage, reason
):
    directory = tmp_path / "checkpoints"
    save_steps(open_checkpoints(keep_latest=3), [10, 20, 30])
    damage(directory / "30")
    checkpoints = open_checkpoints(keep_latest=3)
    with caplog.at_level(logging.WARNING, "jaxcnn"):
        found = checkpoints.restore(form(tree()))
    assert found.step == 20
    assert_same(found.state, tree(20))
    assert (directory / "30.corrupt").is_dir()
    assert steps_on_disk(directory) == [10, 20]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "jaxcnn"]
    assert f"{directory}/30" in line
    assert "30.corrupt" in line
    assert reason in line
    assert len(line.rpartition("used: ")[2]) > 10, "the line must say why"

    save_steps(checkpoints, [25, 30])  # Orbax declines a step below one that it remembers
    reopened = open_checkpoints(keep_latest=3)
    assert reopened.latest() == 30
    assert_same(reopened.restore(form(tree())).state, tree(30))
    assert steps_on_disk(directory) == [20, 25, 30]


def test_a_step_that_is_damaged_twice_gets_another_name(open_checkpoints, tmp_path):
    for _ in range(2):
        checkpoints = open_checkpoints(keep_latest=2)
        save_steps(checkpoints, [1, 2])
        flip_a_bit(tmp_path / "checkpoints" / "2")
        assert open_checkpoints(keep_latest=2).restore(form(tree())).step == 1
    names = {path.name for path in (tmp_path / "checkpoints").glob("2.*")}
    assert names == {"2.corrupt", "2.corrupt2"}


def test_when_all_are_damaged_no_run_begins_again_in_silence(open_checkpoints, tmp_path):
    save_steps(open_checkpoints(keep_latest=2), [1, 2])
    for step in ("1", "2"):
        flip_a_bit(tmp_path / "checkpoints" / step)
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"no intact checkpoint.*1\.corrupt, 2\.corrupt"
        ) as info:
            open_checkpoints().restore(form(tree()))
        assert info.value.exit_code == EXIT_BAD_DATA


def snapshot(directory):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [directory, *directory.rglob("*")]
    }


def test_reading_only_changes_nothing_on_the_disk(open_checkpoints, tmp_path, caplog):
    directory = tmp_path / "checkpoints"
    save_steps(open_checkpoints(keep_latest=2), [1, 2])
    open_checkpoints(keep_latest=2)
    flip_a_bit(directory / "2")
    shutil.copytree(directory / "1", directory / "3.orbax-checkpoint-tmp")
    before = snapshot(directory)
    checkpoints = open_checkpoints(read_only=True)
    assert_same(checkpoints.restore(form(tree())).state, tree(1))
    checkpoints.close()
    assert snapshot(directory) == before
    assert f"{directory}/2 is damaged" in caplog.text


def test_reading_only_finds_nothing_where_nothing_is(open_checkpoints, tmp_path):
    checkpoints = open_checkpoints(read_only=True)
    assert checkpoints.latest() is None
    assert checkpoints.restore(form(tree())) is None
    assert not (tmp_path / "checkpoints").exists()


# Another network --------------------------------------------------------------------------------


def without_half(values):
    return {key: value for key, value in values.items() if key != "half"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v | {"half": v["half"].astype(np.float32)}, "half is bfloat16.* float32"),
        (lambda v: v | {"half": v["half"][:4]}, r"half is bfloat16\[5\].* bfloat16\[4\] here"),
        (lambda v: v | {"step": v["step"][None]}, r"step is int32\[\] there and int32\[1\] here"),
        (lambda v: v | {"extra": v["half"]}, r"extra is missing there and bfloat16\[5\] here"),
        (without_half, r"half is bfloat16\[5\] there and missing here"),
    ],
    ids=["dtype", "shape", "rank", "missing there", "missing here"],
)
def test_arrays_of_another_kind_are_named_and_nothing_is_set_aside(
    open_checkpoints, tmp_path, change, message
):
    save_steps(open_checkpoints(), [1])
    with pytest.raises(UserError, match=f"another network or optimizer: {message}"):
        open_checkpoints().restore(form(change(tree())))
    assert steps_on_disk(tmp_path / "checkpoints") == [1]


def test_many_differences_are_summed_up(open_checkpoints):
    save_steps(open_checkpoints(), [1])
    with pytest.raises(UserError, match="and 5 more"):
        open_checkpoints().restore({"other": np.zeros(3)})


# Disks that refuse ------------------------------------------------------------------------------


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_writer_that_fails_is_forgiven_a_few_times_in_a_row(
    open_checkpoints, monkeypatch, caplog
):
    checkpoints = open_checkpoints()
    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", no_space)
        for step in range(1, ALLOWED_FAILURES):
            checkpoints.save(step, tree(step), META)
            assert caplog.text.count("a checkpoint was not written") == step
            assert "No space left" in caplog.records[-1].getMessage()
        with pytest.raises(UserError, match=r"cannot write.*No space left") as info:
            checkpoints.save(ALLOWED_FAILURES, tree(), META)
    assert info.value.exit_code == EXIT_WORKDIR


def test_a_success_between_failures_starts_the_count_again(open_checkpoints, monkeypatch):
    checkpoints = open_checkpoints()
    for step in range(1, 3 * ALLOWED_FAILURES, 2):
        with monkeypatch.context() as patch:
            patch.setattr(ocp.CheckpointManager, "save", no_space)
            checkpoints.save(step, tree(step), META)
        checkpoints.save(step + 1, tree(step + 1), META)
    checkpoints.wait()
    assert_same(open_checkpoints().restore(form(tree())).state, tree(step + 1))


def test_a_final_save_must_succeed(open_checkpoints, monkeypatch):
    checkpoints = open_checkpoints()
    monkeypatch.setattr(ocp.CheckpointManager, "save", no_space)
    with pytest.raises(UserError, match="No space left") as info:
        checkpoints.save(1, tree(), META, final=True)
    assert info.value.exit_code == EXIT_WORKDIR


@pytest.fixture
def failing_background(monkeypatch):
    """Every save is accepted; that it was not written shows when it is waited for."""
    pending = []

    def save(self, step, **kwargs):
        pending.append(step)
        return True

    def wait(self):
        if pending:
            pending.clear()
            no_space()

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", save)
        patch.setattr(ocp.CheckpointManager, "wait_until_finished", wait)
        yield


@pytest.mark.usefixtures("failing_background")
def test_a_disk_that_stays_full_in_the_background_stops_the_run(open_checkpoints):
    checkpoints = open_checkpoints()

    def save_often():
        for step in range(1, 4 * ALLOWED_FAILURES):
            checkpoints.save(step, tree(), META)

    with pytest.raises(UserError, match="No space left") as info:
        save_often()
    assert info.value.exit_code == EXIT_WORKDIR


@pytest.mark.usefixtures("failing_background")
def test_waiting_reports_what_was_not_written(open_checkpoints):
    checkpoints = open_checkpoints()
    checkpoints.save(1, tree(), META)
    with pytest.raises(UserError, match="No space left") as info:
        checkpoints.wait()
    assert info.value.exit_code == EXIT_WORKDIR


@pytest.mark.usefixtures("failing_background")
def test_closing_says_what_was_not_written_and_hides_no_other_error(open_checkpoints, caplog):
    checkpoints = open_checkpoints()
    checkpoints.save(1, tree(), META)
    checkpoints.close()
    assert "No space left" in caplog.text


def test_a_failure_of_the_save_before_does_not_cost_this_one(open_checkpoints, monkeypatch):
    checkpoints = open_checkpoints()
    waits = []

    def fail_once(self):
        waits.append(1)
        if len(waits) == 1:
            no_space()

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "wait_until_finished", fail_once)
        checkpoints.save(1, tree(1), META)
    checkpoints.wait()
    assert_same(open_checkpoints().restore(form(tree())).state, tree(1))


def test_a_declined_save_is_a_failure(open_checkpoints, caplog):
    checkpoints = open_checkpoints()
    save_steps(checkpoints, [10])
    checkpoints.save(5, tree(5), META)
    assert "declined to write step 5" in caplog.text
    with pytest.raises(UserError, match="declined to write step 5"):
        checkpoints.save(5, tree(5), META, final=True)


def test_a_checkpoint_that_was_being_replaced_is_taken_back(tmp_path):
    """A kill between its new name and the end of its successor loses nothing."""
    (tmp_path / "3.replaced").mkdir()
    (tmp_path / "5.replaced").mkdir()
    (tmp_path / "5").mkdir()
    retention.end_replacement(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "5"]

"""Every fault of the table, each in a process of its own, as it meets a user.

`pytest -n0 -m exhaustive tests/test_fault_table.py --done=passed.txt` (about an hour on two cores).
After a fault a command must end in time, with a code that docs/reliability.md names, without a
traceback, and without a process left behind. What it says of a damaged run must be what the whole
run said.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from jaxcnn.config.schema import CHECKS
from tests import faults, hostile
from tests.photos import write_photos
from tests.runs import ROOT, TINY, digest_of_newest, lasting, records

pytestmark = pytest.mark.exhaustive

HANG = 60  # seconds after which a command that was asked to stop, or that failed, hangs
LONGEST = 300  # seconds for a run that is not disturbed, with other work on the machine
CODES = {0, 2, 65, 73, 74, 75}  # those of docs/reliability.md; a signal adds its own
LENET = (f"--config={ROOT}/configs/lenet5.py", "--config.train.length=60steps")
LENET += ("--config.checkpoint.every=10steps", "--config.eval.every=20steps")


def main(folder: Path, *flags: object) -> faults.Command:
    """Starts a training run or an evaluation; its output goes to a file of `folder`."""
    return faults.start("jaxcnn.main", *map(str, flags), folder=folder)


def ended(command: faults.Command, codes: set[int], seconds: float = LONGEST) -> int:
    """Waits for the end and checks the exit code, and what holds after every fault."""
    code = command.end(seconds)
    assert code in codes, f"exit {code}\n{command.said[-3000:]}"
    assert command.said.count("error: ") <= 1, command.said
    return code


def killed(command: faults.Command) -> None:
    """Kills the process itself, as for want of memory; those that it started must end alone."""
    with contextlib.suppress(ProcessLookupError):
        command.process.kill()
    command.process.wait()
    left = faults.wait_until_gone(command.process.pid, seconds=15)
    faults.kill(command.process)
    assert not left, f"processes are left: {left}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    write_photos(root, each=12)
    return root


class Run(NamedTuple):
    """A run that nothing disturbed: its flags, its workdir, and what an evaluation says of it."""

    flags: tuple[str, ...]
    workdir: Path
    evaluation: str

    def same_end(self, workdir: Path) -> None:
        """Finishes the run in `workdir` and compares every bit, and every record, with it."""
        ended(main(workdir.parent, *self.flags, f"--workdir={workdir}"), {0})
        assert digest_of_newest(workdir) == digest_of_newest(self.workdir)
        assert lasting(workdir) == lasting(self.workdir)


def undisturbed(folder: Path, *flags: str) -> Run:
    workdir = folder / "run"
    ended(main(folder, *flags, f"--workdir={workdir}"), {0})
    evaluation = main(folder, "--mode=evaluate", f"--workdir={workdir}")
    ended(evaluation, {0})
    return Run(flags, workdir, evaluation.said)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Run:
    return undisturbed(tmp_path_factory.mktemp("tiny"), *TINY)


@pytest.fixture(scope="module")
def lenet(tmp_path_factory) -> Run:
    return undisturbed(tmp_path_factory.mktemp("lenet"), *LENET)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory, photos) -> Run:
    """Its images are read by two other processes."""
    return undisturbed(
        tmp_path_factory.mktemp("resnet"),
        f"--config={ROOT}/configs/resnet18.py:folder",
        f"--config.data.dir={photos}",
        "--config.model.overrides.stage_sizes=(1,1)",
        "--config.model.overrides.width=4",
        "--config.data.image_size=16",
        "--config.data.num_workers=2",
        "--config.train.length=40steps",
        "--config.train.batch_size=8",
        "--config.checkpoint.every=5steps",
        "--config.eval.every=20steps",
        "--config.log.every=1steps",
    )


def has_recorded(command: faults.Command, workdir: Path, more_than: int = 0) -> bool:
    """Waits until a run has more records than that; False if it ends before."""
    deadline = time.monotonic() + LONGEST
    while len(records(workdir)) <= more_than:
        if command.process.poll() is not None:
            return False
        assert time.monotonic() < deadline, command.said
        time.sleep(0.01)
    return True


# Kills ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("which", ["tiny", "lenet", "resnet"])
def test_ten_kills(request, tmp_path, which, seed):
    """90 trials: −9 between the first record of a process and its end."""
    run, chance, workdir = request.getfixturevalue(which), random.Random(seed), tmp_path / "run"  # noqa: S311
    for _ in range(10):
        command = main(tmp_path, *run.flags, f"--workdir={workdir}")
        if not has_recorded(command, workdir, len(records(workdir))):
            ended(command, {0})
            break
        time.sleep(chance.uniform(0, 0.6))
        killed(command)
    run.same_end(workdir)


# Signals ----------------------------------------------------------------------------------------

COMMANDS = {
    "evaluate": ("jaxcnn.main", "--mode=evaluate", "--workdir={run}"),
    "ten crops": (
        *("jaxcnn.main", "--mode=evaluate", "--workdir={run}"),
        "--config.eval.protocol=ten_crop",
    ),
    "predict": ("jaxcnn.predict", "--workdir={run}", "{photos}", "--csv={out}/p.csv"),
    "features": ("jaxcnn.features", "--workdir={run}", "{photos}", "--out={out}/f.npz"),
    "export": ("jaxcnn.export", "--workdir={run}", "--out={out}/model.stablehlo"),
    "preview": (
        *("jaxcnn.preview", f"--config={ROOT}/configs/cifar_resnet20.py"),
        "--out={out}/p.png",
    ),
    "prepare": ("jaxcnn.data.prepare", "folder", "--source={photos}/..", "--out={out}/prepared"),
    "doctor": ("jaxcnn.doctor",),
}


def start(name: str, run: Path, photos: Path, out: Path) -> faults.Command:
    module, *flags = COMMANDS[name]
    places = {"run": run, "photos": photos, "out": out}
    return faults.start(module, *(flag.format(**places) for flag in flags), folder=out)


def test_the_commands_end_well_undisturbed(tmp_path, photos, resnet):
    for name in COMMANDS:
        out = tmp_path / name
        out.mkdir()
        ended(start(name, resnet.workdir, photos / "test", out), {0})


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_to_a_command(tmp_path, photos, resnet, name, seed):
    """64 trials: SIGINT or SIGTERM to the process or its group, once it can catch one."""
    chance = random.Random(f"{name}{seed}")  # noqa: S311
    command = start(name, resnet.workdir, photos / "test", tmp_path)
    number = chance.choice([signal.SIGINT, signal.SIGTERM])
    command.wait_for(command.catches)
    time.sleep(chance.choice([0.0, 0.3, 1.0, 2.0, chance.uniform(0, 8)]))
    if command.process.poll() is None:
        command.send(number, group=chance.random() < 0.5)
    ended(command, {0, 128 + number}, 15)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("which", ["tiny", "lenet", "resnet"])
def test_a_signal_to_a_run(request, tmp_path, which, seed):
    """36 trials, each started again after it: to the process or its group, at any moment."""
    run, chance = request.getfixturevalue(which), random.Random(f"{which}{seed}")  # noqa: S311
    workdir = tmp_path / "run"
    command = main(tmp_path, *run.flags, f"--workdir={workdir}")
    number = chance.choice([signal.SIGINT, signal.SIGTERM])
    command.wait_for(command.catches)
    if chance.random() < 0.7:
        has_recorded(command, workdir)
    time.sleep(chance.uniform(0, 3))
    if command.process.poll() is None:
        command.send(number, group=chance.random() < 0.5)
    ended(command, {0, 128 + number}, 15)
    run.same_end(workdir)


# Damages ----------------------------------------------------------------------------------------


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes() or b"0")
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size + 1)])


def change_a_digit(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    places = [place for place, byte in enumerate(content) if 48 <= byte < 58]
    if places:
        place = chance.choice(places)
        content[place] = 48 + (content[place] - 47) % 10
        path.write_bytes(content)


def replaced(content: bytes):
    return lambda path, chance: path.write_bytes(content)


def instead(make):
    def damage(path: Path, chance: random.Random) -> None:
        path.unlink()
        make(path)

    return damage


DAMAGES = {
    "flip": flip,
    "cut": cut,
    "digit": change_a_digit,
    "empty": replaced(b""),
    "five": replaced(b"5\n"),
    "null": replaced(b"null"),
    "list": replaced(b"[]"),
    "deep": replaced(b"[" * 100_000),
    "bytes": replaced(b"\xff\xfe\x00\x80" * 64),
    "gone": instead(lambda path: None),
    "pipe": instead(os.mkfifo),
    "folder": instead(Path.mkdir),
    "device": instead(lambda path: path.symlink_to("/dev/zero")),
    "nowhere": instead(lambda path: path.symlink_to("/nowhere/at/all")),
}


def victim(workdir: Path, chance: random.Random) -> Path:
    """One of a workdir's files; in two of five cases one that a person could read."""
    found = sorted(path for path in workdir.rglob("*") if path.is_file())
    found = [path for path in found if path.name not in (".lock", "metrics.csv")]
    small = [path for path in found if path.suffix in (".json", ".npz", ".jsonl")]
    return chance.choice(small if chance.random() < 0.4 else found)


def numbers(text: str) -> list[str]:
    return re.findall(r"^(?:test|validation)/\S+ \S+$", text, re.MULTILINE)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_workdir_is_evaluated_as_before_or_not_at_all(tmp_path, tiny, how, seed):
    """112 trials, spread over all files; an earlier checkpoint may answer if that is said."""
    chance, workdir = random.Random(f"{how}{seed}"), tmp_path / "run"  # noqa: S311
    shutil.copytree(tiny.workdir, workdir)
    damaged = victim(workdir, chance)
    DAMAGES[how](damaged, chance)
    command = main(tmp_path, "--mode=evaluate", f"--workdir={workdir}")
    if ended(command, CODES, HANG) == 0 and numbers(command.said) != numbers(tiny.evaluation):
        assert "damaged" in command.said, f"{damaged}: {command.said}"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_workdir_is_trained_to_the_same_end_or_refused(tmp_path, tiny, how, seed):
    """56 trials: half a run, damaged, and started again."""
    chance, workdir = random.Random(f"train{how}{seed}"), tmp_path / "run"  # noqa: S311
    shutil.copytree(half(tiny), workdir)
    damaged = victim(workdir, chance)
    DAMAGES[how](damaged, chance)
    command = main(tmp_path, *tiny.flags, f"--workdir={workdir}")
    if ended(command, CODES) == 0:
        found, expected = digest_of_newest(workdir), digest_of_newest(tiny.workdir)
        assert found == expected, f"{damaged}: {command.said}"


def half(run: Run) -> Path:
    """A run of the same flags that was killed half-way; made once."""
    workdir = run.workdir.with_name("half")
    if not workdir.exists():
        command = main(workdir.parent, *run.flags, f"--workdir={workdir}")
        while not any(record["step"] >= 12 for record in records(workdir)):
            assert has_recorded(command, workdir, len(records(workdir)))
        killed(command)
    return workdir


# Images of strangers ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("where", ["train", "test"])
def test_hostile_files_among_the_images(tmp_path, photos, resnet, where, seed):
    """6 trials of 20 files each: a run that says what it leaves out, or one line."""
    shutil.copytree(photos, tmp_path / "photos")
    hostile.scatter(tmp_path / "photos" / where / "dog" / "more", seed)
    flags = [flag for flag in resnet.flags if "data.dir" not in flag and "length" not in flag]
    flags += [f"--config.data.dir={tmp_path / 'photos'}", "--config.train.length=3steps"]
    ended(main(tmp_path, *flags, f"--workdir={tmp_path / 'run'}"), {0, 2, 65})
    folder = tmp_path / "photos" / where
    ended(start("predict", resnet.workdir, folder, tmp_path), {0, 2, 65}, HANG)
    ended(start("features", resnet.workdir, folder, tmp_path), {0, 2, 65}, HANG)
    ended(start("prepare", resnet.workdir, folder, tmp_path), {0, 2, 65}, HANG)


@pytest.mark.parametrize("name", hostile.NAMES)
def test_a_class_with_a_strange_name(tmp_path, photos, resnet, name):
    """18 trials: trained by that name, or refused in one line."""
    shutil.copytree(photos, tmp_path / "photos")
    for part in ("train", "test"):
        (tmp_path / "photos" / part / "dog").rename(tmp_path / "photos" / part / name)
    flags = [flag for flag in resnet.flags if "data.dir" not in flag and "length" not in flag]
    flags += [f"--config.data.dir={tmp_path / 'photos'}", "--config.train.length=1steps"]
    command = main(tmp_path, *flags, f"--workdir={tmp_path / 'run'}")
    ended(command, {0, 2})
    assert "\x1b" not in command.said


# Workers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_data_worker_dies_or_hangs(tmp_path, resnet, how, seed):
    """12 trials: the run goes on to the same bits, or is saved and says why it ends."""
    workdir = tmp_path / "run"
    command = main(tmp_path, *resnet.flags, f"--workdir={workdir}")
    has_recorded(command, workdir)
    workers = faults.of_session(command.process.pid).keys() - {command.process.pid}
    if workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(random.Random(seed).choice(sorted(workers)), how)  # noqa: S311
    ended(command, CODES)
    resnet.same_end(workdir)


# Full disks -------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(at: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of that size, where the process may mount one."""
    at.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(at)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a file system here")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.mark.parametrize("kilobytes", [16, 64, 200, 400, 600, 800, 1000, 1400, 2000, 3000])
def test_a_disk_that_fills_up(tmp_path, lenet, kilobytes):
    """10 trials: 73 and a few lines, or the same end; with room again it goes on."""
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        command = main(tmp_path, *lenet.flags, f"--workdir={disk / 'run'}")
        code = ended(command, {0, 73})
        assert len(command.said.splitlines()) < 60, command.said
        if code:
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            lenet.same_end(disk / "run")


# Numbers ----------------------------------------------------------------------------------------

ABSURD = ("nan", "inf", "-1", str(2**63), str(10**12), "-0.5", "''", "()", "3", "x")


@pytest.mark.parametrize("field", sorted(CHECKS))
def test_an_absurd_value_is_refused_or_trains(tmp_path, field):
    """A trial for each field: one line that names it, or a run that ends."""
    value = random.Random(field).choice(ABSURD)  # noqa: S311
    flags = (*LENET, "--config.train.length=4steps", f"--config.{field}={value}")
    command = main(tmp_path, *flags, f"--workdir={tmp_path / 'run'}")
    if ended(command, CODES, HANG) == 2:
        assert field.rsplit(".", 1)[-1] in command.said.strip().splitlines()[-1], command.said

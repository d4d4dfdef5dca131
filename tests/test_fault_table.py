"""Every fault of the table, each in a process of its own, as it meets a user.

`pytest -m exhaustive tests/test_fault_table.py --done=passed.txt` (about an hour on two cores).
After a fault a command must end in time, with a code that the README names, without a traceback,
and without a process left behind. What it says of a damaged run must be what the whole run said.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.photos import write_photos
from tests.runs import ROOT, TINY, digest_of_newest, environment, records

pytestmark = pytest.mark.exhaustive

HANG = 60  # seconds after which a command that was asked to stop, or that failed, hangs
LONGEST = 300  # seconds for a run that is not disturbed, with other work on the machine
CODES = {0, 2, 65, 73, 74, 75}  # those of the README; a signal adds 130 or 143
LENET = (f"--config={ROOT}/configs/lenet5.py", "--config.train.length=60steps")
LENET += ("--config.checkpoint.every=10steps", "--config.eval.every=20steps")


class Ended(NamedTuple):
    """What a command printed, its code, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float


class Command:
    """A command in a session of its own, whose descendants can be found again."""

    def __init__(self, *argv: object, environ: dict[str, str] | None = None):
        self._mark = uuid.uuid4().hex
        self._begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *map(str, argv)],
            cwd=ROOT,
            env={**environment(), **(environ or {}), "JAXCNN_TEST_MARK": self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def left(self) -> list[int]:
        """Process ids of the command's descendants, and of itself while it runs."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"JAXCNN_TEST_MARK={self._mark}".encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def children(self) -> list[int]:
        """Process ids of the command's descendants alone."""
        return [pid for pid in self.left() if pid != self.process.pid]

    def signal(self, number: int, group: bool) -> None:
        """Sends a signal to the process, or to all of its group as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, number)

    def ended(self, codes: set[int], seconds: float = LONGEST) -> Ended:
        """Waits for the end and checks what holds after every fault."""
        asked = time.monotonic()
        try:
            streams = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL, group=True)
            out, err = (stream.decode(errors="replace") for stream in self.process.communicate())
            pytest.fail(f"hangs for {seconds} s\n{out[-2000:]}\n{err[-2000:]}")
        out, err = (stream.decode(errors="replace") for stream in streams)
        said = f"exit {self.process.returncode}\n{out[-2000:]}\n{err[-3000:]}"
        assert self.process.returncode in codes, said
        if self.process.returncode != -signal.SIGKILL:
            assert "Traceback" not in out + err, said
            assert "leaked" not in err, said
            assert err.count("error:") <= 1, said
        self._no_orphans()
        return Ended(self.process.returncode, out, err, time.monotonic() - asked)

    def _no_orphans(self) -> None:
        deadline = time.monotonic() + 15
        while self.left():
            assert time.monotonic() < deadline, f"processes {self.left()} are left"
            time.sleep(0.2)


def main(*flags: object) -> Command:
    return Command("-m", "jaxcnn.main", *flags)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    write_photos(root, each=12)
    return root


def small_resnet(photos: Path, workers: int = 2) -> tuple[str, ...]:
    return (
        f"--config={ROOT}/configs/resnet18.py:folder",
        f"--config.data.dir={photos}",
        "--config.model.overrides.stage_sizes=(1,1)",
        "--config.model.overrides.width=4",
        "--config.data.image_size=16",
        f"--config.data.num_workers={workers}",
        "--config.train.length=40steps",
        "--config.train.batch_size=8",
        "--config.checkpoint.every=5steps",
        "--config.eval.every=20steps",
        "--config.log.every=1steps",
    )


class Run(NamedTuple):
    """A run that nothing disturbed: its flags, workdir, and what an evaluation says of it."""

    flags: tuple[str, ...]
    workdir: Path
    evaluation: str

    def same_end(self, workdir: Path) -> None:
        """Finishes the run in `workdir` and compares every bit with the undisturbed one."""
        main(*self.flags, f"--workdir={workdir}").ended({0})
        assert digest_of_newest(workdir) == digest_of_newest(self.workdir)
        last, expected = records(workdir)[-1], records(self.workdir)[-1]
        assert last["state_sha256"] == expected["state_sha256"]
        losses = [
            [(r["step"], r["train/loss"]) for r in records(where) if "train/loss" in r]
            for where in (workdir, self.workdir)
        ]
        assert losses[0] == losses[1]


def undisturbed(workdir: Path, flags: tuple[str, ...]) -> Run:
    main(*flags, f"--workdir={workdir}").ended({0})
    evaluation = main("--mode=evaluate", f"--workdir={workdir}").ended({0}).out
    return Run(flags, workdir, evaluation)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Run:
    return undisturbed(tmp_path_factory.mktemp("tiny") / "run", TINY)


@pytest.fixture(scope="module")
def lenet(tmp_path_factory) -> Run:
    return undisturbed(tmp_path_factory.mktemp("lenet") / "run", LENET)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory, photos) -> Run:
    return undisturbed(tmp_path_factory.mktemp("resnet") / "run", small_resnet(photos))


# Kills ------------------------------------------------------------------------------------------


def wait_for_record(command: Command, workdir: Path, more_than: int) -> None:
    deadline = time.monotonic() + LONGEST
    while command.process.poll() is None and len(records(workdir)) <= more_than:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("which", ["tiny", "lenet", "resnet"])
def test_ten_kills(request, tmp_path, which, seed):
    """120 trials: −9 between the first step of a process and its end."""
    run, chance = request.getfixturevalue(which), random.Random(seed)  # noqa: S311
    for _ in range(10):
        command = main(*run.flags, f"--workdir={tmp_path / 'run'}")
        wait_for_record(command, tmp_path / "run", len(records(tmp_path / "run")))
        time.sleep(chance.uniform(0, 0.6))
        command.signal(signal.SIGKILL, group=False)
        command.ended({-signal.SIGKILL, 0})
    run.same_end(tmp_path / "run")


# Signals ----------------------------------------------------------------------------------------

READERS = {
    "evaluate": ("-m", "jaxcnn.main", "--mode=evaluate", "--workdir={run}"),
    "ten_crop": (
        *("-m", "jaxcnn.main", "--mode=evaluate", "--workdir={run}"),
        "--config.eval.protocol=ten_crop",
    ),
    "predict": ("-m", "jaxcnn.predict", "--workdir={run}", "{photos}"),
    "features": ("-m", "jaxcnn.features", "--workdir={run}", "{photos}", "--out={out}/f.npz"),
    "export": ("-m", "jaxcnn.export", "--workdir={run}", "--out={out}/model.stablehlo"),
    "preview": (
        *("-m", "jaxcnn.data.preview", "--config={root}/configs/cifar_resnet20.py"),
        "--out={out}/p.png",
    ),
    "prepare": ("-m", "jaxcnn.data.prepare", "folder", "--source={photos}", "--out={out}/prepared"),
    "doctor": ("-m", "jaxcnn.doctor"),
}


def reader(name: str, run: Path, photos: Path, out: Path) -> Command:
    places = {"run": run, "photos": photos, "out": out, "root": ROOT}
    return Command(*(part.format(**places) for part in READERS[name]))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", READERS)
def test_a_signal_to_a_command_that_reads(tmp_path, photos, resnet, name, seed):
    """64 trials: SIGINT or SIGTERM to the process or its group, at any moment."""
    chance = random.Random(f"{name}{seed}")  # noqa: S311
    command = reader(name, resnet.workdir, photos / "test", tmp_path)
    number = chance.choice([signal.SIGINT, signal.SIGTERM])
    time.sleep(chance.choice([0.05, 0.3, 1.0, 2.0, chance.uniform(0, 8)]))
    command.signal(number, group=chance.random() < 0.5)
    ended = command.ended({0, 128 + number}, HANG)
    assert ended.seconds < 15
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("which", ["tiny", "lenet", "resnet"])
def test_a_signal_to_a_run(request, tmp_path, which, seed):
    """36 trials and as many that go on: to the process or its group, at any moment."""
    run, chance = request.getfixturevalue(which), random.Random(f"{which}{seed}")  # noqa: S311
    workdir = tmp_path / "run"
    command = main(*run.flags, f"--workdir={workdir}")
    number = chance.choice([signal.SIGINT, signal.SIGTERM])
    if chance.random() < 0.7:
        wait_for_record(command, workdir, 0)
    time.sleep(chance.uniform(0, 3))
    command.signal(number, group=chance.random() < 0.5)
    ended = command.ended({0, 128 + number}, HANG)
    assert ended.seconds < 15
    run.same_end(workdir)


# Damages ----------------------------------------------------------------------------------------


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if not content:
        path.unlink()
        return
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size + 1)])


def change_a_digit(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    digits = [place for place, byte in enumerate(content) if chr(byte).isdecimal()]
    if digits:
        place = chance.choice(digits)
        content[place] = ord("0") + (content[place] - ord("0") + 1) % 10
        path.write_bytes(content)


def replace(content: bytes):
    return lambda path, chance: path.write_bytes(content)


def pipe(path: Path, chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def nowhere(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


DAMAGES = {
    "flip": flip,
    "cut": cut,
    "digit": change_a_digit,
    "empty": replace(b""),
    "delete": lambda path, chance: path.unlink(),
    "five": replace(b"5\n"),
    "null": replace(b"null"),
    "list": replace(b"[]"),
    "deep": replace(b"[" * 100_000),
    "bytes": replace(b"\xff\xfe\x00\x80" * 64),
    "pipe": pipe,
    "folder": folder,
    "device": device,
    "nowhere": nowhere,
}


def files(workdir: Path) -> list[Path]:
    """Those of a workdir, in an order that does not change, arrays' shards among them."""
    found = sorted(path for path in workdir.rglob("*") if path.is_file())
    return [path for path in found if path.name not in (".lock", "metrics.csv")]


def numbers(text: str) -> list[str]:
    return re.findall(r"^(?:test|validation)/\S+ \S+$", text, re.MULTILINE)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_workdir_is_evaluated_as_before_or_not_at_all(tmp_path, tiny, how, seed):
    """112 trials, spread over all files."""
    chance = random.Random(f"{how}{seed}")  # noqa: S311
    workdir = tmp_path / "run"
    shutil.copytree(tiny.workdir, workdir, symlinks=True)
    small = [path for path in files(workdir) if path.suffix in (".json", ".npz", ".jsonl")]
    victim = chance.choice(small if chance.random() < 0.4 else files(workdir))
    DAMAGES[how](victim, chance)
    ended = main("--mode=evaluate", f"--workdir={workdir}").ended(CODES, HANG)
    if ended.code == 0 and "damaged" not in ended.err:
        assert numbers(ended.out) == numbers(tiny.evaluation), (victim, ended.err)
    elif ended.code == 0:  # an earlier checkpoint answered, and said so
        assert re.search(r"step \d+", ended.err + ended.out), victim


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_workdir_is_trained_to_the_same_end_or_refused(tmp_path, tiny, how, seed):
    """56 trials: half a run, damaged, and started again."""
    chance = random.Random(f"train{how}{seed}")  # noqa: S311
    workdir = tmp_path / "run"
    shutil.copytree(half(tiny), workdir, symlinks=True)
    victim = chance.choice(files(workdir))
    DAMAGES[how](victim, chance)
    ended = main(*tiny.flags, f"--workdir={workdir}").ended(CODES, LONGEST)
    if ended.code == 0:
        assert digest_of_newest(workdir) == digest_of_newest(tiny.workdir), (victim, ended.err)


def half(run: Run) -> Path:
    """A run of the same flags that was stopped half-way; made once."""
    workdir = run.workdir.with_name("half")
    if not workdir.exists():
        command = main(*run.flags, f"--workdir={workdir}")
        while not any(record["step"] >= 12 for record in records(workdir)):
            time.sleep(0.02)
            assert command.process.poll() is None
        command.signal(signal.SIGKILL, group=True)
        command.ended({-signal.SIGKILL})
    return workdir


# Workers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_data_worker_dies_or_hangs(tmp_path, photos, resnet, how, seed):
    """12 trials: the run goes on to the same bits, or is saved and says why it ends."""
    chance = random.Random(seed)  # noqa: S311
    command = main(*resnet.flags, f"--workdir={tmp_path / 'run'}")
    wait_for_record(command, tmp_path / "run", 0)
    workers = command.children()
    if workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(workers), how)
    command.ended(CODES, LONGEST)
    resnet.same_end(tmp_path / "run")


# Full disks -------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(at: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of that size, where the process may mount one."""
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(at)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount a file system here")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.mark.parametrize("kilobytes", [16, 64, 200, 400, 600, 800, 1000, 1400, 2000, 3000])
def test_a_disk_that_fills_up(tmp_path, lenet, kilobytes):
    """10 trials: 73 and one line, or the same end; with room again it goes on."""
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        ended = main(*lenet.flags, f"--workdir={disk / 'run'}").ended({0, 73})
        assert len(ended.err.splitlines()) < 60, ended.err
        if ended.code:
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            lenet.same_end(disk / "run")


# Numbers ----------------------------------------------------------------------------------------

ABSURD = ["nan", "inf", "-1", str(2**63), str(10**12), "-0.5", "''", "()"]


def leaves(config: dict, at: str = "config") -> Iterator[str]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{at}.{name}")
        else:
            yield f"{at}.{name}"


def fields() -> list[str]:
    from jaxcnn import recipes

    return sorted(leaves(json.loads(recipes.base_config().to_json())))


@pytest.mark.parametrize("field", fields())
def test_an_absurd_value_is_refused_or_trains(tmp_path, field):
    """One trial for each field: one line and no traceback, or a run that ends."""
    value = random.Random(field).choice(ABSURD)  # noqa: S311
    command = main(
        *LENET, "--config.train.length=4steps", f"--{field}={value}", f"--workdir={tmp_path / 'run'}"
    )
    ended = command.ended(CODES, HANG)
    if ended.code == 2:
        last = ended.err.strip().splitlines()[-1]
        assert field.rsplit(".", 1)[-1] in last or "cannot" in last, ended.err

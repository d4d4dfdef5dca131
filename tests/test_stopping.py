"""A signal ends every command within seconds, in one line; a run that is stopped goes on."""

import signal

import pytest

from tests import faults
from tests.marks import exhaustive
from tests.runs import TINY, records


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_is_still_loading_ends_at_once(tmp_path, number):
    run = faults.start("jaxcnn.predict", "--workdir=x", "y", folder=tmp_path)
    run.wait_for(run.catches)
    run.send(number)
    assert run.end() == 128 + number
    assert run.said.strip().startswith(f"stopped by {number.name}")
    assert run.said.count("\n") == 1


def test_a_module_that_is_half_loaded_is_not_unwound(tmp_path):
    """C++ that initialises an extension module may crash there."""
    (tmp_path / "half.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n    os.getpid()\n"
        "except BaseException:\n    print('unwound')\n"
    )
    (tmp_path / "program.py").write_text(
        "from jaxcnn.run import preemption\npreemption.install()\nimport half\n"
    )
    run = faults.start(str(tmp_path / "program.py"), folder=tmp_path)
    assert run.end() == 143
    assert run.said == "stopped by SIGTERM\n"


DEAF = """
import hashlib, sys, time
from jaxcnn.run import preemption
preemption.PATIENCE = 0.3
preemption.install()
stop = preemption._of_process
def keep():
    print("saved", flush=True)
    return "stopped, saved"
def compile_something():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
with stop.deferred():
    if sys.argv[1] == "saves":
        with stop.interruptible(keep):
            compile_something()
    elif sys.argv[1] == "holds":
        print("ready", flush=True)
        time.sleep(1)
        print("saved", flush=True)
        sys.exit(0)
    elif sys.argv[1] == "computes":
        compile_something()
compile_something()
"""


@pytest.mark.parametrize(
    ("case", "code", "said"),
    [
        ("saves", 143, "ready saved stopped, saved"),
        ("leaves", 143, "ready stopped by SIGTERM"),
        (
            "holds",
            0,
            "ready SIGTERM: finishing the step and saving (once more: leave at once) saved",
        ),
    ],
)
def test_a_process_that_does_not_hear_a_signal_is_ended_by_another_thread(
    tmp_path, case, code, said
):
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    run = faults.start(str(script), case, folder=tmp_path)
    run.wait_for("ready")
    run.send(signal.SIGTERM)
    assert run.end() == code
    assert " ".join(run.said.split()) == said


def test_two_signals_at_once_are_one_and_a_second_one_leaves(tmp_path):
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    run = faults.start(str(script), "holds", folder=tmp_path)
    run.wait_for("ready")
    run.send(signal.SIGTERM)
    run.send(signal.SIGTERM, group=True)
    run.wait_for(0.5)
    assert run.process.poll() is None
    run.send(signal.SIGINT)
    assert run.end() == 130
    assert run.said.split()[-1] != "saved"


def test_a_long_step_says_how_to_leave_at_once(tmp_path):
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    run = faults.start(str(script), "computes", folder=tmp_path)
    run.wait_for("ready")
    run.send(signal.SIGTERM)
    run.wait_for("SIGTERM: finishing the step and saving (once more: leave at once)")
    run.send(signal.SIGTERM)
    assert run.end(2) == 143
    assert run.said.count("once more") == 1


@pytest.mark.slow
def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    run = faults.start("jaxcnn.predict", "--workdir=x", "y", folder=tmp_path, prefix=("nohup",))
    run.wait_for(run.catches)
    run.send(signal.SIGHUP)
    assert run.end(60) == 2
    assert "not the workdir of a run" in run.said


@pytest.mark.slow
@pytest.mark.parametrize("moment", [exhaustive("batch"), "step 6/"])
def test_a_run_that_is_stopped_goes_on(tmp_path, moment):
    flags = (*TINY, f"--workdir={tmp_path / 'run'}")
    run = faults.start("jaxcnn.main", *flags, folder=tmp_path)
    run.wait_for(moment)
    run.send(signal.SIGTERM)
    assert run.end() == 143
    assert "the same command" in run.said.splitlines()[-1]
    run = faults.start("jaxcnn.main", *flags, folder=tmp_path)
    assert run.end(120) == 0
    assert "state_sha256" in records(tmp_path / "run")[-1]

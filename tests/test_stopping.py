"""A signal ends every command within seconds, in one line; a run that is stopped goes on."""

import signal

import pytest

from tests import faults
from tests.runs import TINY, records


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_is_still_loading_ends_at_once(tmp_path, number):
    run = faults.start("jaxcnn.predict", "--workdir=x", "y", folder=tmp_path)
    run.wait_for(run.catches)
    run.send(number)
    assert run.end() == 128 + number
    assert run.said.strip().startswith(f"stopped by {number.name}")
    assert run.said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["batch", "step 6/"])
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

"""Members of a test's parameters that a plain `pytest` leaves out."""

import pytest


def slow(*values):
    """Runs in the gate and with `pytest -m slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)


def exhaustive(*values):
    """Runs with `pytest -m exhaustive`."""
    return pytest.param(*values, marks=pytest.mark.exhaustive)

"""Weight files: safetensors, npz, and torch's own where torch is at hand. Pickle is never loaded."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxcnn.errors import UserError


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    raise NotImplementedError


def write_weights(weights: Mapping[str, np.ndarray], path: str | Path) -> None:
    raise NotImplementedError(UserError)

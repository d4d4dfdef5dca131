"""Numbers of torchvision's and timm's networks, and weights and images as they had them.

Nothing random is stored. A weight is a function of its key in torch and its shape, an image batch
of its shape and a seed: NumPy's Philox generator, keyed by the CRC-32 of the key or by 2³² + seed,
draws standard normal numbers, which are scaled by the rules below and rounded to float32.
"""

import functools
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "references"

# Classifiers have half the variance of other kernels.
CLASSIFIERS = {
    "fc.weight",
    "classifier.weight",
    "classifier.6.weight",
    "last_linear.weight",
    "classif.weight",
    "head.fc.weight",
    "aux1.fc2.weight",
    "aux2.fc2.weight",
    "AuxLogits.fc.weight",
}
BRANCH_END = re.compile(
    r"(layer\d+\.\d+)\.bn([23])\.weight|stages\.\d+\.blocks\.\d+\.conv3\.weight"
)


@functools.cache
def _index() -> dict[str, dict[str, Any]]:
    return json.loads((FOLDER / "index.json").read_text())


def names(kind: str) -> list[str]:
    """Returns the references of a kind: "forward", "grad" or "trajectory"."""
    return [name for name, entry in _index().items() if entry["kind"] == kind]


def entry(name: str) -> dict[str, Any]:
    """Returns what describes a reference: library, model, input_shape, tolerances."""
    return _index()[name]


def arrays(name: str) -> dict[str, np.ndarray]:
    """Returns its numbers."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def normal(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns standard normal float64 numbers, a function of the arguments."""
    philox = np.random.Philox(key=zlib.crc32(key.encode()))
    return np.random.Generator(philox).standard_normal(shape)


def state(name: str) -> dict[str, np.ndarray]:
    """Returns the torch state of a reference."""
    states = json.loads((FOLDER / "states.json").read_text())
    shapes = states[entry(name)["state"]]
    return {key: tensor(key, tuple(shape), shapes) for key, shape in shapes.items()}


def tensor(key: str, shape: tuple[int, ...], keys: Any) -> np.ndarray:
    """Returns one weight of a state with these keys."""
    noise = normal(key, shape)
    if key.endswith("running_var"):
        value = np.exp(0.1 * noise)
    elif key.endswith(("running_mean", "bias")):
        value = 0.1 * noise
    elif len(shape) == 1:
        value = 1 + 0.1 * noise
    else:
        gain = 1 if key in CLASSIFIERS else 2
        value = noise * np.sqrt(gain / np.prod(shape[1:]))
    # The last weight of a residual branch is small, or a hundred units would overflow.
    if (found := BRANCH_END.fullmatch(key)) and (
        found[1] is None or found[2] == "3" or f"{found[1]}.bn3.weight" not in keys
    ):
        value = value * 0.25
    return value.astype(np.float32)


def images(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Returns float32 images (N, H, W, C) for a torch shape (N, C, H, W).

    Each is 4x4 blocks of one colour under noise of half their amplitude.
    """
    n, c, h, w = shape
    generator = np.random.Generator(np.random.Philox(key=2**32 + seed))
    noise = generator.standard_normal((n, c, h, w))
    blocks = generator.standard_normal((n, c, 4, 4))
    blocks = blocks[:, :, np.arange(h) * 4 // h][:, :, :, np.arange(w) * 4 // w]
    return (0.5 * noise + blocks).astype(np.float32).transpose(0, 2, 3, 1)


def relative_error(got: Any, expected: np.ndarray) -> float:
    """Returns the largest difference, in parts of the largest expected number."""
    got = np.asarray(got, np.float64)
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def add(
    name: str, description: dict[str, Any], shapes: dict[str, Any], found: dict[str, np.ndarray]
) -> None:
    """Stores a reference, in place of one of the same name."""
    np.savez_compressed(FOLDER / f"{name}.npz", **found)
    states = json.loads((FOLDER / "states.json").read_text())
    state = next((known for known, other in states.items() if other == shapes), name)
    index = _index() | {name: {**description, "state": state}}
    _write("states.json", states | {state: shapes})
    _write("index.json", index)
    _index.cache_clear()


def _write(file: str, entries: dict[str, Any]) -> None:
    lines = (
        f" {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in entries.items()
    )
    (FOLDER / file).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def checksum(values: list[np.ndarray]) -> int:
    """Returns the CRC-32 of the arrays' bytes, one after another."""
    code = 0
    for value in values:
        code = zlib.crc32(np.ascontiguousarray(value).tobytes(), code)
    return code

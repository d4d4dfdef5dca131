"""What changes after training cost a network: of its units, or of the test images.

Functions (config, workdir) → curve, as an ablation's `measure`.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jaxcnn.ablation import Curve, trained
from jaxcnn.analysis.lesion import lesioned, removable
from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import UserError
from jaxcnn.run.precision import set_precision

DRAWS = 12  # random choices of units that are averaged for each number of them


def lesion(config: RunConfig, directory: Path, *, most: int = 0) -> Curve:
    """Test error that random units cost when they are removed after training: 0, 1, 2, 4 and so on.

    Units are those that keep the shape, which a network without shortcuts can lose as well. Of each
    number up to `most`, or a quarter of them, `DRAWS` sets are drawn and their errors averaged. y
    is that error less the error of the whole network.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        units = removable(run.model, run.images.shape[1:], keeping_shape=True)
        draw = np.random.default_rng(config.seed)
        without = _without(run, units)

        def error(count: int) -> float:
            return without(np.isin(units, draw.choice(units, count, replace=False)))

        last = most or max(len(units) // 4, 1)
        counts = sorted({0, 1, *(2**i for i in range(1, 10) if 2**i < last), last})
        errors = [
            float(np.mean([error(count) for _ in range(DRAWS if count else 1)])) for count in counts
        ]
        return [
            (float(count), value - errors[0]) for count, value in zip(counts, errors, strict=True)
        ]


def shifts(config: RunConfig, directory: Path, *, most: int = 3) -> Curve:
    """Test accuracy that is lost by shifts of 0 to `most` pixels, to each of the four sides.

    Pixels at the border are repeated. The last y is that of the largest shift.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        whole = np.pad(run.pixels, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
        side = run.pixels.shape[1]
        apply = jax.jit(run.model.apply)

        def accuracy(down: int, right: int) -> float:
            rows, columns = (slice(most + move, most + move + side) for move in (down, right))
            images = run.normalize(jnp.asarray(whole[:, rows, columns]))
            logits: Any = apply(run.variables, images)
            return float(np.mean(np.argmax(logits, -1) == run.labels))

        sides = ((1, 0), (-1, 0), (0, 1), (0, -1))
        found = [
            np.mean([accuracy(move * down, move * right) for down, right in sides])
            for move in range(most + 1)
        ]
        return [(float(move), float(found[0] - one)) for move, one in enumerate(found)]


def lesion_of_each(config: RunConfig, directory: Path, *, start: float, end: float) -> Curve:
    """Test error that the removal of a single unit after training adds: mean over a range of units.

    x is the number of the unit and y the mean up to it.

    Args:
      config: of the run.
      directory: its workdir.
      start: where the range of units begins, as a share of all from the image on.
      end: where it ends.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        units = removable(run.model, run.images.shape[1:])
        first, last = (round(share * len(units)) for share in (start, end))
        without = _without(run, units)
        whole = without(np.isin(units, []))
        added = [without(np.isin(units, [unit])) - whole for unit in units[first:last]]
        return [(float(first + i), float(np.mean(added[:i]))) for i in range(1, len(added) + 1)]


def _without(run: trained.Trained, units: Sequence[str]) -> Callable[[np.ndarray], float]:
    """Returns (booleans [number of units]) → test error without those that are true."""
    model = lesioned(run.model, units)
    apply = jax.jit(lambda images, removed: model.apply(run.variables, images, removed=removed))
    return lambda removed: _error(apply(run.images, jnp.asarray(removed)), run.labels)


def permutation(config: RunConfig, directory: Path, *, most: int = 4) -> Curve:
    """Test error that is added when pairs of units change places after training.

    Units are those that `lesion` removes; a pair has arrays of equal shapes. Of each number of
    exchanges, 0, 1, 2, 4 up to `most`, one after another, `DRAWS` are drawn and their errors
    averaged.

    Raises:
      UserError: if no two units have arrays of equal shapes.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        units = removable(run.model, run.images.shape[1:], keeping_shape=True)
        pairs = _exchangeable(run.variables, units)
        if not pairs:
            raise UserError("no two units have arrays of equal shapes: nothing can be exchanged")
        draw = np.random.default_rng(config.seed)
        apply = jax.jit(run.model.apply)

        def error(count: int) -> float:
            variables = run.variables
            for number in draw.choice(len(pairs), count):
                variables = _exchanged(variables, *pairs[number])
            return _error(apply(variables, run.images), run.labels)

        whole = error(0)
        counts = sorted({*(2**i for i in range(10) if 2**i < most), most})
        means = (np.mean([error(count) for _ in range(DRAWS)]) for count in counts)
        added = [(float(n), float(mean - whole)) for n, mean in zip(counts, means, strict=True)]
        return [(0.0, 0.0), *added]


def _exchangeable(variables: Any, units: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the pairs of units whose arrays have the same names and shapes."""
    shapes = {unit: jax.tree.map(np.shape, _arrays(variables, unit)) for unit in units}
    return [
        (one, other)
        for one, other in itertools.combinations(units, 2)
        if shapes[one] == shapes[other]
    ]


def _arrays(variables: Any, unit: str) -> dict[str, Any]:
    """Returns a unit's arrays, by collection and name within it."""
    found = {}
    for name, leaf in traverse_util.flatten_dict(variables, sep="/").items():
        collection, _, path = name.partition("/")
        if path.startswith(f"{unit}/"):
            found[f"{collection}/{path.removeprefix(f'{unit}/')}"] = leaf
    return found


def _exchanged(variables: Any, first: str, second: str) -> dict[str, Any]:
    """Returns variables in which two units have each other's arrays."""
    flat = dict(traverse_util.flatten_dict(variables, sep="/"))
    arrays = {unit: _arrays(variables, unit) for unit in (first, second)}
    for unit, other in ((first, second), (second, first)):
        for name, leaf in arrays[other].items():
            collection, _, rest = name.partition("/")
            flat[f"{collection}/{unit}/{rest}"] = leaf
    return traverse_util.unflatten_dict(flat, sep="/")


def noise(config: RunConfig, directory: Path, *, most: float = 40.0) -> Curve:
    """Share of the right answers that noise makes wrong: of 0, a quarter, a half, … of `most`.

    Noise is normal; `most` is a standard deviation, of 255. All networks of a seed get the same.
    """
    with set_precision(config):
        run = trained.read(config, directory)
        apply = jax.jit(run.model.apply)
        draw = np.random.default_rng(config.seed).standard_normal(run.pixels.shape, np.float32)

        def answers(deviation: float) -> np.ndarray:
            noisy = np.clip(np.rint(run.pixels + deviation * draw), 0, 255).astype(np.uint8)
            logits: Any = apply(run.variables, run.normalize(jnp.asarray(noisy)))
            return np.argmax(logits, -1)

        right = answers(0) == run.labels
        levels = [most * part / 4 for part in range(5)]
        wrong = (answers(level)[right] != run.labels[right] for level in levels)
        return [(level, float(np.mean(one))) for level, one in zip(levels, wrong, strict=True)]


def _error(logits: Any, labels: np.ndarray) -> float:
    return float(np.mean(np.argmax(logits, -1) != labels))

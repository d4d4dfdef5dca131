"""Writes an evaluation report: accuracy by class, confusion matrix, calibration.

Files of a report:
  report.json       the means, and the networks and data evaluated
  per_class.csv     examples, hits and accuracy of each class
  confusion.csv     examples by true class (rows) and predicted class (columns); confusion.png
  calibration.csv   examples, accuracy and mean confidence by bins of the confidence
  predictions.csv   index, label, prediction and confidence of each example
"""

import csv
import io
import json
import logging
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.figures import style
from jaxcnn.figures.charts.confusion import confusion_matrix
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import csv_cell, read_text
from jaxcnn.training.metrics import top_k_hits

SUMMARY = "report.json"
BINS = 15  # for the calibration error, as in the paper

_log = logging.getLogger("jaxcnn")


class Predictions(NamedTuple):
    """Predictions for the readable examples of a split.

    Attributes:
      indices: int [n], indices in the split, ascending.
      labels: int [n].
      log_probabilities: float32 [n, K].
      losses: [n], main term of the objective, or None if undefined, for example in an ensemble.
    """

    indices: np.ndarray
    labels: np.ndarray
    log_probabilities: np.ndarray
    losses: np.ndarray | None = None


class Calibration(NamedTuple):
    """Statistics of examples by confidence, each an array [BINS]; empty bins have zeros.

    Attributes:
      examples: number of examples.
      accuracy: share of correct predictions.
      confidence: mean probability of the predicted class.
    """

    examples: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: Σ examples/n · |accuracy - confidence|."""
        gaps = self.examples * np.abs(self.accuracy - self.confidence)
        return float(gaps.sum() / self.examples.sum())


def average(members: Sequence[Predictions]) -> Predictions:
    """Returns the mean of the probabilities of several networks on the same examples.

    Raises:
      UserError: if the examples or their labels are not the same.
    """
    first = members[0]
    total = first.log_probabilities.astype(np.float64)
    for member in members[1:]:
        if (
            not np.array_equal(member.indices, first.indices)
            or not np.array_equal(member.labels, first.labels)
            or member.log_probabilities.shape != total.shape
        ):
            raise UserError(
                "the members of an ensemble must see the same examples, and the data of these runs"
                " differ: give runs on one data set"
            )
        np.logaddexp(total, member.log_probabilities, out=total)
    total -= math.log(len(members))
    return first._replace(log_probabilities=total.astype(np.float32), losses=None)


def means(predictions: Predictions) -> dict[str, float]:
    """Returns `loss` if there is one, `nll` (nats), `top1`, `top5` (fractions) and `ece`."""
    losses = predictions.losses
    main = {} if losses is None else {"loss": float(losses.mean(dtype=np.float64))}
    return main | {
        "nll": float(nll(predictions).mean(dtype=np.float64)),
        "top1": float(hits(predictions, 1).mean()),
        "top5": float(hits(predictions, 5).mean()),
        "ece": calibration(predictions).error,
    }


def hits(predictions: Predictions, k: int = 1) -> np.ndarray:
    """Returns whether the label is among the k likeliest classes, bool [n]."""
    scores, labels = jnp.asarray(predictions.log_probabilities), jnp.asarray(predictions.labels)
    return np.asarray(top_k_hits(scores, labels, k))


def nll(predictions: Predictions) -> np.ndarray:
    """Returns the cross entropy of each example in nats, float32 [n]."""
    own = np.take_along_axis(predictions.log_probabilities, predictions.labels[:, None], axis=1)
    return -own[:, 0]


def calibration(predictions: Predictions, bins: int = BINS) -> Calibration:
    """Sorts examples into bins of equal width by the probability of the predicted class.

    Bin m of M holds confidences in ((m - 1)/M, m/M]. Guo et al., "On Calibration of Modern Neural
    Networks", 2017, arXiv 1706.04599, §2, eqs. 2 to 5.
    """
    predicted, confidence = likeliest(predictions)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    least_one = np.maximum(count, 1)
    hits = np.bincount(place, predicted == predictions.labels, bins)
    return Calibration(count, hits / least_one, np.bincount(place, confidence, bins) / least_one)


def likeliest(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Returns the likeliest class, int [n], and its probability, float64 [n]."""
    scores = predictions.log_probabilities
    predicted = np.argmax(scores, axis=1)
    best = np.take_along_axis(scores, predicted[:, None], axis=1)[:, 0]
    return predicted, np.exp(best.astype(np.float64))


def confusion(predictions: Predictions) -> np.ndarray:
    """Returns counts, int [K, K], by true class (rows) and predicted class (columns)."""
    classes = predictions.log_probabilities.shape[1]
    predicted, _ = likeliest(predictions)
    pairs = predictions.labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def write(
    folder: Path, predictions: Predictions, class_names: Sequence[str], facts: dict[str, Any]
) -> None:
    """Writes the files of a report, each whole or not at all, report.json first.

    Without matplotlib the figure is omitted and a message is logged.

    Args:
      folder: an existing folder.
      predictions: predictions for the whole split.
      class_names: one name per label.
      facts: JSON for report.json, beside the means.

    Raises:
      UserError: if scores are not finite, or a file cannot be written.
    """
    check_finite(predictions)
    counts, bins = confusion(predictions), calibration(predictions)
    if not folder.is_dir():
        raise UserError(f"cannot write the report to {folder}: no such folder")
    found = means(predictions)
    summary = facts | {"num_examples": len(predictions.indices)} | found
    try:
        with whole_file(folder / SUMMARY) as file:
            file.write((json.dumps(summary, indent=2) + "\n").encode())
        _write_tables(folder, predictions, class_names, counts, bins)
        title = [str(member.get("weights", "")) for member in facts.get("members", [])]
        title.append(f"{facts.get('split', '')} top1 {found['top1']:.2%}".strip())
        if style.available():
            drawn = confusion_matrix(counts, class_names, title, "per_class.csv")
            style.save(drawn, folder / "confusion.png")
        else:
            _log.warning(
                "confusion.csv comes without its figure, which needs matplotlib:"
                " pip install 'jaxcnn[plots]'"
            )
    except OSError as error:
        raise UserError(f"cannot write the report to {folder}: {error.strerror}") from None


def check_finite(predictions: Predictions) -> None:
    """Refuses predictions with scores that are not finite.

    Raises:
      UserError: if scores are not finite.
    """
    bad = ~np.isfinite(predictions.log_probabilities).all(axis=1)
    if bad.any():
        raise UserError(
            f"the scores of {bad.sum()} of {len(bad)} examples are not finite, the first of them at"
            f" index {predictions.indices[bad][0]}: there is nothing to report of this network"
        )


def belongs_to(folder: Path, weights: Sequence[str], split: str) -> bool:
    """Returns whether a folder has a report of the same networks on the same split.

    Args:
      folder: any folder.
      weights: `weights` of the report's members.
      split: name of the split in report.json.
    """
    try:
        facts = json.loads(read_text(folder / SUMMARY))
        kept = [os.path.abspath(member["weights"]) for member in facts["members"]]
        return kept == list(map(os.path.abspath, weights)) and facts["split"] == split
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _write_tables(
    folder: Path,
    predictions: Predictions,
    names: Sequence[str],
    counts: np.ndarray,
    bins: Calibration,
) -> None:
    def table(name: str, head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
        with whole_file(folder / name) as file:
            stream = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
            writer = csv.writer(stream)
            writer.writerow(map(csv_cell, head))
            writer.writerows(map(csv_cell, row) for row in rows)
            stream.detach()

    totals, hits = counts.sum(axis=1), counts.diagonal()
    table(
        "per_class.csv",
        ("class", "name", "examples", "correct", "accuracy"),
        (
            (label, name, total, hit, f"{hit / total:.6f}" if total else "")
            for label, (name, total, hit) in enumerate(zip(names, totals, hits, strict=True))
        ),
    )
    table(
        "confusion.csv",
        ("true \\ predicted", *names),
        ((name, *row) for name, row in zip(names, counts.tolist(), strict=True)),
    )
    table(
        "calibration.csv",
        ("from", "to", "examples", "accuracy", "confidence"),
        (
            (f"{m / BINS:.6f}", f"{(m + 1) / BINS:.6f}", n, f"{accuracy:.6f}", f"{mean:.6f}")
            for m, (n, accuracy, mean) in enumerate(zip(*bins, strict=True))
        ),
    )
    predicted, confidence = likeliest(predictions)
    rows = zip(predictions.indices, predictions.labels, predicted, confidence, strict=True)
    table(
        "predictions.csv",
        ("index", "label", "prediction", "confidence"),
        ((index, label, guess, f"{p:.6f}") for index, label, guess, p in rows),
    )

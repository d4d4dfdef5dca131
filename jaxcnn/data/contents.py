"""Describes the content of a data set, so that a run continues only with the same data."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_SIZES = 60_000  # files whose size is read, evenly spaced
NAMED = 3  # differences listed in a message


def of_files(
    folder: bytes, files: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Returns the number of files of each class, and a digest of their names and sizes; JSON.

    Args:
      folder: folder of the names.
      files: file names, bytes [n].
      labels: int [n].
      class_names: one name per label.
    """
    digest = hashlib.sha256()
    for name in files:
        digest.update(bytes(name) + b"\0")
    for name in files[:: -(-len(files) // MOST_SIZES)]:
        try:
            size = os.stat(os.path.join(folder, bytes(name))).st_size
        except OSError:  # reported when the file is read
            size = -1
        digest.update(f"{size}\0".encode())
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    parts = {name: count for name, count in zip(class_names, counts, strict=True) if count}
    return {"parts": parts, "sha256": digest.hexdigest()}


def of_arrays(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns the number of examples of each class, and a digest of all arrays; JSON.

    Args:
      images: uint8 [n, H, W, C].
      labels: int [n].
      class_names: one name per label.
    """
    digest = hashlib.sha256(f"{images.shape}".encode())
    for array in (images, labels):
        digest.update(np.ascontiguousarray(array))
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return {"parts": dict(zip(class_names, counts, strict=True)), "sha256": digest.hexdigest()}


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns the differences between two descriptions of a data set, in words.

    Args:
      before: split → contents.
      now: the same for the present data.
    """
    found = []
    for split in sorted(before.keys() | now.keys()):
        there, here = (dict(data.get(split) or {"parts": {}}) for data in (before, now))
        parts = [data.pop("parts", {}) for data in (there, here)]
        names = [
            name for name in {**parts[0], **parts[1]} if parts[0].get(name) != parts[1].get(name)
        ]
        changed = [
            f"{name} {parts[0].get(name, 0):,} → {parts[1].get(name, 0):,} examples"
            for name in names[:NAMED]
        ]
        if len(names) > NAMED:
            changed.append(f"and {len(names) - NAMED} more")
        if not names and there != here:
            versions = [data.get("version") for data in (there, here)]
            changed = [
                "other files, as many as before"
                if versions[0] == versions[1]
                else f"version {versions[0]} → {versions[1]}"
            ]
        if changed:
            found.append(f"{split}: {', '.join(changed)}")
    return found

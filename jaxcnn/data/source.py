"""Says what the images of a split are made of, so that decoded ones are found again."""

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Source:
    """What the images of a split are made of, if that is the same in every epoch.

    Attributes:
      files: returns name → path of all files that are read, in a fixed order.
      made: which examples they hold, and how their pixels are made.
    """

    files: Callable[[], dict[str, str]]
    made: str

    def subset(self, positions: np.ndarray) -> "Source":
        """Returns the source of the examples at `positions`, int [m]."""
        digest = hashlib.sha256(positions.astype("<i8")).hexdigest()
        return Source(self.files, f"{self.made} at {digest}")

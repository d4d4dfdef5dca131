"""Images to look at: files, or the data set of a run."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxcnn.config import build_data
from jaxcnn.config.schema import changed
from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.data.images.decode import IMAGE_BYTES
from jaxcnn.data.images.files import find_images, say_problems
from jaxcnn.errors import UserError, printable, reason
from jaxcnn.inspection.subject import Subject
from jaxcnn.io.safe_files import read_bytes


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Images that are read one at a time.

    Attributes:
      count: how many there are; they are numbered from 0.
      name: number → the file, or the split and the number.
      truth: number → name of the true class, "" where it is not known.
      read: number → uint8 [H, W, C], of the network's size. It raises `UnreadableImageError`.
      problems: name and reason of what could not be read, filled in as images are read.
      missing: how many paths led to no image; their reasons are the first of `problems`.
    """

    count: int
    name: Callable[[int], str]
    truth: Callable[[int], str]
    read: Callable[[int], np.ndarray]
    problems: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    missing: int = 0

    def say_problems(self) -> None:
        """Logs a warning about what could not be read; see `files.say_problems`."""
        say_problems(self.problems, self.count + self.missing)

    def take(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns those of some images that can be read: int [n] numbers, uint8 [n, H, W, C].

        Raises:
          UserError: if not one can be read.
        """
        kept, pixels = [], []
        for number in numbers:
            try:
                pixels.append(self.read(int(number)))
                kept.append(int(number))
            except UnreadableImageError as error:
                problem = (self.name(int(number)), str(error))
                if problem not in self.problems:
                    self.problems.append(problem)
        if not kept:
            named = ", ".join(f"{name} ({why})" for name, why in self.problems[:3])
            raise UserError(f"not one of {len(numbers)} images can be read: {named}")
        return np.array(kept), np.stack(pixels)

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields all images that can be read: int [n] numbers, uint8 [size, H, W, C].

        All batches have one size, so that a program is compiled once: rows from n on repeat the
        first one.
        """
        for begin in range(0, self.count, size):
            try:
                numbers, pixels = self.take(range(begin, min(begin + size, self.count)))
            except UserError:  # the reasons are in `problems`
                continue
            padded = np.concatenate([pixels, np.repeat(pixels[:1], size - len(pixels), axis=0)])
            yield numbers, padded


def of_files(subject: Subject, paths: Sequence[Path]) -> Images:
    """Returns image files, and those below folders.

    The name of the folder of a file is its true class if the network has a class of that name.

    Raises:
      UserError: if no path leads to a file.
    """
    files, problems = find_images(paths)
    cropper = subject.network.cropper
    known = set(subject.network.class_names)

    def read(number: int) -> np.ndarray:
        file = files[number]
        try:
            return cropper(read_bytes(file, IMAGE_BYTES), None, str(file))
        except OSError as error:
            raise UnreadableImageError(reason(error)) from error

    def truth(number: int) -> str:
        folder = files[number].resolve().parent.name
        return folder if folder in known else ""

    return Images(
        len(files),
        lambda number: printable(files[number]),
        truth,
        read,
        list(problems),
        len(problems),
    )


def of_split(subject: Subject, split: str) -> Images:
    """Returns a split of the data set of a run, cropped as in evaluation.

    Raises:
      UserError: if the data are not there, or the network is not of a run.
    """
    if subject.workdir is None:
        raise UserError("--split names images of a run's data: give its --workdir, or image files")
    size = build_data.eval_size(subject.config)
    fields = {"data.image_size": size, "data.labelled": 0}
    dataset = build_data.load_data(changed(subject.config, fields), split)

    def read(number: int) -> np.ndarray:
        if dataset.images is not None:
            return dataset.images[number]
        return dataset.read(number, None)[0]

    def truth(number: int) -> str:
        if dataset.labels is not None:
            return dataset.class_names[dataset.labels[number]]
        return dataset.class_names[dataset.label_of(number)] if dataset.label_of else ""

    return Images(dataset.num_examples, lambda number: f"{split}:{number}", truth, read)

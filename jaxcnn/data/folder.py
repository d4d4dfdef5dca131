"""Image files in one folder per class: DIR/train/<class>/*.jpg and DIR/test/<class>/*.jpg."""

import os
from pathlib import Path

import numpy as np

from jaxcnn.data.crops import Cropper, WholeImage
from jaxcnn.data.source import DataSource, Example, UnreadableImageError, split_holdout
from jaxcnn.errors import MissingSplitError, UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
VALIDATION_FOLDERS = ("val", "validation", "valid")
# The first one found is the test split; the second, beside it, the validation split.
TEST_FOLDERS = ("test", *VALIDATION_FOLDERS)
LAYOUT = "wanted: DIR/train/<class>/*.jpg and DIR/test/<class>/*.jpg (or val; png and webp too)"


def load_folder(
    split: str, *, dir: str, cropper: Cropper | WholeImage, holdout: int = 0
) -> DataSource:
    """Returns the images below `dir`, decoded when they are asked for.

    The classes are the sorted folders of DIR/train; a test folder may lack some of them. Hidden
    files and files with other endings than .jpg, .jpeg, .png, .webp are passed over.

    Args:
      split: "train", "validation" (DIR/val beside DIR/test, or the part held out of training) or
        "test".
      dir: the folder that holds `train`.
      cropper: decodes one file to uint8 [size, size, channels].
      holdout: training examples that become the validation split, the classes in proportion; not
        where there is a folder for it.

    Raises:
      UserError: a folder that is missing or empty, a single class, a test class that training
        does not know, or a holdout that does not fit.
    """
    if not dir:
        raise UserError(f"data of kind 'folder' needs dir; {LAYOUT}")
    root = Path(dir).expanduser()
    if not root.is_dir():
        raise UserError(f"no folder {root}; {LAYOUT}")
    train = root / "train"
    if not train.is_dir():
        raise UserError(f"no folder {train}; {LAYOUT}")
    class_names = subfolders(train)
    if len(class_names) < 2:
        raise UserError(
            f"{train} holds {len(class_names)} class folders, not two or more; {LAYOUT}"
        )
    own = validation_folder(root)
    if own is not None and holdout:
        raise UserError(
            f"data.holdout={holdout}: {own} is the validation split; set --config.data.holdout=0,"
            " or rename that folder"
        )
    part = _test_folder(root) if split == "test" else train
    if split == "validation" and own is not None:
        part = own
    unknown = sorted(set(subfolders(part)) - set(class_names))
    if unknown:
        raise UserError(
            f"{part} has a class that {train} lacks: {unknown[0]!r} ({len(unknown)} such in all);"
            " rename or remove it"
        )
    files, labels = list_images(part, class_names)
    if not len(files):
        raise UserError(f"no image ({', '.join(SUFFIXES)}) below {part}; {LAYOUT}")
    if part == train and len(np.unique(labels)) < len(class_names):
        empty = class_names[int(np.setdiff1d(np.arange(len(class_names)), labels)[0])]
        raise UserError(f"no image in class folder {train / empty}; fill or remove it")

    base = os.fsencode(part)

    def describe(index: int) -> str:
        return os.fsdecode(os.path.join(base, bytes(files[index])))

    def read(index: int, rng: np.random.Generator | None) -> Example:
        path = describe(index)
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from error
        return cropper(data, rng, path), int(labels[index])

    source = DataSource(
        name=str(root),
        split=split,
        num_examples=len(files),
        num_classes=len(class_names),
        image_shape=(cropper.size, cropper.size, cropper.channels),
        class_names=class_names,
        describe=describe,
        read=read,
        label_of=lambda index: int(labels[index]),
    )
    if part != train:
        return source
    return split_holdout(source, split, holdout, labels=labels)


def validation_folder(root: Path) -> Path | None:
    """Returns the folder of the validation split, if there is one beside that of the test split."""
    if not (root / TEST_FOLDERS[0]).is_dir():
        return None
    return next((root / name for name in VALIDATION_FOLDERS if (root / name).is_dir()), None)


def _test_folder(root: Path) -> Path:
    for name in TEST_FOLDERS:
        if (root / name).is_dir():
            return root / name
    raise MissingSplitError(
        f"no test split in {root}: looked for {', '.join(TEST_FOLDERS)}. Add one; or hold a part of"
        " the training images out, with --config.data.holdout=N, and use --split=validation"
    )


def subfolders(folder: Path) -> tuple[str, ...]:
    """Returns the names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))


def list_images(folder: Path, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns file names relative to `folder` (bytes [n]) and labels (int32 [n])."""
    files: list[bytes] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        if not (folder / class_name).is_dir():
            continue
        with os.scandir(folder / class_name) as entries:
            names = sorted(
                e.name
                for e in entries
                if e.name.lower().endswith(SUFFIXES) and not e.name.startswith(".")
            )
        files += [os.fsencode(os.path.join(class_name, name)) for name in names]
        labels += [label] * len(names)
    # Fixed-width bytes instead of a list of str: a million names cost 50 MB and not 150, in this
    # process and again in every worker.
    return np.array(files, dtype=np.bytes_), np.array(labels, dtype=np.int32)

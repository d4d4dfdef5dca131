"""Image files in one folder per class: DIR/train/<class>/*.jpg and DIR/test/<class>/*.jpg.

With DIR/<class>/*.jpg alone, the examples held out by `holdout` are the test split.
"""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from jaxcnn.data import contents
from jaxcnn.data.dataset import Dataset, Example, UnreadableImageError, split_holdout
from jaxcnn.data.images import listing
from jaxcnn.data.images.decode import IMAGE_BYTES, READ
from jaxcnn.data.images.transforms import Cropper, WholeImage, source
from jaxcnn.errors import MissingSplitError, UserError
from jaxcnn.io import paths
from jaxcnn.io.safe_files import read_bytes

VALIDATION_FOLDERS = ("val", "validation", "valid")
# The first folder found is the test split; a second one beside it is the validation split.
TEST_FOLDERS = ("test", *VALIDATION_FOLDERS)
# Folder names, in any case, that mean splits and not classes.
SPLIT_FOLDERS = {"train", "training", "testing", *TEST_FOLDERS}
LAYOUT = (
    "wanted: DIR/train/<class>/*.jpg and DIR/test/<class>/*.jpg (or val), or DIR/<class>/*.jpg with"
    f" --config.data.holdout=N; {READ} are read"
)


def load_folder(
    split: str, *, dir: str, cropper: Cropper | WholeImage, holdout: int = 0
) -> Dataset:
    """Returns the images below `dir`, decoded when they are read.

    The classes are the sorted folders of DIR/train, or of DIR if it has no folders for splits. A
    test folder may lack some classes. `listing` decides which files are images.

    Args:
      split: "train", "validation" (DIR/val beside DIR/test, or held out of training) or "test".
      dir: the folder that holds `train`, or the class folders.
      cropper: decodes one file to uint8 [size, size, channels].
      holdout: number of training examples for the validation split, stratified by class, if it has
        no folder. In a folder without splits they are the test split.

    Raises:
      UserError: if a folder is missing or empty, there is only one class, a class name is not one
        line of text, a test class is missing in training, or the holdout does not fit.
    """
    root, train, class_names = _open(dir)
    part = _part(root, train, split, holdout)
    _check_classes(part, train, class_names)
    files, labels = list_classes(part, class_names)
    if not len(files):
        raise UserError(f"no image below {part}; {LAYOUT}")
    if part == train and len(np.unique(labels)) < len(class_names):
        empty = class_names[int(np.setdiff1d(np.arange(len(class_names)), labels)[0])]
        raise UserError(f"no image in class folder {train / empty}; fill or remove it")

    base = os.fsencode(part)

    def describe(index: int) -> str:
        return os.fsdecode(os.path.join(base, bytes(files[index])))

    def read(index: int, rng: np.random.Generator | None) -> Example:
        path = describe(index)
        try:
            data = read_bytes(path, IMAGE_BYTES)
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from error
        return cropper(data, rng, path), int(labels[index])

    def named() -> dict[str, str]:
        return {os.fsdecode(bytes(files[index])): describe(index) for index in range(len(files))}

    dataset = Dataset(
        name=str(root),
        split=split,
        num_examples=len(files),
        num_classes=len(class_names),
        image_shape=(cropper.size, cropper.size, cropper.channels),
        class_names=class_names,
        describe=describe,
        file_name=lambda index: os.path.basename(describe(index)),
        read=read,
        label_of=lambda index: int(labels[index]),
        contents=lambda: contents.of_files(base, files, labels, class_names),
        source=source(cropper, split, "folder", named),
    )
    if part != train:
        return dataset
    if split == "test" and not holdout:
        part_of_all = max(len(files) // 5, len(class_names))
        raise MissingSplitError(
            f"{root} has a folder for each class and none for the test split: hold out a part of"
            f" its {len(files):,} images, for example --config.data.holdout={part_of_all}; or make"
            " DIR/train/<class> and DIR/test/<class>"
        )
    return split_holdout(dataset, split, holdout, labels=labels)


def _open(dir: str) -> tuple[Path, Path, tuple[str, ...]]:
    """Returns the root, the folder of the classes, and the class names.

    Raises:
      UserError: see `load_folder`.
    """
    if not dir:
        raise UserError(f"data of kind 'folder' needs data.dir; {LAYOUT}")
    root = Path(paths.expand(dir))
    if not root.is_dir():
        raise UserError(f"no folder {root}; {LAYOUT}")
    train = root if is_flat(root) else root / "train"
    if not train.is_dir():
        raise UserError(f"no folder {train}; {LAYOUT}")
    class_names = listing.subfolders(train)
    if len(class_names) < 2:
        raise UserError(
            f"{train} holds {len(class_names)} class folders, not two or more; {LAYOUT}"
        )
    listing.check_class_names(train, class_names)
    return root, train, class_names


def is_flat(root: Path) -> bool:
    """Returns whether a folder contains class folders and no folders for splits.

    Raises:
      UserError: if the folder cannot be listed.
    """
    names = listing.subfolders(root)
    return bool(names) and not any(name.lower() in SPLIT_FOLDERS for name in names)


def _part(root: Path, train: Path, split: str, holdout: int) -> Path:
    """Returns the folder of a split; the training folder if the split is held out of it.

    Raises:
      UserError: if the folder lacks the split, or has two validation splits.
    """
    if train == root:
        if split == "validation":
            raise UserError(
                f"{root} has no validation split: the images that data.holdout holds out of a"
                " folder of class folders are its test split"
            )
        return root
    own = validation_folder(root)
    if own is not None and holdout:
        raise UserError(
            f"data.holdout={holdout}: {own} is the validation split; set --config.data.holdout=0,"
            " or rename that folder"
        )
    if split == "validation" and own is not None:
        return own
    return _test_folder(root) if split == "test" else train


def _check_classes(part: Path, train: Path, class_names: tuple[str, ...]) -> None:
    """Raises `UserError` if a split has a class that training does not have."""
    unknown = sorted(set(listing.subfolders(part)) - set(class_names))
    if unknown:
        raise UserError(
            f"{part} has a class that {train} lacks: {unknown[0]!r} ({len(unknown)} such in all);"
            " rename or remove it"
        )


def has_validation(dir: str, holdout: int) -> bool:
    """Returns whether a validation split exists, as a folder or held out of training."""
    root = Path(paths.expand(dir))
    if not root.is_dir():  # `load_folder` reports it
        return bool(holdout)
    return validation_folder(root) is not None or (bool(holdout) and not is_flat(root))


def validation_folder(root: Path) -> Path | None:
    """Returns the validation folder beside the test folder, if there is one."""
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


def list_classes(folder: Path, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns file names relative to `folder` (bytes [n]) and labels (int32 [n]).

    It logs which files are left out.

    Raises:
      UserError: see `listing.list_images`.
    """
    files: list[bytes] = []
    labels: list[int] = []
    left_out: Counter[str] = Counter()
    special: list[str] = []
    for entry in listing.scan(folder):
        if (kind := listing.kind_of_entry(entry)) != "folder":
            left_out["in no class folder" if kind == "image" else kind] += 1
    for label, class_name in enumerate(class_names):
        if not (folder / class_name).is_dir():
            continue
        found = listing.list_images(folder / class_name)
        files += [os.fsencode(os.path.join(class_name, name)) for name in found.files]
        labels += [label] * len(found.files)
        left_out += found.left_out
        special += [os.path.join(class_name, line) for line in found.special]
    listing.say_left_out(folder, left_out, special)
    # Fixed-width bytes instead of a list of str: a million names take 50 MB instead of 150, here
    # and in every worker.
    return np.array(files, dtype=np.bytes_), np.array(labels, dtype=np.int32)

"""Original files of a few examples, in their exact formats; what has been prepared, read back."""

import gc
import gzip
import io
import struct
import tarfile
import types

import numpy as np
import PIL.Image
import pytest
import scipy.io

CIFAR10_NAMES = [f"thing{number}" for number in range(10)]
COARSE_NAMES = [f"group{number}" for number in range(20)]
FINE_NAMES = [f"kind{number}" for number in range(100)]


def idx(array):
    """As MNIST's files: 0, 0, 8 for bytes, dimensions, big-endian sizes, values."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def mnist(folder, counts=(12, 5), *, seed=0, compress=True, labels=None):
    """Writes the four files; returns {split: (images, labels)}."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truth = {}
    for (split, prefix), count in zip(
        {"train": "train", "test": "t10k"}.items(), counts, strict=True
    ):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        numbers = rng.integers(0, 10, count, dtype=np.uint8)
        if labels is not None and split == "train":
            numbers[: len(labels)] = labels
        truth[split] = images[..., None], numbers
        for kind, array in [("images-idx3", images), ("labels-idx1", numbers)]:
            data = idx(array)
            name = f"{prefix}-{kind}-ubyte"
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / name).write_bytes(data)
    return truth


def tar(path, files, mode="w:gz"):
    """Writes (name, bytes) pairs to an archive."""
    with tarfile.open(path, mode, format=tarfile.GNU_FORMAT) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def cifar(path, name, *, per_file=3, seed=0, extra=()):
    """Writes the binary archive; returns {split: (images, {label: numbers})}."""
    rng = np.random.default_rng(seed)
    if name == "cifar10":
        prefix, labels = "cifar-10-batches-bin/", {"label": 10}
        splits = {"train": [f"data_batch_{n}.bin" for n in range(1, 6)], "test": ["test_batch.bin"]}
        names = {"batches.meta.txt": CIFAR10_NAMES}
    else:
        prefix, labels = "cifar-100-binary/", {"coarse_label": 20, "label": 100}
        splits = {"train": ["train.bin"], "test": ["test.bin"]}
        names = {"coarse_label_names.txt": COARSE_NAMES, "fine_label_names.txt": FINE_NAMES}
    files = [(prefix + file, "\n".join(lines).encode() + b"\n\n") for file, lines in names.items()]
    truth = {}
    for split, parts in splits.items():
        count = per_file * len(parts)
        images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        numbers = {key: rng.integers(0, n, count, dtype=np.uint8) for key, n in labels.items()}
        truth[split] = images, numbers
        records = [
            bytes([numbers[key][i] for key in labels]) + images[i].transpose(2, 0, 1).tobytes()
            for i in range(count)
        ]
        for number, part in enumerate(parts):
            rows = records[number * per_file : (number + 1) * per_file]
            files.append((prefix + part, b"".join(rows)))
    tar(path, [*files, *extra])
    return truth


def svhn(folder, counts=(7, 4, 5), seed=0):
    """Writes the MATLAB files; returns {split: (images, labels of the file)}."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truth = {}
    for split, count in zip(("train", "test", "extra"), counts, strict=True):
        images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        labels = np.resize(np.arange(10, 0, -1, dtype=np.uint8), count)
        truth[split] = images, labels
        scipy.io.savemat(
            folder / f"{split}_32x32.mat",
            {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]},
            do_compression=True,
        )
    return truth


def photo(seed, mode="RGB", image_format="JPEG", size=(40, 30)):
    """Returns an encoded image."""
    rng = np.random.default_rng(seed)
    small = PIL.Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    stream = io.BytesIO()
    small.resize(size).convert(mode).save(stream, image_format)
    return stream.getvalue()


@pytest.fixture(scope="session")
def originals():
    functions = (idx, mnist, tar, cifar, svhn, photo)
    return types.SimpleNamespace(**{function.__name__: function for function in functions})


@pytest.fixture(scope="session")
def stock():
    """Reads a split as TFDS alone does: a list of records."""
    gc.collect()  # see test_tfds
    import tensorflow_datasets as tfds

    def read(folder, split):
        return list(tfds.builder_from_directory(str(folder)).as_data_source(split))

    return read

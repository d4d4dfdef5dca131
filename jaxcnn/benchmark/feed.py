"""Measures the input pipeline: JPEGs read, decoded and cropped, beside one thread and torch."""

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.benchmark.report import Measured
from jaxcnn.benchmark.rounds import Contender
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.datasets.folder import load_folder
from jaxcnn.data.fields import BatchConfig
from jaxcnn.data.images.transforms import Cropper
from jaxcnn.data.pipeline import train_batches
from jaxcnn.errors import UserError

PHOTOS, WIDTH, HEIGHT, QUALITY = 64, 500, 375, 90  # ImageNet's usual size
UNTIMED = 6  # batches per core and turn, made by the first workers while the last ones start

# Starts making batches, more than a turn takes, and stops when it is closed.
Feed = Callable[[], contextlib.AbstractContextManager[Iterator[Any]]]


def write_photos(folder: Path, count: int) -> None:
    """Writes generated JPEGs of two classes, as detailed as photographs (118 KB).

    Args:
      folder: folder in which `train` is created, with one folder per class.
      count: number of files.
    """
    import PIL.Image

    generator = np.random.default_rng(0)
    across, down = np.fft.rfftfreq(WIDTH), np.fft.fftfreq(HEIGHT)
    # The spectrum of natural images decreases with the frequency.
    fall = 1 / np.maximum(np.hypot(across[None, :], down[:, None]), 1 / WIDTH)
    for number in range(count):
        noise = generator.normal(size=(3, HEIGHT, WIDTH))
        noise[1:] = noise[0] + 0.3 * noise[1:]  # colours correlate with brightness
        smooth = np.fft.irfft2(np.fft.rfft2(noise) * fall, (HEIGHT, WIDTH))
        smooth *= 55 / smooth.std(axis=(1, 2), keepdims=True)
        pixels = np.clip(smooth + 118, 0, 255).astype(np.uint8).transpose(1, 2, 0)
        path = folder / "train" / f"class{number % 2}" / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(path, quality=QUALITY)


def feeds(
    folder: Path, batch: int, size: int, cores: int, against: Sequence[str]
) -> dict[str, Feed]:
    """Returns the feeds by name: batches of uint8 crops of `size`², ours first.

    "one thread" reads, decodes and crops the same images without a pipeline.

    Args:
      folder: see `write_photos`.
      batch: number of images.
      size: side of the crops in pixels.
      cores: number of worker processes of each feed that has workers.
      against: with "torch" or "torchvision", torch's DataLoader is included.
    """
    dataset = load_folder("train", dir=str(folder), cropper=Cropper(size, train="random_resized"))
    found: dict[str, Feed] = {
        "jaxcnn, threads": lambda: _ours(dataset, batch, 0),
        f"jaxcnn, {cores} workers": lambda: _ours(dataset, batch, cores),
        "one thread": lambda: _alone(dataset, batch),
    }
    if {"torch", "torchvision"} & set(against):
        found[f"torch, {cores} workers"] = lambda: _torch(folder, batch, size, cores)
    return found


def _ours(dataset: Dataset, batch: int, workers: int) -> Any:
    batches = train_batches(
        dataset,
        BatchConfig(num_workers=workers),
        batch_size=batch,
        seed=0,
        start_step=0,
        num_steps=10**9,
    )
    return contextlib.closing(batches)


@contextlib.contextmanager
def _alone(dataset: Dataset, batch: int) -> Iterator[Iterator[Any]]:
    generator = np.random.default_rng(0)

    def batches() -> Iterator[Any]:
        numbers = itertools.cycle(range(dataset.num_examples))
        while True:
            yield np.stack(
                [dataset.read(number, generator)[0] for number in itertools.islice(numbers, batch)]
            )

    yield batches()


def check_torchvision() -> None:
    """Raises `UserError` if torchvision cannot be imported."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise UserError(f"torchvision cannot be imported: {error}; --against=none") from None


@contextlib.contextmanager
def _torch(folder: Path, batch: int, size: int, workers: int) -> Iterator[Iterator[Any]]:
    import torch
    from torchvision import datasets, transforms

    crop = transforms.Compose([transforms.RandomResizedCrop(size), transforms.PILToTensor()])
    images = datasets.ImageFolder(str(folder / "train"), crop)
    many = torch.utils.data.RandomSampler(images, replacement=True, num_samples=10**6)
    loader = torch.utils.data.DataLoader(images, batch, sampler=many, num_workers=workers)
    batches = (pixels.permute(0, 2, 3, 1).numpy() for pixels, _ in loader)
    try:
        yield batches
    finally:
        batches.close()  # ends its workers too


def measure(
    batch: int, size: int, cores: int, against: Sequence[str], rounds: int, seconds: float
) -> Measured:
    """Measures the throughput of each feed alone.

    Each is restarted for its turn, because batches read ahead while waiting would not be timed.

    Args:
      batch: number of images.
      size: side of the crops in pixels.
      cores: number of usable cores, and of worker processes of each feed that has workers.
      against: see `feeds`.
      rounds: number of turns of each feed.
      seconds: least length of a turn.
    """
    with tempfile.TemporaryDirectory(prefix="jaxcnn-benchmark-") as folder:
        write_photos(Path(folder), PHOTOS)
        found = feeds(Path(folder), batch, size, cores, against)
        times: dict[str, list[float]] = {name: [] for name in found}
        starts = dict.fromkeys(found, 0.0)
        for _ in range(rounds):
            for name, feed in found.items():
                began = time.perf_counter()
                with feed() as batches:
                    next(batches)  # the first batch
                    starts[name] = time.perf_counter() - began
                    for _ in range(UNTIMED * cores):
                        next(batches)
                    times[name].append(_seconds_per_batch(batches, seconds))
    shared = f"one thread x {cores}"  # all cores without any loss
    times[shared] = [once / cores for once in times["one thread"]]
    starts[shared] = 0.0
    contenders = [Contender(name, lambda steps: None, starts[name]) for name in times]
    return Measured(f"JPEG {WIDTH}x{HEIGHT} to {size}x{size}", batch, contenders, times)


def _seconds_per_batch(batches: Iterator[Any], seconds: float) -> float:
    began, count, passed = time.perf_counter(), 0, 0.0
    while not count or passed < seconds:
        next(batches)
        count, passed = count + 1, time.perf_counter() - began
    return passed / count

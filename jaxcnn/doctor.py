"""Lists the packages, devices and data sets found, with a fix for each that is broken.

  python -m jaxcnn.doctor
  python -m jaxcnn.doctor --clear-cache      # removes the decoded images that runs have kept

Touches no network, and otherwise changes nothing, but may make the empty cache folder. Exits with 0
unless what every run needs is broken.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxcnn.data import cache
from jaxcnn.data.datasets.tfds import PREPARED_HERE, READABLE, data_root
from jaxcnn.errors import EXIT_USAGE, UserError, printable
from jaxcnn.io.safe_files import read_json
from jaxcnn.run import cli

OK, OPTIONAL, BROKEN = "ok", "--", "BROKEN"

# Distribution and module of what pyproject.toml asks for; tests compare.
REQUIRED = {
    "jax": "jax",
    "jaxlib": "jaxlib",
    "flax": "flax",
    "optax": "optax",
    "orbax-checkpoint": "orbax.checkpoint",
    "chex": "chex",
    "ml_collections": "ml_collections",
    "absl-py": "absl",
    "tensorflow-datasets": "tensorflow_datasets",
    "importlib_resources": "importlib_resources",
    "flatbuffers": "flatbuffers",
    "grain": "grain",
    "cloudpickle": "cloudpickle",
    "numpy": "numpy",
    "scikit-learn": "sklearn",
    "pillow": "PIL",
    "rich": "rich",
}
# Extra, distribution, module, purpose.
EXTRAS = (
    ("tensorboard", "tensorboardX", "tensorboardX", "--config.log.tensorboard=True"),
    ("torch", "safetensors", "safetensors", "weight files of other libraries"),
    ("onnx", "onnx", "onnx", "jaxcnn.export to ONNX"),
    ("onnx", "onnxruntime", "onnxruntime", "jaxcnn.export to ONNX"),
    ("plots", "matplotlib", "matplotlib", "figures of ablations"),
)
WRONG_VALUES = {"jax": ("0.10.2",), "jaxlib": ("0.10.2",)}  # see pyproject.toml
SHARD = "{name}-{split}.array_record-{number:05}-of-{count:05}"


class Finding(NamedTuple):
    """One line: `OK`, `OPTIONAL` or `BROKEN`, the finding, and the fix if one is needed."""

    state: str
    text: str


def packages() -> Iterator[Finding]:
    """Yields findings about Python and each package that every run needs."""
    system = f"{platform.system()} {platform.machine()}"
    yield Finding(OK, f"Python {platform.python_version()}, {system}")
    for distribution, module in REQUIRED.items():
        yield package(distribution, module)


def package(distribution: str, module: str) -> Finding:
    """Returns the finding about a package that every run needs, after importing it."""
    again = f"pip install --upgrade --force-reinstall '{distribution}'"
    try:
        version = importlib.metadata.version(distribution)
        importlib.import_module(module)
    except importlib.metadata.PackageNotFoundError:
        return Finding(BROKEN, f"{distribution} is missing: pip install '{distribution}'")
    except Exception as error:  # whatever a half-installed package raises
        reason = " ".join(str(error).split()) or type(error).__name__
        return Finding(BROKEN, f"{distribution} {version} does not load ({reason}): {again}")
    if version in WRONG_VALUES.get(distribution, ()):
        fix = f"pip install '{distribution}!={version}'"
        return Finding(BROKEN, f"{distribution} {version} computes wrong values: {fix}")
    return Finding(OK, f"{distribution} {version}")


def extras() -> Iterator[Finding]:
    """Yields findings about the extras."""
    for extra, distribution, module, purpose in EXTRAS:
        if importlib.util.find_spec(module):
            yield Finding(OK, f"{distribution} {importlib.metadata.version(distribution)}")
        else:
            text = f"{distribution} is missing, for {purpose}: pip install 'jaxcnn[{extra}]'"
            yield Finding(OPTIONAL, text)


def devices(driver: Path = Path("/proc/driver/nvidia/version")) -> Iterator[Finding]:
    """Yields the devices that jax sees, and accelerators that it does not.

    Args:
      driver: exists where there is a driver for NVIDIA's GPUs.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxcnn.run import distributed

    try:
        found = distributed.devices()
        matrix = np.linspace(-1, 2, 64, dtype=np.float32).reshape(8, 8)
        rows = jax.jit(jax.vmap(lambda row: jnp.sum(jnp.asarray(matrix) @ row)))(matrix)
        right = np.allclose(rows, (matrix @ matrix.T).sum(0), rtol=1e-2, atol=1e-2)
    except Exception as error:  # the plugins have their own
        reason = " ".join(str(error).split())
        yield Finding(BROKEN, f"jax finds no device ({reason}): JAX_PLATFORMS=cpu runs without")
        return
    kinds = ", ".join(sorted({device.device_kind for device in found}))
    text = f"{len(found)} {found[0].platform} device{'s'[: len(found) > 1]}: {kinds}"
    yield Finding(
        OK if right else BROKEN,
        text if right else f"{text}: a product of matrices has wrong values",
    )
    if found[0].platform == "cpu" and driver.exists():
        yield Finding(OPTIONAL, "there is a GPU that jax does not use: pip install 'jaxcnn[cuda]'")


def data_sets(root: Path) -> Iterator[Finding]:
    """Yields the data sets of TFDS in a folder, and those that are not there.

    Args:
      root: see `jaxcnn.data.datasets.tfds.data_root`.
    """
    yield Finding(OK, "data digits, synthetic: always there")
    there = set()
    for file in sorted(root.glob("*/*/dataset_info.json")) + sorted(
        root.glob("*/*/*/dataset_info.json")
    ):
        if not any(part.startswith(".") for part in file.relative_to(root).parts):
            there.add(file.relative_to(root).parts[0])
            yield data_set(file.parent, root)
    for plan in sorted(root.glob("*/.*.incomplete/plan.json")):
        name = plan.parts[-3]
        text = f"data {name} is half prepared: the same command of jaxcnn.data.prepare continues"
        yield Finding(OPTIONAL, text)
    there |= {"svhn"} & {name.removesuffix("_cropped") for name in there}
    if missing := [name for name in PREPARED_HERE if name not in there]:
        command = f"python -m jaxcnn.data.prepare {missing[0]} --source=DIR --out={root}"
        yield Finding(OPTIONAL, f"data not in {root}: {', '.join(missing)}; {command}")


def data_set(folder: Path, root: Path) -> Finding:
    """Returns the finding about one data set: format, splits, and whether it is complete."""
    title = f"data {folder.relative_to(root)}"
    try:
        info = read_json(folder / "dataset_info.json")
        formats = {info.get("fileFormat", "tfrecord"), *info.get("alternativeFileFormats", [])}
        lengths = {split["name"]: split["shardLengths"] for split in info["splits"]}
        counts = ", ".join(f"{name} {sum(map(int, each)):,}" for name, each in lengths.items())
        shards = [
            SHARD.format(name=info["name"], split=split, number=number, count=len(each))
            for split, each in lengths.items()
            for number in range(len(each))
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Finding(OPTIONAL, f"{title} cannot be read ({error!r}): prepare it again")
    if not formats & set(READABLE):
        kind = ", ".join(sorted(formats))
        command = f"python -m jaxcnn.data.prepare convert --source={folder} --out=DIR"
        fix = command if "tfrecord" in formats else "prepare it as array_record"
        return Finding(OPTIONAL, f"{title} is {kind}, which is not read: {fix}")
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        text = f"{title} lacks {len(missing)} of {len(shards)} files, {missing[0]} for one"
        return Finding(OPTIONAL, f"{text}: remove the folder and prepare it again")
    return Finding(OK, f"{title}: array_record; {counts}")


def _below(data: str) -> Iterator[Finding]:
    try:
        yield from data_sets(data_root(data))
    except UserError as error:  # a user without a home folder
        yield Finding(OPTIONAL, f"data {error}, or set TFDS_DATA_DIR")


def kept_images(clear: bool) -> Iterator[Finding]:
    """Yields the decoded images in the cache folder, after removing them if `clear`."""
    root = cache.folder()
    if root is None:
        yield Finding(OPTIONAL, "no cache folder can be written: set XDG_CACHE_HOME to a folder")
        return
    found = cache.entries(root)
    size = sum(entry.size for entry in found)
    if not clear:
        titles = (
            f": {', '.join(entry.title for entry in reversed(found) if entry.title)}"
            if found
            else ""
        )
        fix = "; --clear-cache removes them" if found else ""
        yield Finding(OK, f"decoded images in {root}, {size / 1e6:,.0f} MB{titles}{fix}")
        return
    try:
        for entry in found:
            cache.remove(entry)
    except OSError as error:
        yield Finding(OPTIONAL, f"decoded images in {root} cannot be removed: {error.strerror}")
        return
    yield Finding(OK, f"removed {size / 1e6:,.0f} MB of decoded images from {root}")


def main(argv: Sequence[str]) -> int:
    """Prints the findings; returns the exit code.

    Raises:
      UserError: for a flag that does not exist.
    """
    parser = cli.Parser(
        prog="python -m jaxcnn.doctor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", default="", help="the folder of TFDS (see TFDS_DATA_DIR)")
    parser.add_argument(
        "--clear-cache", action="store_true", help="remove the decoded images that runs have kept"
    )
    flags = parser.parse_args(argv)
    broken = 0
    images = kept_images(flags.clear_cache)
    for findings in (packages(), extras(), devices(), _below(flags.data), images):
        for state, text in findings:
            print(f"{state:<7} {printable(text)}", flush=True)
            broken += state == BROKEN
    print(f"\n{broken} broken" if broken else "\nall that is needed is there")
    return EXIT_USAGE if broken else 0


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug=False):
        sys.exit(main(sys.argv[1:]))

"""The command that writes a run's network as one file that needs no jaxcnn: StableHLO or ONNX.

  python -m jaxcnn.export --workdir=runs/resnet18-photos --out=model.stablehlo
  python -m jaxcnn.export --workdir=runs/resnet18-photos --out=model.onnx --fold
  python -m jaxcnn.export --workdir=runs/resnet18-photos --out=model.mlir

The program takes pixels as they are, uint8 [n, H, W, C] of the evaluation's size for any n, and
gives logits, float32 [n, classes]: normalisation and weights (averaged where the run keeps them)
are inside, cropping is not. StableHLO runs on CPUs, GPUs of NVIDIA and TPUs, and needs jax alone:

  network = jax.export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
  logits = network.call(images)

jax promises to read such a file for six months. The same program as text, in a file that ends with
.mlir, is for viewers such as Netron and for other compilers.

ONNX needs no jax, and computes in float32 whatever the run did:

  network = onnxruntime.InferenceSession("model.onnx")
  (logits,) = network.run(None, {"images": images})
  names = json.loads(network.get_modelmeta().custom_metadata_map["classes"])

ONNX files do not expire. --fold folds each BatchNorm that follows a convolution or a dense layer
into it; others, as those of networks with pre-activation, stay.

What the program takes and gives, the names of the classes and the run that it is of are in the ONNX
file itself; a StableHLO program has no room for them, so they lie beside it in
`<out>.json`.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.analysis.fold import FoldedNetwork, fold_batch_norm
from jaxcnn.config import build_data, config_dict
from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.data.normalization import Statistics
from jaxcnn.errors import UserError, nearest, printable
from jaxcnn.interop import onnx
from jaxcnn.io.atomic import whole_file
from jaxcnn.run import cli, trained
from jaxcnn.run.checkpoint import restore
from jaxcnn.run.precision import set_precision

PLATFORMS = ("cpu", "cuda", "tpu")
BATCHES = (1, 5)  # that a program is tried on
ATOL = {"bfloat16": 2e-2}  # of logits of size one; other formats 1e-5


def _network(
    config: RunConfig,
    statistics: Statistics | None,
    model: nn.Module,
    variables: dict[str, Any],
) -> Callable[[jax.Array], jax.Array]:
    """Returns uint8 images → logits, float32."""
    normalize = build_data.make_normalize(config, statistics)

    def network(images: jax.Array) -> jax.Array:
        logits: Any = model.apply(variables, normalize(images), train=False)
        return logits.astype(jnp.float32)

    return network


Facts = dict[str, Any]


def facts(opened: trained.Trained) -> Facts:
    """Returns the facts about an exported program as JSON: classes, input, output and origin."""
    config, found = opened.config, opened.found
    height, width, channels = restore.image_shape(config)
    digest = hashlib.sha256(json.dumps(config_dict.to_saved(config), sort_keys=True).encode())
    return {
        "classes": list(opened.class_names),
        "input": f"images, uint8 [n, {height}, {width}, {channels}] in RGB, pixels from 0 to 255,"
        " resized and cropped as in the run's evaluation",
        "normalization": "inside of the program",
        "output": f"logits, float32 [n, {found.num_classes}], by class; softmax is not applied",
        "model": config.model.name,
        "step": found.step,
        "workdir": opened.workdir.name if opened.workdir else "",
        "weights": "" if opened.workdir else opened.title,
        "config_sha256": digest.hexdigest(),
    }


class Folded(NamedTuple):
    """What is exported of a network with folded norms."""

    model: FoldedNetwork
    variables: dict[str, Any]
    statistics: Statistics | None

    @property
    def norms(self) -> str:
        """How many norms are folded."""
        count = len(self.model.folded)
        every = count + len(self.model.kept)
        return f"{count} of {every} BatchNorms folded into the layers before them"


Exported = trained.Found | Folded


def fold(config: RunConfig, found: trained.Found) -> Folded:
    """Returns a network with as many norms as possible folded into the layers before them."""
    shape = restore.image_shape(config)
    return Folded(*fold_batch_norm(found.model, found.variables, shape), found.statistics)


def _in_float32(model: nn.Module) -> nn.Module:
    if isinstance(model, FoldedNetwork):
        return model.clone(model=_in_float32(model.model))
    return model.clone(dtype=jnp.float32)


@contextlib.contextmanager
def without_source_lines() -> Iterator[None]:
    """Keeps the paths of this machine's source files out of programs."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def to_stablehlo(config: RunConfig, found: Exported, about: Facts) -> bytes:
    """Returns a network as a serialised program of `jax.export`, which holds no facts."""
    del about
    from jax import export as exporting

    (batch,) = exporting.symbolic_shape("n")
    images = jax.ShapeDtypeStruct((batch, *restore.image_shape(config)), jnp.uint8)
    with set_precision(config), without_source_lines():
        network = jax.jit(_network(config, found.statistics, found.model, found.variables))
        exported = exporting.export(network, platforms=PLATFORMS)(images)
    return bytes(exported.serialize())


def from_stablehlo(program: bytes) -> Callable[[np.ndarray], Any]:
    """Returns images → logits of such a program."""
    from jax import export as exporting

    return exporting.deserialize(bytearray(program)).call


def as_text(program: bytes) -> bytes:
    """Returns such a program as MLIR text."""
    from jax import export as exporting

    return exporting.deserialize(bytearray(program)).mlir_module().encode()


def to_onnx(config: RunConfig, found: Exported, about: Facts) -> bytes:
    """Returns a network as a serialised ONNX model that computes in float32, with its facts.

    Raises:
      UserError: see `onnx.convert`.
    """
    config = changed(config, {"model.dtype": "float32"})
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), found.variables)
    model = _in_float32(found.model)
    if getattr(model, "scan_units", False):  # ONNX has no such loops
        model = model.clone(scan_units=False)
    with set_precision(config):
        network = _network(config, found.statistics, model, variables)
        texts = {
            name: fact if isinstance(fact, str) else json.dumps(fact)
            for name, fact in about.items()
        }
        return onnx.convert(network, restore.image_shape(config), np.uint8, texts)


def from_onnx(program: bytes) -> Callable[[np.ndarray], Any]:
    """Returns images → logits of such a model, as onnxruntime computes them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(program, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


class Format(NamedTuple):
    """A kind of file.

    Attributes:
      write: config, network and facts → its bytes.
      read: its bytes → images → logits.
      packages: that these import.
      runs_on: for the message.
      beside: ending of a second file, for the facts; "" if they are inside.
      finish: the bytes that were tried → those of the file.
    """

    write: Callable[[RunConfig, Exported, Facts], bytes]
    read: Callable[[bytes], Callable[[np.ndarray], Any]]
    packages: tuple[str, ...]
    runs_on: str
    beside: str
    finish: Callable[[bytes], bytes] = bytes


_STABLEHLO = Format(to_stablehlo, from_stablehlo, ("flatbuffers",), ", ".join(PLATFORMS), ".json")
FORMATS = {
    "stablehlo": _STABLEHLO,
    "mlir": _STABLEHLO._replace(runs_on="viewers and compilers of StableHLO", finish=as_text),
    "onnx": Format(to_onnx, from_onnx, ("onnx", "onnxruntime"), "ONNX", ""),
}


def difference(
    program: Callable[[np.ndarray], Any], config: RunConfig, found: trained.Found
) -> float:
    """Returns by how much a program's logits are off, of several batches of noise.

    It is the largest difference, as a fraction of the largest logit where that is above one.
    """
    network = restore.on_images(
        config, found, lambda variables, images: found.model.apply(variables, images, train=False)
    )
    rng = np.random.default_rng(0)
    worst = 0.0
    for count in BATCHES:
        images = rng.integers(0, 256, (count, *restore.image_shape(config)), np.uint8)
        wanted = np.asarray(network(images), np.float64)
        off = np.abs(np.asarray(program(images), np.float64) - wanted).max()
        worst = max(worst, float(off / max(1.0, np.abs(wanted).max())))
    return worst


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the command line.

    Raises:
      UserError: for a flag that does not exist or a value that it does not take.
    """
    parser = trained.parser("python -m jaxcnn.export", __doc__)
    parser.add_argument("--out", required=True, type=Path, help="the file to write")
    parser.add_argument(
        "--format", default="", help="stablehlo, mlir or onnx (the ending of --out)"
    )
    parser.add_argument("--fold", action="store_true", help="fold BatchNorms")
    flags = parser.parse_args(argv)
    if flags.format and flags.format not in FORMATS:
        raise UserError(f"no format {flags.format!r}: {nearest(flags.format, FORMATS)}")
    ending = flags.out.suffix.lower().removeprefix(".")
    if ending not in FORMATS and not flags.format:
        raise UserError(
            f"--out={flags.out}: the format is not clear. End the name with .stablehlo, .onnx or"
            " .mlir, or add --format=stablehlo, onnx or mlir"
        )
    if ending in FORMATS and flags.format and ending != flags.format:
        raise UserError(
            f"--out={flags.out} ends with .{ending} and --format={flags.format}: leave one of the"
            " two out"
        )
    flags.format = flags.format or ending
    return flags


def main(argv: Sequence[str]) -> None:
    """Exports, and tries the program before it is written.

    Raises:
      UserError: for whatever the user can put right, or if the program is not the network.
    """
    flags = parse(argv)
    trained.check_flags(flags)
    form = FORMATS[flags.format]
    missing = [name for name in form.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{flags.format} needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        )
    with whole_file(flags.out) as file:
        opened = trained.of_flags(flags)
        config, found = opened.config, opened.found
        exported = fold(config, found) if flags.fold else found
        about = facts(opened)
        if isinstance(exported, Folded):
            about["batch_norm"] = exported.norms
        program = form.write(config, exported, about)
        off = difference(form.read(program), config, found)
        if not off <= ATOL.get(config.model.dtype, 1e-5):
            raise UserError(
                f"the program's logits differ from the network's by {off:.1e}, so it is not"
                " written: please report this"
            )
        file.write(form.finish(program))
        if form.beside:
            with whole_file(Path(f"{flags.out}{form.beside}")) as second:
                second.write((json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())
    height, width, channels = restore.image_shape(config)
    norms = f"; {exported.norms}" if isinstance(exported, Folded) else ""
    print(
        f"{printable(flags.out)}: {printable(opened.title)}, for {form.runs_on};"
        f" uint8 [n, {height}, {width}, {channels}] → logits, float32 [n, {found.num_classes}];"
        f" off by {off:.1e} at most{norms}"
    )


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        cli.set_up()
        main(sys.argv[1:])

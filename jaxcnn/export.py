"""The command that writes a run's network as one file that needs jax alone: StableHLO.

  python -m jaxcnn.export --workdir=runs/resnet18-folder --out=model.stablehlo

The program takes pixels as they are, uint8 [n, H, W, C] of the evaluation's size for any n, and
gives logits, float32 [n, classes]: normalisation and weights (averaged where the run keeps them)
are inside, cropping is not. It runs on CPUs, GPUs of NVIDIA and TPUs, without jaxcnn or flax:

  network = jax.export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
  logits = network.call(images)
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcnn import factories, process, trained, workdir
from jaxcnn.errors import UserError
from jaxcnn.numerics import numerics

PLATFORMS = ("cpu", "cuda", "tpu")
BATCHES = (1, 5)  # that a program is tried on
ATOL = {"bfloat16": 2e-2}  # of logits of size one; other formats 1e-5


def export(config: ConfigDict, found: trained.Trained) -> bytes:
    """Returns a network as a serialised program of `jax.export`.

    Args:
      config: of the run.
      found: its network.

    Raises:
      UserError: if a package is missing.
    """
    from jax import export as exporting

    normalize = factories.make_normalize(config, found.statistics)

    def network(images: jax.Array) -> jax.Array:
        logits: Any = found.model.apply(found.variables, normalize(images), train=False)
        return logits.astype(jnp.float32)

    (batch,) = exporting.symbolic_shape("n")
    images = jax.ShapeDtypeStruct((batch, *trained.image_shape(config)), jnp.uint8)
    with numerics(config):
        exported = exporting.export(jax.jit(network), platforms=PLATFORMS)(images)
    try:
        return bytes(exported.serialize())
    except ImportError as error:  # jax does not declare it
        raise UserError(f"{error}: pip install flatbuffers") from None


def difference(program: bytes, config: ConfigDict, found: trained.Trained) -> float:
    """Returns by how much a program's logits are off, of several batches of noise.

    It is the largest difference, as a fraction of the largest logit where that is above one.
    """
    from jax import export as exporting

    exported = exporting.deserialize(bytearray(program))
    network = trained.on_images(
        config, found, lambda variables, images: found.model.apply(variables, images, train=False)
    )
    rng = np.random.default_rng(0)
    worst = 0.0
    for count in BATCHES:
        images = rng.integers(0, 256, (count, *trained.image_shape(config)), np.uint8)
        wanted = np.asarray(network(images), np.float64)
        off = np.abs(np.asarray(exported.call(images), np.float64) - wanted).max()
        worst = max(worst, float(off / max(1.0, np.abs(wanted).max())))
    return worst


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the command line.

    Raises:
      UserError: for a flag that does not exist or a value that it does not take.
    """
    parser = trained.parser("python -m jaxcnn.export", __doc__)
    parser.add_argument("--out", required=True, type=Path, help="the file to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Exports, and tries the program before it is written.

    Raises:
      UserError: for whatever the user can put right, or if the program is not the network.
    """
    flags = parse(argv)
    config = workdir.read_config(flags.workdir)
    with process.whole_file(flags.out) as file:
        found = trained.restore(flags.workdir, config, checkpoint=flags.checkpoint)
        program = export(config, found)
        off = difference(program, config, found)
        if not off <= ATOL.get(config.model.dtype, 1e-5):
            raise UserError(
                f"the program's logits differ from the network's by {off:.1e}, so it is not"
                " written: please report this"
            )
        file.write(program)
    height, width, channels = trained.image_shape(config)
    print(
        f"{flags.out}: {config.model.name}, step {found.step}, for {', '.join(PLATFORMS)};"
        f" uint8 [n, {height}, {width}, {channels}] → logits, float32 [n, {found.num_classes}];"
        f" off by {off:.1e} at most"
    )


if __name__ == "__main__":
    process.restart_with_huge_pages()
    with process.mistakes_in_one_line(debug="--debug" in sys.argv):
        process.set_up()
        main(sys.argv[1:])

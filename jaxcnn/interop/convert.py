"""Command that converts a library's weights file, or an ONNX file, to a folder of ours.

  python -m jaxcnn.interop.convert --library=torchvision --name=resnet50 \
      --source=resnet50.safetensors --out=weights/resnet50
  python -m jaxcnn.interop.convert --library=keras --name=ResNet50 \
      --source=resnet50.h5 --out=weights/resnet50-keras
  python -m jaxcnn.interop.convert --library=onnx --name=googlenet \
      --source=googlenet-12.onnx --out=weights/googlenet

`--config.init_from` evaluates this folder and trains from it; see `jaxcnn.main`.
"""

import argparse
import ast
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from jaxcnn.errors import UserError, nearest, printable
from jaxcnn.interop.exchange import (
    IGNORED,
    create_library_model,
    fields_set,
    find_network,
    from_torch,
    without_prefix,
)
from jaxcnn.interop.folder import RECORD, WEIGHTS, check_free, write_folder
from jaxcnn.interop.keras import from_keras
from jaxcnn.interop.onnx_weights import from_onnx
from jaxcnn.interop.weight_files import read_weights
from jaxcnn.run import cli

FLAGS: dict[str, dict[str, Any]] = {
    "--library": {"required": True, "help": "torchvision, timm, keras or onnx"},
    "--name": {"required": True, "help": "the library's name of the network; of an ONNX file ours"},
    "--source": {
        "required": True,
        "type": Path,
        "help": ".safetensors, .npz, .pth with torch; of Keras .h5, .weights.h5 or .keras; .onnx",
    },
    "--out": {"required": True, "type": Path, "help": "a folder that is not there yet"},
    "--override": {
        "action": "append",
        "default": [],
        "metavar": "FIELD=VALUE",
        "help": "a field of our network, for a member without a name; may be repeated",
    },
}


def convert(
    library: str, name: str, source: Path, folder: Path, overrides: Mapping[str, Any]
) -> list[str]:
    """Writes the folder; returns a report, one item per line.

    Args:
      library: "torchvision", "timm", "keras" or "onnx".
      name: the library's name of the network; of an ONNX file ours.
      source: weights file; see `read_weights`, or `from_onnx`.
      folder: must not exist, or be empty.
      overrides: fields of our network, for variants without their own name; plain values.

    Raises:
      UserError: if a file, name or field is wrong, or the weights are of another network.
    """
    check_free(folder)
    plain = create_library_model(library, name)
    for field, value in overrides.items():
        if callable(getattr(plain, field, None)) and value is not None:
            raise UserError(f"--override {field} takes a function: set it in Python")
    read = _read_onnx if library == "onnx" else _read_arrays
    try:
        found = read(library, name, source, overrides)
    except UserError as error:
        fix = str(error).replace("by num_classes=0", "by --override num_classes=0")
        raise UserError(fix) from error
    except (TypeError, ValueError, AttributeError) as error:
        if not overrides:
            raise
        given = ", ".join(f"{field}={value!r}" for field, value in overrides.items())
        reason = str(error).splitlines()[0]
        raise UserError(f"there is no network with {given}: {reason}") from error
    record = write_folder(
        folder,
        found.model,
        found.variables,
        library=library,
        name=name,
        overrides=found.overrides,
        source=source.name,
    )
    leaves = jax.tree.leaves(found.variables)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(found.variables["params"]))
    statistics = sum(leaf.size for leaf in leaves) - parameters
    said = {
        "taken": f"{len(leaves)} arrays: {parameters:,} parameters, {statistics:,} statistics of"
        f" BatchNorm; {record['num_classes']} classes, {record['channels']} input channels",
        "adapted": found.adapted,
        "left out": found.left_out,
        "written": f"{folder}: {WEIGHTS} and {RECORD}, sha256 {record['sha256']}",
    }
    return [f"{title:<10} {text}" for title, text in said.items()]


class _Found(NamedTuple):
    """A library's network and weights, and what to say of them.

    Attributes:
      overrides: given fields, and those that were read from the file.
    """

    model: nn.Module
    variables: dict[str, Any]
    overrides: Mapping[str, Any]
    adapted: str
    left_out: str


def _read_arrays(library: str, name: str, source: Path, overrides: Mapping[str, Any]) -> _Found:
    """Reads a file of arrays with the names of torchvision, timm or Keras."""
    state, prefix = read_weights(source), ""
    network = find_network(library, name)
    if library == "keras":
        model, variables = from_keras(state, name, **overrides)
        adapted = ["biases of convolutions, subtracted from means of BN"] * bool(network.biases)
    else:
        state, prefix = without_prefix(state, library, name)
        model, variables = from_torch(state, library, name, **overrides)
        adapted = ["axes, from (O, I, H, W) to (H, W, I, O)"]
    adapted += _casts(state, jax.tree.leaves(variables))
    adapted += [f"prefix {prefix!r} dropped"] * bool(prefix)
    heads = {field: getattr(model, field) for field in network.optional.values()}
    left_out = _left_out(state, library, name, {**overrides, **heads})
    return _Found(model, variables, overrides, "; ".join(adapted) or "nothing", left_out)


def _read_onnx(library: str, name: str, source: Path, overrides: Mapping[str, Any]) -> _Found:
    model, variables = from_onnx(source, name, **overrides)
    plain = create_library_model(library, name, **{**overrides, "parent": None})
    read = fields_set(model, plain)
    for field, value in read.items():
        if callable(value):
            raise UserError(
                f"{field} is a function in the file, {getattr(value, '__name__', value)}, which"
                " cannot be written down: take a name that has it, such as mobilenetv1_100, or use"
                " from_onnx in Python"
            )
    said = ", ".join(f"{field}={value!r}" for field, value in read.items())
    adapted = "axes, from (O, I, H, W) to (H, W, I, O)" + (f"; {said} as in the file" * bool(said))
    return _Found(model, variables, {**overrides, **read}, adapted, "nothing")


def _casts(state: Mapping[str, np.ndarray], leaves: list[Any]) -> list[str]:
    types = {str(array.dtype) for key, array in state.items() if not key.endswith(IGNORED)}
    others = sorted(types - {str(leaf.dtype) for leaf in leaves})
    return [f"{' and '.join(others)} to {leaves[0].dtype}"] if others else []


def _left_out(
    state: Mapping[str, np.ndarray], library: str, name: str, overrides: Mapping[str, Any]
) -> str:
    if library == "keras":
        headless = overrides.get("num_classes") == 0
        return "the classifier and layers that are not of the network" if headless else "nothing"
    parts = {IGNORED: sum(key.endswith(IGNORED) for key in state)}
    for prefix, field in find_network(library, name).optional.items():
        if not overrides[field]:
            parts[f"{prefix}…"] = sum(
                key.startswith(prefix) and not key.endswith(IGNORED) for key in state
            )
    return ", ".join(f"{count} {part}" for part, count in parts.items() if count) or "nothing"


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Returns the flags.

    Raises:
      UserError: if a flag does not exist, is missing or has no value.
    """
    parser = cli.Parser(prog="python -m jaxcnn.interop.convert", allow_abbrev=False)
    for flag, options in FLAGS.items():
        parser.add_argument(flag, **options)
    for argument in argv:
        flag = argument.split("=", 1)[0]
        if flag.startswith("--") and flag not in (*FLAGS, "--help"):
            raise UserError(f"no flag {flag}: {nearest(flag, FLAGS)}")
    return parser.parse_args(argv)


def parse_override(text: str) -> tuple[str, Any]:
    """Returns ("stage_sizes", (2, 2)) for "stage_sizes=(2,2)"; a value that is no literal is text.

    Raises:
      UserError: if there is no "=".
    """
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise UserError(f"--override {text}: write FIELD=VALUE, such as stage_sizes=(2,2)")
    try:
        return field, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return field, value


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    try:
        flags = parse_flags(argv)
        overrides = dict(map(parse_override, flags.override))
        cli.check_platform()
        for line in convert(flags.library, flags.name, flags.source, flags.out, overrides):
            print(printable(line))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug=False):
        sys.exit(main(sys.argv[1:]))

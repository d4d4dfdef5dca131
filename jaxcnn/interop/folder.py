"""Our folder format for weights, written by `jaxcnn.interop.convert`.

folder/
  weights.npz    the variables, keys such as params/stem/conv/kernel
  model.json     the network, the source of the weights, and their SHA-256
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flax import linen as nn
from flax import traverse_util

from jaxcnn.errors import UserError
from jaxcnn.interop.exchange import create_library_model, find_network, input_channels
from jaxcnn.interop.weight_files import read_weights, write_weights
from jaxcnn.io.atomic import whole_folder
from jaxcnn.io.safe_files import read_json
from jaxcnn.training.state import state_sha256

WEIGHTS = "weights.npz"
RECORD = "model.json"
# Overrides in older records; the network's name and its weights imply them.
FORMER_FIELDS = ("with_norm", "initialization")


class Converted(NamedTuple):
    """A library's network and weights, read from a folder.

    Attributes:
      model: rebuilt from the library's table, because fields may be functions.
      variables: NumPy arrays.
      record: content of model.json.
    """

    model: nn.Module
    variables: dict[str, Any]
    record: dict[str, Any]


def check_free(folder: Path) -> None:
    """Checks that a folder is missing or empty.

    Raises:
      UserError: if the folder has files.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists: choose another folder, or delete it first")


def write_folder(
    folder: Path,
    model: nn.Module,
    variables: Mapping[str, Any],
    *,
    library: str,
    name: str,
    overrides: Mapping[str, Any],
    source: str,
) -> dict[str, Any]:
    """Writes a network's weights and description, whole or not at all; returns the record.

    Args:
      folder: must not exist, or be empty.
      model: result of `from_torch`, `from_keras` or `from_onnx`.
      variables: result of `from_torch`, `from_keras` or `from_onnx`.
      library: argument of `from_torch`, "keras" or "onnx".
      name: argument of the same function.
      overrides: arguments of the same function; plain values.
      source: name of the file that the weights come from.

    Raises:
      UserError: if the folder has files or cannot be written, or an override is not a plain value.
    """
    for field, value in overrides.items():
        if not _is_plain(value):
            raise UserError(f"{field}={value} cannot be written down: give a number, text or tuple")
    chosen = find_network(library, name)
    # Fields that `from_torch` or `from_keras` read from the weights.
    optional = {
        field: getattr(model, field) for field in (*chosen.optional.values(), *chosen.read_off)
    }
    fields = {
        field.name: value
        for field in dataclasses.fields(model)
        if field.name not in ("name", "parent") and _is_plain(value := getattr(model, field.name))
    }
    record = {
        "model": chosen.model,
        "library": library,
        "name": name,
        "overrides": {k: v for k, v in {**overrides, **optional}.items() if k != "num_classes"},
        "num_classes": fields["num_classes"],
        "channels": input_channels(variables, model, chosen),
        "fields": fields,
        "source": source,
        "sha256": state_sha256(variables),
    }
    check_free(folder)
    with whole_folder(folder.resolve()) as partial:
        write_weights(traverse_util.flatten_dict(dict(variables), sep="/"), partial / WEIGHTS)
        (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def read_folder(folder: str | Path) -> Converted:
    """Returns the content that `write_folder` wrote.

    Raises:
      UserError: if it is not such a folder, or its content was changed.
    """
    folder = Path(folder)
    path = folder / RECORD
    if not path.exists():
        raise UserError(f"{folder} is not a folder of converted weights: it has no {RECORD} in it")
    try:
        record = read_json(path)
        network = record["library"], record["name"], record["num_classes"]
        overrides = {
            field: _tuples(value)
            for field, value in record["overrides"].items()
            if field not in FORMER_FIELDS
        }
        model = create_library_model(*network, **overrides)
        digest = record["sha256"]
    except UserError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error!r}): convert the weights again") from None
    flat = read_weights(folder / WEIGHTS)
    if state_sha256(flat) != digest:  # both use the same names of leaves
        raise UserError(
            f"{folder / WEIGHTS} is not what was written: its SHA-256 is not that of {RECORD};"
            " convert the weights again"
        )
    variables = traverse_util.unflatten_dict(flat, sep="/")
    return Converted(model, variables, {**record, "overrides": overrides})


def _is_plain(value: Any) -> bool:
    if type(value) in (tuple, list):  # not a NamedTuple, which would become a tuple
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value

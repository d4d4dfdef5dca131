"""From a name, or a folder of weights, to a trained network as it is in the weights."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.interop.exchange import from_torch
from jaxcnn.interop.folder import RECORD, read_folder
from jaxcnn.interop.keras import from_keras
from jaxcnn.interop.onnx_weights import from_onnx
from jaxcnn.interop.transfer import swap_input_channels
from jaxcnn.interop.weight_files import read_weights
from jaxcnn.io import paths
from jaxcnn.pretrained.fetch import fetch
from jaxcnn.pretrained.weights_info import WeightsInfo, known, weights_info

Variables = dict[str, Any]


class Pretrained(NamedTuple):
    """A trained network.

    Attributes:
      model: the network.
      variables: its parameters and statistics.
      info: what is known of its weights; None of a folder.
      record: model.json of a folder; see `jaxcnn.interop.folder`.
      title: their name, or the folder's.
    """

    model: nn.Module
    variables: Variables
    info: WeightsInfo | None
    record: dict[str, Any]
    title: str


def read_pretrained(
    name: str | os.PathLike[str], *, allow_noncommercial: bool = False
) -> Pretrained:
    """Returns a trained network with all that its weights hold.

    Args:
      name: of `weights_info`, or a folder that `jaxcnn.interop.convert` wrote.
      allow_noncommercial: take weights whose licence forbids commercial use.

    Raises:
      UserError: if there is no such name or folder, the file cannot be had or is another, or the
        licence is not allowed.
    """
    text = os.fspath(name)
    folder = Path(paths.expand(text))
    if folder.is_dir():
        return _of_folder(folder)
    if not known(text) and ("/" in text.removeprefix("timm/") or folder.exists()):
        raise UserError(
            f"{text} is neither a run, a folder of weights nor a name: jaxcnn.list_pretrained() has"
            " the names, and python -m jaxcnn.interop.convert makes folders"
        )
    info = weights_info(text)
    check_licence(info, allow_noncommercial)
    model, variables = READERS[info.library](fetch(info), info)
    if info.bgr:
        variables = swap_input_channels(model, variables)
    return Pretrained(model, variables, info, {}, info.name)


def check_licence(info: WeightsInfo, allow_noncommercial: bool) -> None:
    """Checks that the licence of weights is one that the user takes.

    Raises:
      UserError: if it forbids commercial use and that is not allowed.
    """
    if info.noncommercial and not allow_noncommercial:
        raise UserError(
            f"the licence of {info.name} is {info.licence}, which forbids commercial use: if yours"
            " is none, add allow_noncommercial=True, on a command line --allow-noncommercial, in a"
            " config --config.allow_noncommercial=True"
        )


def _of_folder(folder: Path) -> Pretrained:
    if not (folder / RECORD).exists():
        raise UserError(
            f"{folder} is no folder of python -m jaxcnn.interop.convert: it has no {RECORD} in it;"
            " jaxcnn.load reads the workdir of a run"
        )
    model, variables, record = read_folder(folder)
    return Pretrained(model, variables, None, record, str(folder))


def _from_torch(path: Path, info: WeightsInfo) -> tuple[nn.Module, Variables]:
    return from_torch(read_weights(path), info.library, info.library_name, **info.overrides)


def _from_keras(path: Path, info: WeightsInfo) -> tuple[nn.Module, Variables]:
    return from_keras(read_weights(path), info.library_name, **info.overrides)


def _from_onnx(path: Path, info: WeightsInfo) -> tuple[nn.Module, Variables]:
    return from_onnx(path, info.library_name, **info.overrides)


Reader = Callable[[Path, WeightsInfo], tuple[nn.Module, Variables]]
READERS: dict[str, Reader] = {
    "timm": _from_torch,
    "torchvision": _from_torch,
    "keras": _from_keras,
    "onnx": _from_onnx,
}

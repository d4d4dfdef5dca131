"""From a name, or a folder of weights, to a trained network."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.interop.exchange import from_torch
from jaxcnn.interop.folder import RECORD, read_folder
from jaxcnn.interop.transfer import transfer
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


def create_pretrained(
    name: str | os.PathLike[str],
    num_classes: int | None = None,
    *,
    channels: int = 3,
    key: jax.Array | None = None,
    dtype: Any = jnp.float32,
    allow_noncommercial: bool = False,
    **overrides: Any,
) -> tuple[nn.Module, Variables]:
    """Returns a network and its trained variables.

    The first use of a name fetches its file; see `jaxcnn.pretrained.fetch`. `weights_info(name)`
    says what it is, and its `preprocess` makes the network's inputs of images.

    Args:
      name: "resnet50.tv_in1k", or "resnet50" for the default weights of a network, see
        `list_pretrained`; or a folder that `jaxcnn.interop.convert` wrote.
      num_classes: None is the classifier of the weights; 0 leaves it out, and the network returns
        pooled features; another number is a new classifier, which needs `key`.
      channels: of the images. A network of colour images also takes grey ones, 1: its first kernel
        is summed over the colours.
      key: of what is not in the weights.
      dtype: that the network computes in; its variables are float32.
      allow_noncommercial: take weights whose licence forbids commercial use.
      **overrides: fields of the network, such as `dropout_rate=0.2`.

    Raises:
      UserError: if there is no such name or folder, the file cannot be had or is another, the
        licence is not allowed, or a field is wrong.
    """
    trained = read_pretrained(
        name, allow_noncommercial=allow_noncommercial, dtype=dtype, **overrides
    )
    model, variables = trained.model, trained.variables
    given: int = model.num_classes
    if num_classes in (None, given) and channels == 3:
        return model, variables
    wanted = given if num_classes is None else num_classes
    model = model.clone(num_classes=wanted)
    if wanted not in (0, given) and key is None:
        raise UserError(
            f"num_classes={wanted} is a new classifier, the weights' has {given}: give the key that"
            " it is drawn with, key=jax.random.key(0)"
        )
    size = trained.info.preprocessing.image_size if trained.info else 224
    images = jnp.zeros((1, size, size, channels))
    init: Callable[..., Any] = jax.jit(model.init)
    fresh = init(jax.random.key(0) if key is None else key, images)
    return model, transfer(fresh, variables)[0]


def read_pretrained(
    name: str | os.PathLike[str],
    *,
    allow_noncommercial: bool = False,
    dtype: Any = jnp.float32,
    **overrides: Any,
) -> Pretrained:
    """Returns the network of a name or folder with all that its weights hold.

    Args:
      name: see `create_pretrained`.
      allow_noncommercial: see `create_pretrained`.
      dtype: see `create_pretrained`.
      **overrides: see `create_pretrained`.

    Raises:
      UserError: see `create_pretrained`.
    """
    text = os.fspath(name)
    folder = Path(paths.expand(text))
    if folder.is_dir():
        return _of_folder(folder, dtype, overrides)
    if not known(text) and ("/" in text.removeprefix("timm/") or folder.exists()):
        raise UserError(
            f"{text} is neither a folder of weights nor a name: jaxcnn.list_pretrained() has the"
            " names, and python -m jaxcnn.interop.convert makes folders"
        )
    info = weights_info(text)
    check_licence(info, allow_noncommercial)
    read = READERS[info.library]
    model, variables = read(fetch(info), info, {**info.overrides, "dtype": dtype, **overrides})
    return Pretrained(model, variables, info, {}, info.name)


def check_licence(info: WeightsInfo, allow_noncommercial: bool) -> None:
    """Checks that the licence of weights is one that the user takes.

    Raises:
      UserError: if it forbids commercial use and that is not allowed.
    """
    if info.noncommercial and not allow_noncommercial:
        raise UserError(
            f"the licence of {info.name} is {info.licence}, which forbids commercial use: if yours"
            " is none, add allow_noncommercial=True, on a command line --allow-noncommercial"
        )


def _of_folder(folder: Path, dtype: Any, overrides: Mapping[str, Any]) -> Pretrained:
    if not (folder / RECORD).exists():
        raise UserError(
            f"{folder} is no folder of python -m jaxcnn.interop.convert: it has no {RECORD} in it;"
            " jaxcnn.load reads the workdir of a run"
        )
    model, variables, record = read_folder(folder)
    model = model.clone(dtype=dtype, **overrides)
    return Pretrained(model, variables, None, record, str(folder))


def _from_torch(
    path: Path, info: WeightsInfo, fields: Mapping[str, Any]
) -> tuple[nn.Module, Variables]:
    return from_torch(read_weights(path), info.library, info.library_name, **fields)


READERS: dict[str, Callable[..., tuple[nn.Module, Variables]]] = {
    "timm": _from_torch,
    "torchvision": _from_torch,
}

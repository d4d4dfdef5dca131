"""Opens a trained network: of a run, of a folder of weights, or by name."""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.data.normalization import Statistics
from jaxcnn.errors import UserError
from jaxcnn.interop.folder import RECORD
from jaxcnn.interop.transfer import transfer
from jaxcnn.io import paths
from jaxcnn.models import model_info
from jaxcnn.models.published import Crop
from jaxcnn.pretrained.read import read_pretrained
from jaxcnn.pretrained.weights_info import Preprocessing, WeightsInfo
from jaxcnn.run import cli
from jaxcnn.run.checkpoint import restore


class PlainWeights(NamedTuple):
    """A network without a run; see `restore.RestoredModel`."""

    model: nn.Module
    variables: dict[str, Any]
    num_classes: int
    step: int = 0
    statistics: Statistics | None = None


Found = restore.RestoredModel | PlainWeights


class Trained(NamedTuple):
    """A trained network.

    Attributes:
      config: of its run; of other weights only what preprocessing needs.
      found: the network and its variables.
      class_names: one for each output.
      title: where it is from, and the step of a run.
      workdir: of its run; None of other weights.
      info: what is known of weights that have a name.
    """

    config: RunConfig
    found: Found
    class_names: tuple[str, ...]
    title: str
    workdir: Path | None = None
    info: WeightsInfo | None = None


def open_trained(
    source: str | os.PathLike[str],
    *,
    checkpoint: str = "latest",
    model: str = "",
    allow_noncommercial: bool = False,
) -> Trained:
    """Returns a trained network.

    Args:
      source: workdir of a run, a folder that `jaxcnn.interop.convert` wrote, or a name of
        `jaxcnn.list_pretrained`; a leading `~` is the home folder.
      checkpoint: of a run: "latest", "best" or a step.
      model: of a run: name of the user's own network; see `restore.read_config`.
      allow_noncommercial: see `jaxcnn.create_pretrained`.

    Raises:
      UserError: if it is missing or damaged, or the licence is not allowed.
    """
    folder = Path(paths.expand(os.fspath(source)))
    if folder.is_dir() and not (folder / RECORD).exists():
        return open_run(folder, checkpoint, model)
    read = read_pretrained(source, allow_noncommercial=allow_noncommercial)
    found = read.model, read.variables
    if read.info is not None:
        config = preprocessing_config(read.info.model, read.info.preprocessing)
        plain = _plain(config, *found, read.title, read.info.class_names)
        return plain._replace(info=read.info)
    network, channels = read.record["model"], read.record["channels"]
    return _plain(published_config(network, channels), *found, read.title)


def create_pretrained(
    name: str | os.PathLike[str],
    num_classes: int | None = None,
    *,
    channels: int | None = None,
    key: jax.Array | None = None,
    allow_noncommercial: bool = False,
    **fields: Any,
) -> tuple[nn.Module, dict[str, Any]]:
    """Returns a network and its trained variables, float32.

    The first use of a name fetches its file; see `jaxcnn.pretrained.fetch`. `jaxcnn.weights_info`
    says what it is, and its `preprocess` makes the network's inputs of images.

    Args:
      name: "resnet50.tv_in1k", or "resnet50" for the default weights of a network, see
        `jaxcnn.list_pretrained`; a folder that `jaxcnn.interop.convert` wrote; or the workdir of a
        run, whose latest checkpoint is taken.
      num_classes: None is the classifier of the weights; 0 leaves it out, and the network returns
        pooled features; another number is a new classifier, which needs `key`.
      channels: of the images. A network of colour images also takes grey ones, 1: its first kernel
        is summed over the colours. One of grey images takes colour, 3. None is as in the weights.
      key: of a new classifier.
      allow_noncommercial: take weights whose licence forbids commercial use.
      **fields: of the network, such as `dtype=jnp.bfloat16` or `dropout_rate=0.2`.

    Raises:
      UserError: if there is no such name or folder, the file cannot be had or is another, the
        licence is not allowed, or a field is wrong.
    """
    opened = open_trained(name, allow_noncommercial=allow_noncommercial)
    model, variables = opened.found.model, dict(opened.found.variables)
    given = opened.found.num_classes
    wanted = given if num_classes is None else num_classes
    try:
        model = model.clone(num_classes=wanted, **fields)
    except TypeError as error:
        raise UserError(f"{name}: {error}") from None
    height, width, depth = restore.image_shape(opened.config)
    if wanted == given and channels in (None, depth):
        return model, variables
    if wanted not in (0, given) and key is None:
        raise UserError(
            f"num_classes={wanted} is a new classifier, that of the weights has {given}: give the"
            " key that it is drawn with, key=jax.random.key(0)"
        )
    images = jnp.zeros((1, height, width, channels or depth))
    init: Callable[..., Any] = jax.jit(model.init)
    if wanted in (0, given):  # nothing is drawn
        fresh = jax.eval_shape(init, jax.random.key(0), images)
    else:
        fresh = init(key, images)
    return model, transfer(fresh, variables)[0]


def open_run(directory: Path, checkpoint: str = "latest", model: str = "") -> Trained:
    """Returns the network of a run; see `open_trained`.

    Raises:
      UserError: if workdir or checkpoint is missing or damaged, or the model is not the run's.
    """
    restore.check_workdir(directory)
    config = restore.read_config(directory, checkpoint, model)
    found = restore.restore(directory, config, checkpoint=checkpoint)
    title = f"{directory}, step {found.step:,}"
    return Trained(config, found, restore.class_names(directory, found), title, directory)


def preprocessing_config(name: str, way: Preprocessing) -> RunConfig:
    """Returns a config with a preprocessing, for weights without a run."""
    fields = {
        "model.name": name,
        "data.kind": "folder",
        "data.channels": len(way.mean),
        "data.image_size": way.image_size,
        "data.eval_crop": "center",
        "data.resize": way.resize,
        "data.interpolation": way.interpolation,
        "data.mean": way.mean,
        "data.std": way.std,
    }
    return changed(RunConfig(), fields)


def published_config(name: str, channels: int, image_size: int = 0) -> RunConfig:
    """Returns a config with the preprocessing of a network's paper.

    Args:
      name: of the registry.
      channels: of the images; where the paper's have another number, their mean is normalised.
      image_size: pixels; 0 is the paper's.
    """
    info = model_info(name)
    size, *_ = info.input_size
    crop = info.crop or Crop(size, size)
    mean, std = info.mean or (0.5,), info.std or (0.5,)
    if len(mean) != channels:
        mean, std = (float(np.mean(mean)),), (float(np.mean(std)),)
    resized = image_size and image_size != size
    fields = {
        "model.name": name,
        "data.kind": "folder",
        "data.channels": channels,
        "data.image_size": image_size if resized else crop.size,
        "data.eval_crop": "center" if info.crop else "resize",
        "data.resize": 0 if resized or not info.crop else crop.short_side,
        "data.mean": mean,
        "data.std": std,
    }
    return changed(RunConfig(), fields)


def _plain(
    config: RunConfig,
    model: nn.Module,
    variables: Mapping[str, Any],
    title: str,
    class_names: tuple[str, ...] = (),
) -> Trained:
    count: int = model.num_classes
    names = class_names or tuple(map(str, range(count)))
    return Trained(config, PlainWeights(model, dict(variables), count), names, title)


def parser(program: str, description: str | None) -> cli.Parser:
    """Returns a parser with the flags of all commands that use a trained network."""
    made = cli.Parser(
        prog=program,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_flags(made)
    made.add_argument("--batch", type=int, default=64, help="images at once (64)")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def add_flags(parser: cli.Parser) -> None:
    """Adds the flags that name a trained network."""
    parser.add_argument("--workdir", type=Path, help="of a run")
    parser.add_argument(
        "--weights", metavar="NAME|DIR", help="trained weights by name, or a converted folder"
    )
    parser.add_argument("--checkpoint", default="latest", help="latest, best or a step (latest)")
    parser.add_argument("--model", default="", help="a network of your own: MODULE:ATTRIBUTE")
    parser.add_argument(
        "--allow-noncommercial", action="store_true", help="take weights of such a licence"
    )


def check_flags(flags: argparse.Namespace) -> None:
    """Checks that one network is named, before images are read.

    Raises:
      UserError: if none or two are named, or the folder is not the workdir of a run.
    """
    if bool(flags.workdir) == bool(flags.weights):
        raise UserError("name one network: --workdir=DIR of a run, or --weights=NAME|DIR")
    if flags.workdir:
        restore.check_workdir(flags.workdir)
    elif flags.checkpoint != "latest":
        raise UserError("--checkpoint is of a run: name its --workdir")


def of_flags(flags: argparse.Namespace) -> Trained:
    """Returns the network that the flags of a command line name.

    Raises:
      UserError: see `open_trained`.
    """
    if flags.workdir:
        return open_run(flags.workdir, flags.checkpoint, flags.model)
    return open_trained(flags.weights, allow_noncommercial=flags.allow_noncommercial)

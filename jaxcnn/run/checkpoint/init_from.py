"""Initial weights of a run: the fields `init_from` and `init_map`."""

import dataclasses
import re
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from flax import linen as nn
from flax import traverse_util

from jaxcnn.config import build
from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import UserError
from jaxcnn.interop.exchange import fields_set, find_network
from jaxcnn.interop.folder import RECORD, read_folder
from jaxcnn.interop.name_tables import LIBRARIES
from jaxcnn.interop.transfer import Transferred, choose, transfer
from jaxcnn.interop.weight_files import read_weights
from jaxcnn.io import paths
from jaxcnn.models import create_model
from jaxcnn.models.vgg import FROM_NET_A
from jaxcnn.pretrained.read import read_pretrained
from jaxcnn.pretrained.weights_info import known, weights_info
from jaxcnn.run.checkpoint import restore
from jaxcnn.run.checkpoint.checkpoints import Checkpoints

# Fields that may differ between two networks that share weights: those that the arrays show, number
# formats, and settings of training alone.
FREE_TO_DIFFER = re.compile(
    r"num_classes|dtype|param_dtype|name|parent|norm_momentum|raised_bias"
    r"|(.*_)?(aux|dropout|init)(_.*)?"
)

INIT_MAPS = {"vgg_a": FROM_NET_A}  # names that `init_map` accepts


class InitialWeights(NamedTuple):
    """The weights found at `init_from`.

    Attributes:
      title: description for the log.
      variables: NumPy arrays.
      model: the network of the weights; None if it is unknown.
      flags: flags that select this network in a config.
    """

    title: str
    variables: dict[str, Any]
    model: nn.Module | None = None
    flags: str = ""


def load(
    config: RunConfig, model: nn.Module, fresh: Mapping[str, Any]
) -> tuple[dict[str, Any], str, Transferred]:
    """Returns initial variables from `config.init_from`, their title, and the list of copies.

    Args:
      config: see `config_dict.base_config`.
      model: the config's network.
      fresh: the network's variables, or their shapes and dtypes; see `transfer`.

    Raises:
      UserError: if nothing can be read, the weights are of another network or, with `init_map`,
        selected parameters are missing or have another shape.
    """
    path = Path(paths.expand(config.init_from))
    weights = read(path, allow_noncommercial=config.allow_noncommercial)
    try:
        if config.init_map:
            variables, transferred = transfer(
                fresh, weights.variables, choose(fresh, _patterns(config))
            )
            return variables, weights.title, transferred
        if weights.model is not None:
            _check_fields(model, weights.model)
        variables, transferred = transfer(fresh, weights.variables)
    except UserError as error:
        flags = f"; its own network is {weights.flags}" if weights.flags else ""
        raise UserError(f"init_from={config.init_from} ({weights.title}): {error}{flags}") from None
    return variables, weights.title, transferred


def _patterns(config: RunConfig) -> list[Any]:
    """Returns `init_map` with its names replaced by their patterns."""
    patterns: list[Any] = []
    for entry in config.init_map:
        match entry:
            case str(name):
                patterns += INIT_MAPS.get(name, (name,))
            case (str(ours), str(theirs)):
                patterns.append((ours, theirs))
            case _:
                raise UserError(
                    f"init_map: {entry!r} is neither a regular expression nor a pair of one and"
                    f" its replacement, nor a name of {', '.join(INIT_MAPS)}"
                )
    return patterns


def read(path: Path, *, allow_noncommercial: bool = False, latest: bool = False) -> InitialWeights:
    """Reads weights by name, a folder or file of `jaxcnn.interop.convert`, or a run's workdir.

    For a run it reads the best checkpoint (the latest if none was evaluated, or with `latest`) and
    averaged weights if there are any. A weights file does not name its network, which is therefore
    not checked.

    Raises:
      UserError: if the path is none of these, or damaged.
    """
    if not path.exists() and known(str(path)):
        return _read_named(str(path), allow_noncommercial)
    if path.is_file():
        return _read_file(path)
    if (path / RECORD).exists():
        return _read_converted(path)
    if (path / "config.json").exists():
        return _read_run(path, latest=latest)
    raise UserError(
        f"init_from={path}: {'no such weights are there' if path.exists() else 'there is nothing'};"
        " give a name of jaxcnn.list_pretrained, a folder of python -m jaxcnn.interop.convert, or"
        " the workdir of a run"
    )


def _read_file(path: Path) -> InitialWeights:
    flat = read_weights(path)
    if not all(key.startswith(("params/", "batch_stats/")) for key in flat):
        raise UserError(
            f"init_from={path} has the names of another library: convert it first, with"
            f" python -m jaxcnn.interop.convert --source={path}"
        )
    return InitialWeights("a weights file", traverse_util.unflatten_dict(flat, sep="/"))


def _read_converted(path: Path) -> InitialWeights:
    model, variables, record = read_folder(path)
    library, name = record["library"], record["name"]
    plain = find_network(library, name)
    network = f"{library}/{name}" if plain.fields else plain.model
    heads = plain.optional.values()
    overrides = {key: value for key, value in record["overrides"].items() if key not in heads}
    return InitialWeights(f"{library}'s {name}", variables, model, _flags(network, overrides))


def _read_named(name: str, allow_noncommercial: bool) -> InitialWeights:
    found = read_pretrained(name, allow_noncommercial=allow_noncommercial)
    info = weights_info(name)
    network, overrides = info.model, dict(info.overrides)
    if info.library in LIBRARIES and find_network(info.library, info.library_name).fields:
        network = f"{info.library}/{info.library_name}"
    if info.library == "onnx":  # some fields are in the file
        overrides |= fields_set(found.model, create_model(info.model))
    return InitialWeights(info.name, found.variables, found.model, _flags(network, overrides))


def _read_run(path: Path, *, latest: bool = False) -> InitialWeights:
    config = restore.read_config(path)
    checkpoints = Checkpoints(path / "checkpoints", metric=config.checkpoint.metric, read_only=True)
    measured = not latest and checkpoints.best() is not None
    found = checkpoints.restore(None, choice="best" if measured else "latest")
    if found is None:
        raise UserError(f"init_from={path}: there is no checkpoint in it yet")
    state = found.state
    variables = state.get("ema") or {key: state.get(key, {}) for key in ("params", "batch_stats")}
    return InitialWeights(
        f"{config.model.name}, step {found.step}" + ", averaged" * ("ema" in state),
        variables,
        build.make_model(config, found.meta["num_classes"]),
        _flags(config.model.name, config.model.overrides),
    )


def _flags(name: str, overrides: Mapping[str, Any]) -> str:
    flags = [f"--config.model.name={name}"]
    flags += [f"--config.model.overrides.{key}={value}" for key, value in overrides.items()]
    return " ".join(map(shlex.quote, flags))


def _check_fields(model: nn.Module, given: nn.Module) -> None:
    """Raises `UserError` if two networks differ in more than `FREE_TO_DIFFER`."""
    if type(model) is not type(given):
        raise UserError(
            f"the weights are of a {type(given).__name__} and the config has a"
            f" {type(model).__name__}"
        )
    differing = [
        f"{field.name} {_shown(theirs)} instead of {_shown(ours)}"
        for field in dataclasses.fields(model)
        if not FREE_TO_DIFFER.fullmatch(field.name)
        if _comparable(ours := getattr(model, field.name))
        != _comparable(theirs := getattr(given, field.name))
    ]
    if differing:
        raise UserError(f"the weights are of a network with {', '.join(differing)}")


def _comparable(value: Any) -> Any:
    """Returns partials as comparable tuples, ignoring BatchNorm's `axis_name`."""
    if isinstance(value, partial):
        keywords = {key: _comparable(part) for key, part in value.keywords.items()}
        keywords.pop("axis_name", None)
        parts = _comparable(value.func), value.args, keywords
        return parts if value.args or keywords else parts[0]
    return tuple(map(_comparable, value)) if isinstance(value, (tuple, list)) else value


def _shown(value: Any) -> Any:
    return getattr(value, "__name__", value)

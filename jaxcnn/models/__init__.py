"""One paper, one file; here the table of all names.

`MODELS` is the registry: a row names a published network and how it is built. Two tests tie it to
the table of exact counts, so a row cannot be added without them.
"""

import dataclasses
import fnmatch
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.models.densenet import cifar_densenet, imagenet_densenet
from jaxcnn.models.lenet import LeNet5Modern
from jaxcnn.models.resnet import Bottleneck, cifar_resnet, imagenet_resnet


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of `MODELS`.

    Attributes:
      constructor: returns the network; called without arguments.
      num_classes: of the data set of the paper.
      input_size: (H, W, C) of the published results.
      aliases: other names that find the row.
    """

    constructor: Callable[[], nn.Module]
    num_classes: int
    input_size: tuple[int, int, int]
    aliases: tuple[str, ...] = ()


def _mnist(constructor: Callable[..., nn.Module], *aliases: str) -> Entry:
    return Entry(constructor, 10, (32, 32, 1), aliases)


def _cifar(constructor: Callable[..., nn.Module], *aliases: str) -> Entry:
    return Entry(constructor, 10, (32, 32, 3), aliases)


def _imagenet(constructor: Callable[..., nn.Module], *aliases: str) -> Entry:
    return Entry(constructor, 1000, (224, 224, 3), aliases)


_bottleneck_v1 = partial(Bottleneck, stride_first=True)

MODELS: dict[str, Entry] = {
    # LeNet, 1998
    "lenet5_modern": _mnist(LeNet5Modern),
    # ResNet, 2015
    "resnet18": _imagenet(partial(imagenet_resnet, 18)),
    "resnet34": _imagenet(partial(imagenet_resnet, 34)),
    "resnet50": _imagenet(partial(imagenet_resnet, 50)),
    "resnet101": _imagenet(partial(imagenet_resnet, 101)),
    "resnet152": _imagenet(partial(imagenet_resnet, 152)),
    "resnet50_v1": _imagenet(partial(imagenet_resnet, 50, block=_bottleneck_v1)),
    "resnet101_v1": _imagenet(partial(imagenet_resnet, 101, block=_bottleneck_v1)),
    "resnet152_v1": _imagenet(partial(imagenet_resnet, 152, block=_bottleneck_v1)),
    "resnet18_a": _imagenet(partial(imagenet_resnet, 18, shortcut="A")),
    "resnet34_a": _imagenet(partial(imagenet_resnet, 34, shortcut="A")),
    "resnet34_c": _imagenet(partial(imagenet_resnet, 34, shortcut="C")),
    "plain18": _imagenet(partial(imagenet_resnet, 18, shortcut="none")),
    "plain34": _imagenet(partial(imagenet_resnet, 34, shortcut="none")),
    "cifar_resnet20": _cifar(partial(cifar_resnet, 20), "resnet20_cifar"),
    "cifar_resnet32": _cifar(partial(cifar_resnet, 32), "resnet32_cifar"),
    "cifar_resnet44": _cifar(partial(cifar_resnet, 44), "resnet44_cifar"),
    "cifar_resnet56": _cifar(partial(cifar_resnet, 56), "resnet56_cifar"),
    "cifar_resnet110": _cifar(partial(cifar_resnet, 110), "resnet110_cifar"),
    "cifar_resnet1202": _cifar(partial(cifar_resnet, 1202), "resnet1202_cifar"),
    "cifar_plain20": _cifar(partial(cifar_resnet, 20, shortcut="none")),
    "cifar_plain32": _cifar(partial(cifar_resnet, 32, shortcut="none")),
    "cifar_plain44": _cifar(partial(cifar_resnet, 44, shortcut="none")),
    "cifar_plain56": _cifar(partial(cifar_resnet, 56, shortcut="none")),
    "cifar_plain110": _cifar(partial(cifar_resnet, 110, shortcut="none")),
    # DenseNet, 2016
    "densenet121": _imagenet(partial(imagenet_densenet, 121)),
    "densenet169": _imagenet(partial(imagenet_densenet, 169)),
    "densenet201": _imagenet(partial(imagenet_densenet, 201)),
    "densenet161": _imagenet(partial(imagenet_densenet, 161)),
    "densenet_40_12": _cifar(partial(cifar_densenet, 40, 12)),
    "densenet_100_12": _cifar(partial(cifar_densenet, 100, 12)),
    "densenet_100_24": _cifar(partial(cifar_densenet, 100, 24)),
    "densenet_bc_100_12": _cifar(partial(cifar_densenet, 100, 12, bc=True)),
    "densenet_bc_250_24": _cifar(partial(cifar_densenet, 250, 24, bc=True)),
    "densenet_bc_190_40": _cifar(partial(cifar_densenet, 190, 40, bc=True)),
}

_ALIASES = {alias: name for name, entry in MODELS.items() for alias in entry.aliases}


def _entry(name: str) -> Entry:
    name = _ALIASES.get(name, name)
    if name not in MODELS:
        raise UserError(f"no model named {name!r}: {nearest(name, [*MODELS, *_ALIASES])}")
    return MODELS[name]


def create_model(
    name: str, num_classes: int | None = None, dtype: Any = jnp.float32, **overrides: Any
) -> nn.Module:
    """Returns the network of a registry name or alias, not yet initialised.

    Args:
      name: see `list_models`.
      num_classes: None is the paper's number; 0 leaves the classifier out.
      dtype: of the computation; parameters are float32 unless `param_dtype` says otherwise.
      **overrides: any other field of the network's class (`act=nn.gelu`, `dropout_rate=0.2`,
        `norm=partial(nn.BatchNorm, axis_name="batch")`).

    Raises:
      UserError: for a name that does not exist, or a field that this network does not have.
    """
    entry = _entry(name)
    model = entry.constructor()
    fields = {field.name for field in dataclasses.fields(model)} - {"name", "parent"}
    for field in overrides:
        if field not in fields:
            raise UserError(
                f"{name} ({type(model).__name__}) has no field {field!r}: {nearest(field, fields)}"
            )
    if num_classes is None:
        num_classes = entry.num_classes
    return model.clone(num_classes=num_classes, dtype=dtype, **overrides)


def list_models(pattern: str = "*") -> list[str]:
    """Returns the names (without aliases) that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


def input_size(name: str) -> tuple[int, int, int]:
    """Returns (H, W, C) of the published results of a name or alias.

    Raises:
      UserError: for a name that does not exist.
    """
    return _entry(name).input_size

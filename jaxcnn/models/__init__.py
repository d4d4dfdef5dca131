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
from jaxcnn.models.alexnet import AlexNet
from jaxcnn.models.bn_inception import BNInception, inception_v2_slim
from jaxcnn.models.densenet import cifar_densenet, imagenet_densenet
from jaxcnn.models.googlenet import GoogLeNet, googlenet_bn, googlenet_torchvision
from jaxcnn.models.inception_v3 import InceptionV3
from jaxcnn.models.inception_v4 import (
    InceptionResNet,
    InceptionV4,
    inception_resnet_v1,
    inception_resnet_v2_paper,
)
from jaxcnn.models.lenet import LeNet5Modern
from jaxcnn.models.mobilenet import MobileNet
from jaxcnn.models.preact_resnet import cifar_preact_resnet, imagenet_preact_resnet
from jaxcnn.models.published import model_info as model_info
from jaxcnn.models.resnet import Bottleneck, cifar_resnet, imagenet_resnet
from jaxcnn.models.resnext import cifar_resnext, imagenet_resnext
from jaxcnn.models.vgg import imagenet_vgg
from jaxcnn.models.wide_resnet import cifar_wide_resnet, imagenet_wide_resnet


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


def _inception(constructor: Callable[..., nn.Module]) -> Entry:
    return Entry(constructor, 1000, (299, 299, 3))


# One tower without normalisation, as torchvision has it.
_alexnet_torchvision = partial(
    AlexNet, towers=1, lrn=False, padding=2, dropout_first=True, initialization="torchvision"
)
_bottleneck_v1 = partial(Bottleneck, stride_first=True)

MODELS: dict[str, Entry] = {
    # LeNet, 1998
    "lenet5_modern": _mnist(LeNet5Modern),
    # AlexNet, 2012
    "alexnet": Entry(AlexNet, 1000, (227, 227, 3), ("alexnet_two_tower",)),
    "alexnet_one_tower": Entry(
        partial(AlexNet, towers=1, lrn=False, initialization="keras"), 1000, (227, 227, 3)
    ),
    "alexnet_torchvision": _imagenet(
        partial(_alexnet_torchvision, features=(64, 192, 384, 256, 256))
    ),
    "alexnet_owt": _imagenet(partial(_alexnet_torchvision, features=(64, 192, 384, 384, 256))),
    # VGG, 2014
    "vgg11": _imagenet(partial(imagenet_vgg, 11), "vgg_a"),
    "vgg11_lrn": _imagenet(partial(imagenet_vgg, 11, lrn=True), "vgg_a_lrn"),
    "vgg13": _imagenet(partial(imagenet_vgg, 13), "vgg_b"),
    "vgg16_1x1": _imagenet(partial(imagenet_vgg, 16, third_kernel_size=1), "vgg_c"),
    "vgg16": _imagenet(partial(imagenet_vgg, 16), "vgg_d"),
    "vgg19": _imagenet(partial(imagenet_vgg, 19), "vgg_e"),
    "vgg11_bn": _imagenet(partial(imagenet_vgg, 11, with_norm=True), "vgg_a_bn"),
    "vgg13_bn": _imagenet(partial(imagenet_vgg, 13, with_norm=True), "vgg_b_bn"),
    "vgg16_1x1_bn": _imagenet(
        partial(imagenet_vgg, 16, third_kernel_size=1, with_norm=True), "vgg_c_bn"
    ),
    "vgg16_bn": _imagenet(partial(imagenet_vgg, 16, with_norm=True), "vgg_d_bn"),
    "vgg19_bn": _imagenet(partial(imagenet_vgg, 19, with_norm=True), "vgg_e_bn"),
    # GoogLeNet, 2014
    "googlenet": _imagenet(GoogLeNet, "inception_v1"),
    "googlenet_bn": _imagenet(googlenet_bn),
    "googlenet_torchvision": _imagenet(googlenet_torchvision, "inception_v1_slim"),
    # Inception v3, 2015
    "inception_v2": _inception(partial(InceptionV3, stage1_kernel_size=3)),
    "inception_v3": _inception(InceptionV3),
    # Inception-v4 and Inception-ResNet, 2016
    "inception_v4": _inception(InceptionV4),
    "inception_resnet_v1": _inception(inception_resnet_v1),
    "inception_resnet_v2": _inception(InceptionResNet),
    "inception_resnet_v2_paper": _inception(inception_resnet_v2_paper),
    # BN-Inception, 2015
    "bn_inception": _imagenet(BNInception),
    "inception_v2_slim": _imagenet(inception_v2_slim),
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
    # ResNet v2, 2016
    "resnet18_v2": _imagenet(partial(imagenet_preact_resnet, 18), "preact_resnet18"),
    "resnet34_v2": _imagenet(partial(imagenet_preact_resnet, 34), "preact_resnet34"),
    "resnet50_v2": _imagenet(partial(imagenet_preact_resnet, 50), "preact_resnet50"),
    "resnet101_v2": _imagenet(partial(imagenet_preact_resnet, 101), "preact_resnet101"),
    "resnet152_v2": _imagenet(partial(imagenet_preact_resnet, 152), "preact_resnet152"),
    "resnet200_v2": _imagenet(partial(imagenet_preact_resnet, 200), "preact_resnet200"),
    "cifar_resnet110_v2": _cifar(partial(cifar_preact_resnet, 110)),
    "cifar_resnet164_v2": _cifar(partial(cifar_preact_resnet, 164, bottleneck=True)),
    "cifar_resnet1001_v2": _cifar(partial(cifar_preact_resnet, 1001, bottleneck=True)),
    # Wide ResNet, 2016
    "wrn_40_4": _cifar(partial(cifar_wide_resnet, 40, 4)),
    "wrn_16_8": _cifar(partial(cifar_wide_resnet, 16, 8)),
    "wrn_22_8": _cifar(partial(cifar_wide_resnet, 22, 8)),
    "wrn_28_10": _cifar(partial(cifar_wide_resnet, 28, 10)),
    "wrn_28_12": _cifar(partial(cifar_wide_resnet, 28, 12)),
    "wrn_40_8": _cifar(partial(cifar_wide_resnet, 40, 8)),
    "wide_resnet50_2": _imagenet(partial(imagenet_wide_resnet, 50)),
    "wide_resnet101_2": _imagenet(partial(imagenet_wide_resnet, 101)),
    # ResNeXt, 2016
    "resnext50_32x4d": _imagenet(partial(imagenet_resnext, 50, 32, 4)),
    "resnext101_32x4d": _imagenet(partial(imagenet_resnext, 101, 32, 4)),
    "resnext101_64x4d": _imagenet(partial(imagenet_resnext, 101, 64, 4)),
    "resnext101_32x8d": _imagenet(partial(imagenet_resnext, 101, 32, 8)),
    "resnext29_8x64d": _cifar(partial(cifar_resnext, 29, 8)),
    "resnext29_16x64d": _cifar(partial(cifar_resnext, 29, 16)),
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
    # MobileNet, 2017
    "mobilenet_v1_100": _imagenet(MobileNet),
    "mobilenet_v1_075": _imagenet(partial(MobileNet, width_multiplier=0.75)),
    "mobilenet_v1_050": _imagenet(partial(MobileNet, width_multiplier=0.5)),
    "mobilenet_v1_025": _imagenet(partial(MobileNet, width_multiplier=0.25)),
    "mobilenet_v1_shallow": _imagenet(partial(MobileNet, stage_sizes=(1, 2, 2, 1, 2))),
    "mobilenet_v1_fullconv": _imagenet(partial(MobileNet, separable=False)),
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

"""The table of all networks, and functions that create networks by name.

Each row of `MODELS` names a published network and its constructor. Two tests require the row in the
table of exact counts. `register_model` adds a row for a user's own network; `MODELS` is the only
state of the package.
"""

import dataclasses
import fnmatch
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.models import alexnet, zfnet
from jaxcnn.models.alexnet import AlexNet
from jaxcnn.models.bn_inception import BNInception, inception_v2_slim
from jaxcnn.models.checks import check_classes, check_constructor
from jaxcnn.models.densenet import cifar_densenet, imagenet_densenet
from jaxcnn.models.dfn import cifar_dfn
from jaxcnn.models.dfn_mr import MergeAndRunNet, imagenet_dfn_mr
from jaxcnn.models.dsn import DSN
from jaxcnn.models.fractalnet import FractalNet, fractalnet34, narrow_fractalnet
from jaxcnn.models.googlenet import GoogLeNet, googlenet_bn, googlenet_torchvision
from jaxcnn.models.highway import Highway, HighwayMLP, mnist_highway
from jaxcnn.models.identity_mappings import cifar_resnet_v2
from jaxcnn.models.inception_v3 import InceptionV3
from jaxcnn.models.inception_v4 import (
    InceptionResNet,
    InceptionV4,
    inception_resnet_v1,
    inception_resnet_v2_paper,
)
from jaxcnn.models.ladder import LadderMLP
from jaxcnn.models.ladder_conv import LadderConv
from jaxcnn.models.lenet import LeNet5, LeNet5Modern
from jaxcnn.models.mobilenet import MobileNet
from jaxcnn.models.nin import NiN, imagenet_nin, mnist_nin, svhn_nin
from jaxcnn.models.preact_resnet import imagenet_preact_resnet
from jaxcnn.models.published import ModelInfo, networks, published_info, registered_info
from jaxcnn.models.resnet import Bottleneck, cifar_resnet, imagenet_resnet
from jaxcnn.models.resnext import cifar_resnext, imagenet_resnext
from jaxcnn.models.stochastic_depth import cifar_stochastic_depth
from jaxcnn.models.vgg import imagenet_vgg
from jaxcnn.models.wide_resnet import cifar_wide_resnet, imagenet_wide_resnet
from jaxcnn.models.zfnet import ZFNet


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of `MODELS`.

    Attributes:
      constructor: fields that replace the row's → network.
      num_classes: number of classes in the paper's data set.
      input_size: (H, W, C) of the published results.
      aliases: other names of the row.
    """

    constructor: Callable[..., nn.Module]
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


# One tower without normalisation, as in torchvision.
_alexnet_torchvision = partial(
    AlexNet, towers=1, lrn=False, padding=2, dropout_first=True, **alexnet.TORCHVISION
)
_bottleneck_v1 = partial(Bottleneck, stride_first=True)

MODELS: dict[str, Entry] = {
    # LeNet, 1998
    "lenet5": _mnist(LeNet5),
    "lenet5_softmax": _mnist(partial(LeNet5, output="softmax")),
    "lenet5_full_c3": _mnist(partial(LeNet5, table=None, subsampling=("trainable", "max"))),
    "lenet5_modern": _mnist(LeNet5Modern),
    # AlexNet, 2012
    "alexnet": Entry(AlexNet, 1000, (227, 227, 3), ("alexnet_two_tower",)),
    "alexnet_one_tower": Entry(
        partial(AlexNet, towers=1, lrn=False, **alexnet.KERAS), 1000, (227, 227, 3)
    ),
    "alexnet_torchvision": _imagenet(
        partial(_alexnet_torchvision, features=(64, 192, 384, 256, 256))
    ),
    "alexnet_owt": _imagenet(partial(_alexnet_torchvision, features=(64, 192, 384, 384, 256))),
    # ZFNet, 2013
    "zfnet": _imagenet(ZFNet),
    "zfnet_wide": _imagenet(partial(ZFNet, features=(96, 256, 512, 1024, 512))),
    "zfnet_keras": _imagenet(partial(ZFNet, padding="keras", lrn=False, **zfnet.KERAS)),
    # Network in Network, 2013
    "nin_cifar10": _cifar(NiN),
    "nin_cifar100": Entry(NiN, 100, (32, 32, 3)),
    "nin_svhn": Entry(svhn_nin, 10, (32, 32, 3)),
    "nin_mnist": Entry(mnist_nin, 10, (28, 28, 1)),
    "nin_imagenet": _imagenet(imagenet_nin),
    # VGG, 2014
    "vgg11": _imagenet(partial(imagenet_vgg, depth=11), "vgg_a"),
    "vgg11_lrn": _imagenet(partial(imagenet_vgg, depth=11, lrn=True), "vgg_a_lrn"),
    "vgg13": _imagenet(partial(imagenet_vgg, depth=13), "vgg_b"),
    "vgg16_1x1": _imagenet(partial(imagenet_vgg, depth=16, third_kernel_size=1), "vgg_c"),
    "vgg16": _imagenet(partial(imagenet_vgg, depth=16), "vgg_d"),
    "vgg19": _imagenet(partial(imagenet_vgg, depth=19), "vgg_e"),
    "vgg11_bn": _imagenet(partial(imagenet_vgg, depth=11, norm=BatchNorm), "vgg_a_bn"),
    "vgg13_bn": _imagenet(partial(imagenet_vgg, depth=13, norm=BatchNorm), "vgg_b_bn"),
    "vgg16_1x1_bn": _imagenet(
        partial(imagenet_vgg, depth=16, third_kernel_size=1, norm=BatchNorm), "vgg_c_bn"
    ),
    "vgg16_bn": _imagenet(partial(imagenet_vgg, depth=16, norm=BatchNorm), "vgg_d_bn"),
    "vgg19_bn": _imagenet(partial(imagenet_vgg, depth=19, norm=BatchNorm), "vgg_e_bn"),
    # GoogLeNet, 2014
    "googlenet": _imagenet(GoogLeNet, "inception_v1"),
    "googlenet_bn": _imagenet(googlenet_bn),
    "googlenet_torchvision": _imagenet(googlenet_torchvision, "inception_v1_slim"),
    # Deeply-Supervised Nets, 2014
    "dsn_cifar10": _cifar(DSN),
    # Highway networks, 2015
    "highway_mnist_w16": Entry(partial(mnist_highway, width=16), 10, (28, 28, 1)),
    "highway_mnist_w32": Entry(partial(mnist_highway, width=32), 10, (28, 28, 1)),
    "highway_cifar10": _cifar(Highway),
    "highway_cifar100": Entry(Highway, 100, (32, 32, 3)),
    "highway_fc10": Entry(partial(HighwayMLP, depth=10), 10, (28, 28, 1)),
    "highway_fc20": Entry(partial(HighwayMLP, depth=20), 10, (28, 28, 1)),
    "highway_fc50": Entry(partial(HighwayMLP, depth=50), 10, (28, 28, 1)),
    "highway_fc100": Entry(partial(HighwayMLP, depth=100), 10, (28, 28, 1)),
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
    # Ladder networks, 2015
    "ladder_mnist_mlp": Entry(LadderMLP, 10, (28, 28, 1)),
    "ladder_conv_large_gamma": _cifar(LadderConv),
    # ResNet, 2015
    "resnet18": _imagenet(partial(imagenet_resnet, depth=18)),
    "resnet34": _imagenet(partial(imagenet_resnet, depth=34)),
    "resnet50": _imagenet(partial(imagenet_resnet, depth=50)),
    "resnet101": _imagenet(partial(imagenet_resnet, depth=101)),
    "resnet152": _imagenet(partial(imagenet_resnet, depth=152)),
    "resnet50_v1": _imagenet(partial(imagenet_resnet, depth=50, block=_bottleneck_v1)),
    "resnet101_v1": _imagenet(partial(imagenet_resnet, depth=101, block=_bottleneck_v1)),
    "resnet152_v1": _imagenet(partial(imagenet_resnet, depth=152, block=_bottleneck_v1)),
    "resnet18_a": _imagenet(partial(imagenet_resnet, depth=18, shortcut="A")),
    "resnet34_a": _imagenet(partial(imagenet_resnet, depth=34, shortcut="A")),
    "resnet34_c": _imagenet(partial(imagenet_resnet, depth=34, shortcut="C")),
    "plain18": _imagenet(partial(imagenet_resnet, depth=18, shortcut="none")),
    "plain34": _imagenet(partial(imagenet_resnet, depth=34, shortcut="none")),
    "cifar_resnet20": _cifar(partial(cifar_resnet, depth=20), "resnet20_cifar"),
    "cifar_resnet32": _cifar(partial(cifar_resnet, depth=32), "resnet32_cifar"),
    "cifar_resnet44": _cifar(partial(cifar_resnet, depth=44), "resnet44_cifar"),
    "cifar_resnet56": _cifar(partial(cifar_resnet, depth=56), "resnet56_cifar"),
    "cifar_resnet110": _cifar(partial(cifar_resnet, depth=110), "resnet110_cifar"),
    "cifar_resnet1202": _cifar(partial(cifar_resnet, depth=1202), "resnet1202_cifar"),
    "cifar_plain20": _cifar(partial(cifar_resnet, depth=20, shortcut="none")),
    "cifar_plain32": _cifar(partial(cifar_resnet, depth=32, shortcut="none")),
    "cifar_plain44": _cifar(partial(cifar_resnet, depth=44, shortcut="none")),
    "cifar_plain56": _cifar(partial(cifar_resnet, depth=56, shortcut="none")),
    "cifar_plain110": _cifar(partial(cifar_resnet, depth=110, shortcut="none")),
    # ResNet v2, 2016
    "resnet18_v2": _imagenet(partial(imagenet_preact_resnet, depth=18), "preact_resnet18"),
    "resnet34_v2": _imagenet(partial(imagenet_preact_resnet, depth=34), "preact_resnet34"),
    "resnet50_v2": _imagenet(partial(imagenet_preact_resnet, depth=50), "preact_resnet50"),
    "resnet101_v2": _imagenet(partial(imagenet_preact_resnet, depth=101), "preact_resnet101"),
    "resnet152_v2": _imagenet(partial(imagenet_preact_resnet, depth=152), "preact_resnet152"),
    "resnet200_v2": _imagenet(partial(imagenet_preact_resnet, depth=200), "preact_resnet200"),
    "cifar_resnet110_v2": _cifar(partial(cifar_resnet_v2, depth=110)),
    "cifar_resnet164_v2": _cifar(partial(cifar_resnet_v2, depth=164, bottleneck=True)),
    "cifar_resnet1001_v2": _cifar(partial(cifar_resnet_v2, depth=1001, bottleneck=True)),
    # Wide ResNet, 2016
    "wrn_40_4": _cifar(partial(cifar_wide_resnet, depth=40, width_multiplier=4)),
    "wrn_16_8": _cifar(partial(cifar_wide_resnet, depth=16, width_multiplier=8)),
    "wrn_22_8": _cifar(partial(cifar_wide_resnet, depth=22, width_multiplier=8)),
    "wrn_28_10": _cifar(partial(cifar_wide_resnet, depth=28, width_multiplier=10)),
    "wrn_28_12": _cifar(partial(cifar_wide_resnet, depth=28, width_multiplier=12)),
    "wrn_40_8": _cifar(partial(cifar_wide_resnet, depth=40, width_multiplier=8)),
    "wide_resnet50_2": _imagenet(partial(imagenet_wide_resnet, depth=50)),
    "wide_resnet101_2": _imagenet(partial(imagenet_wide_resnet, depth=101)),
    # ResNeXt, 2016
    "resnext50_32x4d": _imagenet(partial(imagenet_resnext, depth=50, cardinality=32, base_width=4)),
    "resnext101_32x4d": _imagenet(
        partial(imagenet_resnext, depth=101, cardinality=32, base_width=4)
    ),
    "resnext101_64x4d": _imagenet(
        partial(imagenet_resnext, depth=101, cardinality=64, base_width=4)
    ),
    "resnext101_32x8d": _imagenet(
        partial(imagenet_resnext, depth=101, cardinality=32, base_width=8)
    ),
    "resnext29_8x64d": _cifar(partial(cifar_resnext, depth=29, cardinality=8)),
    "resnext29_16x64d": _cifar(partial(cifar_resnext, depth=29, cardinality=16)),
    # Stochastic depth, 2016
    "cifar_resnet110_sd": _cifar(partial(cifar_stochastic_depth, depth=110)),
    "cifar_resnet1202_sd": _cifar(partial(cifar_stochastic_depth, depth=1202)),
    # FractalNet, 2016
    "fractalnet20_cifar10": _cifar(FractalNet),
    "fractalnet20_cifar100": Entry(FractalNet, 100, (32, 32, 3)),
    "fractalnet_narrow_c1": Entry(partial(narrow_fractalnet, columns=1), 100, (32, 32, 3)),
    "fractalnet_narrow_c2": Entry(partial(narrow_fractalnet, columns=2), 100, (32, 32, 3)),
    "fractalnet_narrow_c3": Entry(partial(narrow_fractalnet, columns=3), 100, (32, 32, 3)),
    "fractalnet_narrow_c4": Entry(partial(narrow_fractalnet, columns=4), 100, (32, 32, 3)),
    "fractalnet_narrow_c5": Entry(partial(narrow_fractalnet, columns=5), 100, (32, 32, 3)),
    "fractalnet_narrow_c6": Entry(partial(narrow_fractalnet, columns=6), 100, (32, 32, 3)),
    "fractalnet34": _imagenet(fractalnet34),
    # Deeply-fused nets, 2016
    "dfn_fuse3_d20": _cifar(partial(cifar_dfn, fusions=3, depth=20)),
    "dfn_fuse3_d26": _cifar(partial(cifar_dfn, fusions=3, depth=26)),
    "dfn_fuse6_d26": _cifar(partial(cifar_dfn, fusions=6, depth=26)),
    "dfn_fuse6_d50": _cifar(partial(cifar_dfn, fusions=6, depth=50)),
    # DFN-MR, 2016
    "dfn_mr1": _cifar(MergeAndRunNet),
    "dfn_mr2": _cifar(partial(MergeAndRunNet, stage_sizes=(5, 5, 5), width=64)),
    "dfn_mr3": _cifar(partial(MergeAndRunNet, stage_sizes=(8, 8, 8), width=64)),
    "dfn_mr_imagenet": _imagenet(imagenet_dfn_mr),
    # DenseNet, 2016
    "densenet121": _imagenet(partial(imagenet_densenet, depth=121)),
    "densenet169": _imagenet(partial(imagenet_densenet, depth=169)),
    "densenet201": _imagenet(partial(imagenet_densenet, depth=201)),
    "densenet161": _imagenet(partial(imagenet_densenet, depth=161)),
    "densenet_40_12": _cifar(partial(cifar_densenet, depth=40, growth_rate=12)),
    "densenet_100_12": _cifar(partial(cifar_densenet, depth=100, growth_rate=12)),
    "densenet_100_24": _cifar(partial(cifar_densenet, depth=100, growth_rate=24)),
    "densenet_bc_100_12": _cifar(partial(cifar_densenet, depth=100, growth_rate=12, bc=True)),
    "densenet_bc_250_24": _cifar(partial(cifar_densenet, depth=250, growth_rate=24, bc=True)),
    "densenet_bc_190_40": _cifar(partial(cifar_densenet, depth=190, growth_rate=40, bc=True)),
    # MobileNet, 2017
    "mobilenet_v1_100": _imagenet(MobileNet),
    "mobilenet_v1_075": _imagenet(partial(MobileNet, width_multiplier=0.75)),
    "mobilenet_v1_050": _imagenet(partial(MobileNet, width_multiplier=0.5)),
    "mobilenet_v1_025": _imagenet(partial(MobileNet, width_multiplier=0.25)),
    "mobilenet_v1_shallow": _imagenet(partial(MobileNet, stage_sizes=(1, 2, 2, 1, 2))),
    "mobilenet_v1_fullconv": _imagenet(partial(MobileNet, separable=False)),
}

_ALIASES = {alias: name for name, entry in MODELS.items() for alias in entry.aliases}
_PUBLISHED = frozenset(MODELS)  # without the networks that users register


Constructor = TypeVar("Constructor", bound=Callable[..., nn.Module])


@overload
def register_model(
    name: str, constructor: Constructor, *, num_classes: int, input_size: tuple[int, int, int]
) -> Constructor: ...
@overload
def register_model(
    name: str, *, num_classes: int, input_size: tuple[int, int, int]
) -> Callable[[Constructor], Constructor]: ...
def register_model(
    name: str,
    constructor: Constructor | None = None,
    *,
    num_classes: int,
    input_size: tuple[int, int, int],
) -> Constructor | Callable[[Constructor], Constructor]:
    """Adds a user's own network to `MODELS`, for this process; returns its constructor.

    Without a constructor it returns a decorator. `list_models` then has the name, and `model.name`
    of a config may be set to it.

    Args:
      name: a name without "/" and ":" that is not in the registry.
      constructor: a Flax module class with the fields `num_classes` and `dtype`, or a function
        `(**fields)` that passes its fields to such a class. The network maps images [N, H, W, C]
        and `train` to logits [N, num_classes].
      num_classes: number of classes of `create_model(name)`.
      input_size: (H, W, C) of the network's usual images.

    Raises:
      UserError: if the name exists or is not valid, or the constructor lacks the fields.
    """
    if not isinstance(name, str) or not name or any(one in name for one in "/:"):
        raise UserError(f"a model cannot be named {name!r}: give a text without / and :")
    if name in MODELS or name in _ALIASES:
        raise UserError(f"there is a model named {name!r} already: choose another name")

    def register(made: Constructor) -> Constructor:
        MODELS[name] = new_entry(name, made, num_classes, input_size)
        return made

    return register if constructor is None else register(constructor)


def new_entry(
    name: str, constructor: Any, num_classes: int, input_size: tuple[int, int, int]
) -> Entry:
    """Returns a row of `MODELS` for a user's own network, after building it once as a check.

    Raises:
      UserError: see `register_model`.
    """
    check_constructor(name, constructor, num_classes, input_size)
    return Entry(constructor, num_classes, input_size)


def is_users(name: str) -> bool:
    """Returns whether a network is a user's own; see `register_model`."""
    return _ALIASES.get(name, name) not in _PUBLISHED


def _entry(name: str) -> Entry:
    name = _ALIASES.get(name, name)
    if name in MODELS:
        return MODELS[name]
    if ":" in name:
        raise UserError(
            f"{name} is Python code, which runs only if you name it yourself: if you trust it, add"
            f" --config.model.name={name}, to predict, features and export --model={name}, or to"
            f" jaxcnn.load model={name!r}"
        )
    raise UserError(f"no model named {name!r}: {nearest(name, [*MODELS, *_ALIASES])}")


def create_model(
    model: str, /, num_classes: int | None = None, dtype: DTypeLike = jnp.float32, **overrides: Any
) -> nn.Module:
    """Returns the network of a registry name or alias, not initialised.

    Within another module it becomes a submodule, like an instance of its class.

    Args:
      model: a name of `list_models`, or an alias.
      num_classes: None is the paper's number; 0 omits the classifier.
      dtype: dtype of the computation; parameters are float32 unless `param_dtype` is set.
      **overrides: other fields of the network's class (`act=nn.gelu`, `dropout_rate=0.2`,
        `norm=partial(nn.GroupNorm, num_groups=8)`, Flax's `name` and `parent`), and arguments of
        its family's function (`depth`, `growth_rate`). Dependent fields change too: densenet_40_12
        has half as many layers with `bottleneck=True`.

    Raises:
      UserError: if the name does not exist, the network has no such field, or the number of classes
        is not valid.
    """
    entry = _entry(model)
    if num_classes is None:
        num_classes = entry.num_classes
    check_classes(num_classes)
    arguments = {
        name
        for name, parameter in inspect.signature(entry.constructor).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    # The arguments of a family's function can determine the class, and thereby the fields.
    chosen = {name: value for name, value in overrides.items() if name in arguments}
    chosen |= {"num_classes": num_classes, "dtype": dtype, "parent": None}
    network = entry.constructor(**chosen)
    fields = arguments | {field.name for field in dataclasses.fields(network)}
    for field in overrides:
        if field not in fields:
            near = nearest(field, fields - {"name", "parent"})
            raise UserError(f"{model} ({type(network).__name__}) has no field {field!r}: {near}")
    return entry.constructor(num_classes=num_classes, dtype=dtype, **overrides)


def list_models(pattern: str = "*") -> list[str]:
    """Returns the names (without aliases) that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


def model_info(name: str) -> ModelInfo:
    """Returns the facts of a network: paper, counts, errors, verification.

    Args:
      name: a name or alias in the registry.

    Raises:
      UserError: if the name does not exist.
    """
    entry, own = _entry(name), _ALIASES.get(name, name)
    if own in networks():
        return published_info(own)
    return registered_info(own, create_model(own, parent=None), entry.input_size)


def input_size(name: str) -> tuple[int, int, int]:
    """Returns (H, W, C) of the published results of a name or alias.

    Raises:
      UserError: if the name does not exist.
    """
    return _entry(name).input_size

"""The networks of keras.applications: our fields, and the names of their layers.

Facts are those of Keras 3.15. All have momentum 0.99 and Glorot's initialisation; only MobileNet
has dropout. Its ResNets have a bias in every convolution before a BN, ours none: the bias is
subtracted from the BN's mean (`Library.biases`), which changes neither logits nor training.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from flax import linen as nn

from jaxcnn.interop.name_rules import Library, Rule, Shapes
from jaxcnn.layers.initializers import glorot_uniform
from jaxcnn.layers.norm import BatchNorm

# Layers that Keras names by their class and a number, in order of creation.
NUMBERED = ("conv2d", "batch_normalization")

_TRAINING = {"norm_momentum": 0.99, "kernel_init": glorot_uniform}

VGG = (
    Rule(r"stage1/conv1", "block1_conv1"),
    Rule(r"stage(\d+)/conv(\d+)", "block{0}_conv{1}"),
    Rule(r"fc6/dense", "fc1"),
    Rule(r"fc7/dense", "fc2"),
    Rule(r"classifier", "predictions"),
)

RESNET = (
    Rule(r"stem/conv", "conv1_conv"),
    Rule(r"stem/norm", "conv1_bn"),
    Rule(r"stage(\d+)/block(\d+)/proj/conv", "conv{0:2}_block{1}_0_conv"),
    Rule(r"stage(\d+)/block(\d+)/proj/norm", "conv{0:2}_block{1}_0_bn"),
    Rule(r"stage(\d+)/block(\d+)/conv(\d)", "conv{0:2}_block{1}_{2}_conv"),
    Rule(r"stage(\d+)/block(\d+)/norm(\d)", "conv{0:2}_block{1}_{2}_bn"),
    Rule(r"classifier", "predictions"),
)

RESNETV2 = (
    Rule(r"stem/conv", "conv1_conv"),
    Rule(r"stage(\d+)/block(\d+)/proj/conv", "conv{0:2}_block{1}_0_conv"),
    Rule(r"stage(\d+)/block(\d+)/conv(\d)", "conv{0:2}_block{1}_{2}_conv"),
    Rule(r"stage(\d+)/block(\d+)/norm1", "conv{0:2}_block{1}_preact_bn"),
    Rule(r"stage(\d+)/block(\d+)/norm(\d)", "conv{0:2}_block{1}_{2:0}_bn"),
    Rule(r"final_norm", "post_bn"),
    Rule(r"classifier", "predictions"),
)

DENSENET = (
    Rule(r"stem/conv", "conv1_conv"),
    Rule(r"stem/norm", "conv1_bn"),
    Rule(r"stage(\d+)/layer(\d+)/conv(\d)", "conv{0:2}_block{1}_{2}_conv"),
    Rule(r"stage(\d+)/layer(\d+)/norm(\d)", "conv{0:2}_block{1}_{2:0}_bn"),
    Rule(r"transition(\d+)/conv", "pool{0:2}_conv"),
    Rule(r"transition(\d+)/norm", "pool{0:2}_bn"),
    Rule(r"final_norm", "bn"),
    Rule(r"classifier", "predictions"),
)
# Keras 2 named the stem's layers conv1/conv and conv1/bn.
_OLD_DENSENET = ((r"(?<![^/])conv1/(conv|bn)(?=/)", r"conv1_\1"),)

INCEPTION_V3 = (
    Rule(r"stem/conv1/conv", "conv2d"),
    Rule(r".+/conv", "conv2d"),
    Rule(r".+/norm", "batch_normalization"),
    Rule(r"classifier", "predictions"),
)

INCEPTION_RESNET_V2 = (
    Rule(r"stem/conv1/conv", "conv2d"),
    Rule(r"last/conv", "conv_7b"),
    Rule(r"last/norm", "conv_7b_bn"),
    Rule(r"stage1/block(\d+)/expand", "block35_{0}_conv"),
    Rule(r"stage2/block(\d+)/expand", "block17_{0}_conv"),
    Rule(r"stage3/block(\d+)/expand", "block8_{0}_conv"),
    *INCEPTION_V3,
)


def _mobilenet(network: Any) -> list[Rule]:
    """Returns rules with one number for the blocks of all stages."""
    rules = [Rule(r"stem/conv", "conv1"), Rule(r"stem/norm", "conv1_bn")]
    first = 1
    for stage, size in enumerate(network.stage_sizes, start=1):
        for ours, theirs in (("depthwise", "dw"), ("pointwise", "pw")):
            path, key = rf"stage{stage}/block(\d+)/{ours}", f"conv_{theirs}_{{0:{first}}}"
            rules += [Rule(f"{path}/conv", key), Rule(f"{path}/norm", f"{key}_bn")]
        first += size
    return [*rules, Rule(r"classifier", "conv_preds", spatial=(1, 1), as_conv=True)]


def _resnet_biases(network: Any) -> dict[str, list[str]]:
    """Returns the convolution before each BN."""
    biases = {"stem/norm": ["stem/conv"]}
    for i, size in enumerate(network.stage_sizes):
        for j in range(size):
            unit = f"stage{i + 1}/block{j + 1}"
            biases |= {f"{unit}/norm{k}": [f"{unit}/conv{k}"] for k in (1, 2, 3)}
        biases[f"stage{i + 1}/block1/proj/norm"] = [f"stage{i + 1}/block1/proj/conv"]
    return biases


def _resnetv2_biases(network: Any) -> dict[str, list[str]]:
    """Returns the biases in the input of each BN: those of the units before it in its stage."""
    biases: dict[str, list[str]] = {}
    added: list[str] = []
    for i, size in enumerate(network.stage_sizes):
        for j in range(size):
            unit = f"stage{i + 1}/block{j + 1}"
            if added:
                biases[f"{unit}/norm1"] = added
            # A projection begins anew: its input is normalised.
            added = [*added, f"{unit}/conv3"] if j else [f"{unit}/proj/conv", f"{unit}/conv3"]
    return {**biases, "final_norm": added}


def _hidden_features(shapes: Shapes) -> tuple[int, ...]:
    """Returns the widths of VGG's hidden layers; without the top there are none."""
    return tuple(_features(shapes, fc, 0) for fc in ("fc1", "fc2") if f"{fc}/kernel" in shapes)


def _pool_size(shapes: Shapes) -> tuple[int, int]:
    """Returns the size of VGG's last map, which Keras flattens; it is taken as square."""
    rows = (shapes.get("fc1/kernel") or (0,))[0]
    side = math.isqrt(rows // _features(shapes, "block5_conv3", 512)) or 1
    return side, side


def _width_multiplier(shapes: Shapes) -> float:
    """Returns MobileNet's alpha: its stem has 32 channels at alpha 1."""
    return _features(shapes, "conv1", 32) / 32


def _features(shapes: Shapes, layer: str, usual: int) -> int:
    """Returns the features of a layer, at least 1; the usual number if its kernel is missing."""
    return max((shapes.get(f"{layer}/kernel") or (usual,))[-1], 1)


def _networks(
    names: Mapping[str, str], rules: Any, fields: Any, **parts: Any
) -> dict[str, Library]:
    return {
        theirs: Library(ours, {**_TRAINING, **fields}, rules, **parts)
        for theirs, ours in names.items()
    }


def _depths(theirs: str, ours: str, *depths: int) -> dict[str, str]:
    return {theirs.format(depth): ours.format(depth) for depth in depths}


_INCEPTION = {"norm": partial(BatchNorm, use_scale=False), "dropout_rate": 0.0}

KERAS: dict[str, Library] = {
    **_networks(
        _depths("VGG{}", "vgg{}", 16, 19),
        VGG,
        {"dropout_rate": 0.0, "dense_init": glorot_uniform, "classifier_init": glorot_uniform},
        read_off={"hidden_features": _hidden_features, "pool_size": _pool_size},
    ),
    **_networks(
        _depths("ResNet{}", "resnet{}_v1", 50, 101, 152),
        RESNET,
        {"norm_epsilon": 1.001e-5},
        biases=_resnet_biases,
    ),
    **_networks(
        _depths("ResNet{}V2", "resnet{}_v2", 50, 101, 152),
        RESNETV2,
        {
            "norm_epsilon": 1.001e-5,
            "shortcut": "first",
            "stem_norm": False,
            "stride_last": True,
            "pool_zeros": True,
            "stem_bias": True,
        },
        optional={"conv1_conv/bias": "stem_bias"},
        biases=_resnetv2_biases,
    ),
    **_networks(
        _depths("DenseNet{}", "densenet{}", 121, 169, 201),
        DENSENET,
        {"norm_epsilon": 1.001e-5},
        renamed=_OLD_DENSENET,
    ),
    **_networks({"InceptionV3": "inception_v3"}, INCEPTION_V3, _INCEPTION),
    **_networks({"InceptionResNetV2": "inception_resnet_v2"}, INCEPTION_RESNET_V2, _INCEPTION),
    **_networks(
        {"MobileNet": "mobilenet_v1_100"},
        _mobilenet,
        {"act": nn.relu6, "padding": "keras"},
        read_off={"width_multiplier": _width_multiplier},
    ),
}

"""The networks of torchvision, timm, Keras and ONNX files, one table of names per family."""

from typing import Any

from flax import linen as nn

from jaxcnn.interop.keras_tables import KERAS
from jaxcnn.interop.name_rules import Library, Rule
from jaxcnn.models import list_models

RESNET = (
    Rule(r"stem/conv", "conv1"),
    Rule(r"stem/norm", "bn1"),
    Rule(r"stage(\d+)/block(\d+)/conv(\d)", "layer{0}.{1:0}.conv{2}"),
    Rule(r"stage(\d+)/block(\d+)/norm(\d)", "layer{0}.{1:0}.bn{2}"),
    Rule(r"stage(\d+)/block(\d+)/proj/conv", "layer{0}.{1:0}.downsample.0"),
    Rule(r"stage(\d+)/block(\d+)/proj/norm", "layer{0}.{1:0}.downsample.1"),
    Rule(r"classifier", "fc"),
)

# timm has a 1x1 convolution instead of our dense classifier.
RESNETV2 = (
    Rule(r"stem/conv", "stem.conv"),
    Rule(r"stage(\d+)/block(\d+)/(norm|conv)(\d)", "stages.{0:0}.blocks.{1:0}.{2}{3}"),
    Rule(r"stage(\d+)/block(\d+)/proj/conv", "stages.{0:0}.blocks.{1:0}.downsample.conv"),
    Rule(r"final_norm", "norm"),
    Rule(r"classifier", "head.fc", spatial=(1, 1), as_conv=True),
)

DENSENET = (
    Rule(r"stem/conv", "features.conv0"),
    Rule(r"stem/norm", "features.norm0"),
    Rule(r"stage(\d+)/layer(\d+)/(norm|conv)(\d)", "features.denseblock{0}.denselayer{1}.{2}{3}"),
    Rule(r"transition(\d+)/(norm|conv)", "features.transition{0}.{1}"),
    Rule(r"final_norm", "features.norm5"),
    Rule(r"classifier", "classifier"),
)
# Names of torchvision before 0.3: norm.1 instead of today's norm1.
_OLD_DENSENET = ((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),)

MOBILENET = (
    Rule(r"stem/conv", "conv_stem"),
    Rule(r"stem/norm", "bn1"),
    Rule(r"stage(\d+)/block(\d+)/depthwise/conv", "blocks.{0:0}.{1:0}.conv_dw"),
    Rule(r"stage(\d+)/block(\d+)/depthwise/norm", "blocks.{0:0}.{1:0}.bn1"),
    Rule(r"stage(\d+)/block(\d+)/pointwise/conv", "blocks.{0:0}.{1:0}.conv_pw"),
    Rule(r"stage(\d+)/block(\d+)/pointwise/norm", "blocks.{0:0}.{1:0}.bn2"),
    Rule(r"head/conv", "conv_head"),
    Rule(r"head/norm", "bn2"),
    Rule(r"classifier", "classifier"),
)

GOOGLENET = (
    Rule(r"stem/conv1/conv", "conv1.conv"),
    Rule(r"stem/conv(\d)/conv", "conv{0}.conv"),
    Rule(r"stem/conv(\d)/norm", "conv{0}.bn"),
    Rule(r"stage(\d)/block(\d)/branch1/conv1/conv", "inception{0:3}{1:a}.branch1.conv"),
    Rule(r"stage(\d)/block(\d)/branch1/conv1/norm", "inception{0:3}{1:a}.branch1.bn"),
    # The fourth branch begins with a pool, which has number 0.
    Rule(r"stage(\d)/block(\d)/branch4/conv1/conv", "inception{0:3}{1:a}.branch4.1.conv"),
    Rule(r"stage(\d)/block(\d)/branch4/conv1/norm", "inception{0:3}{1:a}.branch4.1.bn"),
    Rule(
        r"stage(\d)/block(\d)/branch(\d)/conv(\d)/conv", "inception{0:3}{1:a}.branch{2}.{3:0}.conv"
    ),
    Rule(r"stage(\d)/block(\d)/branch(\d)/conv(\d)/norm", "inception{0:3}{1:a}.branch{2}.{3:0}.bn"),
    Rule(r"aux(\d)_head/conv/conv", "aux{0}.conv.conv"),
    Rule(r"aux(\d)_head/conv/norm", "aux{0}.conv.bn"),
    Rule(r"aux(\d)_head/fc1", "aux{0}.fc1", spatial=(4, 4)),
    Rule(r"aux(\d)_head/classifier", "aux{0}.fc2"),
    Rule(r"classifier", "fc"),
)

ALEXNET = (
    Rule(r"stage1/conv", "features.0"),
    Rule(r"stage2/conv", "features.3"),
    Rule(r"stage3/conv", "features.6"),
    Rule(r"stage4/conv", "features.8"),
    Rule(r"stage5/conv", "features.10"),
    Rule(r"fc6/dense", "classifier.1", spatial=(6, 6)),
    Rule(r"fc7/dense", "classifier.4"),
    Rule(r"classifier", "classifier.6"),
)


def _vgg_features(network: Any) -> list[Rule]:
    """Returns rules with torch's numbers, which count convolutions, BNs, ReLUs and pools."""
    rules, number = [], 0
    for i, size in enumerate(network.stage_sizes):
        for j in range(size):
            rules.append(Rule(f"stage{i + 1}/conv{j + 1}", f"features.{number}"))
            rules.append(Rule(f"stage{i + 1}/norm{j + 1}", f"features.{number + 1}"))
            number += 2 if network.norm is None else 3
        number += 1
    return rules


def _vgg_torchvision(network: Any) -> list[Rule]:
    return [
        *_vgg_features(network),
        Rule(r"fc6/dense", "classifier.0", spatial=network.pool_size),
        Rule(r"fc7/dense", "classifier.3"),
        Rule(r"classifier", "classifier.6"),
    ]


def _vgg_timm(network: Any) -> list[Rule]:
    """Returns rules up to 224 pixels: above, timm's head slides over a map that we average."""
    return [
        *_vgg_features(network),
        Rule(r"fc6/dense", "pre_logits.fc1", spatial=network.pool_size, as_conv=True),
        Rule(r"fc7/dense", "pre_logits.fc2", spatial=(1, 1), as_conv=True),
        Rule(r"classifier", "head.fc"),
    ]


def _conv_bn(*names: tuple[str, str]) -> list[Rule]:
    """Returns rules for convolutions with BN, which torch names `conv` and `bn` in one module."""
    return [
        Rule(f"{path}/{ours}", f"{key}.{theirs}")
        for path, key in names
        for ours, theirs in (("conv", "conv"), ("norm", "bn"))
    ]


INCEPTION_V3 = (
    *_conv_bn(
        (r"stem/conv1", "Conv2d_1a_3x3"),
        (r"stem/conv2", "Conv2d_2a_3x3"),
        (r"stem/conv3", "Conv2d_2b_3x3"),
        (r"stem/conv4", "Conv2d_3b_1x1"),
        (r"stem/conv5", "Conv2d_4a_3x3"),
        (r"stage2/reduction/branch1/conv1", "Mixed_6a.branch3x3"),
        (r"stage2/reduction/branch2/conv(\d)", "Mixed_6a.branch3x3dbl_{0}"),
        (r"stage3/reduction/branch1/conv(\d)", "Mixed_7a.branch3x3_{0}"),
        (r"stage3/reduction/branch2/conv(\d)", "Mixed_7a.branch7x7x3_{0}"),
        # Stage 1 begins with the module Mixed_5b, other stages with a reduction, Mixed_6a and 7a.
        (r"stage(\d)/block(\d)/branch1/conv1", "Mixed_{0:5}{1:b}.branch1x1"),
        (r"stage(\d)/block(\d)/branch4/conv1", "Mixed_{0:5}{1:b}.branch_pool"),
        (r"stage1/block(\d)/branch2/conv(\d)", "Mixed_5{0:b}.branch5x5_{1}"),
        (r"stage1/block(\d)/branch3/conv(\d)", "Mixed_5{0:b}.branch3x3dbl_{1}"),
        (r"stage2/block(\d)/branch2/conv(\d)", "Mixed_6{0:b}.branch7x7_{1}"),
        (r"stage2/block(\d)/branch3/conv(\d)", "Mixed_6{0:b}.branch7x7dbl_{1}"),
        (r"stage3/block(\d)/branch2/conv1", "Mixed_7{0:b}.branch3x3_1"),
        (r"stage3/block(\d)/branch2/fork2/branch(\d)/conv1", "Mixed_7{0:b}.branch3x3_2{1:a}"),
        (r"stage3/block(\d)/branch3/conv(\d)", "Mixed_7{0:b}.branch3x3dbl_{1}"),
        (r"stage3/block(\d)/branch3/fork3/branch(\d)/conv1", "Mixed_7{0:b}.branch3x3dbl_3{1:a}"),
        (r"aux1_head/conv(\d)", "AuxLogits.conv{0:0}"),
    ),
    Rule(r"aux1_head/classifier", "AuxLogits.fc"),
    Rule(r"classifier", "fc"),
)


def _inception_v4(network: Any) -> list[Rule]:
    """Returns rules with one number for all parts of the stem, modules and reductions."""
    second = 6 + network.stage_sizes[0]
    third = second + 1 + network.stage_sizes[1]
    rules = _conv_bn(
        (r"stem/conv1", "features.0"),
        (r"stem/conv(\d)", "features.{0:0}"),
        (r"stem/fork4/branch2/conv1", "features.3.conv"),
        (r"stem/fork5/branch(\d)/conv(\d)", "features.4.branch{0:0}.{1:0}"),
        (r"stem/fork6/branch1/conv1", "features.5.conv"),
        (r"stage2/reduction/branch1/conv1", f"features.{second}.branch0"),
        (r"stage2/reduction/branch2/conv(\d)", f"features.{second}.branch1.{{0:0}}"),
        (r"stage3/reduction/branch(\d)/conv(\d)", f"features.{third}.branch{{0:0}}.{{1:0}}"),
    )
    for stage, first in ((1, 6), (2, second + 1), (3, third + 1)):
        block, key = rf"stage{stage}/block(\d+)", f"features.{{0:{first}}}"
        dot = "_" if stage == 3 else "."
        rules += _conv_bn(
            (rf"{block}/branch1/conv1", f"{key}.branch0"),
            (rf"{block}/branch4/conv1", f"{key}.branch3.1"),
            (rf"{block}/branch(\d)/conv(\d)", f"{key}.branch{{1:0}}{dot}{{2:0}}"),
            (
                rf"{block}/branch(\d)/fork(\d)/branch(\d)/conv1",
                f"{key}.branch{{1:0}}_{{2:0}}{{3:a}}",
            ),
        )
    return [*rules, Rule(r"classifier", "last_linear")]


def _inception_resnet_v2(network: Any) -> list[Rule]:
    last = network.stage_sizes[2] + 1
    rules = _conv_bn(
        (r"stem/conv1", "conv2d_1a"),
        (r"stem/conv2", "conv2d_2a"),
        (r"stem/conv3", "conv2d_2b"),
        (r"stem/conv4", "conv2d_3b"),
        (r"stem/conv5", "conv2d_4a"),
        (r"stem/fork6/branch1/conv1", "mixed_5b.branch0"),
        (r"stem/fork6/branch4/conv1", "mixed_5b.branch3.1"),
        (r"stem/fork6/branch(\d)/conv(\d)", "mixed_5b.branch{0:0}.{1:0}"),
        (r"stage2/reduction/branch1/conv1", "mixed_6a.branch0"),
        (r"stage2/reduction/branch2/conv(\d)", "mixed_6a.branch1.{0:0}"),
        (r"stage3/reduction/branch(\d)/conv(\d)", "mixed_7a.branch{0:0}.{1:0}"),
        (r"last", "conv2d_7b"),
    )
    for block, key in (
        (rf"stage3/block({last})", "block8"),
        (r"stage1/block(\d+)", "repeat.{0:0}"),
        (r"stage2/block(\d+)", "repeat_1.{0:0}"),
        (r"stage3/block(\d+)", "repeat_2.{0:0}"),
    ):
        rules += _conv_bn(
            (rf"{block}/branch1/conv1", f"{key}.branch0"),
            (rf"{block}/branch2/conv(\d)", f"{key}.branch1.{{1:0}}"),
            (rf"{block}/branch3/conv(\d)", f"{key}.branch2.{{1:0}}"),
        )
        rules.append(Rule(rf"{block}/expand", f"{key}.conv2d"))
    return [*rules, Rule(r"classifier", "classif")]


def _same(names: str, rules: Any, fields: Any = None, **parts: Any) -> dict[str, Library]:
    """Returns networks whose name in the library is our name."""
    return {name: Library(name, fields or {}, rules, **parts) for name in names.split()}


_RESNET_NAMES = (
    "resnet18 resnet34 resnet50 resnet101 resnet152 wide_resnet50_2 wide_resnet101_2"
    " resnext50_32x4d resnext101_32x8d resnext101_64x4d"
)
# timm has no dropout by default, and initialises the last BN of every ResNet unit with zeros.
_NO_DROPOUT = {"dropout_rate": 0.0}
_TIMM_RESNETS = _same(f"{_RESNET_NAMES} resnext101_32x4d", RESNET, {"zero_init_last": True})
_RESNETV2 = {"stem_norm": False}
_RESNETV2_BOTTLENECKS = {"stem_norm": False, "shortcut": "first"}
_RESNETV2S = {
    "resnetv2_18": Library("resnet18_v2", _RESNETV2, RESNETV2),
    "resnetv2_34": Library("resnet34_v2", _RESNETV2, RESNETV2),
    "resnetv2_50": Library("resnet50_v2", _RESNETV2_BOTTLENECKS, RESNETV2),
    "resnetv2_101": Library("resnet101_v2", _RESNETV2_BOTTLENECKS, RESNETV2),
    "resnetv2_152": Library("resnet152_v2", _RESNETV2_BOTTLENECKS, RESNETV2),
}
_DENSENETS = _same(
    "densenet121 densenet161 densenet169 densenet201", DENSENET, renamed=_OLD_DENSENET
)
# timm rounds widths to multiples of eight for other multipliers; these need no rounding.
_MOBILENET = {
    "padding": "symmetric",
    "act": nn.relu6,
    "norm_epsilon": 1e-5,
    "norm_momentum": 0.9,
    **_NO_DROPOUT,
}
_MOBILENETS = {
    "mobilenetv1_100": Library("mobilenet_v1_100", _MOBILENET, MOBILENET),
    "mobilenetv1_100h": Library(
        "mobilenet_v1_100", {**_MOBILENET, "head_features": 1024}, MOBILENET
    ),
    "mobilenetv1_125": Library(
        "mobilenet_v1_100", {**_MOBILENET, "width_multiplier": 1.25}, MOBILENET
    ),
}
_GOOGLENETS = {
    "googlenet": Library("googlenet_torchvision", {}, GOOGLENET, optional={"aux": "aux_heads"})
}
_ALEXNETS = {"alexnet": Library("alexnet_torchvision", {}, ALEXNET)}
_VGG_NAMES = "vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn"
_VGGS = _same(_VGG_NAMES, _vgg_torchvision)
_TIMM_VGGS = _same(_VGG_NAMES, _vgg_timm, _NO_DROPOUT)

# Both libraries count the padding in average pools.
_INCEPTION_V3 = {"count_include_pad": True}
_AUXLOGITS = {"AuxLogits": "aux_heads"}
_INCEPTIONS = {
    "inception_v3": Library(
        "inception_v3", {**_INCEPTION_V3, "dropout_rate": 0.5}, INCEPTION_V3, _AUXLOGITS
    )
}
_TIMM_INCEPTIONS = {
    "inception_v3": Library(
        "inception_v3", {**_INCEPTION_V3, **_NO_DROPOUT}, INCEPTION_V3, _AUXLOGITS
    ),
    **_same("inception_v4", _inception_v4, _NO_DROPOUT),
    **_same("inception_resnet_v2", _inception_resnet_v2, _NO_DROPOUT),
}

LIBRARIES: dict[str, dict[str, Library]] = {
    "torchvision": {
        **_same(_RESNET_NAMES, RESNET),
        **_DENSENETS,
        **_GOOGLENETS,
        **_ALEXNETS,
        **_VGGS,
        **_INCEPTIONS,
    },
    "timm": {
        **_TIMM_RESNETS,
        **_RESNETV2S,
        **_DENSENETS,
        **_MOBILENETS,
        **_TIMM_VGGS,
        **_TIMM_INCEPTIONS,
    },
    "keras": KERAS,
}

# Names in `jaxcnn.interop.from_onnx`: ours, two networks of the ONNX model zoo that differ from
# ours in fields, and timm's. Names in ONNX files mean nothing: the only rule is that for the first
# convolution.
_FIRST_CONVOLUTION = (
    Rule(r"(stem|stem/conv1|stage1|stage1/\w+)/conv|stage1/(conv1|first)|c1", ""),
)
_ZFNET512 = {
    "features": (96, 256, 512, 512, 512),
    "hidden_features": (4096, 1024),
    "padding": "valid",
    "pool_first": False,
    "ceil_mode": True,
}
ONNX: dict[str, Library] = {
    **_same(" ".join(list_models()), _FIRST_CONVOLUTION),
    "caffenet": Library("alexnet", {"pool_first": True}, _FIRST_CONVOLUTION),
    "zfnet512": Library("zfnet", _ZFNET512, _FIRST_CONVOLUTION),
    **_RESNETV2S,
    **_MOBILENETS,
}

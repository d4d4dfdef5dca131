"""The networks of torchvision and timm, and one table of names for each family."""

from typing import Any

from jaxcnn.interop.names import Library, Rule

RESNET = (
    Rule(r"stem/conv", "conv1"),
    Rule(r"stem/norm", "bn1"),
    Rule(r"stage(\d+)/block(\d+)/conv(\d)", "layer{0}.{1:0}.conv{2}"),
    Rule(r"stage(\d+)/block(\d+)/norm(\d)", "layer{0}.{1:0}.bn{2}"),
    Rule(r"stage(\d+)/block(\d+)/proj/conv", "layer{0}.{1:0}.downsample.0"),
    Rule(r"stage(\d+)/block(\d+)/proj/norm", "layer{0}.{1:0}.downsample.1"),
    Rule(r"classifier", "fc"),
)

DENSENET = (
    Rule(r"stem/conv", "features.conv0"),
    Rule(r"stem/norm", "features.norm0"),
    Rule(r"stage(\d+)/layer(\d+)/(norm|conv)(\d)", "features.denseblock{0}.denselayer{1}.{2}{3}"),
    Rule(r"transition(\d+)/(norm|conv)", "features.transition{0}.{1}"),
    Rule(r"final_norm", "features.norm5"),
    Rule(r"classifier", "classifier"),
)
# Names of torchvision before 0.3: norm.1 where it is norm1 today.
_OLD_DENSENET = ((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),)


def _same(names: str, rules: Any, **parts: Any) -> dict[str, Library]:
    """Networks that the library calls as we do."""
    return {name: Library(name, {}, rules, **parts) for name in names.split()}


_RESNETS = _same("resnet18 resnet34 resnet50 resnet101 resnet152", RESNET)
_DENSENETS = _same(
    "densenet121 densenet161 densenet169 densenet201", DENSENET, renamed=_OLD_DENSENET
)

LIBRARIES: dict[str, dict[str, Library]] = {
    "torchvision": {**_RESNETS, **_DENSENETS},
    "timm": {**_RESNETS, **_DENSENETS},
}

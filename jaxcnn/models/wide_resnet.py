"""Wide ResNet.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016, arXiv 1605.07146.

The paper's: pre-activation units of two 3x3, k times as wide as in ResNet, after a stem of 16 maps;
dropout between the two (0.3 for CIFAR, 0.4 for SVHN); for ImageNet ResNet-50 with twice as wide 1x1
and 3x3 inside its bottlenecks. From the released code (szagoruyko/wide-residual-networks): if the
channels change, the unit's first BN-ReLU precedes branch and projection; no BN after the stem; the
fan-out form of He initialisation. wide_resnet101_2 is torchvision's.

CIFAR, error in the paper without dropout (CIFAR-10 / CIFAR-100 %), parameters; names contain depth
and k. With dropout 28-10 has 3.89 / 18.85.

  wrn_16_8   4.27 / 20.43   10,961,370      wrn_28_12   –              52,517,850
  wrn_22_8   –              17,158,106      wrn_40_4    4.53 / 21.18    8,949,210
  wrn_28_10  4.00 / 19.25   36,479,194      wrn_40_8    –              35,748,314

ImageNet, single-crop validation error (top-1 / top-5 %; 101 from torchvision), parameters:

  wide_resnet50_2   21.9  / 6.03    68,883,240      wide_resnet101_2  21.15 / 5.72   126,886,696
"""

from typing import Any

from jaxcnn.errors import UserError
from jaxcnn.models.preact_resnet import PreActBasicBlock, PreActResNet
from jaxcnn.models.resnet import ResNet, imagenet_resnet


def cifar_wide_resnet(depth: int, width_multiplier: int, **fields: Any) -> PreActResNet:
    """Returns WRN-depth-k; `fields` are those of `PreActResNet`, such as `dropout_rate`.

    Args:
      depth: 6n+4, the number of convolutions including projections.
      width_multiplier: k; the stages have 16k, 32k and 64k features.
      **fields: fields of `PreActResNet`.

    Raises:
      UserError: for any other depth, or an invalid width.
    """
    n, rest = divmod(depth - 4, 6)
    if n < 1 or rest:
        raise UserError(f"no wide ResNet of depth {depth}: it must be 6n+4, as 16 or 28")
    if width_multiplier < 1:
        raise UserError(f"a width multiplier of {width_multiplier} leaves no channels: 1 or more")
    defaults = {
        "num_classes": 10,
        "stage_sizes": (n, n, n),
        "block": PreActBasicBlock,
        "width": 16 * width_multiplier,
        "stem_features": 16,
        "cifar_stem": True,
        "stem_norm": False,
    }
    return PreActResNet(**{**defaults, **fields})


def imagenet_wide_resnet(depth: int, width_multiplier: int = 2, **fields: Any) -> ResNet:
    """Returns ResNet with k times as wide bottlenecks; `fields` are those of `ResNet`.

    Raises:
      UserError: if the units of this depth are not bottlenecks.
    """
    if depth not in (50, 101, 152):
        raise UserError(f"no wide ResNet of depth {depth}: choose one of [50, 101, 152]")
    return imagenet_resnet(depth, **{"base_width": 64 * width_multiplier, **fields})

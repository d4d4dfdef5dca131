"""ResNeXt.

Xie, Girshick, Dollár, Tu and He, "Aggregated Residual Transformations for Deep Neural Networks",
2016, arXiv 1611.05431.

The paper's: bottlenecks of C equal paths, "C x wd" in the names for C paths of width w in the first
stage; shortcut B; the stride on the 3x3. The paper has three equivalent forms of a unit: all are in
`AggregatedBottleneck`, and `jaxcnn.models.resnet.Bottleneck` is form (c), a grouped 3x3. From the
released code (facebookresearch/ResNeXt): the fan-out form of He initialisation. resnext101_32x8d is
torchvision's. Padding is symmetric.

ImageNet, single 224 crop, validation error (top-1 / top-5 %; 32x8d from torchvision), parameters:

  resnext50_32x4d    22.2 / –    25,028,904      resnext101_64x4d   20.4 / 5.3   83,455,272
  resnext101_32x4d   21.2 / 5.6  44,177,704      resnext101_32x8d   20.7 / 5.5   88,791,336

CIFAR, test error in the paper (CIFAR-10 / CIFAR-100 %), parameters:

  resnext29_8x64d   3.65 / 17.77   34,426,698      resnext29_16x64d   3.58 / 17.31   68,155,210
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.models.resnet import Bottleneck, ResNet, imagenet_resnet

FORMS = ("a", "b", "c")


class Path(nn.Module):
    """1x1, BN, ReLU, 3x3, BN, ReLU[, 1x1]: one path of a unit.

    Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), out_features or features).

    Attributes:
      features: width of the path.
      out_features: features of the last 1x1; None omits it.
    """

    features: int
    out_features: int | None
    strides: int
    conv: Constructor
    norm: Constructor
    act: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the path's contribution to its unit."""
        x = self.conv(self.features, (1, 1), name="conv1")(x)
        x = self.act(self.norm(name="norm1")(x))
        x = self.conv(self.features, (3, 3), strides=self.strides, padding=1, name="conv2")(x)
        x = self.act(self.norm(name="norm2")(x))
        if self.out_features is None:
            return x
        return self.conv(self.out_features, (1, 1), name="conv3")(x)


class AggregatedBottleneck(Bottleneck):
    """A bottleneck of `cardinality` paths, in one of the paper's three forms.

    (a): the sum of paths 1x1, 3x3, 1x1. (b): paths 1x1, 3x3, concatenated, then one 1x1. (c): 1x1,
    3x3 in groups, 1x1, which is `Bottleneck`. A path has its group's part of the kernels of (c);
    the last BN follows the sum.

    Attributes:
      form: "a", "b" or "c".
    """

    form: str = "c"

    def residual(self, x: jax.Array) -> jax.Array:
        """Applies the paths, and BN."""
        if self.form not in FORMS:
            raise UserError(f"no form {self.form!r} of a unit: {nearest(self.form, FORMS)}")
        if self.form == "c":
            return super().residual(x)
        if self.stride_first:
            raise UserError("forms (a) and (b) have the stride on the 3x3: no stride_first")
        out = self.expansion * self.features
        paths = [
            Path(
                self.group_features,
                out if self.form == "a" else None,
                self.strides,
                self.conv,
                self.norm,
                self.act,
                name=f"path{i + 1}",
            )(x)
            for i in range(self.cardinality)
        ]
        if self.form == "a":
            x = sum(paths[1:], start=paths[0])
        else:
            x = self.conv(out, (1, 1), name="conv3")(jnp.concatenate(paths, axis=-1))
        return self.last_norm("norm3")(x)


def imagenet_resnext(
    depth: int, cardinality: int = 32, base_width: int = 4, **fields: Any
) -> ResNet:
    """Returns ResNeXt-depth (C x wd); `fields` are those of `ResNet`.

    Args:
      depth: 50, 101 or 152.
      cardinality: number C of paths in a unit.
      base_width: width w of paths in the first stage.
      **fields: fields of `ResNet`.

    Raises:
      UserError: for any other depth.
    """
    if depth not in (50, 101, 152):
        raise UserError(f"no ResNeXt of depth {depth}: choose one of [50, 101, 152]")
    return imagenet_resnet(
        depth, **{"cardinality": cardinality, "base_width": base_width, **fields}
    )


def cifar_resnext(depth: int, cardinality: int, base_width: int = 64, **fields: Any) -> ResNet:
    """Returns the CIFAR network with three equal stages; `fields` are those of `ResNet`.

    Args:
      depth: 9n+2.
      cardinality: number C of paths in a unit.
      base_width: width w of paths in the first stage.
      **fields: fields of `ResNet`.

    Raises:
      UserError: for any other depth.
    """
    n, rest = divmod(depth - 2, 9)
    if n < 1 or rest:
        raise UserError(f"no CIFAR ResNeXt of depth {depth}: it must be 9n+2, as 29")
    defaults = {
        "num_classes": 10,
        "stage_sizes": (n, n, n),
        "block": Bottleneck,
        "cardinality": cardinality,
        "base_width": base_width,
        "cifar_stem": True,
    }
    return ResNet(**{**defaults, **fields})

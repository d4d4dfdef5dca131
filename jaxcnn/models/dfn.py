"""Deeply-fused nets.

Wang, Wei, Zhang and Zeng, "Deeply-Fused Nets", 2016, arXiv 1605.07716.

Base networks of different depths are cut into equally many blocks; after every block their outputs
are added: x_b = ReLU(Σ_k F_{k,b}(x_{b-1})). The paper's: this form, in which blocks of different
bases may be exchanged without changing the network. From the released code (zlmzju/fusenet): the
bases, one deep, plain and cut into 3 or 6 blocks, one shallow with a single layer at the beginning
of a stage and none elsewhere; widths 16, 32, 64, BN at the end of each F, He initialisation by
fan-in, BN's epsilon 2e-5 (and for CIFAR a decay of 0.99, here 0.9).

CIFAR-10; no errors of these networks are published; parameters:

  dfn_fuse3_d20   295,290      dfn_fuse6_d26   392,506
  dfn_fuse3_d26   392,506      dfn_fuse6_d50   781,370
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers import ConvNormAct, global_average_pool
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.initializers import he_normal
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork


class BaseBlock(nn.Module):
    """3x3, BN, ReLU; repeated, the last without ReLU. Without layers it is the identity.

    Layers are `layer1`, `layer2`, …; the first one is strided.
    """

    num_layers: int
    features: int
    conv: Constructor
    norm: Constructor
    act: Activation
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), features)."""
        if self.num_layers == 0 and (self.strides > 1 or x.shape[-1] != self.features):
            raise UserError(
                "a base has no layer in a block that begins a stage, where the width or the size "
                "changes: give it 1 or more there"
            )
        for i in range(self.num_layers):
            x = ConvNormAct(
                self.features,
                (3, 3),
                strides=self.strides if i == 0 else 1,
                conv=self.conv,
                norm=self.norm,
                act=self.act if i < self.num_layers - 1 else None,
                name=f"layer{i + 1}",
            )(x)
        return x


class FusedBlock(nn.Module):
    """`base1` + `base2` + …; ReLU.

    Attributes:
      bases: number of layers of each base in this block.
      base: constructor of one base's block.
    """

    bases: Sequence[int]
    features: int
    strides: int
    base: Constructor
    act: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), features)."""
        outputs = [
            self.base(num_layers, self.features, strides=self.strides, name=f"base{k + 1}")(x)
            for k, num_layers in enumerate(self.bases)
        ]
        return self.act(sum(outputs[1:], outputs[0]))


class Stage(nn.Module):
    """Fused blocks of one width, `block1`, `block2`, …; the first one has the stage's stride."""

    blocks: Sequence[Sequence[int]]
    features: int
    strides: int
    block: Constructor

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, ceil(H/strides), ceil(W/strides), features)."""
        for i, bases in enumerate(self.blocks):
            strides = self.strides if i == 0 else 1
            x = self.block(bases, self.features, strides, name=f"block{i + 1}")(x)
        return x


class DeeplyFusedNet(NormNetwork):
    """Stem, stages of fused blocks, global average pooling, linear classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) of any size to logits
    (N, num_classes) in at least float32. With `train=True` the collection `batch_stats` must be
    mutable; no rng is needed. Submodules: `stem`, `stage1`, `stage2`, …, `classifier`.

    Attributes:
      bases: for each base network, its number of layers in each block; 0 is the identity.
      stage_sizes: number of blocks in each stage.
      width: features of the stem and the first stage; each further stage doubles them and halves
        the map.

    Raises:
      UserError: if images are not of rank 4, a base has not as many blocks as the stages, or no
        layer at the beginning of a stage that changes the shape.
    """

    num_classes: int = 10
    bases: Sequence[Sequence[int]] = ((6, 6, 6), (1, 1, 1))
    stage_sizes: Sequence[int] = (1, 1, 1)
    width: int = 16
    norm_epsilon: float = 2e-5

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images)
        if not self.bases or any(len(base) != sum(self.stage_sizes) for base in self.bases):
            raise UserError(
                f"bases={tuple(map(tuple, self.bases))}: each base has a number of layers for "
                f"every block, and stage_sizes={tuple(self.stage_sizes)} are "
                f"{sum(self.stage_sizes)} blocks"
            )
        layers = self.layers(train, he_normal())
        block = partial(FusedBlock, base=partial(BaseBlock, **layers), act=self.act)

        x = ConvNormAct(self.width, (3, 3), **layers, name="stem")(images)
        blocks = list(zip(*self.bases, strict=True))
        for i, size in enumerate(self.stage_sizes):
            here, blocks = blocks[:size], blocks[size:]
            x = Stage(here, self.width * 2**i, 1 if i == 0 else 2, block, name=f"stage{i + 1}")(x)
        return self.classify(global_average_pool(x))


def cifar_dfn(fusions: int, depth: int, **fields: Any) -> DeeplyFusedNet:
    """Returns a network of the released code; `fields` are those of `DeeplyFusedNet`.

    Args:
      fusions: number of blocks, a multiple of 3.
      depth: number of layers of the deep base with stem and classifier.
      **fields: fields of `DeeplyFusedNet`.

    Raises:
      UserError: if the depth cannot be split into this number of blocks.
    """
    layers, rest = divmod(depth - 2, fusions)
    if fusions % 3 or layers < 1 or rest:
        raise UserError(
            f"no deeply-fused net of depth {depth} with {fusions} fusions: the depth must be 2 "
            "more than a multiple of the fusions, which must be a multiple of 3"
        )
    size = fusions // 3
    shallow = (1, *(0,) * (size - 1)) * 3
    defaults = {"bases": ((layers,) * fusions, shallow), "stage_sizes": (size,) * 3}
    return DeeplyFusedNet(**{**defaults, **fields})

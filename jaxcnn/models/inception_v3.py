"""Inception v3, and a reconstruction of v2.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture for Computer
Vision", 2015, arXiv 1512.00567.

The paper's: factorised convolutions, modules of three kinds on maps of 35, 17 and 8, reductions
that convolve and pool in parallel, an auxiliary head with BN after the 17x17 modules, label
smoothing. From the released code (TensorFlow models, `inception` and slim): all widths, which the
paper omits, the stem, dropout of 0.2, epsilon 0.001, truncated normal initialisation with deviation
0.1 (0.01 and 0.001 in the auxiliary head), average pools that divide by the pixels in the window.
torchvision divides by nine at the border too, and drops 0.5. Momentum 0.9 is torchvision's; slim
has 0.9997. Padding is symmetric.

`inception_v2` is our reconstruction: the paper's network of that name has 3x3 convolutions instead
of v3's 5x5, and no BN in the auxiliary head. Its table 1 fits neither its text nor the code, so the
rest is v3's.

ImageNet, single-crop validation error in the paper (top-1 / top-5 %), parameters, with the head:

  inception_v3   21.2 / 5.6   23,834,568   27,161,264
  inception_v2   22.8 / 6.1   23,687,112                RMSProp and label smoothing; 23.4 with SGD

With 144 crops v3 has 18.77 / 4.2. Keras learns no scale in BN: 17,216 parameters fewer.
"""

import itertools
from collections.abc import Sequence
from functools import partial

import jax
from flax import linen as nn
from flax.linen.initializers import Initializer

from jaxcnn.errors import UserError
from jaxcnn.layers import ConvNormAct, classifier, global_average_pool, sow_auxiliary
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.head import runs_auxiliary
from jaxcnn.layers.inception_blocks import AVERAGE, MAX, Branches, Chain, Fork, Layer, Pool, fork
from jaxcnn.layers.recompute import recomputed
from jaxcnn.layers.scan import apply_scanned
from jaxcnn.models.checks import check_images
from jaxcnn.models.googlenet import to_plus_minus_one
from jaxcnn.models.network import NormNetwork
from jaxcnn.ops.pool import avg_pool

# Truncated at two standard deviations, like TensorFlow's.
truncated_normal = nn.initializers.truncated_normal


def valid3x3(features: int, strides: int = 1) -> Layer:
    """Returns a 3x3 convolution without padding."""
    return Layer(features, 3, strides, padding=0)


STEM = (valid3x3(32, 2), valid3x3(32), Layer(64, 3), MAX, Layer(80), valid3x3(192), MAX)


def module_a(pool_features: int, kernel_size: int, average: Pool) -> Fork:
    """Returns 64 1x1 | 48 1x1, 64 5x5 | 64 1x1, two 96 3x3 | average pool, 1x1."""
    return fork(
        [Layer(64)],
        [Layer(48), Layer(64, kernel_size)],
        [Layer(64), Layer(96, 3), Layer(96, 3)],
        [average, Layer(pool_features)],
    )


REDUCTION_A = fork([valid3x3(384, 2)], [Layer(64), Layer(96, 3), valid3x3(96, 2)], [MAX])


def module_b(c: int, average: Pool) -> Fork:
    """Returns 192 1x1 | 7x7 in two convolutions | two 7x7 in four | average pool, 192 1x1."""
    return fork(
        [Layer(192)],
        [Layer(c), Layer(c, (1, 7)), Layer(192, (7, 1))],
        [Layer(c), Layer(c, (7, 1)), Layer(c, (1, 7)), Layer(c, (7, 1)), Layer(192, (1, 7))],
        [average, Layer(192)],
    )


REDUCTION_B = fork(
    [Layer(192), valid3x3(320, 2)],
    [Layer(192), Layer(192, (1, 7)), Layer(192, (7, 1)), valid3x3(192, 2)],
    [MAX],
)


def module_c(average: Pool) -> Fork:
    """Returns 320 1x1 | 384 1x1, ends | 448 1x1, 384 3x3, ends | average pool, 192 1x1.

    The ends of a branch are 1x3 and 3x1 in parallel.
    """
    ends = fork([Layer(384, (1, 3))], [Layer(384, (3, 1))])
    return fork(
        [Layer(320)],
        [Layer(384), ends],
        [Layer(448), Layer(384, 3), ends],
        [average, Layer(192)],
    )


class Stage(nn.Module):
    """Optional `reduction`, which halves the map, then `block1`, `block2` and so on.

    Attributes:
      scan: whether to run three or more blocks with the same constructor, whose outputs must have
        the shape of their inputs, as a loop; see `InceptionV4`.
    """

    blocks: Sequence[Constructor]
    reduction: Constructor | None = None
    scan: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to the last block's (N, H', W', C')."""
        if self.reduction is not None:
            x = self.reduction(name="reduction")(x)
        number = 0
        for block, equal in itertools.groupby(self.blocks):
            names = [f"block{number + i + 1}" for i, _ in enumerate(equal)]
            number += len(names)
            if self.scan and len(names) > 2 and not self.is_initializing():
                x = apply_scanned(self, partial(_unbound, block), names, x)
                continue
            for name in names:
                x = block(name=name)(x)
        return x


def _unbound(block: Constructor, _: None) -> nn.Module:
    return block(parent=None)


class AuxiliaryHead(nn.Module):
    """5x5/3 average pool, 128 1x1, 768 5x5, linear classifier; with BN and ReLU.

    Maps (N, 17, 17, C) to logits. For larger maps it averages the output of the 5x5.

    Attributes:
      last_init: initialiser of the 5x5.
      classifier: constructor of the classifier, complete except for its initialiser.

    Raises:
      UserError: if the maps are smaller.
    """

    conv: Constructor
    norm: Constructor
    act: Activation
    last_init: Initializer
    classifier: Constructor

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the logits."""
        height, width = x.shape[1:3]
        if min(height, width) < 17:
            raise UserError(
                f"the auxiliary head takes maps of 17x17, which images of 299x299 have, and these "
                f"are {height}x{width}: give larger images, or train with aux_heads=False"
            )
        unit = partial(ConvNormAct, norm=self.norm, act=self.act)
        last_conv = partial(self.conv, kernel_init=self.last_init)
        x = avg_pool(x, (5, 5), (3, 3))
        x = unit(128, (1, 1), conv=self.conv, name="conv1")(x)
        x = unit(768, (5, 5), conv=last_conv, padding=0, name="conv2")(x)
        return self.classifier(kernel_init=truncated_normal(0.001))(global_average_pool(x))


class InceptionV3(NormNetwork):
    """Stem, three stages of Inception modules, global average pooling, dropout, linear classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) to logits (N, num_classes) in at least
    float32. With `train=True` the collection `batch_stats` must be mutable, and if `dropout_rate`
    is positive an rng `dropout` is needed. Submodules: `stem`, `stage1`, `stage2`, `stage3`,
    `classifier`, and with `aux_heads` `aux1_head`, whose input is the output of stage 2. It runs in
    training and whenever collection `aux` is mutable, and stores its logits there as `aux1`.

    Attributes:
      pool_features: width of the pooling branch in each module of stage 1.
      inner_features: width of the factorised 7x7 convolutions in each module of stage 2, except the
        last convolutions.
      stage3_size: number of modules in stage 3.
      stage1_kernel_size: kernel size of the second branch in stage 1; 3 turns v3 into v2.
      count_include_pad: whether average pools divide by nine at the border too.
      aux_heads: whether there is an auxiliary head. If it runs, images must be at least 299x299.
      dropout_rate: share of features dropped before the classifier.
      transform_input: whether to convert images normalised by ImageNet's mean and deviation to [-1,
        1], for weights trained on that range.
      remat: whether the backward pass keeps only the input of every module and computes the module
        again, for less memory; see `jaxcnn.layers.recompute`.

    Raises:
      UserError: if images are not of rank 4, or too small for the last stage or the auxiliary head.
    """

    pool_features: Sequence[int] = (32, 64, 64)
    inner_features: Sequence[int] = (128, 160, 160, 192)
    stage3_size: int = 2
    stage1_kernel_size: int = 5
    count_include_pad: bool = False
    aux_heads: bool = False
    dropout_rate: float = 0.2
    transform_input: bool = False
    remat: bool = False
    norm_epsilon: float = 1e-3

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images, smallest=75)
        layers = self.layers(train, truncated_normal(0.1))
        branches = partial(recomputed(Branches) if self.remat else Branches, **layers)
        average = partial(AVERAGE, count_include_pad=self.count_include_pad)
        a = [module_a(p, self.stage1_kernel_size, average) for p in self.pool_features]
        b = [module_b(c, average) for c in self.inner_features]
        c = [module_c(average)] * self.stage3_size

        x = to_plus_minus_one(images) if self.transform_input else images
        x = Chain(STEM, **layers, name="stem")(x)
        x = Stage([partial(branches, table) for table in a], name="stage1")(x)
        x = Stage(
            [partial(branches, table) for table in b],
            reduction=partial(branches, REDUCTION_A),
            name="stage2",
        )(x)
        if self.aux_heads and self.num_classes > 0 and runs_auxiliary(self, train):
            last_init = self.kernel_init or truncated_normal(0.01)
            head = partial(classifier, self.num_classes, **self.dtypes)
            aux = AuxiliaryHead(**layers, last_init=last_init, classifier=head, name="aux1_head")
            sow_auxiliary(self, "aux1", aux(x))
        x = Stage(
            [partial(branches, table) for table in c],
            reduction=partial(branches, REDUCTION_B),
            name="stage3",
        )(x)
        dropout = Dropout(self.dropout_rate, deterministic=not train)
        return self.classify(global_average_pool(x), truncated_normal(0.1), dropout)

"""GoogLeNet, the first Inception network.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich, "Going Deeper with
Convolutions", 2014, arXiv 1409.4842.

The paper's: the modules and their widths, local response normalisation in the stem, two auxiliary
heads whose losses have weight 0.3, dropout of 0.4 before the classifier and 0.7 in the heads. From
the port to Caffe (BVLC `bvlc_googlenet`), where the paper gives no value: the constants of the
response normalisation, pools that keep a partly fitting last window, Xavier initialisation by
fan-in with biases of 0.2. Padding is symmetric.

`googlenet_bn` has batch normalisation instead of biases and response normalisation.
`googlenet_torchvision` is the network of TF-slim's and torchvision's weights: it also has 3x3
instead of "5x5" convolutions, a 2x2 pool before 5a, dropout 0.2, and heads that average maps of any
size to 4x4. slim pads a stride of 2 on one side only; we pad as in torchvision. The initial weights
are slim's.

ImageNet, validation error (top-1 / top-5 %) of one network, parameters without and with the heads:

  googlenet                   – / 10.07   6,998,552   13,378,280   paper, one crop
                              – / 7.89                             paper, 144 crops
  googlenet_bn                    –       7,005,832   13,385,816
  googlenet_torchvision   30.22 / 10.47   6,624,904   13,004,888   torchvision, centre crop
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.initializers import Initializer

from jaxcnn.errors import UserError
from jaxcnn.layers import BatchNorm, ConvNormAct, classifier, global_average_pool, sow_auxiliary
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.head import runs_auxiliary
from jaxcnn.layers.inception_blocks import Branches, Chain, Fork, Layer, Step, fork
from jaxcnn.layers.initializers import caffe_xavier
from jaxcnn.layers.recompute import recomputed
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork
from jaxcnn.ops.lrn import local_response_norm, response_norm
from jaxcnn.ops.pool import adaptive_avg_pool, avg_pool, max_pool


class Widths(NamedTuple):
    """Features of a module's convolutions, a row of the paper's table 1."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    pool_proj: int


MODULES = (
    (  # 3a, 3b
        Widths(64, 96, 128, 16, 32, 32),
        Widths(128, 128, 192, 32, 96, 64),
    ),
    (  # 4a to 4e
        Widths(192, 96, 208, 16, 48, 64),
        Widths(160, 112, 224, 24, 64, 64),
        Widths(128, 128, 256, 24, 64, 64),
        Widths(112, 144, 288, 32, 64, 64),
        Widths(256, 160, 320, 32, 128, 128),
    ),
    (  # 5a, 5b
        Widths(256, 160, 320, 32, 128, 128),
        Widths(384, 192, 384, 48, 128, 128),
    ),
)

# The modules of stage 2 that are followed by an auxiliary head, 4a and 4d, and the logits' names.
HEADS = {1: "aux1", 4: "aux2"}

# Truncated at two standard deviations.
slim_normal = nn.initializers.truncated_normal(0.01)
# k is Caffe's default; AlexNet has 2.
caffe_lrn = partial(local_response_norm, size=5, k=1.0, alpha=1e-4, beta=0.75, alpha_over_n=True)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_plus_minus_one(images: jax.Array) -> jax.Array:
    """Converts images normalised by ImageNet's mean and deviation to pixels in [-1, 1].

    Raises:
      UserError: if images do not have three channels.
    """
    if images.shape[-1] != 3:
        raise UserError(
            f"transform_input knows the mean of red, green and blue, and images have "
            f"{images.shape[-1]} channels: leave it out"
        )
    dtype = jnp.promote_types(images.dtype, jnp.float32)
    mean, std = (jnp.asarray(c, dtype)[None, None, None] for c in (IMAGENET_MEAN, IMAGENET_STD))
    return (images * std + mean - 0.5) / 0.5


# A pool that keeps a partly fitting last window.
halve = partial(max_pool, window=(3, 3), strides=(2, 2), ceil_mode=True)


def stem(lrn: Activation | None) -> list[Step]:
    """Returns 64 7x7/2, max-pool, LRN, 64 1x1, 192 3x3, LRN, max-pool."""
    normalize = [] if lrn is None else [lrn]
    return [Layer(64, 7, 2), halve, *normalize, Layer(64), Layer(192, 3), *normalize, halve]


def module(widths: Widths, large_kernel: int, reduced: bool = True) -> Fork:
    """Returns 1x1 | 1x1, 3x3 | 1x1, 5x5 | max-pool, 1x1, where `large_kernel` is the 5.

    If not reduced, it is the naive module of figure 2a: without the 1x1 before the large kernels
    and after the pool, whose channels all pass.
    """
    pool = partial(max_pool, window=(3, 3), strides=(1, 1), padding=1)
    if not reduced:
        large = Layer(widths.conv5x5, large_kernel)
        return fork([Layer(widths.conv1x1)], [Layer(widths.conv3x3, 3)], [large], [pool])
    return fork(
        [Layer(widths.conv1x1)],
        [Layer(widths.reduce3x3), Layer(widths.conv3x3, 3)],
        [Layer(widths.reduce5x5), Layer(widths.conv5x5, large_kernel)],
        [pool, Layer(widths.pool_proj)],
    )


class Stage(nn.Module):
    """Consecutive modules `block1`, `block2`, …; for `remat` see `GoogLeNet`."""

    modules: Sequence[Fork]
    conv: Constructor
    norm: Constructor | None
    act: Activation
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, tap: Callable[[int, jax.Array], None] | None = None
    ) -> jax.Array:
        """Returns the output of the last module.

        Args:
          x: (N, H, W, C).
          tap: called with the number of each module, counted from 1, and its output.
        """
        branches = recomputed(Branches) if self.remat else Branches
        for number, table in enumerate(self.modules, start=1):
            x = branches(table, self.conv, self.norm, self.act, name=f"block{number}")(x)
            if tap is not None:
                tap(number, x)
        return x


class AuxiliaryHead(nn.Module):
    """5x5/3 average pool, 1x1(128), ReLU, 1024, ReLU, dropout, linear classifier.

    Maps (N, H, W, C) to logits.

    Attributes:
      adaptive: whether to average maps of any size to 4x4.
    """

    conv: Constructor
    norm: Constructor | None
    act: Activation
    dense: Constructor
    dropout: Constructor
    classifier: Constructor
    adaptive: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the logits."""
        x = adaptive_avg_pool(x, (4, 4)) if self.adaptive else avg_pool(x, (5, 5), (3, 3))
        x = ConvNormAct(128, (1, 1), conv=self.conv, norm=self.norm, act=self.act, name="conv")(x)
        x = self.act(self.dense(1024, name="fc1")(x.reshape(x.shape[0], -1)))
        return self.classifier()(self.dropout()(x))


class GoogLeNet(NormNetwork):
    """Stem, three stages of Inception modules, global average pooling, dropout, linear classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C) to logits (N, num_classes) in at least
    float32. With `train=True` rngs `dropout` are needed where a dropout rate is positive, and with
    `norm` the collection `batch_stats` must be mutable. Submodules: `stem`, `stage1` (3a, 3b),
    `stage2` (4a to 4e), `stage3` (5a, 5b), `classifier`, and with `aux_heads` `aux1_head` (on 4a)
    and `aux2_head` (on 4d). These run in training and whenever collection `aux` is mutable, which
    then holds their logits, `aux1` and `aux2`.

    Attributes:
      modules: widths of the modules of each of the three stages.
      large_kernel: kernel size of a module's third branch.
      reduced: whether modules have 1x1 convolutions before the large ones and after the pool;
        without them modules are naive, and wider from module to module.
      last_pool: window of the max-pool before the last stage; its stride is 2.
      lrn: response normalisation in the stem, or its constants (size, k, alpha, beta), see
        `response_norm`; None omits it.
      aux_heads: whether there are auxiliary heads. Their first dense layer depends on the image
        size, unless `adaptive_aux`.
      adaptive_aux: whether to average the heads' input maps to 4x4 by bins that cover them, which
        at 224x224 is not the paper's 5x5/3.
      dropout_rate: share of features dropped before the classifier.
      aux_dropout_rate: dropout rate of the auxiliary heads.
      transform_input: whether to convert images normalised by ImageNet's mean and deviation to [-1,
        1], for weights trained on that range.
      remat: whether the backward pass keeps only the input of every module and computes the module
        again, for less memory; see `jaxcnn.layers.recompute`.
      dense_init: initialiser of the hidden layers of the auxiliary heads.
      classifier_init: initialiser of the classifiers.
      bias_init: initialiser of all biases but the classifiers', which start at zero.

    Raises:
      UserError: if images are not of rank 4, or too small for the last pool or the auxiliary heads.
    """

    modules: Sequence[Sequence[Widths]] = MODULES
    large_kernel: int = 5
    reduced: bool = True
    last_pool: int = 3
    lrn: Activation | Sequence[float] | None = caffe_lrn
    aux_heads: bool = False
    adaptive_aux: bool = False
    dropout_rate: float = 0.4
    aux_dropout_rate: float = 0.7
    transform_input: bool = False
    remat: bool = False
    dense_init: Initializer = caffe_xavier
    classifier_init: Initializer = caffe_xavier
    bias_init: Initializer = nn.initializers.constant(0.2)
    norm_epsilon: float = 1e-3
    norm: Constructor | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        heads_run = self.aux_heads and self.num_classes > 0 and runs_auxiliary(self, train)
        check_images(images, self._smallest(heads_run))
        layers = self.layers(train, caffe_xavier)
        layers["conv"] = partial(layers["conv"], bias_init=self.bias_init)
        hidden = partial(
            nn.Dense, kernel_init=self.dense_init, bias_init=self.bias_init, **self.dtypes
        )
        head = partial(
            classifier, self.num_classes, **self.dtypes, kernel_init=self.classifier_init
        )
        stage1, stage2, stage3 = (
            Stage(
                [module(w, self.large_kernel, self.reduced) for w in rows],
                **layers,
                remat=self.remat,
                name=f"stage{i}",
            )
            for i, rows in enumerate(self.modules, start=1)
        )
        aux = {
            number: AuxiliaryHead(
                **layers,
                dense=hidden,
                dropout=partial(Dropout, self.aux_dropout_rate, deterministic=not train),
                classifier=head,
                adaptive=self.adaptive_aux,
                name=f"{name}_head",
            )
            for number, name in HEADS.items()
            if heads_run
        }

        def sow_heads(number: int, x: jax.Array) -> None:
            if number in aux:
                sow_auxiliary(self, HEADS[number], aux[number](x))

        x = to_plus_minus_one(images) if self.transform_input else images
        x = Chain(stem(response_norm(self.lrn)), **layers, name="stem")(x)
        x = halve(stage1(x))
        x = stage2(x, sow_heads)
        x = stage3(halve(x, window=(self.last_pool,) * 2))
        dropout = Dropout(self.dropout_rate, deterministic=not train)
        return self.classify(global_average_pool(x), self.classifier_init, dropout)

    def _smallest(self, heads_run: bool) -> int:
        """Returns the side of the smallest valid images."""
        # The last stages have floor(ceil(H/2)/8) pixels. A partly fitting window gives a pixel if
        # it lacks only its last column.
        needed = 5 if heads_run and not self.adaptive_aux else self.last_pool - 1
        return 16 * needed - 1


def googlenet_bn(**fields: Any) -> GoogLeNet:
    """Returns GoogLeNet with batch normalisation; `fields` are those of `GoogLeNet`."""
    defaults = {
        "norm": BatchNorm,
        "lrn": None,
        "kernel_init": slim_normal,
        "dense_init": slim_normal,
        "classifier_init": slim_normal,
        "bias_init": nn.initializers.zeros,
    }
    return GoogLeNet(**{**defaults, **fields})


def googlenet_torchvision(**fields: Any) -> GoogLeNet:
    """Returns the network of torchvision's weights; `fields` are those of `GoogLeNet`."""
    defaults = {"large_kernel": 3, "last_pool": 2, "dropout_rate": 0.2, "adaptive_aux": True}
    return googlenet_bn(**{**defaults, **fields})

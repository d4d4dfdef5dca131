"""Deeply-Supervised Nets.

Lee, Xie, Gallagher, Zhang and Tu, "Deeply-Supervised Nets", 2014, arXiv 1409.5185 (AISTATS 2015).

Network in Network, trained with a companion classifier on every mlpconv layer. From the paper: the
objective, a squared hinge loss of the output and of each companion, which counts only above a
threshold and less and less during training (`jaxcnn.training.losses`). From the released code: the
companions' inputs, each mlpconv's first convolution before its ReLU; their initialisation, Caffe's
Xavier; class maps without the ReLU of Network in Network, because a hinge loss needs logits of
either sign.

Test error on CIFAR-10 in the paper: 9.69 %, with shifts and flips 7.97 % (second version on arXiv:
9.78 and 8.22). The same architecture gives 34.57 on CIFAR-100, 1.92 on SVHN and 0.39 on MNIST.

Parameters of dsn_cifar10: 966,986, as in nin_cifar10; with the companions 3,547,496.
"""

from functools import partial

import jax
from flax import linen as nn

from jaxcnn.layers import classifier, sow_auxiliary
from jaxcnn.layers.conv import Constructor
from jaxcnn.layers.head import runs_auxiliary
from jaxcnn.layers.initializers import caffe_xavier
from jaxcnn.models.nin import NiN, Tap


class CompanionHead(nn.Module):
    """Linear classifier of whole maps: (N, H, W, C) to logits."""

    classifier: Constructor

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the logits."""
        return self.classifier()(x.reshape(x.shape[0], -1))


class DSN(NiN):
    """Network in Network with companion classifiers.

    Like `NiN`, with submodules `aux1_head`, `aux2_head`, … (one per stage) if `aux_heads`. These
    run in training and whenever collection `aux` is mutable, and store their logits there as
    `aux1`, `aux2`, ….

    Attributes:
      final_act: see `NiN`; by default the class maps are averaged without activation.
      aux_heads: whether there are companions. Their size depends on the image size.
    """

    final_act: bool = False
    aux_heads: bool = False

    def tap(self, train: bool) -> Tap | None:
        """Returns a function that applies the companions to the stages' maps."""
        if not (self.aux_heads and self.num_classes > 0 and runs_auxiliary(self, train)):
            return None
        head = partial(classifier, self.num_classes, **self.dtypes, kernel_init=caffe_xavier)
        heads = [CompanionHead(head, name=f"aux{i}_head") for i in range(1, len(self.features) + 1)]

        def sow(number: int, maps: jax.Array) -> None:
            sow_auxiliary(self, f"aux{number}", heads[number - 1](maps))

        return sow

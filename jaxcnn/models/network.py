"""Fields that all networks share, and the layers that they configure."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.initializers import Initializer

from jaxcnn.layers.conv import Activation, Constructor, Conv
from jaxcnn.layers.head import classifier
from jaxcnn.layers.initializers import torch_uniform
from jaxcnn.layers.norm import BatchNorm, batch_norm


class Network(nn.Module):
    """Fields of a convolutional network.

    `apply(variables, images, train=False)` maps images (N, H, W, C) to logits (N, num_classes) in
    at least float32.

    Attributes:
      num_classes: features of the classifier. 0 omits it and its auxiliary companions, and returns
        the features (N, C) before it in at least float32.
      dtype: dtype of the computation; BN's parameters and statistics keep theirs.
      param_dtype: dtype of the parameters.
      conv: constructor of convolutions.
      kernel_init: initialiser of all convolutions but those that start at zero; None is the
        paper's. Dense layers do not use it.
      act: activation of the whole network.
    """

    num_classes: int = 1000
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    conv: Constructor = Conv
    kernel_init: Initializer | None = None
    act: Activation = nn.relu

    @property
    def dtypes(self) -> dict[str, Any]:
        """`dtype` and `param_dtype` as arguments of a layer."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    def convolution(self, kernel_init: Initializer, **fields: Any) -> Constructor:
        """Returns `conv` with its dtypes and initialiser set.

        Args:
          kernel_init: initialiser of the paper, used if the field `kernel_init` is None.
          **fields: further arguments of `conv`.
        """
        start = self.kernel_init or kernel_init
        return partial(self.conv, kernel_init=start, **self.dtypes, **fields)

    def classify(
        self,
        x: jax.Array,
        kernel_init: Initializer = torch_uniform,
        dropout: nn.Module | None = None,
    ) -> jax.Array:
        """Applies dropout and linear `classifier`: features (N, C) to logits (N, num_classes).

        If `num_classes` is 0, it returns the features, without dropout.
        """
        if self.num_classes == 0:
            return x.astype(jnp.promote_types(x.dtype, jnp.float32))
        x = x if dropout is None else dropout(x)
        return classifier(self.num_classes, **self.dtypes, kernel_init=kernel_init)(x)


class NormNetwork(Network):
    """Fields of a convolutional network with normalisation.

    With `train=True` and BatchNorm the collection `batch_stats` must be mutable.

    Attributes:
      norm: constructor of normalisation: `BatchNorm`, any other in Flax, or a partial of one; see
        `jaxcnn.layers.batch_norm`. None omits normalisation.
      norm_momentum: decay of the running statistics.
      norm_epsilon: added to variances.
    """

    norm: Constructor | None = BatchNorm
    norm_momentum: float = 0.9
    norm_epsilon: float = 1e-5

    def normalization(self, train: bool, momentum: float | jax.Array | None = None) -> Constructor:
        """Returns `norm`, complete except for the name.

        Args:
          train: whether to normalise by batch statistics and update the running ones.
          momentum: replaces `norm_momentum`.
        """
        decay: Any = self.norm_momentum if momentum is None else momentum
        return batch_norm(
            self.norm, train=train, momentum=decay, epsilon=self.norm_epsilon, **self.dtypes
        )

    def layers(
        self, train: bool, kernel_init: Initializer, momentum: float | jax.Array | None = None
    ) -> dict[str, Any]:
        """Returns `conv`, `norm` and `act` for blocks; see `convolution` and `normalization`.

        Convolutions have a bias only if `norm` is None.
        """
        return {
            "conv": self.convolution(kernel_init, use_bias=self.norm is None),
            "norm": self.normalization(train, momentum),
            "act": self.act,
        }

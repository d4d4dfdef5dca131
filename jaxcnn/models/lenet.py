"""LeNet-5 as it is taught today.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE, 1998.

The paper's: two 5x5 convolutions of 6 and 16 maps without padding, each followed by 2x2
subsampling, then 120 and 84 units; 32x32 inputs; layer names C1, C3, C5, F6.

Ours, and everybody's since: C3 sees all the maps of S2 (the paper has a table of connections), the
average pools have no parameters, the output is linear for a softmax (the paper has fixed radial
basis functions), ReLU stands for the scaled tanh. ReLU is the default because it needs no care with
input scaling; `act=nn.tanh` comes closer to the paper. He initialisation follows from ReLU.

Parameters: 61,706 at 32x32x1. The paper's own network (60,000 parameters) errs on 0.95 % of MNIST.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.layers import Conv, classifier
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.models.checks import check_images


class LeNet5Modern(nn.Module):
    """5x5(6), ReLU, pool, 5x5(16), ReLU, pool, 120, ReLU, 84, ReLU, linear.

    `apply(variables, images, train=False)` maps (N, H, W, C), H and W at least 16, to logits
    (N, num_classes) in at least float32. There is no normalisation and no dropout: `train` changes
    nothing. C5 is a dense layer over all that is left of the map, which at 32x32 is the paper's 5x5
    convolution; its size follows the input's.

    Attributes:
      num_classes: 0 returns the 84 features of F6.
      dtype: of the computation.
      param_dtype: of the parameters.
      conv: constructor of convolutions.
      act: activation of every layer but the last.

    Raises:
      UserError: if the images are not of rank 4 or too small.
    """

    num_classes: int = 10
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    conv: Constructor = Conv
    act: Activation = nn.relu

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images, smallest=16)
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv: Constructor = partial(self.conv, kernel_init=nn.initializers.he_normal(), **types)
        dense: Constructor = partial(nn.Dense, kernel_init=nn.initializers.he_normal(), **types)
        pool = partial(nn.avg_pool, window_shape=(2, 2), strides=(2, 2))

        x = pool(self.act(conv(6, (5, 5), padding=0, name="c1")(images)))
        x = pool(self.act(conv(16, (5, 5), padding=0, name="c3")(x)))
        x = x.reshape(x.shape[0], -1)
        x = self.act(dense(120, name="c5")(x))
        x = self.act(dense(84, name="f6")(x))
        if self.num_classes == 0:
            return x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return classifier(self.num_classes, self.dtype, self.param_dtype)(x)

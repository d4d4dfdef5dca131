"""A trained network with another classifier, other images or other fields."""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.interop.transfer import transfer
from jaxcnn.run import restore
from jaxcnn.run.trained import open_trained


def create_pretrained(
    name: str | os.PathLike[str],
    num_classes: int | None = None,
    *,
    channels: int | None = None,
    key: jax.Array | None = None,
    allow_noncommercial: bool = False,
    **fields: Any,
) -> tuple[nn.Module, dict[str, Any]]:
    """Returns a network and its trained variables, float32.

    The first use of a name fetches its file; see `jaxcnn.pretrained.fetch`. `jaxcnn.weights_info`
    says what it is, and its `preprocess` makes the network's inputs of images.

    Args:
      name: "resnet50.tv_in1k", or "resnet50" for the default weights of a network, see
        `jaxcnn.list_pretrained`; a folder that `jaxcnn.interop.convert` wrote; or the workdir of a
        run, whose latest checkpoint is taken.
      num_classes: None is the classifier of the weights; 0 leaves it out, and the network returns
        pooled features; another number is a new classifier, which needs `key`.
      channels: of the images. A network of colour images also takes grey ones, 1: its first kernel
        is summed over the colours. One of grey images takes colour, 3. None is as in the weights.
      key: of a new classifier.
      allow_noncommercial: take weights whose licence forbids commercial use.
      **fields: of the network, such as `dtype=jnp.bfloat16` or `dropout_rate=0.2`.

    Raises:
      UserError: if there is no such name or folder, the file cannot be had or is another, the
        licence is not allowed, or a field is wrong.
    """
    opened = open_trained(name, allow_noncommercial=allow_noncommercial)
    model, variables = opened.found.model, dict(opened.found.variables)
    given = opened.found.num_classes
    wanted = given if num_classes is None else num_classes
    try:
        model = model.clone(num_classes=wanted, **fields)
    except TypeError as error:
        raise UserError(f"{name}: {error}") from None
    height, width, depth = restore.image_shape(opened.config)
    if wanted == given and channels in (None, depth):
        return model, variables
    if wanted not in (0, given) and key is None:
        raise UserError(
            f"num_classes={wanted} is a new classifier, that of the weights has {given}: give the"
            " key that it is drawn with, key=jax.random.key(0)"
        )
    images = jnp.zeros((1, height, width, channels or depth))
    init: Callable[..., Any] = jax.jit(model.init)
    fresh = init(jax.random.key(0) if key is None else key, images)
    return model, transfer(fresh, variables)[0]

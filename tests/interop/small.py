"""A ResNet of a few thousand parameters, as torchvision would save it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.interop import to_torch
from jaxcnn.interop.exchange import create_library_model

FIELDS = {"stage_sizes": (1, 1), "width": 8}
FLAGS = ("--override=stage_sizes=(1,1)", "--override", "width=8")


def shapes(model, channels=3):
    """The shapes and dtypes of a network's variables."""
    images = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


def filled(tree, seed=0):
    """Random weights of these shapes; variances are positive."""
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        noise = rng.normal(size=leaf.shape).astype(leaf.dtype)
        return np.exp(noise / 4) if path[-1].key in ("var", "scale") else noise / 4

    return jax.tree_util.tree_map_with_path(fill, tree)


def state(num_classes=10, library="torchvision", name="resnet18", seed=0, **fields):
    """What the library's `state_dict()` would be, with a counter of torch's."""
    fields = fields or FIELDS
    model = create_library_model(library, name, num_classes, **fields)
    arrays = to_torch(filled(shapes(model), seed), library, name, **fields)
    return arrays | {"bn1.num_batches_tracked": np.zeros((), np.int64)}

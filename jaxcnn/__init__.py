"""The classic convolutional networks as Flax modules, and the research loop around them.

Importing the package loads nothing; the first use of a name loads jax and flax.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxcnn.models import create_model, list_models

__all__ = ["create_model", "list_models"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'jaxcnn' has no attribute {name!r}")
    from jaxcnn import models

    return getattr(models, name)

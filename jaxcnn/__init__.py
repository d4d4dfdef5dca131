"""The classic convolutional networks as pure Flax modules, and a small research loop around them.

Importing the package costs jax and flax, nothing more.
"""

from jaxcnn.models import create_model, list_models

__all__ = ["create_model", "list_models"]

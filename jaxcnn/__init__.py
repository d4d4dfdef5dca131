"""The classic convolutional networks as Flax modules, and the research loop around them.

Importing the package loads nothing; the first use of a name loads jax and flax.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxcnn import analysis, interop
    from jaxcnn.models import create_model, list_models, model_info

if sys.argv[:1] == ["-m"]:  # Python is looking for the module of `python -m jaxcnn.<command>`
    from jaxcnn.run import cli

    cli.begin()

ROOMS = ("analysis", "interop")

__all__ = ["analysis", "create_model", "interop", "list_models", "model_info"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'jaxcnn' has no attribute {name!r}")
    if name in ROOMS:
        return importlib.import_module(f"jaxcnn.{name}")
    from jaxcnn import models

    return getattr(models, name)

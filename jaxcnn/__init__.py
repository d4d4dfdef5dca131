"""The classic convolutional networks as Flax modules, and the research loop around them.

Importing the package loads nothing; the first use of a name loads jax and flax.
"""

import sys
from typing import TYPE_CHECKING

if sys.argv[:1] == ["-m"]:  # Python is looking for the module of `python -m jaxcnn.<command>`
    from jaxcnn.run import cli

    cli.begin()

# Names of the package, and the module that each is in; folders of it are in themselves.
_FOLDERS = ("analysis", "attribution", "interop", "layers", "models", "ops")
_NAMES = {
    "LoadedModel": "jaxcnn.run.inference",
    "create_model": "jaxcnn.models",
    "create_pretrained": "jaxcnn.run.trained",
    "feature_extractor": "jaxcnn.analysis.feature_extractor",
    "list_models": "jaxcnn.models",
    "list_pretrained": "jaxcnn.pretrained.weights_info",
    "load": "jaxcnn.run.inference",
    "model_info": "jaxcnn.models",
    "register_model": "jaxcnn.models",
    "weights_info": "jaxcnn.pretrained.weights_info",
}

__all__ = [
    "LoadedModel",
    "analysis",
    "attribution",
    "create_model",
    "create_pretrained",
    "feature_extractor",
    "interop",
    "layers",
    "list_models",
    "list_pretrained",
    "load",
    "model_info",
    "models",
    "ops",
    "register_model",
    "weights_info",
]

if TYPE_CHECKING:  # a type checker must not take every name for one of the package
    from jaxcnn import analysis, attribution, interop, layers, models, ops
    from jaxcnn.analysis.feature_extractor import feature_extractor
    from jaxcnn.models import create_model, list_models, model_info, register_model
    from jaxcnn.pretrained.weights_info import list_pretrained, weights_info
    from jaxcnn.run.inference import LoadedModel, load
    from jaxcnn.run.trained import create_pretrained

    __version__: str
else:

    def __getattr__(name):
        import importlib

        if name == "__version__":
            value = _version()
        elif name in _FOLDERS:
            value = importlib.import_module(f"jaxcnn.{name}")
        elif name in _NAMES:
            value = getattr(importlib.import_module(_NAMES[name]), name)
        else:
            raise AttributeError(f"module 'jaxcnn' has no attribute {name!r}")
        globals()[name] = value  # so that it is looked for once
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})


def _version() -> str:
    """Returns the installed version; of sources that are not installed theirs and "+source"."""
    import tomllib
    from importlib import metadata
    from pathlib import Path

    try:
        return metadata.version("jaxcnn")
    except metadata.PackageNotFoundError:
        file = Path(__file__).parents[1] / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    except OSError:  # a copy of the package alone
        return "unknown"
    return f"{project['version']}+source"

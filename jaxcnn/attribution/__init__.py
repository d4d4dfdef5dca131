"""Which pixels matter to a trained network, and what its units respond to."""

import importlib
from typing import TYPE_CHECKING, Any

# Names of this package, and the module of each; the first use of a name loads its module.
_NAMES = {
    "spearman": "jaxcnn.attribution.similarity",
    "ssim": "jaxcnn.attribution.similarity",
}

__all__ = ["spearman", "ssim"]

if TYPE_CHECKING:
    from jaxcnn.attribution.similarity import spearman, ssim
else:

    def __getattr__(name: str) -> Any:
        if name not in _NAMES:
            raise AttributeError(f"module 'jaxcnn.attribution' has no attribute {name!r}")
        return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})

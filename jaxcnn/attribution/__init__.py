"""Which pixels matter to a trained network, and what its units respond to."""

import importlib
from typing import TYPE_CHECKING, Any

# Names of this package, and the module of each; the first use of a name loads its module.
_NAMES = {
    "gradient_times_input": "jaxcnn.attribution.gradient",
    "integrated_gradients": "jaxcnn.attribution.integrated",
    "largest_magnitude": "jaxcnn.attribution.gradient",
    "pixel_gradient": "jaxcnn.attribution.gradient",
    "saliency": "jaxcnn.attribution.gradient",
    "smoothgrad": "jaxcnn.attribution.smooth_grad",
    "spearman": "jaxcnn.attribution.similarity",
    "ssim": "jaxcnn.attribution.similarity",
    "vargrad": "jaxcnn.attribution.smooth_grad",
}

__all__ = [
    "gradient_times_input",
    "integrated_gradients",
    "largest_magnitude",
    "pixel_gradient",
    "saliency",
    "smoothgrad",
    "spearman",
    "ssim",
    "vargrad",
]

if TYPE_CHECKING:
    from jaxcnn.attribution.gradient import (
        gradient_times_input,
        largest_magnitude,
        pixel_gradient,
        saliency,
    )
    from jaxcnn.attribution.integrated import integrated_gradients
    from jaxcnn.attribution.similarity import spearman, ssim
    from jaxcnn.attribution.smooth_grad import smoothgrad, vargrad
else:

    def __getattr__(name: str) -> Any:
        if name not in _NAMES:
            raise AttributeError(f"module 'jaxcnn.attribution' has no attribute {name!r}")
        return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})

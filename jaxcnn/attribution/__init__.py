"""Which pixels matter to a trained network, and what its units respond to."""

import importlib
from typing import TYPE_CHECKING, Any

# Names of this package, and the module of each; the first use of a name loads its module.
_NAMES = {
    "Ascent": "jaxcnn.attribution.activation_maximization",
    "ClassMaps": "jaxcnn.attribution.class_activation_maps",
    "Maximized": "jaxcnn.attribution.activation_maximization",
    "Objective": "jaxcnn.attribution.objective",
    "Sanity": "jaxcnn.attribution.sanity",
    "cam": "jaxcnn.attribution.class_activation_maps",
    "cut_patches": "jaxcnn.attribution.patches",
    "deconvnet": "jaxcnn.attribution.backprop.deconv",
    "deconvnet_unit": "jaxcnn.attribution.backprop.deconv",
    "grad_cam": "jaxcnn.attribution.class_activation_maps",
    "grad_cam_plus_plus": "jaxcnn.attribution.class_activation_maps",
    "gradient_times_input": "jaxcnn.attribution.backprop.gradient",
    "guided_backprop": "jaxcnn.attribution.backprop.guided",
    "guided_backprop_unit": "jaxcnn.attribution.backprop.guided",
    "integrated_gradients": "jaxcnn.attribution.backprop.integrated",
    "largest_magnitude": "jaxcnn.attribution.backprop.gradient",
    "layer_cam": "jaxcnn.attribution.class_activation_maps",
    "maximize": "jaxcnn.attribution.activation_maximization",
    "maximize_pixels": "jaxcnn.attribution.activation_maximization",
    "occlusion": "jaxcnn.attribution.occlude",
    "occlusion_map": "jaxcnn.attribution.occlude",
    "pixel_gradient": "jaxcnn.attribution.backprop.gradient",
    "saliency": "jaxcnn.attribution.backprop.gradient",
    "sanity_check": "jaxcnn.attribution.sanity",
    "score_cam": "jaxcnn.attribution.score_weighted_maps",
    "smoothgrad": "jaxcnn.attribution.backprop.smooth_grad",
    "spearman": "jaxcnn.attribution.similarity",
    "ssim": "jaxcnn.attribution.similarity",
    "unit_boxes": "jaxcnn.attribution.patches",
    "vargrad": "jaxcnn.attribution.backprop.smooth_grad",
}

__all__ = [
    "Ascent",
    "ClassMaps",
    "Maximized",
    "Objective",
    "Sanity",
    "cam",
    "cut_patches",
    "deconvnet",
    "deconvnet_unit",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient_times_input",
    "guided_backprop",
    "guided_backprop_unit",
    "integrated_gradients",
    "largest_magnitude",
    "layer_cam",
    "maximize",
    "maximize_pixels",
    "occlusion",
    "occlusion_map",
    "pixel_gradient",
    "saliency",
    "sanity_check",
    "score_cam",
    "smoothgrad",
    "spearman",
    "ssim",
    "unit_boxes",
    "vargrad",
]

if TYPE_CHECKING:
    from jaxcnn.attribution.activation_maximization import (
        Ascent,
        Maximized,
        maximize,
        maximize_pixels,
    )
    from jaxcnn.attribution.backprop.deconv import deconvnet, deconvnet_unit
    from jaxcnn.attribution.backprop.gradient import (
        gradient_times_input,
        largest_magnitude,
        pixel_gradient,
        saliency,
    )
    from jaxcnn.attribution.backprop.guided import guided_backprop, guided_backprop_unit
    from jaxcnn.attribution.backprop.integrated import integrated_gradients
    from jaxcnn.attribution.backprop.smooth_grad import smoothgrad, vargrad
    from jaxcnn.attribution.class_activation_maps import (
        ClassMaps,
        cam,
        grad_cam,
        grad_cam_plus_plus,
        layer_cam,
    )
    from jaxcnn.attribution.objective import Objective
    from jaxcnn.attribution.occlude import occlusion, occlusion_map
    from jaxcnn.attribution.patches import cut_patches, unit_boxes
    from jaxcnn.attribution.sanity import Sanity, sanity_check
    from jaxcnn.attribution.score_weighted_maps import score_cam
    from jaxcnn.attribution.similarity import spearman, ssim
else:

    def __getattr__(name: str) -> Any:
        if name not in _NAMES:
            raise AttributeError(f"module 'jaxcnn.attribution' has no attribute {name!r}")
        return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})

"""What matters in training is as in the libraries: torchvision 0.28.0, timm 1.0.31, Keras 3.15.1.

torch's momentum is one minus ours. The rates are those of modules made without arguments.
"""

import jax.nn
import pytest

from jaxcnn.interop.exchange import create_library_model
from jaxcnn.interop.name_tables import LIBRARIES
from jaxcnn.layers.initializers import glorot_uniform

# (library, family) -> dropout rate, zero-initialised last BN, epsilon, momentum.
FACTS = {
    ("torchvision", "resnet"): (None, False, 1e-5, 0.9),
    ("torchvision", "wide_resnet"): (None, False, 1e-5, 0.9),
    ("torchvision", "resnext"): (None, False, 1e-5, 0.9),
    ("torchvision", "densenet"): (0.0, None, 1e-5, 0.9),
    ("torchvision", "googlenet"): (0.2, None, 1e-3, 0.9),
    ("torchvision", "alexnet"): (0.5, None, None, None),
    ("torchvision", "vgg"): (0.5, None, 1e-5, 0.9),
    ("torchvision", "inception_v3"): (0.5, None, 1e-3, 0.9),
    ("timm", "resnet"): (None, True, 1e-5, 0.9),
    ("timm", "wide_resnet"): (None, True, 1e-5, 0.9),
    ("timm", "resnext"): (None, True, 1e-5, 0.9),
    ("timm", "resnetv2"): (0.0, False, 1e-5, 0.9),
    ("timm", "densenet"): (0.0, None, 1e-5, 0.9),
    ("timm", "mobilenetv1"): (0.0, None, 1e-5, 0.9),
    ("timm", "vgg"): (0.0, None, 1e-5, 0.9),
    ("timm", "inception_v3"): (0.0, None, 1e-3, 0.9),
    ("timm", "inception_v4"): (0.0, None, 1e-3, 0.9),
    ("timm", "inception_resnet_v2"): (0.0, None, 1e-3, 0.9),
    ("keras", "VGG"): (0.0, None, None, None),
    ("keras", "ResNet"): (None, False, 1.001e-5, 0.99),
    ("keras", "ResNet50V2"): (0.0, False, 1.001e-5, 0.99),
    ("keras", "ResNet101V2"): (0.0, False, 1.001e-5, 0.99),
    ("keras", "ResNet152V2"): (0.0, False, 1.001e-5, 0.99),
    ("keras", "DenseNet"): (0.0, None, 1.001e-5, 0.99),
    ("keras", "Inception"): (0.0, None, 1e-3, 0.99),
    ("keras", "MobileNet"): (1e-3, None, 1e-3, 0.99),
}


@pytest.mark.parametrize(
    ("library", "name"), [(library, name) for library in LIBRARIES for name in LIBRARIES[library]]
)
def test_a_network_trains_as_in_its_library(library, name):
    families = [family for kind, family in FACTS if kind == library and name.startswith(family)]
    dropout, zero, epsilon, momentum = FACTS[library, max(families, key=len)]
    model = create_library_model(library, name)
    assert getattr(model, "dropout_rate", None) == dropout
    assert getattr(model, "zero_init_last", None) == zero
    if epsilon is not None:
        assert (model.norm_epsilon, model.norm_momentum) == (epsilon, momentum)
    relu6 = name.lower().startswith("mobilenet")
    assert model.act is (jax.nn.relu6 if relu6 else jax.nn.relu)
    if library == "keras":
        assert model.kernel_init is glorot_uniform


def test_auxiliary_heads_drop_as_in_torchvision():
    assert create_library_model("torchvision", "googlenet").aux_dropout_rate == 0.7

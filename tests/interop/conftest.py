import pytest

from tests.interop import small


@pytest.fixture(scope="session")
def googlenet():
    """The state of torchvision's GoogLeNet with its auxiliary heads."""
    return small.state(name="googlenet", aux_heads=True)

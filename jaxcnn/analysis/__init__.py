"""What can be said about a network without training it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxcnn.analysis.macs import count_macs

__all__ = ["count_macs"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'jaxcnn.analysis' has no attribute {name!r}")
    from jaxcnn.analysis import macs

    return getattr(macs, name)

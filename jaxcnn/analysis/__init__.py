"""What can be said about a network without training it."""

from typing import TYPE_CHECKING

__all__ = ["count_macs"]

if TYPE_CHECKING:
    from jaxcnn.analysis.macs import count_macs
else:

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'jaxcnn.analysis' has no attribute {name!r}")
        from jaxcnn.analysis import macs

        return getattr(macs, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})

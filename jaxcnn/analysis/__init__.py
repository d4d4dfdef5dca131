"""What can be said about a network without training it."""

from typing import TYPE_CHECKING

# Public functions, and the modules that they are in.
_NAMES = {
    "count_macs": "macs",
    "effective_receptive_field": "effective_field",
    "receptive_field": "receptive_fields",
    "summary": "layer_table",
    "trace": "tracing.graph",
}

__all__ = ["count_macs", "effective_receptive_field", "receptive_field", "summary", "trace"]

if TYPE_CHECKING:
    from jaxcnn.analysis.effective_field import effective_receptive_field
    from jaxcnn.analysis.layer_table import summary
    from jaxcnn.analysis.macs import count_macs
    from jaxcnn.analysis.receptive_fields import receptive_field
    from jaxcnn.analysis.tracing.graph import trace
else:

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'jaxcnn.analysis' has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(f"jaxcnn.analysis.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})

"""Operations on arrays, drop-in replacements for their jax.lax or flax counterparts.

A module is loaded when one of its names is first used.
"""

from typing import TYPE_CHECKING

__all__ = ["conv", "lrn", "matmul", "norm", "pool", "reductions"]

if TYPE_CHECKING:
    from jaxcnn.ops import conv, lrn, matmul, norm, pool, reductions
else:

    def __getattr__(name):
        import importlib

        if name not in __all__:
            raise AttributeError(f"module 'jaxcnn.ops' has no attribute {name!r}")
        return importlib.import_module(f"jaxcnn.ops.{name}")


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})

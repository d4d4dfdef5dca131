"""Number formats and checks that a config asks of jax."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

import jax
from ml_collections import ConfigDict

from jaxcnn.errors import EXIT_BAD_DATA, UserError


@contextlib.contextmanager
def numerics(config: ConfigDict) -> Iterator[None]:
    """Sets them inside the context.

    Raises:
      UserError: for an unknown precision, or where `debug_nans` finds the first NaN.
    """
    precisions = ("default", "tensorfloat32", "float32")
    if config.matmul_precision not in precisions:
        raise UserError(f"matmul_precision={config.matmul_precision!r}: choose one of {precisions}")
    with contextlib.ExitStack() as scope:
        if config.matmul_precision != "default":
            scope.enter_context(jax.default_matmul_precision(config.matmul_precision))
        if config.model.dtype == "float64":
            scope.enter_context(jax.enable_x64(True))
        if config.debug_nans:
            scope.enter_context(jax.debug_nans(True))
        try:
            yield
        except FloatingPointError as error:
            ours = [
                frame
                for frame in traceback.extract_tb(error.__traceback__)
                if Path(frame.filename).is_relative_to(Path(__file__).parent)
            ]
            raise UserError(
                f"the first NaN comes from {ours[-1].filename}:{ours[-1].lineno}: {ours[-1].line}",
                EXIT_BAD_DATA,
            ) from error

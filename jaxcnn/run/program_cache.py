"""Keeps traced programs in files, so that the next run of the same config starts sooner.

jax keeps compiled programs by what they compute, which it knows only once Python has traced them:
half of the time that a deep network takes to start. Here a traced program (`jax.export`) is kept by
what it is made of.
"""

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax import export

from jaxcnn.io import paths
from jaxcnn.io.atomic import replaced_file
from jaxcnn.ops.switch import plain_xla
from jaxcnn.run import distributed, versions

MOST_FILES = 100  # about 1 MB each
_PACKAGE = Path(__file__).parents[1]
_DIGEST = hashlib.sha256().digest_size


class ProgramCache(NamedTuple):
    """Files of traced programs.

    Attributes:
      folder: where they are.
      made_of: names all that the programs depend on besides the shapes of their arguments, the
        source of this package, the versions of its libraries, and settings of jax.
    """

    folder: Path
    made_of: str

    def traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function for `jax.jit` that calls `function` only if no file has its program.

        Args:
          function: pure, with a name. Its arguments are trees of arrays, its result is of dicts,
            lists and tuples of arrays.
        """

        @functools.wraps(function)
        def from_file(*arguments: Any) -> Any:
            leaves, form = jax.tree.flatten(arguments)
            shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
            made_of = (function.__name__, self.made_of, form, shapes, _settings(), _sources())
            name = hashlib.sha256(repr(made_of).encode()).hexdigest()
            path = self.folder / f"{name}.traced"
            program = _read(path)
            if program is None:

                def flat(*leaves: Any) -> Any:
                    return function(*jax.tree.unflatten(form, leaves))

                program = export.export(jax.jit(flat))(*shapes).serialize()
                _write(path, program)
            return export.deserialize(program).call(*leaves)

        return from_file


def open_cache(made_of: str) -> ProgramCache | None:
    """Returns the cache of a run, or None where there is none.

    It is used on the CPU by runs of one process that use jax's own cache. Elsewhere it was not
    tried.

    Args:
      made_of: see `ProgramCache`.
    """
    wanted = jax.config.jax_enable_compilation_cache and not jax.config.jax_disable_jit
    if distributed.platform() != "cpu" or distributed.process_count() > 1 or not wanted:
        return None
    folder = paths.cache_folder("traced")
    return None if folder is None else ProgramCache(folder, made_of)


def _settings() -> tuple[Any, ...]:
    """Returns what else a traced program may depend on: versions, devices and settings."""
    values = sorted((name, repr(value)) for name, value in jax.config.values.items())
    return versions.installed(), distributed.device_count(), plain_xla(), values


@functools.cache
def _sources() -> str:
    """Returns the SHA-256 of the Python files of this package."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> bytearray | None:
    """Returns the program in a file; None if the file is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # `_write` removes what was not used for longest
    program = content[_DIGEST:]
    whole = hashlib.sha256(program).digest() == content[:_DIGEST]
    return bytearray(program) if whole else None


def _write(path: Path, program: bytearray) -> None:
    """Writes a program; the run goes on where it cannot be written, as on a full disk."""
    with contextlib.suppress(OSError):
        with replaced_file(path) as file:
            file.write(hashlib.sha256(program).digest() + program)
        files = sorted(path.parent.glob("*.traced"), key=lambda one: one.stat().st_mtime)
        for old in files[:-MOST_FILES]:
            old.unlink(missing_ok=True)

"""Reads and writes weight files: safetensors, npz, Keras's, and torch's own if torch is installed.

No reader runs code from a file: pickled objects are refused.
"""

import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.interop.keras_files import read_h5, read_keras_archive
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import WEIGHT_BYTES, expanded_limit, open_regular, read_bytes, read_npz

BFLOAT16 = np.dtype(jnp.bfloat16)  # not a NumPy dtype; safetensors.numpy does not always know it
SAFETENSORS_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
# Before this version a crafted file could run code despite weights_only (CVE-2025-32434).
SAFE_TORCH = (2, 6)
# Entries of a training checkpoint that hold the weights, possibly nested.
WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "net", "network")
PREFIX = "module."  # from torch's DataParallel


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by key, in the file's dtypes.

    `.safetensors` needs the package safetensors; `.npz` needs none; Keras's `.h5`, `.weights.h5`
    and `.keras` need h5py; `.pth`, `.pt` and `.bin` need torch, which reads only tensors. From a
    torch checkpoint the entry `state_dict`, `model` or similar is used, and a prefix `module.`
    common to all keys is removed. Keys of Keras's files are those of `keras_files.read_h5`.

    Raises:
      UserError: if the file is missing, damaged, of an unknown kind or holds other objects than
        numbers, or a package is missing.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a directory: give the weights file itself")
    if not path.exists():
        raise UserError(f"there is no weights file {path}")
    reader = READERS.get(path.suffix)
    if reader is None:
        raise UserError(f"{path} is not a weights file by its name: {_choices(READERS)} are read")
    try:
        with open_regular(path):  # before a package is required
            pass
        weights = reader(path)
        for key, array in weights.items():
            _check_numbers(key, array)
    except UserError as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # zlib, zipfile, NumPy and torch have no common class
        raise UserError(
            f"cannot read {path}: it is damaged or no {path.suffix} file of arrays alone"
            f" ({_reason(error)}); fetch or write it again"
        ) from error
    return weights


def write_weights(weights: Mapping[str, Any], path: str | Path) -> None:
    """Writes arrays to a `.safetensors` or `.npz` file, whole or not at all.

    Raises:
      UserError: if the suffix is unknown, an array not numeric, or the file not writable.
    """
    path = Path(path)
    writer = WRITERS.get(path.suffix)
    if writer is None:
        raise UserError(f"cannot write {path}: {_choices(WRITERS)} are written")
    arrays = {}
    for key, value in weights.items():
        array = np.asarray(value, order="C")
        _check_numbers(key, array)
        arrays[key] = array.astype(array.dtype.newbyteorder("="), copy=False)
    with whole_file(path) as file:
        writer(arrays, file)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        import safetensors
    except ImportError:
        raise _missing("safetensors") from None
    weights = {}
    for key, tensor in safetensors.deserialize(read_bytes(path, WEIGHT_BYTES)):
        dtype = SAFETENSORS_DTYPES.get(tensor["dtype"])
        if dtype is None:
            raise UserError(
                f"{key} has type {tensor['dtype']}, not one of {_choices(SAFETENSORS_DTYPES)}:"
                " convert it with the program that wrote it"
            )
        weights[key] = np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])
    return weights


def _write_safetensors(arrays: Mapping[str, np.ndarray], file: IO[bytes]) -> None:
    try:
        from safetensors.numpy import save
    except ImportError:
        raise _missing("safetensors") from None
    file.write(save(dict(arrays)))  # save_file raises its own error for a full disk


# Like numpy.savez, which does not accept every key ("file" is one of its arguments).


def _write_npz(arrays: Mapping[str, np.ndarray], file: IO[bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for key, array in arrays.items():
            if array.dtype == BFLOAT16:
                raise UserError(
                    f"cannot write {key}: .npz has no bfloat16; write .safetensors or float32"
                )
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise _missing("torch") from None
    if tuple(int(number) for number in torch.__version__.split(".")[:2]) < SAFE_TORCH:
        raise UserError(
            f"torch {torch.__version__} may run code that is in it: pip install 'torch>=2.6', or"
            " save it as .safetensors with the program that wrote it"
        )
    try:
        with open_regular(path) as file, warnings.catch_warnings():
            limit = _check_archive(file)
            warnings.simplefilter("ignore")  # about old kinds of pickle
            state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, UserError):
        raise
    except Exception as error:  # torch's own message recommends running the code
        raise UserError(
            f"it is damaged, or it brings code along, which is not run ({type(error).__name__}):"
            " save the state_dict alone, best as .safetensors, with the program that wrote it"
        ) from error
    while isinstance(state, Mapping):
        inner = next((state[w] for w in WRAPPERS if isinstance(state.get(w), Mapping)), None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, Mapping):
        raise UserError(f"it holds a {type(state).__name__} instead of a state_dict")
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise UserError(f"{key} is a {type(value).__name__}: save the state_dict alone")
    total = sum(value.numel() * value.element_size() for value in state.values())
    if total > limit:  # a tensor may repeat one number
        raise UserError(f"its tensors have {total:,} bytes, more than the {limit:,} expected")
    common = PREFIX if all(key.startswith(PREFIX) for key in state) else ""
    return {key.removeprefix(common): _from_tensor(value) for key, value in state.items()}


def _check_archive(file: IO[bytes]) -> int:
    """Refuses an archive that expands without bound; returns the allowed bytes of tensors."""
    limit = expanded_limit(os.fstat(file.fileno()).st_size)
    if zipfile.is_zipfile(file):  # before torch 1.6 the format was another
        with zipfile.ZipFile(file) as archive:
            total = sum(member.file_size for member in archive.infolist())
        if total > limit:
            raise UserError(f"it expands to {total:,} bytes, more than the {limit:,} expected")
    file.seek(0)
    return limit


def _from_tensor(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.float().numpy().astype(BFLOAT16)  # exact: bfloat16 is a shorter float32
    return tensor.numpy()


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".safetensors": _read_safetensors,
    ".npz": read_npz,
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
    ".h5": read_h5,
    ".hdf5": read_h5,
    ".keras": read_keras_archive,
}
WRITERS: dict[str, Callable[[Mapping[str, np.ndarray], IO[bytes]], None]] = {
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
}


def _check_numbers(key: str, array: Any) -> None:
    dtype = getattr(array, "dtype", None)
    if not isinstance(dtype, np.dtype) or (dtype.kind not in "biuf" and dtype != BFLOAT16):
        raise UserError(f"{key} is not an array of numbers but {dtype or type(array).__name__}")


def _missing(package: str) -> UserError:
    also = " torch" if package == "torch" else ""
    instead = (
        ", or save it as .safetensors with the program that wrote it" if also else ", or use .npz"
    )
    return UserError(f'it needs {package}: pip install "jaxcnn[torch]"{also}{instead}')


def _choices(known: Mapping[str, Any]) -> str:
    *most, last = known
    return f"{', '.join(most)} and {last}"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

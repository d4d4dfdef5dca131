"""Reads the weight files of Keras: `.h5`, `.weights.h5` and `.keras`.

HDF5 is a file system within a file. Only numbers in the file itself are read: no links to other
files or folders, no storage elsewhere, no objects. `config.json` in a `.keras` file is not read.
"""

import io
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.interop.keras_names import CONTAINERS, is_variable, named_variables
from jaxcnn.io.safe_files import expanded_limit, open_regular

WEIGHTS = "model.weights.h5"  # in a .keras file
BFLOAT16 = np.dtype(jnp.bfloat16)
MOST_OBJECTS = 100_000  # groups and arrays of a file; networks have a few thousand
MOST_CHUNKS = 1_000_000  # of an array
DEEPEST = 30  # groups within groups
LONGEST = 1000  # characters of a name or path
# Filters that are undone, by HDF5's numbers: 1 deflates, 2 shuffles before, 3 adds a checksum.
FILTERS = ((), (1,), (2, 1), (1, 3), (2, 1, 3))

Arrays = dict[str, np.ndarray]


def read_h5(path: Path) -> Arrays:
    """Returns the arrays of a `.h5` or `.weights.h5` file by layer and variable.

    Names are such as "conv1_conv/kernel", after those of the models in which a layer is nested.
    `.weights.h5` files without names give places, such as "layers/conv2d_3/vars/0"; see
    `keras_names`. Optimizers are left out.

    Raises:
      UserError: if h5py is missing, or the file holds something else than arrays of numbers.
      OSError: see `open_regular`.
    """
    with open_regular(path) as file:
        return _read(file, expanded_limit(os.fstat(file.fileno()).st_size))


def read_keras_archive(path: Path) -> Arrays:
    """Returns the arrays of a `.keras` file; see `read_h5`.

    Raises:
      UserError: see `read_h5`; also if the archive has no weights.
      OSError: see `open_regular`.
    """
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        limit = expanded_limit(os.fstat(file.fileno()).st_size)
        if WEIGHTS not in archive.namelist():
            raise UserError(f"it has no {WEIGHTS}: save the model by Keras 3, without shards")
        member = archive.getinfo(WEIGHTS)
        _check_size(WEIGHTS, member.file_size, limit)
        # Other methods decompress everything, whatever size is requested.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{WEIGHTS} is compressed in a way that is not read: save it by Keras")
        return _read(io.BytesIO(archive.read(member)), limit)


def _read(file: IO[bytes], limit: int) -> Arrays:
    """Returns the arrays of an HDF5 file; they may have `limit` bytes together."""
    try:
        import h5py
    except ImportError:
        raise UserError(
            'it needs h5py: pip install "jaxcnn[keras]", or save the arrays as .npz'
        ) from None
    try:
        with h5py.File(file, "r") as root:
            return _arrays(root, limit)
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(error) from error  # h5py's, about the content


def _arrays(root: Any, limit: int) -> Arrays:
    """Returns the arrays of an open HDF5 file by layer and variable."""
    import h5py

    found = _walk(root)
    legacy = any(name.startswith("layer_names") for name in root.attrs)
    if "model_weights" in found:  # beside them are the optimizer's
        legacy, top = True, "model_weights/"
        found = {p.removeprefix(top): each for p, each in found.items() if p.startswith(top)}
    datasets = {
        path: each
        for path, each in found.items()
        if isinstance(each, h5py.Dataset) and is_variable(path)
    }
    total = sum(_declared_bytes(path, each) for path, each in datasets.items())
    _check_size("its arrays", total, limit)
    arrays = {path: _array(path, each) for path, each in datasets.items()}
    return _by_group(arrays) if legacy else _by_name(arrays, _names(found))


def _walk(root: Any) -> dict[str, Any]:
    """Returns the groups and datasets of a file by path.

    Raises:
      UserError: if there are other links than those of a tree, or too many of them.
    """
    import h5py

    found: dict[str, Any] = {}
    seen, pending = {root.id}, [("", root)]
    while pending:
        above, group = pending.pop()
        for name in group:
            path = f"{above}{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UserError(f"{path} is a {type(link).__name__}: save the model again by Keras")
            each = group[name]
            too_far = path.count("/") > DEEPEST or len(path) > LONGEST or len(seen) > MOST_OBJECTS
            if each.id in seen or too_far:
                where = path[:LONGEST]
                raise UserError(f"its groups are no tree of layers at {where}: save it by Keras")
            seen.add(each.id)
            found[path] = each
            if isinstance(each, h5py.Group):
                pending.append((f"{path}/", each))
    return found


def _declared_bytes(path: str, dataset: Any) -> int:
    """Returns the bytes of a dataset in memory, before anything of it is read.

    Raises:
      UserError: if it has no numbers, or they are not in the file.
    """
    dtype = dataset.dtype
    if dtype.kind not in "biuf" and not _is_bfloat16(dtype):
        raise UserError(f"{path} is not an array of numbers but {dtype}")
    if dataset.shape is None or dataset.is_virtual or dataset.external:
        raise UserError(f"the numbers of {path} are not in the file: save them by Keras")
    return math.prod(dataset.shape) * dtype.itemsize


def _array(path: str, dataset: Any) -> np.ndarray:
    if dataset.chunks is not None:
        _check_chunks(path, dataset)
    array = np.asarray(dataset[()])
    return array.view(BFLOAT16) if _is_bfloat16(array.dtype) else array


def _check_chunks(path: str, dataset: Any) -> None:
    """Refuses chunks that are longer than they say, which HDF5 would decompress all the same.

    Raises:
      UserError: if there are such chunks, or other filters than `FILTERS`.
    """
    properties = dataset.id.get_create_plist()
    filters = tuple(properties.get_filter(i)[0] for i in range(properties.get_nfilters()))
    length = math.prod(dataset.chunks) * dataset.dtype.itemsize
    elements = max(math.prod(dataset.shape), 1) * dataset.dtype.itemsize
    if length > 2 * elements + (1 << 20) or dataset.id.get_num_chunks() > MOST_CHUNKS:
        raise UserError(f"{path} is stored in chunks that do not fit it: save it by Keras")
    if filters not in FILTERS:
        raise UserError(f"{path} is compressed in a way that is not read: use h5repack -f NONE")
    if not filters:
        return
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        mask, data = dataset.id.read_direct_chunk(chunk.chunk_offset)
        if mask or len(zlib.decompressobj().decompress(data, length + 1)) > length:
            raise UserError(f"a chunk of {path} has more than {length:,} bytes: save it by Keras")


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Returns whether this is Keras's bfloat16, which HDF5 keeps as two bytes without meaning."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.fields is None


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise UserError(f"{what} have {size:,} bytes, more than the {limit:,} expected")


# Names ------------------------------------------------------------------------------------------


def _by_group(arrays: Arrays) -> Arrays:
    """Returns the arrays of a `.h5` file, whose groups are layers, by layer and variable.

    A group holds the variables' own paths, "conv1_conv/kernel:0", which may begin with the scope in
    which the layer was made. The group of a nested model has several layers.
    """
    scopes: dict[str, set[str]] = {}
    for path in arrays:
        group, _, rest = path.partition("/")
        scopes.setdefault(group, set()).add(rest.rpartition("/")[0])
    named = {}
    for path, array in arrays.items():
        group, _, rest = path.partition("/")
        single = len(scopes[group]) == 1
        named[f"{group}/{rest.rpartition('/')[2]}" if single else path] = array
    return named


def _names(found: Mapping[str, Any]) -> dict[str, str]:
    """Returns the layers' names in a `.weights.h5` file by the paths of their groups.

    Keras before 3.9 has written none.
    """
    names = {}
    for path, each in found.items():
        layer, _, last = path.rpartition("/")
        if last != "vars" or "name" not in each.attrs:
            continue
        kind = each.attrs.get_id("name")
        if kind.shape == () and kind.get_storage_size() <= LONGEST:
            name = each.attrs["name"]
            if isinstance(name, str) and 0 < len(name) <= LONGEST:
                names[layer] = name
    return names


def _by_name(arrays: Arrays, names: Mapping[str, str]) -> Arrays:
    """Returns the arrays of a `.weights.h5` file by layer and variable, or as they are."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for path, array in arrays.items():
        layer, _, place = path.rpartition("/")
        layers.setdefault(layer.removesuffix("/vars"), {})[place] = array
    full = {layer: _full_name(layer, names) for layer in layers}
    if not layers.keys() <= names.keys() or len(set(full.values())) < len(layers):
        return arrays
    return {
        f"{full[layer]}/{variable}": array
        for layer, variables in layers.items()
        for variable, array in named_variables(variables).items()
    }


def _full_name(layer: str, names: Mapping[str, str]) -> str:
    """Returns a layer's name after those of the models in which it is nested."""
    parts, here = [], ""
    for part in layer.split("/"):
        here = f"{here}/{part}" if here else part
        if here in names or part not in CONTAINERS:
            parts.append(names.get(here, part))
    return "/".join(parts)

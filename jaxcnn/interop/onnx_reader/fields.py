"""Reads the fields of our networks that ONNX files differ in: constants, padding, the input."""

import inspect
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.interop.onnx_reader.compare import Layer, LayerGraph, shortest
from jaxcnn.models.alexnet import AlexNet, full_windows
from jaxcnn.models.mobilenet import MobileNet
from jaxcnn.models.preact_resnet import PreActResNet
from jaxcnn.models.resnet import ResNet
from jaxcnn.models.zfnet import PADDINGS, ZFNet
from jaxcnn.ops.lrn import local_response_norm, response_norm
from jaxcnn.ops.windows import Window

Fields = dict[str, Any]


def fields_of(file: LayerGraph, model: nn.Module) -> Fields:
    """Returns fields of a network whose values are read from a file, if they are not the network's.

    They are no sizes: these belong to the name of the network, or are given.

    Args:
      file: layers of the file, see `with_norms`.
      model: the network, for its class and its values.

    Raises:
      UserError: if layers of the file differ where all of ours have one value.
    """
    found: Fields = {}
    for kind, read in READERS:
        if isinstance(model, kind):
            found |= read(file)
    found |= _epsilon(file) | _images(file) | _averages(file) | _activation(file) | _lrn(file)
    own = {field: getattr(model, field) for field in found if hasattr(model, field)}
    if "lrn" in own:
        own["lrn"] = _constants(own["lrn"])
    return {field: found[field] for field, value in own.items() if found[field] != value}


def _constants(lrn: Any) -> Any:
    """Returns (size, k, alpha, beta) of a network's response normalisation, if it is ours."""
    chosen = response_norm(lrn)
    given = chosen if isinstance(chosen, partial) else partial(chosen or (lambda: None))
    if given.func is not local_response_norm:
        return lrn
    bound = inspect.signature(local_response_norm).bind(None, **given.keywords)
    bound.apply_defaults()
    _, size, k, alpha, beta, over_n = bound.args
    return size, *map(shortest, (k, alpha / size if over_n else alpha, beta))


def _of_kind(file: LayerGraph, *kinds: str) -> list[Layer]:
    return [layer for layer in file.layers if layer.kind in kinds]


def _epsilon(file: LayerGraph) -> Fields:
    """Returns the usual epsilon; `from_onnx` corrects the variances of other norms."""
    norms = [norm for layer in file.layers for norm in (layer, *layer.norms)]
    given = Counter(norm.weights["epsilon"] for norm in norms if "epsilon" in norm.weights)
    return {"norm_epsilon": given.most_common(1)[0][0]} if given else {}


def _images(file: LayerGraph) -> Fields:
    scaled = [x for x in _of_kind(file, "scale") if x.inputs[0].kind == "images"]
    return {"transform_input": bool(scaled)}


def _averages(file: LayerGraph) -> Fields:
    """Returns whether average pools divide by the pixels of the padding, too."""
    padded = [x for x in _of_kind(file, "avg_pool") if any(_before(x))]
    counted = {bool(np.ptp([*_shares(x), math.prod(_sides(x))])) for x in padded}
    if len(counted) > 1:
        raise UserError("its average pools differ: some count the padding")
    return {"count_include_pad": counted.pop()} if counted else {}


def _activation(file: LayerGraph) -> Fields:
    kinds = {layer.kind for layer in _of_kind(file, "relu", "relu6")}
    return {"act": nn.relu6} if kinds == {"relu6"} else {}


def _lrn(file: LayerGraph) -> Fields:
    constants = {layer.settings for layer in _of_kind(file, "lrn")}
    if len(constants) > 1:
        raise UserError(f"its response normalisations differ: {constants}")
    return {"lrn": constants.pop()} if constants else {}


def _alexnet(file: LayerGraph) -> Fields:
    convs, pools = _of_kind(file, "conv"), _of_kind(file, "max_pool")
    fields: Fields = _order(file) | {"ceil_mode": any(map(_keeps_partial_window, pools))}
    sides = convs[0].inputs[0].shape[1:] if convs else ()
    before = _before(convs[0]) if convs else ()
    if before != tuple(full_windows(side, 11, 4)[0] for side in sides):
        fields["padding"] = before[0]
    return fields


def _zfnet(file: LayerGraph) -> Fields:
    convs, pools = _of_kind(file, "conv"), _of_kind(file, "max_pool")
    pads = [_before(x)[0] for x in (*convs[:2], *pools[:2])]
    fields: Fields = _order(file) | {"ceil_mode": any(map(_keeps_partial_window, pools))}
    for name, padding in PADDINGS.items():
        if pads == [*padding.convs, *padding.pools]:
            fields["padding"] = name
    return fields


def _resnet(file: LayerGraph) -> Fields:
    pools = _of_kind(file, "max_pool")
    return {"ceil_pool": bool(pools) and _before(pools[0]) == (0, 0)}


def _preact_resnet(file: LayerGraph) -> Fields:
    convs, pools = _of_kind(file, "conv"), _of_kind(file, "max_pool")
    if not convs:
        return {}
    fields: Fields = {"image_norm": convs[0].inputs[0].kind == "norm"}
    activated = bool(convs[0].norms or "bias" in convs[0].weights)
    if pools:  # otherwise a norm after the stem may belong to the first unit
        fields["stem_norm"] = activated
    if pools and activated and any(x.inputs == (pools[0],) for x in _of_kind(file, "norm")):
        fields["first_preactivation"] = True
    return fields


def _mobilenet(file: LayerGraph) -> Fields:
    convs = _of_kind(file, "conv")
    if not convs or any(side % 2 for side in convs[0].inputs[0].shape[1:]):
        return {}  # at odd sizes both paddings are the same
    return {"padding": "symmetric" if all(_before(convs[0])) else "SAME"}


READERS: tuple[tuple[type, Callable[[LayerGraph], Fields]], ...] = (
    (AlexNet, _alexnet),
    (ZFNet, _zfnet),
    (ResNet, _resnet),
    (PreActResNet, _preact_resnet),
    (MobileNet, _mobilenet),
)


def _order(file: LayerGraph) -> Fields:
    lrns = _of_kind(file, "lrn")
    return {"pool_first": lrns[0].inputs[0].kind == "max_pool"} if lrns else {}


def _before(layer: Layer) -> tuple[int, ...]:
    """Returns the padding of a window above and left of the map."""
    return layer.settings[2]  # type: ignore[index]


def _sides(layer: Layer) -> tuple[int, ...]:
    return layer.settings[0]  # type: ignore[index]


def _shares(pool: Layer) -> np.ndarray:
    return np.frombuffer(pool.settings[4], np.float32)  # type: ignore[index]


def _keeps_partial_window(pool: Layer) -> bool:
    strides: tuple[int, ...] = pool.settings[1]  # type: ignore[index]
    window = Window(_sides(pool), strides, tuple((pad, pad) for pad in _before(pool)))
    image = (1, *pool.inputs[0].shape[1:], 1)
    return any(a > b for a, b in zip(pool.shape[1:], window.outputs(image), strict=True))

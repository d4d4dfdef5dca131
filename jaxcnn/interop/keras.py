"""Converts the arrays of Keras's networks to Flax variables."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.errors import UserError
from jaxcnn.interop.exchange import (
    axis_length,
    build,
    compare,
    current_name,
    find_network,
    rules_of,
    variable_shapes,
)
from jaxcnn.interop.keras_names import (
    Layers,
    layer_kinds,
    layer_names,
    names_by_number,
    names_by_place,
    read_layers,
    split_nested,
)
from jaxcnn.interop.keras_tables import NUMBERED
from jaxcnn.interop.name_rules import Library, library_name

LIBRARY = "keras"
BATCH_NORM = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_variance"}
_log = logging.getLogger(__name__)

Path = tuple[str, ...]


class _Place(NamedTuple):
    """Place of one of our leaves among Keras's arrays."""

    key: str
    leaf: jax.ShapeDtypeStruct  # our leaf
    shape: tuple[int, ...]  # Keras's shape
    biases: tuple[str, ...]  # keys of the biases to be subtracted from a mean


def from_keras(
    state: Mapping[str, Any], name: str, **overrides: Any
) -> tuple[nn.Module, dict[str, Any]]:
    """Returns our network for a name of keras.applications, and its variables from Keras's arrays.

    The number of classes and input channels, VGG's input size and MobileNet's alpha are read from
    the state. Arrays are cast to the network's `param_dtype`. Names of layers may be those of any
    process, with a prefix if the network is nested in another model; see `keras_names`. Optimizers
    and random seeds are ignored. If the layer `predictions` is missing and there is one other
    dense layer, this is the classifier. With `num_classes=0` the classifier, and whatever is not
    nested in the network, are omitted and may be missing.

    Args:
      state: name → array, as `read_weights` returns it, or `{v.path: v.numpy() for v in
        model.weights}`; convolutions (H, W, I, O), depthwise ones (H, W, C, 1), dense layers
        (I, O).
      name: the name in keras.applications, such as "ResNet50" or "MobileNet".
      **overrides: fields of our network, for variants without their own name (`stage_sizes=(2, 2,
        2, 2)`, `width_multiplier=0.4`) or another `dtype`.

    Returns:
      The module, and {"params": …, "batch_stats": …}.

    Raises:
      UserError: if the name or field is unknown, or the state is of another network; the message
        lists missing, superfluous and differently shaped arrays.
    """
    chosen = find_network(LIBRARY, name)
    overrides.setdefault("parent", None)  # a top-level module
    arrays, head = _named_as_new(state, chosen, overrides)
    if overrides.get("num_classes") == 0:
        arrays = {key: value for key, value in arrays.items() if not key.startswith(f"{head}/")}
    elif arrays and f"{head}/kernel" not in arrays:
        raise UserError(
            f"these weights of Keras's {name} have no classifier ({head}/kernel is missing): take"
            " them without, for their features or a classifier of your own, by num_classes=0"
        )
    shapes = {key: np.shape(value) for key, value in arrays.items()}
    for prefix, field in chosen.optional.items():
        overrides.setdefault(field, any(key.startswith(prefix) for key in shapes))
    for field, read in chosen.read_off.items():
        overrides.setdefault(field, read(shapes))
    of_head = shapes.get(f"{head}/kernel")
    model = build(chosen, overrides, num_classes=of_head[-1] if of_head else None)
    places = _places(model, arrays, chosen)
    biases = {bias: place.leaf.shape for place in places.values() for bias in place.biases}
    compare(
        {**{place.key: place.shape for place in places.values()}, **biases},
        shapes,
        f"these are no weights of Keras's {name}",
    )
    flat = {
        path: jnp.asarray(_to_flax(arrays, place), place.leaf.dtype)
        for path, place in places.items()
    }
    return model, traverse_util.unflatten_dict(flat)


def _named_as_new(
    state: Mapping[str, Any], chosen: Library, overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Returns the arrays by the names that Keras gives in a new process; and the classifier's.

    Layers outside the network keep their names, or are left out with `num_classes=0`.
    """
    network = build(chosen, {**overrides, "num_classes": None})  # with the classifier
    rules = rules_of(network, chosen)
    head, of_head = library_name(rules, "classifier")
    state = {current_name(key, chosen): value for key, value in state.items()}
    layers, by_place = read_layers(state)
    prefix, layers, others = split_nested(layers)
    if prefix:
        _log.warning("weights: the prefix %r of the layers is dropped", prefix)
    if by_place or head not in layers or any(rule.key in NUMBERED for rule in rules):
        leaves = variable_shapes(network, None, chosen)
        names = layer_names(rules, {"/".join(path[1:-1]) for path in leaves})
        if by_place:
            renamed = names_by_place(layers, names, layer_kinds(leaves, rules))
        else:
            renamed = names_by_number(layers, names.values())
        layers = _rename(layers, renamed)
        if head not in layers:
            _adopt_classifier(head, of_head.as_conv, layers, others, names.values())
    if overrides.get("num_classes") == 0 and others:
        _log.warning("weights: left out are %s, outside the network", ", ".join(others))
        others = {}
    arrays = {
        f"{layer}/{variable}": array
        for layer, variables in {**layers, **others}.items()
        for variable, array in variables.items()
    }
    return arrays, head


def _rename(layers: Layers, renamed: Mapping[str, str]) -> Layers:
    """Returns the layers by their new names.

    Raises:
      UserError: if two layers have the same.
    """
    result = {renamed.get(name, name): variables for name, variables in layers.items()}
    if len(result) < len(layers):
        raise UserError("these weights name one layer twice: give the arrays of one network")
    return result


def _adopt_classifier(
    head: str, as_conv: bool, layers: Layers, others: Layers, names: Iterable[str]
) -> None:
    """Moves the only dense layer that the network lacks to the name of its classifier.

    Args:
      head: name of the classifier.
      as_conv: whether the classifier is a 1x1 convolution in Keras.
      layers: layers of the network.
      others: layers outside it.
      names: names of the network's layers.
    """
    known = set(names)
    found = [
        layer
        for layer, variables in {**layers, **others}.items()
        if layer not in known and np.ndim(variables.get("kernel", 0)) == 2
    ]
    if len(found) != 1:
        return
    _log.warning("weights: the dense layer %s is taken as the classifier", found[0])
    variables = dict((layers if found[0] in layers else others).pop(found[0]))
    if as_conv:
        variables["kernel"] = np.asarray(variables["kernel"])[None, None]
    layers[head] = variables


def _places(model: nn.Module, arrays: Mapping[str, Any], chosen: Library) -> dict[Path, _Place]:
    """Returns the place of every leaf of a network's variables among Keras's arrays."""
    rules = rules_of(model, chosen)
    stem = rules[0].key
    leaves = variable_shapes(model, axis_length(arrays, f"{stem}/kernel", 2), chosen)
    names = layer_names(rules, {"/".join(path[1:-1]) for path in leaves})
    norms = {path[1:-1] for path in leaves if path[-1] == "mean"}
    biases = chosen.biases(model) if chosen.biases else {}
    places = {}
    for path, leaf in leaves.items():
        module = "/".join(path[1:-1])
        variable = BATCH_NORM[path[-1]] if path[1:-1] in norms else path[-1]
        shape = leaf.shape
        if path[-1] == "kernel" and "depthwise" in path:
            shape = (*shape[:2], shape[3], shape[2])
        elif path[-1] == "kernel" and library_name(rules, module)[1].as_conv:
            shape = (1, 1, *shape)
        added = biases.get(module, ()) if path[-1] == "mean" else ()
        keys = [f"{names[convolution]}/bias" for convolution in added if convolution in names]
        if keys == [f"{stem}/bias"] and keys[0] not in arrays:
            keys = []  # with `use_bias=False`, an argument of Keras's function `ResNet`
        places[path] = _Place(f"{names[module]}/{variable}", leaf, shape, tuple(keys))
    return places


def _to_flax(arrays: Mapping[str, Any], place: _Place) -> np.ndarray:
    """Returns the array of one of our leaves."""
    array = np.asarray(arrays[place.key])
    if place.biases:
        array = array.astype(np.float64)
        for bias in place.biases:
            array = array - np.asarray(arrays[bias]).astype(np.float64)
    if array.ndim == 4 and array.shape != place.leaf.shape and len(place.leaf.shape) == 4:
        return array.transpose(0, 1, 3, 2)  # a depthwise convolution
    return array.reshape(place.leaf.shape)

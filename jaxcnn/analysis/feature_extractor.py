"""Activations of a network at several layers, without computing the layers behind them.

A layer has the name that `jaxcnn.analysis.trace` gives it: the path of a Flax module, such as
"stage2" or "stage2/block1/conv1", or that of an operation between modules, such as "stage1/relu_2"
or "max_pool". A module stands for its output. The second call of a module is "conv1#2".

The network is traced, and only the part of the program that the wanted layers need is compiled.
Images may therefore have any size that these layers take, whatever the dense layers behind them
need: a VGG for 224x224 pixels gives the activations of a perceptual loss at any size.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util

from jaxcnn.analysis.tracing.equations import shape_of
from jaxcnn.analysis.tracing.traced import Arrays, leaves_by_path, trace_layers
from jaxcnn.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class FeatureInfo:
    """What a layer puts out for one image.

    Attributes:
      name: of the layer.
      channels: length of the last axis.
      stride: distance of neighbouring units, pixels of the image; a pair if it differs vertically
        and horizontally, 0 without maps.
      size: (height, width) of a map; () without maps.
    """

    name: str
    channels: int
    stride: float | tuple[float, float]
    size: tuple[int, ...]


class FeatureExtractor:
    """Computes layers of a network; made by `feature_extractor`.

    Attributes:
      model: the network.
      layers: names and patterns; () is the last maps of every stride.
    """

    def __init__(self, model: nn.Module, layers: str | Sequence[str] = ()):
        if getattr(model, "scan_units", False):  # a loop would hide the units
            model = model.clone(scan_units=False)
        self.model = model.clone(parent=None, name=None)
        self.layers = (layers,) if isinstance(layers, str) else tuple(layers)
        self._compiled = jax.jit(self._compute, static_argnames=("train", "mutable"))

    def __call__(
        self,
        variables: Any,
        images: jax.Array,
        *,
        train: bool = False,
        rngs: Mapping[str, jax.Array] | None = None,
        mutable: str | Sequence[str] = (),
    ) -> Any:
        """Computes the layers. It can be compiled, differentiated and batched.

        Args:
          variables: of the network. Those that the layers do not need may have any shape, or be
            missing.
          images: (N, H, W, C), as the network takes them.
          train: whether the network is in training mode. Operations are numbered in that mode.
          rngs: keys of a network in training mode, such as "dropout".
          mutable: collections to update, such as "batch_stats". Only layers in front of the last
            wanted one update them.

        Returns:
          The outputs of the layers by name, in the order of `layers`; names that a pattern matches
          are in the order of computation. If `mutable` is given, a pair of them and the updated
          collections, as `flax.linen.Module.apply` returns it.

        Raises:
          UserError: if there is no such layer, or a variable is missing or has another shape.
        """
        kinds = (mutable,) if isinstance(mutable, str) else tuple(mutable)
        leaves = leaves_by_path(variables)
        found, changed = self._compiled(
            leaves, images, dict(rngs or {}), train=train, mutable=kinds
        )
        if not mutable:
            return dict(found)
        kept = {path: leaf for path, leaf in leaves.items() if path.split("/")[0] in kinds}
        return dict(found), _tree({**kept, **changed})

    def feature_info(self, input_shape: Sequence[int]) -> tuple[FeatureInfo, ...]:
        """Describes the layers, in the order of `layers`. Nothing is computed.

        Args:
          input_shape: (H, W, C) of an image.

        Raises:
          UserError: if there is no such layer.
        """
        images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
        traced = trace_layers(self.model, {}, images)
        fields = traced.receptive_fields()
        infos = []
        for name in traced.find(self.layers):
            shape = shape_of(traced.layers[name])
            maps = len(shape) == 4 and traced.layers[name] in fields
            down, across = fields[traced.layers[name]].stride if maps else (0, 0)
            stride = down if down == across else (down, across)
            infos.append(FeatureInfo(name, shape[-1], stride, tuple(shape[1:3]) if maps else ()))
        return tuple(infos)

    def init(self, rngs: Any, images: jax.Array) -> dict[str, Any]:
        """Returns new variables of the network: those that the layers need.

        Args:
          rngs: as `flax.linen.Module.init` takes them.
          images: (N, H, W, C).
        """
        traced = trace_layers(self.model, {}, images)
        needed = traced.cut(traced.find(self.layers))[0].used
        paths = {path for path, var in traced.variables.items() if var in needed}

        def new(rngs: Any, images: jax.Array) -> Arrays:
            leaves = leaves_by_path(self.model.init(rngs, images))
            return {path: leaf for path, leaf in leaves.items() if path in paths}

        return _tree(jax.jit(new)(rngs, images))

    def module(self, **fields: Any) -> "FeatureModule":
        """Returns a module for use within other modules; see `FeatureModule`.

        Args:
          **fields: `name` or `parent` of the module.
        """
        return FeatureModule(self, **fields)

    def _compute(
        self,
        variables: Arrays,
        images: jax.Array,
        rngs: dict[str, jax.Array],
        train: bool,
        mutable: tuple[str, ...],
    ) -> tuple[dict[str, jax.Array], Arrays]:
        traced = trace_layers(self.model, variables, images, rngs, train, mutable)
        names = traced.find(self.layers)
        program, paths = traced.cut(names)
        used = set(program.used)
        *others, spare = traced.others
        if spare in used:
            raise UserError(
                "the layers draw random numbers in training mode: give rngs={'dropout': key}"
            )
        values = dict(zip(others, jax.tree.leaves((images, rngs)), strict=True))
        for path, var in traced.variables.items():
            if var in used:
                values[var] = _checked(path, variables, shape_of(var), images.shape)
        found = program.evaluate(values)
        layers, changed = found[: len(names)], found[len(names) :]
        ordered = collections.OrderedDict(zip(names, layers, strict=True))  # `jax.jit` sorts a dict
        return ordered, dict(zip(paths, changed, strict=True))


class FeatureModule(nn.Module):
    """A network as a submodule, which returns the outputs of layers instead of logits.

    Its variables are those of the network that the layers need, under the same names: trained
    variables of the network fit. In training mode it updates `batch_stats` if that is mutable.
    """

    extractor: FeatureExtractor

    def __call__(self, images: jax.Array, train: bool = False) -> dict[str, jax.Array]:
        """Maps images (N, H, W, C) to the outputs of the layers by name."""
        if self.is_initializing() and not self.variables:
            self._put(self.extractor.init(self.make_rng("params"), images))
        if not train or self.is_initializing():
            return self.extractor(self.variables, images)
        streams = self.scope.rngs if self.scope is not None else ()
        rngs = {name: self.make_rng(name) for name in streams if name != "params"}
        mutable = [
            kind for kind in self.variables if kind != "params" and self.is_mutable_collection(kind)
        ]
        found = self.extractor(self.variables, images, train=True, rngs=rngs, mutable=mutable)
        if not mutable:
            return found
        layers, changed = found
        self._put(changed)
        return layers

    def _put(self, variables: Mapping[str, Any]) -> None:
        for kind, tree in variables.items():
            for name, one in tree.items():
                self.put_variable(kind, name, one)


def feature_extractor(model: nn.Module, layers: str | Sequence[str] = ()) -> FeatureExtractor:
    """Returns a function that computes layers of a network, and nothing behind them.

    >>> import jaxcnn
    >>> model = jaxcnn.create_model("cifar_resnet20")
    >>> extract = jaxcnn.feature_extractor(model, ["stem", "stage*"])
    >>> for one in extract.feature_info((32, 32, 3)):
    ...     print(one.name, one.channels, one.stride, one.size)
    stem 16 1 (32, 32)
    stage1 16 1 (32, 32)
    stage2 32 2 (16, 16)
    stage3 64 4 (8, 8)

    Args:
      model: any Flax network that takes images, and `train` if it is used in training mode.
      layers: names of modules and operations, or patterns for each part of a name: "stage*",
        "stage2/block*". By default the last maps of every stride: a layer through which all that
        follows passes, in front of the classifier, as `features_only` in timm.
    """
    return FeatureExtractor(model, layers)


def _checked(
    path: str, variables: Arrays, shape: tuple[int, ...], images: tuple[int, ...]
) -> jax.Array:
    if path not in variables:
        raise UserError(f"the layers need the variable {path!r}: {nearest(path, variables)}")
    if variables[path].shape != shape:
        raise UserError(
            f"{path} has the shape {variables[path].shape}, and images of shape {images} need"
            f" {shape}: take images of the size that the variables are for, or earlier layers"
        )
    return variables[path]


def _tree(leaves: Arrays) -> dict[str, Any]:
    return traverse_util.unflatten_dict(dict(leaves), sep="/")

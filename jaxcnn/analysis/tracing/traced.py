"""The program of a network with the values of all its layers, and parts of it.

In contrast to `tracing.graph`, modules have values too, whatever they contain, and the
network may be in training mode.
"""

import dataclasses
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from flax import linen as nn
from flax import traverse_util
from jax.extend.core import Var

from jaxcnn.analysis import receptive_fields
from jaxcnn.analysis.tracing import equations
from jaxcnn.analysis.tracing.equations import Flat, shape_of
from jaxcnn.analysis.tracing.graph import IMAGES, Graph, graph_of
from jaxcnn.errors import UserError, nearest

INTERMEDIATES = "intermediates"  # Flax's collection of captured outputs
CLASSIFIER = "classifier"  # module of the logits in all networks of `jaxcnn.models`

Arrays = Mapping[str, Any]  # by their paths, such as "params/stem/conv/kernel"


@dataclasses.dataclass(frozen=True)
class Traced:
    """The program of a network.

    Attributes:
      flat: the program.
      graph: of the logits.
      variables: inputs that are variables, by their paths.
      others: the other inputs: images, rngs, and a key for what these lack.
      layers: outputs of modules and operations by name, in the order of computation.
      changed: updated variables by their paths.
    """

    flat: Flat
    graph: Graph
    variables: Mapping[str, Var]
    others: Sequence[Var]
    layers: Mapping[str, Var]
    changed: Mapping[str, Var]

    def find(self, layers: Sequence[str]) -> list[str]:
        """Returns the names that fit names and patterns; for none of these the stages.

        Raises:
          UserError: if nothing fits.
        """
        found = []
        for one in layers:
            fitting = [name for name in self.layers if name == one] or [
                name for name in self.layers if _fits(name, one)
            ]
            if not fitting:
                raise UserError(f"the network has no layer {one!r}: {nearest(one, self.layers)}")
            found += fitting
        return [*dict.fromkeys(found)] if layers else self.stages()

    def stages(self) -> list[str]:
        """Returns the last maps of every stride, by the names of modules where there are such.

        Raises:
          UserError: if the network has no maps.
        """
        fields = self.receptive_fields()
        last: dict[Any, str] = {}
        for name, var in _passages(self.graph):
            if name.split("/")[0] == CLASSIFIER:
                break
            if var in fields and len(shape_of(var)) == 4 and all(fields[var].stride):
                names = [name for name, one in self.layers.items() if one is var]
                stride = fields[var].stride
                last.pop(stride, None)  # so that the names stay in the order of computation
                last[stride] = min(names, key=lambda name: name.count("/"))
        if not last:
            raise UserError("the network has no maps: name the layers")
        return list(last.values())

    def receptive_fields(self) -> Mapping[Any, receptive_fields.ReceptiveField]:
        """Returns the receptive fields of all values of the program."""
        program = equations.program(self.flat.inputs, (), [eqn for eqn, _ in self.flat.equations])
        return receptive_fields.of_program(program, self.graph.inputs[1])

    def cut(self, names: Sequence[str]) -> tuple[Flat, list[str]]:
        """Returns the program of layers and of the variables updated until then, and their paths.

        Its outputs are the layers, then the variables.
        """
        places = _places(self.flat)
        wanted = [self.layers[name] for name in names]
        end = max((places.get(one, -1) for one in wanted), default=-1)
        changed = {
            path: one for path, one in self.changed.items() if -1 < places.get(one, -1) <= end
        }
        return self.flat.needed_for([*wanted, *changed.values()]), list(changed)


def trace_layers(
    model: nn.Module,
    variables: Arrays,
    images: Any,
    rngs: Mapping[str, Any] | None = None,
    train: bool = False,
    mutable: Sequence[str] = (),
) -> Traced:
    """Traces a network with variables of the shapes that it makes for these images.

    Args:
      model: the network.
      variables: their dtypes count; those of missing ones are the network's.
      images: (N, H, W, C), an array or its shape.
      rngs: for training.
      train: whether in training mode.
      mutable: collections that are updated.
    """
    pixels, keys, spare = jax.tree.map(_shape, (images, dict(rngs or {}), jax.random.key(0)))
    made = nn.meta.unbox(jax.eval_shape(model.init, spare, pixels))

    def typed(path: Any, one: Any) -> Any:
        return jax.ShapeDtypeStruct(one.shape, variables.get(_name(path), one).dtype)

    shapes = jax.tree_util.tree_map_with_path(typed, made)
    modules: dict[str, nn.Module] = {}
    mode: dict[str, Any] = {"train": True} if train else {}

    def call(variables: Any, images: jax.Array, rngs: Any, spare: jax.Array) -> Any:
        logits, state = model.apply(
            variables,
            images,
            **mode,
            rngs={"params": spare, **rngs},  # Flax takes it where another one is missing
            capture_intermediates=True,
            mutable=[*mutable, INTERMEDIATES],
        )
        changed = {kind: state[kind] for kind in mutable if kind in state}
        return logits, dict(_captured(state.get(INTERMEDIATES, {}))), leaves_by_path(changed)

    with nn.intercept_methods(equations.marking(modules)):
        closed, form = jax.make_jaxpr(call, return_shape=True)(shapes, pixels, keys, spare)
    flat = equations.flatten(closed)
    _, captured, changed = jax.tree.unflatten(jax.tree.structure(form), flat.outputs)
    graph = graph_of(flat, shapes, modules)
    operations = {name: var for var, name in graph.names.items() if name != IMAGES}
    places = _places(flat)
    layers = sorted(
        {**operations, **_variable(captured)}.items(), key=lambda one: places.get(one[1], -1)
    )
    paths = [*leaves_by_path(shapes)]
    inputs = dict(zip(paths, flat.inputs[: len(paths)], strict=True))
    return Traced(flat, graph, inputs, flat.inputs[len(paths) :], dict(layers), _variable(changed))


def _captured(intermediates: Any) -> Iterator[tuple[str, jax.Array]]:
    """Yields the outputs of all calls of modules that are single arrays."""
    for path, calls in traverse_util.flatten_dict(intermediates).items():
        if path[-1] != "__call__" or len(path) == 1:
            continue
        for number, output in enumerate(calls):
            if isinstance(output, jax.Array):
                yield "/".join(path[:-1]) + (f"#{number + 1}" if number else ""), output


def _variable(outputs: Mapping[str, Any]) -> dict[str, Var]:
    """Leaves constants out."""
    return {name: one for name, one in outputs.items() if isinstance(one, Var)}


def _passages(graph: Graph) -> Iterator[tuple[str, Var]]:
    """Yields the nodes, and their values, through which everything behind them passes."""
    numbers = {node.name: number for number, node in enumerate(graph.nodes)}
    used = [-1] * len(graph.nodes)  # number of the last node that uses it
    for node in graph.nodes:
        for name in node.inputs:
            if name in numbers:
                used[numbers[name]] = numbers[node.name]
    values = {name: var for var, name in graph.names.items()}
    from_images = max(numbers[node.name] for node in graph.nodes if IMAGES in node.inputs)
    open_until = from_images
    for number, node in enumerate(graph.nodes):
        if open_until <= number and node.name in values:
            yield node.name, values[node.name]
        open_until = max(open_until, used[number])


def _fits(name: str, pattern: str) -> bool:
    parts, patterns = name.split("/"), pattern.split("/")
    same = len(parts) == len(patterns)
    return same and all(map(fnmatch.fnmatchcase, parts, patterns))


def _places(flat: Flat) -> dict[Any, int]:
    """Returns the number of the equation that computes each value."""
    return {var: number for number, (eqn, _) in enumerate(flat.equations) for var in eqn.outvars}


def leaves_by_path(tree: Any) -> dict[str, Any]:
    """Returns the arrays of a tree by their paths, in the order of `jax.tree.leaves`."""
    plain = nn.meta.unbox(tree)
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(plain)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)

"""The layers of a network and what flows between them, read off its traced program.

A node is a layer: a module without submodules, or an operation outside of such modules, for example
a pool, an activation, a sum or a concatenation. The trace holds what the network computes, so
activations that are functions, modules that are used twice and networks of one's own need nothing
special. `Graph.run` computes the network and gives access to every node.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util
from jax.extend.core import ClosedJaxpr, Literal, Var, jaxpr_as_fun

from jaxcnn.analysis.tracing import equations
from jaxcnn.analysis.tracing.equations import shape_of
from jaxcnn.analysis.tracing.group import Group, group_equations
from jaxcnn.errors import UserError, nearest

Rule = Callable[..., jax.Array]
IMAGES = "images"  # name of the input among the inputs of nodes


@dataclasses.dataclass(frozen=True)
class Node:
    """A layer.

    Attributes:
      name: path of the module, such as "stage1/block1/conv1"; of an operation that is no module
        the path of the module around it and its kind, such as "stage1/max_pool" or "stage1/add_2".
        The second call of a module is "conv1#2".
      kind: "conv", "dense", "batch_norm", "relu", "max_pool", "avg_pool", "global_avg_pool", "add",
        "multiply", "concatenate", "local_response_norm", "flatten", …
      detail: hyper-parameters for a reader: "3x3, 64, stride 2, padding 1".
      inputs: names of the nodes whose outputs it takes; "images" is the network's input.
      shape: of the output, without the batch.
      dtype: of the output.
      module: path of the module that contains the layer; "" is the network.
      parameters: names of its parameters, such as "stage1/conv1/kernel"; of a shared one only in
        the first node that uses it.
      macs: multiply-adds for one image; see `count_macs`.
    """

    name: str
    kind: str
    detail: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: Any
    module: str
    parameters: tuple[str, ...]
    macs: int


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A traced network; made by `trace`.

    Attributes:
      nodes: in the order of computation.
      sizes: number of values of each parameter, by its name.
      unused: names of the parameters that the network does not use at test time.
      output: name of the node that puts out the logits.
    """

    nodes: tuple[Node, ...]
    sizes: Mapping[str, int]
    unused: tuple[str, ...]
    output: str
    groups: tuple[Group, ...] = dataclasses.field(repr=False)
    names: Mapping[Var, str] = dataclasses.field(repr=False)  # of the outputs of nodes
    inputs: tuple[Sequence[Var], Var] = dataclasses.field(repr=False)  # variables, images
    logits: Any = dataclasses.field(repr=False)  # Var, or a Literal of a constant network
    constants: Mapping[Var, Any] = dataclasses.field(repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(H, W, C) of the images."""
        return shape_of(self.inputs[1])[1:]

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by their names."""
        return {node.name: node for node in self.nodes}

    def __getitem__(self, name: str) -> Node:
        """Returns a node.

        Raises:
          UserError: if there is no such node.
        """
        if name not in self.by_name:
            raise UserError(f"the network has no layer {name!r}: {nearest(name, self.by_name)}")
        return self.by_name[name]

    def run(
        self,
        variables: Any,
        images: jax.Array,
        keep: Collection[str] = (),
        perturb: Mapping[str, jax.Array] | None = None,
        rules: Mapping[str, Rule] | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes the network at test time. It can be compiled, differentiated and batched.

        Args:
          variables: of the shapes that were traced.
          images: of the shape that was traced.
          keep: names of nodes whose outputs are returned, after `perturb`.
          perturb: arrays that are added to the outputs of nodes. The gradient with respect to an
            array of zeros is the gradient with respect to the output of the node.
          rules: functions that replace the computation of a node, by its name, or of all other
            nodes of a kind: `rule(f, *inputs) -> output`, where f is the computation of the node.

        Returns:
          logits (N, num_classes), and the kept outputs by name.

        Raises:
          UserError: if there is no node of a name.
        """
        for name in (*keep, *(perturb or {})):
            _ = self[name]
        weights, of_images = self.inputs
        values = dict(self.constants)
        values |= zip(weights, jax.tree.leaves(variables), strict=True)
        values[of_images] = images

        def value(atom: Any) -> Any:
            return atom.val if isinstance(atom, Literal) else values[atom]

        kept: dict[str, jax.Array] = {}
        for group in self.groups:
            arguments = [value(var) for var in group.inputs]
            compute: Any = jaxpr_as_fun(ClosedJaxpr(group.program, ()))
            rule = _rule_of(group, self.names.get(group.output, ""), rules or {})
            outputs = _by_rule(rule, compute, group, arguments) if rule else compute(*arguments)
            for var, array in zip(group.program.outvars, outputs, strict=True):
                label = self.names.get(var, "")
                if label in (perturb or {}):
                    array = array + (perturb or {})[label]
                if label in keep:
                    kept[label] = array
                values[var] = array
        return value(self.logits), kept

    def last_maps(self) -> str:
        """Returns the name of the last node with maps, in front of global pooling or flattening.

        Copies of one pixel, which an adaptive pool makes of small images, are no maps.

        Raises:
          UserError: if the network has no maps of more than one pixel.
        """
        by_name = self.by_name
        reached, waiting = set[str](), [self.output]
        while waiting:  # what the logits depend on: not the maps of another head
            name = waiting.pop()
            if name in by_name and name not in reached:
                reached.add(name)
                waiting.extend(by_name[name].inputs)
        maps = [
            node.name
            for node in self.nodes
            if node.name in reached and _pixels(node) > 1
            if any(one not in by_name or _pixels(by_name[one]) > 1 for one in node.inputs)
        ]
        if not maps:
            raise UserError(
                "the network has no maps of more than one pixel: give larger images, or the name"
                " of a layer"
            )
        return maps[-1]


def trace(model: nn.Module, variables: Any, images: Any) -> Graph:
    """Returns the graph of a network at test time. Nothing is computed.

    Args:
      model: `model.apply(variables, images)` returns logits.
      variables: arrays, or their shapes as `jax.ShapeDtypeStruct`.
      images: (N, H, W, C), an array or its shape.
    """
    if getattr(model, "scan_units", False):  # a loop would hide the units
        model = model.clone(scan_units=False)
    modules: dict[str, nn.Module] = {}
    with nn.intercept_methods(equations.marking(modules)):
        closed = jax.make_jaxpr(model.apply)(variables, images)
    return graph_of(equations.flatten(closed), variables, modules)


def graph_of(flat: equations.Flat, variables: Any, modules: Mapping[str, nn.Module]) -> Graph:
    """Returns the graph of the first output of a program.

    Args:
      flat: its inputs begin with the variables and the images.
      variables: the shapes that were traced.
      modules: by their paths.
    """
    flat = flat.needed_for(flat.outputs[:1])
    count = len(jax.tree.leaves(variables))
    weights, of_images = flat.inputs[:count], flat.inputs[count]
    parameters = _parameter_names(variables, weights)
    groups = group_equations(flat, of_images, modules)
    return _graph(groups, flat, parameters, (weights, of_images))


def trace_shapes(model: nn.Module, input_shape: Sequence[int]) -> Graph:
    """Returns the graph of a network for one image, whose variables are not needed.

    Args:
      model: takes an array (1, *input_shape).
      input_shape: (H, W, C).
    """
    if getattr(model, "scan_units", False):
        model = model.clone(scan_units=False)
    images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    return trace(model, variables, images)


def _pixels(node: Node) -> int:
    """Returns how many pixels a map of a node has; 0 of a node without maps."""
    return node.shape[0] * node.shape[1] if len(node.shape) == 3 else 0


def _plain(tree: Any) -> dict[str, Any]:
    return {key: _plain(one) if isinstance(one, Mapping) else one for key, one in tree.items()}


def _parameter_names(variables: Any, weights: Sequence[Var]) -> dict[Var, str]:
    """Returns the inputs of the program that are parameters, with their names.

    The program has them in the order of `jax.tree.leaves`, which sorts; dictionaries need not.
    """
    numbers = jax.tree.unflatten(jax.tree.structure(variables), list(range(len(weights))))
    flat = traverse_util.flatten_dict(_plain(numbers.get("params", {})))
    return {weights[number]: "/".join(path) for path, number in flat.items()}


def _graph(
    groups: Sequence[Group],
    flat: equations.Flat,
    parameters: Mapping[Var, str],
    inputs: tuple[Sequence[Var], Var],
) -> Graph:
    names: dict[Var, str] = {inputs[1]: IMAGES}
    origin: dict[Var, frozenset[str]] = {var: frozenset({name}) for var, name in parameters.items()}
    owned, nodes, taken = set[str](), list[Node](), set[str]()
    for group in groups:
        used = frozenset().union(
            *(origin.get(var, frozenset()) for var in group.inputs if isinstance(var, Var))
        )
        if not group.is_node:
            origin.update(dict.fromkeys(group.program.outvars, used))
            continue
        name = _unique(group.name, "#" if group.is_module else "_", taken)
        own = tuple(parameter for parameter in parameters.values() if parameter in used - owned)
        owned |= used
        out = group.output
        from_nodes = (names[var] for var in group.inputs if var in names)
        names.update(dict.fromkeys(group.program.outvars, name))
        nodes.append(
            Node(
                name,
                group.kind,
                group.detail,
                tuple(dict.fromkeys(from_nodes)),
                out.aval.shape[1:],
                out.aval.dtype,
                group.module,
                own,
                group.macs,
            )
        )
    sizes = {name: math.prod(shape_of(var)) for var, name in parameters.items()}
    unused = tuple(name for name in parameters.values() if name not in owned)
    outputs = {group.output for group in groups if group.is_node}
    kept = {var: name for var, name in names.items() if var in outputs}
    (logits,) = flat.outputs
    output = names.get(logits, IMAGES) if isinstance(logits, Var) else IMAGES
    return Graph(
        tuple(nodes),
        sizes,
        unused,
        output,
        tuple(groups),
        kept,
        inputs,
        logits,
        flat.constants,
    )


def _unique(name: str, separator: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}{separator}{number}"
    taken.add(free)
    return free


def _rule_of(group: Group, name: str, rules: Mapping[str, Rule]) -> Rule | None:
    return rules.get(name, rules.get(group.kind)) if group.is_node else None


def _by_rule(
    rule: Rule, compute: Callable[..., Any], group: Group, arguments: Sequence[Any]
) -> Sequence[jax.Array]:
    """Applies a rule to a node of one output; arguments that are no activations stay inside."""
    moving = [number for number, var in enumerate(group.inputs) if var in group.activations]

    def of_activations(*activations: jax.Array) -> jax.Array:
        whole = list(arguments)
        for number, array in zip(moving, activations, strict=True):
            whole[number] = array
        (output,) = compute(*whole)
        return output

    return [rule(of_activations, *(arguments[number] for number in moving))]

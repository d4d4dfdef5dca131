"""The traced program of a network as one flat list of equations, each with its module."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from flax import linen as nn
from jax.extend.core import (
    ClosedJaxpr,
    DebugInfo,
    Jaxpr,
    JaxprEqn,
    Literal,
    Var,
    gensym,
    jaxpr_as_fun,
    jaxprs_in_params,
)

MARK = "@"  # around a module's path and the number of its call, in the names of operations
CALLS = ("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "remat")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an equation was traced.

    Attributes:
      path: of the innermost module.
      call: its number among all calls of modules.
      scope: names of the operations within that module, such as ("max_pool",).
    """

    path: str = ""
    call: int = 0
    scope: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Flat:
    """A program without inner programs, but for those of convolutions, activations and loops.

    Attributes:
      equations: in the order of computation, each with its place.
      inputs: of the program.
      outputs: of the program; variables or literals.
      constants: values of variables that no equation computes.
    """

    equations: Sequence[tuple[JaxprEqn, Place]]
    inputs: Sequence[Var]
    outputs: Sequence[Any]
    constants: Mapping[Var, Any]

    def needed_for(self, outputs: Sequence[Any]) -> "Flat":
        """Returns the part of the program that computes some values of it."""
        needed, kept = {var for var in outputs if isinstance(var, Var)}, []
        for eqn, place in reversed(self.equations):
            if needed.intersection(eqn.outvars):
                needed.update(var for var in eqn.invars if isinstance(var, Var))
                kept.append((eqn, place))
        return dataclasses.replace(self, equations=kept[::-1], outputs=outputs)

    @property
    def used(self) -> list[Var]:
        """Inputs and constants that equations or outputs use."""
        eqns = [eqn for eqn, _ in self.equations]
        made = {var for eqn in eqns for var in eqn.outvars}
        used = (*(var for eqn in eqns for var in eqn.invars), *self.outputs)
        return [*dict.fromkeys(one for one in used if isinstance(one, Var) and one not in made)]

    def evaluate(self, values: Mapping[Var, Any]) -> list[Any]:
        """Computes the outputs from the values of the inputs in `used`."""
        known, used = {**self.constants, **values}, self.used
        jaxpr = program(used, self.outputs, [eqn for eqn, _ in self.equations])
        compute: Any = jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))
        return compute(*(known[var] for var in used))


def program(inputs: Sequence[Var], outputs: Sequence[Any], equations: Sequence[JaxprEqn]) -> Jaxpr:
    """Returns equations as a program."""
    effects: Any = set().union(*(eqn.effects for eqn in equations))
    return Jaxpr((), inputs, outputs, equations, effects, DebugInfo("layer", "layer", None, None))


def marking(modules: dict[str, nn.Module]) -> Callable[..., Any]:
    """Returns an interceptor that writes the module of each operation into the traced program.

    Flax's own names would not do: they follow the calls, so a method or a call into a grandchild
    changes them.

    Args:
      modules: gets the called modules by their paths.
    """
    calls = [0]

    def mark(method: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        path = "/".join(context.module.path)
        modules.setdefault(path, context.module)
        if context.method_name == "__call__":
            calls[0] += 1
        with jax.named_scope(f"{MARK}{path}#{calls[0]}{MARK}"):
            return method(*args, **kwargs)

    return mark


def flatten(closed: ClosedJaxpr) -> Flat:
    """Returns a program with its inner programs written out."""
    new_var = gensym()
    values: dict[Var, Any] = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    equations: list[tuple[JaxprEqn, Place]] = []

    def write_out(jaxpr: Jaxpr, known: dict[Var, Any], outer: str) -> None:
        def atom(one: Any) -> Any:
            return one if isinstance(one, Literal) else known[one]

        for eqn in jaxpr.eqns:
            stack = f"{outer}/{eqn.source_info.name_stack}"
            inputs = [atom(one) for one in eqn.invars]
            inner = _written_out(eqn)
            if inner is not None:
                own: dict[Var, Any] = dict(zip(inner.jaxpr.invars, inputs, strict=True))
                for var, value in zip(inner.jaxpr.constvars, inner.consts, strict=True):
                    own[var] = new_var(var.aval)
                    values[own[var]] = value
                write_out(inner.jaxpr, own, stack)
                outputs = [
                    one if isinstance(one, Literal) else own[one] for one in inner.jaxpr.outvars
                ]
                known.update(zip(eqn.outvars, outputs, strict=True))
                continue
            outvars = [new_var(var.aval) for var in eqn.outvars]
            known.update(zip(eqn.outvars, outvars, strict=True))
            equations.append((eqn.replace(invars=inputs, outvars=outvars), _place(stack)))

    top = closed.jaxpr
    known: dict[Var, Any] = {var: var for var in (*top.invars, *top.constvars)}
    write_out(top, known, "")
    outputs = [one if isinstance(one, Literal) else known[one] for one in top.outvars]
    return Flat(equations, list(top.invars), outputs, values)


def _written_out(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """Returns the program inside an equation that is written out; None if it stays whole.

    Whole stay convolutions of `jaxcnn.ops`, custom rules of gradients, and small functions of
    JAX such as `relu` or `clip`, which their name describes best.
    """
    if eqn.primitive.name not in CALLS:
        return None
    inner: Any = eqn.params.get("jaxpr") or eqn.params.get("call_jaxpr")
    closed = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
    if eqn.params.get("name") == "conv_general_dilated":
        return None
    small = eqn.primitive.name in ("jit", "pjit") and not any(map(_is_layer, inside(closed.jaxpr)))
    return None if small else closed


def _is_layer(eqn: JaxprEqn) -> bool:
    name = eqn.primitive.name
    return (
        name in ("dot_general", "conv_general_dilated")
        or name.startswith(("reduce_window", "custom_vjp"))
        or MARK in str(eqn.source_info.name_stack)
    )


def shape_of(array: Any) -> tuple[int, ...]:
    """Returns the shape of a value of a program."""
    return array.aval.shape


def inside(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Yields all equations of a program, those of inner programs too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from inside(inner)


def _place(stack: str) -> Place:
    marks = list(re.finditer(f"{MARK}([^{MARK}]*)#(\\d+){MARK}", stack))
    if not marks:
        return Place(scope=tuple(filter(None, stack.split("/"))))
    last = marks[-1]
    scope = tuple(filter(None, stack[last.end() :].split("/")))
    return Place(last[1], int(last[2]), scope)

"""Receptive fields: the pixels that a unit of a layer depends on.

Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
For a chain of layers they follow from the kernels k, strides s and paddings p (§2): the stride of a
layer's units on the image is S_l = S_{l-1}·s_l, the size is R_l = R_{l-1} + (k_l - 1)·S_{l-1}, and
the first pixel is start_l = start_{l-1} - p_l·S_{l-1}. Where branches meet, a unit sees the pixels
of all of them.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

from flax import linen as nn
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from jaxcnn.analysis import macs
from jaxcnn.analysis.tracing.equations import shape_of
from jaxcnn.analysis.tracing.graph import Graph, trace_shapes

NONE = -1  # axis of a value that is the same for all units


class ReceptiveField(NamedTuple):
    """The pixels that the units of a layer see, without regard to the edges of the image.

    Attributes:
      size: (height, width), pixels.
      stride: (vertical, horizontal) distance of the fields of neighbouring units, pixels; 0 if each
        unit of the layer sees the same part, as behind a global pool.
      start: (y, x) of the first pixel of the first unit's field; negative in the padding.
    """

    size: tuple[int, int]
    stride: tuple[float, float]
    start: tuple[int, int]

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Returns the pixels that a unit sees: (top, left, bottom, right), without the last two.

        They can lie outside of the image.
        """
        top, left = (
            math.floor(start + number * stride)
            for start, number, stride in zip(self.start, (row, column), self.stride, strict=True)
        )
        return top, left, top + self.size[0], left + self.size[1]


class Span(NamedTuple):
    """What the units along one axis see: unit i the pixels from low + i·stride to high + i·stride.

    Attributes:
      axis: of the array; NONE if all units see the same.
      stride: pixels.
      low: first pixel of unit 0.
      high: its last pixel.
    """

    axis: int
    stride: Fraction
    low: Fraction
    high: Fraction


Spans = tuple[Span, Span]  # of rows and columns


def receptive_field(model: nn.Module, input_shape: Sequence[int]) -> dict[str, ReceptiveField]:
    """Returns the theoretical receptive field of every layer; nothing is computed.

    A field is the smallest rectangle around all pixels that the network's connections can reach. A
    layer that needs the whole map, such as a dense one, sees all that the map's units see.

    Args:
      model: takes an array (1, *input_shape).
      input_shape: (H, W, C) of an image.

    Returns:
      A dictionary from the names of `Graph.nodes`, in the order of computation.
    """
    return of_graph(trace_shapes(model, input_shape))


def of_graph(graph: Graph) -> dict[str, ReceptiveField]:
    """Returns the receptive field of every layer of a traced network; see `receptive_field`."""
    spans = _of_pixels(graph.inputs[1])
    for group in graph.groups:
        if group.is_node:
            _follow(group.program, spans)
    return {graph.names[var]: _field(spans[var]) for var in graph.names if var in spans}


def of_program(jaxpr: Jaxpr, images: Var) -> dict[Var, ReceptiveField]:
    """Returns the receptive field of every value of a program that depends on the images."""
    spans = _of_pixels(images)
    _follow(jaxpr, spans)
    return {var: _field(one) for var, one in spans.items()}


def _of_pixels(images: Var) -> dict[Var, Spans]:
    none, one = Fraction(0), Fraction(1)
    return {images: (Span(1, one, none, none), Span(2, one, none, none))}


def _field(spans: Spans) -> ReceptiveField:
    (top, left), (bottom, right) = (
        [math.floor(one.low) for one in spans],
        [math.ceil(one.high) for one in spans],
    )
    rows, columns = spans
    strides = _number(rows.stride), _number(columns.stride)
    return ReceptiveField((bottom - top + 1, right - left + 1), strides, (top, left))


def _number(value: Fraction) -> float:
    return int(value) if value.denominator == 1 else float(value)


def _follow(jaxpr: Jaxpr, spans: dict[Var, Spans]) -> None:
    """Adds the spans of all values of a program that depend on the images."""
    for eqn in jaxpr.eqns:
        known = [spans.get(one) if not isinstance(one, Literal) else None for one in eqn.invars]
        if any(known):
            found = zip(eqn.outvars, _outputs(eqn, known), strict=True)
            spans.update((var, one) for var, one in found if one is not None)


def _outputs(eqn: JaxprEqn, inputs: Sequence[Spans | None]) -> Sequence[Spans | None]:
    """Returns the spans of what an equation computes."""
    convolution = macs.convolution_of(eqn)
    inner = list(jaxprs_in_params(eqn.params))
    if convolution is None and inner and not eqn.primitive.name.startswith(("scatter", "reduce")):
        if eqn.primitive.name == "scan":
            return _scanned(eqn, inner[0], inputs)
        if eqn.primitive.name == "while":  # a barrier, which computes nothing
            return list(inputs[-len(eqn.outvars) :])
        branches = [_called(one, inputs[-len(one.invars) :]) for one in inner]
        return list(map(_union, zip(*branches, strict=True), map(shape_of, eqn.outvars)))
    if eqn.primitive.name == "concatenate":
        return [_joined(eqn, inputs)]
    rule: Any = _along_convolution if convolution is not None else RULES.get(eqn.primitive.name)
    along = partial(_along, rule, convolution or eqn)
    parts: list[Spans | None] = [
        (along(number, one[0]), along(number, one[1]))
        for number, one in enumerate(inputs)
        if one is not None
    ]
    return [_union(parts, shape_of(out)) for out in eqn.outvars]


def _along(rule: Any, eqn: JaxprEqn, number: int, span: Span) -> Span:
    """Applies a rule along one axis of an operand; without a rule equal shapes are elementwise."""
    if span.axis == NONE:
        return span
    shape, out = shape_of(eqn.invars[number]), shape_of(eqn.outvars[0])
    whole = _whole(span, shape)
    if rule is not None:
        return rule(eqn, number, span) or whole
    if eqn.primitive.name in MIXING or eqn.primitive.name.startswith("cum"):
        return whole
    same = len(out) == len(shape) and out[span.axis] == shape[span.axis]
    return span if same else whole


def _called(jaxpr: Jaxpr, inputs: Sequence[Spans | None]) -> list[Spans | None]:
    spans = {var: one for var, one in zip(jaxpr.invars, inputs, strict=True) if one}
    _follow(jaxpr, spans)
    return [None if isinstance(var, Literal) else spans.get(var) for var in jaxpr.outvars]


def _scanned(eqn: JaxprEqn, jaxpr: Jaxpr, inputs: Sequence[Spans | None]) -> list[Spans | None]:
    """Runs through a loop of known length, which reads and stacks arrays along their first axis."""
    consts, carries = eqn.params["num_consts"], eqn.params["num_carry"]
    shapes = list(map(shape_of, eqn.invars))
    fixed, carry = list(inputs[:consts]), list(inputs[consts : consts + carries])
    read = [
        one and (_moved(one[0], -1, shape), _moved(one[1], -1, shape))
        for one, shape in zip(inputs[consts + carries :], shapes[consts + carries :], strict=True)
    ]
    stacked: list[Spans | None] = []
    for _ in range(eqn.params["length"]):
        outputs = _called(jaxpr, [*fixed, *carry, *read])
        carry, stacked = outputs[:carries], outputs[carries:]
    return [*carry, *(one and (_moved(one[0], 1, ()), _moved(one[1], 1, ())) for one in stacked)]


def _moved(span: Span, step: int, shape: Sequence[int]) -> Span:
    if span.axis == NONE:
        return span
    return _whole(span, shape) if span.axis + step < 0 else span._replace(axis=span.axis + step)


def _joined(eqn: JaxprEqn, inputs: Sequence[Spans | None]) -> Spans | None:
    """Returns the spans of a concatenation, along an axis of space that of its evenly set parts."""
    axis = eqn.params["dimension"]
    parts: list[Spans | None] = [
        one and (_unless(axis, one[0], array), _unless(axis, one[1], array))
        for one, array in zip(inputs, eqn.invars, strict=True)
    ]
    known = [one for one in parts if one]
    joined = _union(parts, shape_of(eqn.outvars[0]))
    single = len(known) == len(parts) and all(shape_of(one)[axis] == 1 for one in eqn.invars)
    if joined is None or not single:
        return joined
    rows, columns = (
        _evenly_set([one[number] for one in known], axis) or joined[number] for number in (0, 1)
    )
    return rows, columns


def _unless(axis: int, span: Span, array: Any) -> Span:
    return _whole(span, shape_of(array)) if span.axis == axis else span


def _evenly_set(spans: Sequence[Span], axis: int) -> Span | None:
    """Returns the span of units that see parts of one size at equal distances."""
    if any(one.axis != NONE for one in spans) or len({*spans}) == 1:
        return None
    step = spans[1].low - spans[0].low
    even = [
        Span(NONE, Fraction(0), spans[0].low + i * step, spans[0].high + i * step)
        for i in range(len(spans))
    ]
    return Span(axis, step, spans[0].low, spans[0].high) if even == list(spans) else None


def _whole(span: Span, shape: Sequence[int]) -> Span:
    """Returns the span of something that needs all units of an axis."""
    if span.axis == NONE:
        return span
    last = (shape[span.axis] - 1) * span.stride
    return Span(NONE, Fraction(0), span.low, span.high + last)


def _union(parts: Sequence[Spans | None], shape: Sequence[int]) -> Spans | None:
    """Returns what units see through several operands, all of which have the same form."""
    known = [one for one in parts if one]
    if not known:
        return None
    rows, columns = zip(*known, strict=True)
    return _union_along(rows, shape), _union_along(columns, shape)


def _union_along(spans: Sequence[Span], shape: Sequence[int]) -> Span:
    if len({(one.axis, one.stride) for one in spans}) > 1:
        spans = [_whole(one, shape) for one in spans]
    low, high = min(one.low for one in spans), max(one.high for one in spans)
    return spans[0]._replace(low=low, high=high)


# Rules: equation, number of the operand, span of one of its axes → span; None is the whole axis.
def _along_convolution(eqn: JaxprEqn, number: int, span: Span) -> Span | None:
    numbers, params = eqn.params["dimension_numbers"], eqn.params
    if number != 0 or span.axis not in numbers.lhs_spec[2:]:
        return None
    place = numbers.lhs_spec[2:].index(span.axis)
    size = shape_of(eqn.invars[1])[numbers.rhs_spec[2 + place]]
    window = _Window(
        size,
        params["window_strides"][place],
        params["padding"][place][0],
        params["rhs_dilation"][place],
        params["lhs_dilation"][place],
    )
    return window.over(span)._replace(axis=numbers.out_spec[2 + place])


class _Window(NamedTuple):
    size: int
    stride: int
    before: int
    dilation: int
    spread: int  # distance of the inputs; more than 1 in a transposed convolution

    def over(self, span: Span) -> Span:
        step = span.stride / self.spread
        low = span.low - self.before * step
        high = span.high + ((self.size - 1) * self.dilation - self.before) * step
        return span._replace(stride=step * self.stride, low=low, high=high)


def _along_window(eqn: JaxprEqn, number: int, span: Span) -> Span:
    params, axis = eqn.params, span.axis
    window = _Window(
        params["window_dimensions"][axis],
        params["window_strides"][axis],
        params["padding"][axis][0],
        params.get("window_dilation", (1,) * (axis + 1))[axis],
        params.get("base_dilation", (1,) * (axis + 1))[axis],
    )
    return window.over(span)


def _along_reduction(eqn: JaxprEqn, number: int, span: Span) -> Span | None:
    axes = eqn.params["axes"]
    if span.axis in axes:
        return None
    return span._replace(axis=span.axis - sum(axis < span.axis for axis in axes))


def _along_squeeze(eqn: JaxprEqn, number: int, span: Span) -> Span | None:
    axes = eqn.params["dimensions"]
    if span.axis in axes:
        return None
    return span._replace(axis=span.axis - sum(axis < span.axis for axis in axes))


def _along_reshape(eqn: JaxprEqn, number: int, span: Span) -> Span | None:
    """Finds the axis of the same length with as many values before it."""
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    for axis, length in enumerate(after):
        if length == before[span.axis] and math.prod(after[:axis]) == math.prod(
            before[: span.axis]
        ):
            return span._replace(axis=axis)
    return None


def _along_broadcast(eqn: JaxprEqn, number: int, span: Span) -> Span | None:
    axis = eqn.params["broadcast_dimensions"][span.axis]
    same = shape_of(eqn.outvars[0])[axis] == shape_of(eqn.invars[0])[span.axis]
    return span._replace(axis=axis) if same else None


def _along_transpose(eqn: JaxprEqn, number: int, span: Span) -> Span:
    return span._replace(axis=eqn.params["permutation"].index(span.axis))


def _along_slice(eqn: JaxprEqn, number: int, span: Span) -> Span:
    start = eqn.params["start_indices"][span.axis]
    step = (eqn.params["strides"] or (1,) * (span.axis + 1))[span.axis]
    shift = start * span.stride
    return Span(span.axis, span.stride * step, span.low + shift, span.high + shift)


def _along_pad(eqn: JaxprEqn, number: int, span: Span) -> Span | None:
    if number:
        return None
    before, _, inside = eqn.params["padding_config"][span.axis]
    step = span.stride / (inside + 1)
    return Span(span.axis, step, span.low - before * step, span.high - before * step)


def _along_product(eqn: JaxprEqn, number: int, span: Span) -> Span | None:
    (contracted, batch) = eqn.params["dimension_numbers"]
    if span.axis in contracted[number]:
        return None
    if span.axis in batch[number]:
        return span._replace(axis=batch[number].index(span.axis))
    taken = {*contracted[number], *batch[number]}
    axis = len(batch[number]) + sum(one not in taken for one in range(span.axis))
    if number == 1:
        axis += len(shape_of(eqn.invars[0])) - len(contracted[0]) - len(batch[0])
    return span._replace(axis=axis)


MIXING = ("sort", "rev", "fft", "gather", "dynamic_slice", "top_k", "argsort")
RULES = {
    "reshape": _along_reshape,
    "broadcast_in_dim": _along_broadcast,
    "squeeze": _along_squeeze,
    "transpose": _along_transpose,
    "slice": _along_slice,
    "pad": _along_pad,
    "dot_general": _along_product,
    **dict.fromkeys(
        ("reduce_window", "reduce_window_max", "reduce_window_min", "reduce_window_sum"),
        _along_window,
    ),
    **dict.fromkeys(
        (
            "reduce_sum",
            "reduce_max",
            "reduce_min",
            "reduce_prod",
            "reduce_and",
            "reduce_or",
            "argmax",
        ),
        _along_reduction,
    ),
}

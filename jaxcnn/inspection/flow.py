"""What flows through networks, part by part: tables and figures for the command `jaxcnn.flow`."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.analysis import effective_field, ensemble, residual, signal, variance
from jaxcnn.analysis.tracing.graph import Graph, Node, trace
from jaxcnn.figures.charts import effective_field as field_charts
from jaxcnn.figures.charts import signal as charts
from jaxcnn.inspection.images import Images
from jaxcnn.inspection.layers import stage_layers
from jaxcnn.inspection.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIELDS = 4  # layers whose receptive fields are drawn


class Part(NamedTuple):
    """A table and a figure.

    Attributes:
      columns: names of the table's columns, without the first one, the network.
      rows: of the table, each beginning with the network.
      figure: of matplotlib.
      said: what the figure shows, in words.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    figure: "Figure"
    said: str


class Batch(NamedTuple):
    """Images and their classes.

    Attributes:
      images: (N, H, W, C), as the network takes them.
      labels: integers [N].
      known: whether all labels are true ones.
    """

    images: jax.Array
    labels: jax.Array
    known: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Flowing:
    """A network, and the images that flow through it.

    Attributes:
      name: of the network among those that are compared: an initialiser, a step.
      subject: the network.
      pixels: images of a data set; None takes noise, numbers from N(0, 1) as inputs.
      batch: images at once.
      seed: of noise, of labels that are not known, and of draws.
      samples: sub-networks of dropout.
    """

    name: str
    subject: Subject
    pixels: Images | None
    batch: int
    seed: int
    samples: int

    @property
    def model(self) -> Any:
        """The network."""
        return self.subject.network.model

    @property
    def key(self) -> jax.Array:
        """The root key of all that is drawn."""
        return jax.random.key(self.seed)

    @cached_property
    def first(self) -> Batch:
        """The first images; classes that are not known are drawn."""
        network = self.subject.network
        drawing, labelling = jax.random.split(self.key)
        if self.pixels is None:
            shape = (self.batch, *network.image_shape)
            images, truths = jax.random.normal(drawing, shape), [""] * self.batch
        else:
            numbers, pixels = self.pixels.take(range(min(self.batch, self.pixels.count)))
            images = network.normalize(pixels)
            truths = [self.pixels.truth(int(number)) for number in numbers]
        classes = network.class_names
        drawn = np.asarray(jax.random.randint(labelling, (len(truths),), 0, len(classes)))
        known = [classes.index(truth) if truth in classes else -1 for truth in truths]
        labels = np.where(np.array(known) < 0, drawn, known)
        return Batch(images, jnp.array(labels), min(known) >= 0)

    @cached_property
    def variables(self) -> Any:
        """Of the network; of a fresh one BatchNorm has the statistics of the first images."""
        variables = jax.tree.map(jnp.asarray, self.subject.network.variables)
        if not self.subject.random:
            return variables
        return signal.with_batch_statistics(self.model, variables, self.first.images)

    @cached_property
    def graph(self) -> Graph:
        """The network for the first images."""
        return trace(self.model, self.variables, self.first.images)

    def inputs(self) -> Iterator[tuple[int, jax.Array]]:
        """Yields all images in batches, after their number; the rest of a batch repeats one."""
        if self.pixels is None:
            yield self.batch, self.first.images
            return
        for numbers, pixels in self.pixels.batches(min(self.batch, self.pixels.count)):
            yield len(numbers), self.subject.network.normalize(pixels)


def size_of_signals(networks: Sequence[Flowing]) -> Part:
    """Returns the size of activations and gradients by layer, beside what theory predicts."""
    rows, series = [], {}
    for one in networks:
        images, labels, _ = one.first
        found = variance.predictions(
            one.model, one.variables, images, labels, batch_statistics=one.subject.random
        )
        scales = variance.scales(one.model, one.variables, images)
        series[one.name] = {name: _of_layer(one.graph[name], found) for name in scales}
        for node in one.graph.nodes:
            if node.name not in found:
                continue
            prediction = found[node.name]
            scale = scales.get(node.name)
            weights = ("", "", "") if scale is None else scale[:3]
            numbers = _floats((*prediction.measured, *prediction[:2]))
            rows.append((one.name, node.name, node.kind, *numbers, *weights))
    columns = (
        *("layer", "kind", "mean", "std", "gradient_mean", "gradient_std"),
        *("predicted_rms", "predicted_gradient_rms", "fan_in", "fan_out", "weight_variance"),
    )
    title = _title(networks[-1], with_images=True)
    if len(networks) > 1:  # the legend has the names
        title = networks[-1].subject.title.removesuffix(f", {networks[-1].name}")
    figure = charts.draw_flow(series, title)
    return Part(columns, rows, figure, f"{len(next(iter(series.values())))} weighted layers")


def _of_layer(node: Node, found: Mapping[str, variance.Prediction]) -> variance.Prediction:
    """Returns what is predicted of a layer's output, and of the gradient with respect to its input.

    These are what the layer's weights make of its input and of the gradient behind it. In front of
    the first layer no gradient is taken: nan.
    """
    of_output, of_input = found[node.name], found.get(node.inputs[0])
    if of_input is None:
        nan = jnp.array(jnp.nan)
        measured = of_output.measured._replace(gradient_mean=nan, gradient_std=nan)
        return of_output._replace(gradient_rms=nan, measured=measured)
    measured = of_output.measured._replace(
        gradient_mean=of_input.measured.gradient_mean, gradient_std=of_input.measured.gradient_std
    )
    return of_output._replace(gradient_rms=of_input.gradient_rms, measured=measured)


def dead_units(networks: Sequence[Flowing]) -> Part:
    """Returns the share of units of each ReLU that no image makes positive."""
    rows = []
    for one in networks:
        count, active = 0, dict[str, jax.Array]()
        for number, images in one.inputs():
            found = signal.active_units(one.model, one.variables, images)
            active = {name: active[name] | found[name] for name in found} if active else found
            count += number
        shares = signal.dead_shares([active])
        rows += [(one.name, layer, share.units, share.channels) for layer, share in shares.items()]
    figure = charts.draw_dead_units(shares, count, _title(networks[-1]))
    return Part(("layer", "units", "channels"), rows, figure, f"{count:,} images")


def residual_branches(networks: Sequence[Flowing]) -> Part:
    """Returns the size of F(x) and of x in each residual unit, and how exact the sum form is."""
    rows = []
    for one in networks:
        found = residual.branch_sizes(one.model, one.variables, one.first.images)
        rows += [(one.name, unit, *_floats(sizes)) for unit, sizes in found.items()]
    last = networks[-1]
    forms = residual.sum_forms(last.model, last.variables, last.first.images)
    gap = max(float(form.gap / form.size) for form in forms.values())
    figure = charts.draw_branches(found, _title(last, with_images=True))
    said = f"{len(found)} units; x_L and x_l + ΣF(x_i) differ by {gap:.2g} of the largest value"
    return Part(("unit", "branch", "shortcut", "sum"), rows, figure, said)


def auxiliary_heads(networks: Sequence[Flowing]) -> Part:
    """Returns the gradient of each head with respect to each kernel."""
    rows = []
    for one in networks:
        found = signal.head_gradients(one.model, one.variables, *one.first[:2])
        for head, sizes in found.items():
            rows += [(one.name, head, kernel, float(size)) for kernel, size in sizes.items()]
    title = f"{_title(networks[-1])}: gradients of the kernels"
    figure = charts.draw_by_layer(found, title, "root mean square")
    return Part(("head", "kernel", "gradient_rms"), rows, figure, f"{len(found)} heads")


def feature_reuse(networks: Sequence[Flowing]) -> Part:
    """Returns how strongly each layer of a DenseNet weighs each earlier one."""
    rows = []
    for one in networks:
        network = one.subject.network
        shape = jax.ShapeDtypeStruct((1, *network.image_shape), jnp.float32)
        found = residual.feature_reuse(one.model, network.variables, shape)
        for layer, row in found.items():
            rows += [(one.name, layer, source, float(value)) for source, value in row.items()]
    figure = charts.draw_reuse(found, _title(networks[-1]))
    return Part(("layer", "source", "mean_weight"), rows, figure, f"{len(found)} layers")


def receptive_fields(networks: Sequence[Flowing]) -> Part:
    """Returns the effective receptive fields of the last layers of some stages."""
    rows = []
    for one in networks:
        drawn = [
            effective_field.effective_receptive_field(
                one.model, one.variables, one.first.images, layer, key=one.key
            )
            for layer in stage_layers(one.graph, FIELDS) or ("",)
        ]
        for field in drawn:
            top, left, bottom, right = field.box
            sizes = (bottom - top, right - left, field.size, field.above, field.ratio)
            rows.append((one.name, field.layer, *sizes))
    columns = ("layer", "height", "width", "side_of_95_percent", "root_of_area", "ratio")
    figure = field_charts.draw_fields(drawn, _title(networks[-1], with_images=True))
    return Part(columns, rows, figure, f"{len(drawn)} layers")


def dropout_ensemble(networks: Sequence[Flowing]) -> Part:
    """Returns how the mean over sub-networks comes near the scaled network."""
    rows = []
    for one in networks:
        images, labels, known = one.first
        drawn = ensemble.sampled_networks(one.model, one.variables, images, one.key, one.samples)
        scaled = ensemble.scaled_network(one.model, one.variables, images)
        members = [2**power for power in range(one.samples.bit_length())]
        found = ensemble.convergence(drawn, scaled, members, labels if known else None)
        points = zip(*found[:4], strict=True)
        rows += [(one.name, *_floats(point), found.scaled_error) for point in points]
    columns = ("members", "arithmetic", "geometric", "error", "scaled_error")
    figure = charts.draw_ensemble(found, _title(networks[-1], with_images=True))
    return Part(columns, rows, figure, f"{members[-1]} sub-networks")


PARTS: Mapping[str, Callable[[Sequence[Flowing]], Part]] = {
    "signal": size_of_signals,
    "dead_units": dead_units,
    "residual": residual_branches,
    "heads": auxiliary_heads,
    "reuse": feature_reuse,
    "fields": receptive_fields,
    "dropout": dropout_ensemble,
}


def _floats(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values]


def _title(one: Flowing, *, with_images: bool = False) -> str:
    title = one.subject.title
    if one.name not in title:
        title = f"{title}, {one.name}"
    if not with_images:
        return title
    count = len(one.first.images)
    return f"{title}; {count} image{'s' * (count != 1)}{' of noise' * (one.pixels is None)}"

"""Pictures of a network's features, by name: what the command `jaxcnn.explain` draws of them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.analysis.neighbours import nearest_rows
from jaxcnn.analysis.tracing.graph import Graph, trace
from jaxcnn.attribution import cut_patches, deconvnet_unit, occlusion, unit_boxes
from jaxcnn.attribution.strongest import COUNT, Strongest, add_images
from jaxcnn.errors import UserError
from jaxcnn.figures import class_maps, filters, likeliest, maps, occluded, patches
from jaxcnn.inspection import layers
from jaxcnn.inspection.images import Images
from jaxcnn.inspection.subject import Subject, of_run
from jaxcnn.run.checkpoint import checkpoint_files
from jaxcnn.run.precision import set_precision

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPS = 9  # of a layer, in the figure of patches
GROWING = 6  # maps of the evolution
LAYERS = 6  # whose patches are drawn where none is named
NEIGHBOURS = 5
COVERED = 1 / 4  # side of the square that covers a part, as a share of the image's
CLASSES = 5  # bars of an image


class Looking(NamedTuple):
    """What is looked at.

    Attributes:
      subject: the network.
      images: all images; None if none is named.
      chosen: numbers of those that are explained.
      layer: name; "" is the picture's own choice.
      maps: numbers of the maps to draw; none: the strongest.
      batch: images at once.
    """

    subject: Subject
    images: Images | None
    chosen: Sequence[int]
    layer: str
    maps: Sequence[int]
    batch: int

    def graph(self) -> Graph:
        """Returns the graph of the network for one batch."""
        return graph_of(self.subject, self.batch)

    def needed(self) -> Images:
        """Returns the images.

        Raises:
          UserError: if there are none.
        """
        if self.images is None:
            raise UserError("it needs images: name files or folders, or --split of the run's data")
        return self.images


class Picture(NamedTuple):
    """A figure: the name of its file without ending, and a line about it."""

    name: str
    figure: "Figure"
    line: str


def graph_of(subject: Subject, batch: int) -> Graph:
    """Returns the graph of a network for batches of so many images."""
    network = subject.network
    images = jax.ShapeDtypeStruct((batch, *network.image_shape), jnp.float32)
    return trace(network.model, network.variables, images)


def draw_filters(look: Looking) -> Iterator[Picture]:
    """Yields the filters of the first convolution."""
    node = layers.first_convolution(look.graph())
    if node is None:
        raise UserError(f"{look.subject.title} has no convolution")
    kernel = look.subject.network.variables["params"]
    for part in next(name for name in node.parameters if name.endswith("kernel")).split("/"):
        kernel = kernel[part]
    line = f"{kernel.shape[-1]} filters of {node.name}"
    yield Picture("filters", filters.draw_filters(np.asarray(kernel), node.name), line)


def draw_maps(look: Looking) -> Iterator[Picture]:
    """Yields the maps of each chosen image at every stage."""
    images, graph = look.needed(), graph_of(look.subject, 1)
    names = (look.layer,) if look.layer else layers.stage_layers(graph)
    compute = _keeping(look.subject, graph, names)
    for number, pixels in zip(*images.take(look.chosen), strict=True):
        outputs = compute(pixels[None])
        kept = {name: np.asarray(outputs[name][0]) for name in names}
        title = f"{Path(images.name(number)).name}, {look.subject.title}"
        figure = maps.draw_maps(pixels, kept, title)
        yield Picture(f"maps-{number}", figure, f"{len(kept)} layers of {images.name(number)}")


def draw_patches(look: Looking) -> Iterator[Picture]:
    """Yields the strongest patches of maps and their projections, one figure for each layer."""
    images, graph = look.needed(), look.graph()
    names = (look.layer,) if look.layer else layers.stage_layers(graph, LAYERS)
    found = strongest(look.subject, images, graph, names, look.batch)
    for name in names:
        best, numbers = found[name]
        chosen = _chosen_maps(look, best, MAPS, name)
        drawn = _patches_of(look, name, best, numbers, chosen)
        title = f"{name}: strongest patches of {best.num_images:,} images, and their projections"
        dead = int(best.dead.sum())
        line = f"{name}: {dead} of {len(best.dead)} maps are dead on {best.num_images:,} images"
        yield Picture(f"patches-{name.replace('/', '-')}", patches.draw_patches(drawn, title), line)


def draw_evolution(look: Looking) -> Iterator[Picture]:
    """Yields the strongest projections of some maps at each checkpoint of the run."""
    images, workdir = look.needed(), look.subject.workdir
    steps = checkpoint_files.steps(workdir / "checkpoints") if workdir else []
    if workdir is None or len(steps) < 2:
        raise UserError(
            f"evolution needs several checkpoints of one run and there are {len(steps)}: train with"
            " --config.checkpoint.keep_at=\"('1epochs','5epochs')\""
        )
    graph = look.graph()
    name = look.layer or layers.stage_layers(graph)[-1]
    last, _ = strongest(look.subject, images, graph, (name,), look.batch)[name]
    chosen = _chosen_maps(look, last, GROWING, name)
    projections: dict[int, list[np.ndarray]] = {channel: [] for channel in chosen}
    values: dict[int, list[float]] = {channel: [] for channel in chosen}
    for step in steps:
        then = look._replace(subject=of_run(workdir, str(step)))
        best, numbers = strongest(then.subject, images, graph, (name,), look.batch, 1)[name]
        for one in _patches_of(then, name, best, numbers, chosen):
            projections[one.channel].append(one.projections[0])
            values[one.channel].append(float(one.values[0]))
    title = f"{name}: strongest projection among {last.num_images:,} images, by step"
    figure = patches.draw_evolution(steps, projections, values, title)
    yield Picture("evolution", figure, f"{len(chosen)} maps of {name} at {len(steps)} checkpoints")


def draw_likeliest(look: Looking) -> Iterator[Picture]:
    """Yields the likeliest classes of the chosen images, and their neighbours among all."""
    images, network = look.needed(), look.subject.network
    numbers, pixels = images.take(look.chosen)
    shares = network.probabilities(pixels)
    hidden = _hidden(look.subject)
    rows, places = [], []
    for taken, batch in images.batches(look.batch):
        rows.append(np.asarray(hidden(batch))[: len(taken)])
        places.append(taken)
    known, order = np.concatenate(rows), np.concatenate(places)
    answered = []
    for number, image, share in zip(numbers, pixels, shares, strict=True):
        (own,) = np.nonzero(order == number)[0]
        others = np.delete(np.arange(len(order)), own)
        near, distances = nearest_rows(known[own], known[others], NEIGHBOURS)
        found = order[others[near]]
        pictures = images.take(found)[1] if len(found) else np.zeros((0, *image.shape), np.uint8)
        best = np.argsort(-share, kind="stable")[:CLASSES]
        classes = [network.class_names[label] for label in best]
        truth = images.truth(number)
        answered.append(likeliest.Answered(image, classes, share[best], truth, pictures, distances))
    title = f"{look.subject.title}: likeliest classes, and the nearest of {len(order):,} images"
    yield Picture("likeliest", likeliest.draw_likeliest(answered, title), f"{len(numbers)} images")


def draw_class_maps(look: Looking) -> Iterator[Picture]:
    """Yields the maps of the classes of a network that averages them into its logits."""
    images, graph = look.needed(), graph_of(look.subject, 1)
    name = layers.class_maps_layer(graph)
    if not name:
        raise UserError(
            f"{look.subject.title} has no maps of classes: its logits are no means of maps;"
            " --method=cam weighs its last maps by class"
        )
    numbers, pixels = images.take(look.chosen)
    compute = _keeping(look.subject, graph, (name,))
    values = np.concatenate([np.asarray(compute(one[None])[name]) for one in pixels])
    truths = [images.truth(number) for number in numbers]
    names = look.subject.network.class_names
    title = f"{look.subject.title}: maps of the likeliest classes, and their means"
    figure = class_maps.draw_class_maps(pixels, values, names, truths, title)
    yield Picture("class_maps", figure, f"{len(numbers)} images, {name}")


def draw_occlusion(look: Looking) -> Iterator[Picture]:
    """Yields the network's answers when a grey square covers a part of the chosen images."""
    images, network = look.needed(), look.subject.network
    numbers, pixels = images.take(look.chosen)
    side, drawn = max(1, round(COVERED * min(network.image_shape[:2]))), []
    for image in pixels:
        with set_precision(look.subject.config):
            inputs = network.normalize(image[None])
            found = jax.device_get(
                occlusion(
                    network.model,
                    look.subject.variables,
                    inputs,
                    size=side,
                    stride=max(1, side // 4),
                    layer=look.layer or None,
                )
            )
        name = network.class_names[int(found.classes[0])]
        maps_of = (found.feature[0], found.probability[0], found.likeliest[0])
        drawn.append(occluded.Occluded(image, *maps_of, name))
    title = f"answers with a grey square of {side}x{side} pixels, by its place; {found.layer}"
    figure = occluded.draw_occluded(drawn, network.class_names, title)
    yield Picture("occluded", figure, f"{len(numbers)} images, maps of {found.layer}")


PICTURES: dict[str, Callable[[Looking], Iterator[Picture]]] = {
    "filters": draw_filters,
    "maps": draw_maps,
    "patches": draw_patches,
    "evolution": draw_evolution,
    "likeliest": draw_likeliest,
    "class_maps": draw_class_maps,
    "occluded": draw_occlusion,
}


def strongest(
    subject: Subject,
    images: Images,
    graph: Graph,
    names: Sequence[str],
    batch: int,
    count: int = COUNT,
) -> dict[str, tuple[Strongest, np.ndarray]]:
    """Returns the strongest units of layers over all images, and the images that were read.

    Args:
      subject: the network.
      images: all of them are looked at, once.
      graph: for one batch.
      names: of layers.
      batch: images at once.
      count: of images, for each map.

    Returns:
      for each layer `Strongest`, whose images are places in the int array [n] of their numbers.
    """
    compute = _keeping(subject, graph, names)
    best: dict[str, Strongest | None] = dict.fromkeys(names)
    read = []
    for numbers, pixels in images.batches(batch):
        kept = compute(pixels)
        for name in names:
            best[name] = add_images(best[name], np.asarray(kept[name])[: len(numbers)], count)
        read.append(numbers)
    found = {name: one for name, one in best.items() if one is not None}
    if not found:
        images.take(range(images.count))  # which says why
    return {name: (one, np.concatenate(read)) for name, one in found.items()}


def _keeping(subject: Subject, graph: Graph, names: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """Returns pixels of one batch → outputs of layers; compiled once.

    Raises:
      UserError: if there is no layer of a name.
    """
    for name in names:
        _ = graph[name]

    @jax.jit
    def kept(variables: Any, inputs: jax.Array) -> dict[str, jax.Array]:
        return graph.run(variables, inputs, keep=names)[1]

    def compute(pixels: np.ndarray) -> dict[str, Any]:
        with set_precision(subject.config):
            return kept(subject.variables, subject.network.normalize(pixels))

    return compute


def _hidden(subject: Subject) -> Callable[[np.ndarray], jax.Array]:
    """Returns pixels → the input of the classifier, [b, D]; compiled once."""
    model = subject.network.model.clone(num_classes=0)

    @jax.jit
    def hidden(variables: Any, inputs: jax.Array) -> Any:
        return model.apply(variables, inputs, train=False)

    def compute(pixels: np.ndarray) -> jax.Array:
        with set_precision(subject.config):
            inputs = subject.network.normalize(pixels)
            return hidden(subject.variables, inputs).reshape(len(pixels), -1)

    return compute


def _chosen_maps(look: Looking, best: Strongest, count: int, name: str) -> list[int]:
    most = len(best.values)
    for channel in look.maps:
        if not 0 <= channel < most:
            raise UserError(f"{name} has no map {channel}: 0 to {most - 1}")
    chosen = list(look.maps) or best.liveliest(count).tolist()
    if not chosen:
        raise UserError(f"all {most} maps of {name} are dead on these images")
    return chosen


def _patches_of(
    look: Looking, name: str, best: Strongest, numbers: np.ndarray, channels: Sequence[int]
) -> list[patches.MapPatches]:
    """Returns the strongest patches of maps and their projections, cut to what the units see."""
    network, (maps_there, count) = look.subject.network, (len(channels), best.images.shape[1])
    wanted = np.repeat(channels, count)
    of_images = numbers[best.images[channels].ravel()]
    places = best.places[channels].reshape(-1, 2)
    pixels = look.needed().take(of_images)[1]
    projections = np.concatenate(
        [
            _projections(look, name, pixels[part], wanted[part], places[part])
            for part in (slice(at, at + look.batch) for at in range(0, len(wanted), look.batch))
        ]
    )
    boxes = unit_boxes(network.model, network.image_shape, name, places)
    grey = patches.NOTHING  # of what lies outside the images
    parts = cut_patches(pixels.astype(np.int16) - grey, boxes) + grey
    shown = parts.astype(np.uint8).reshape(maps_there, count, *parts.shape[1:])
    cut = cut_patches(projections, boxes).reshape(shown.shape)
    rows = zip(channels, shown, cut, best.values[channels], strict=True)
    return [patches.MapPatches(*row) for row in rows]


def _projections(
    look: Looking, name: str, pixels: np.ndarray, channels: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Returns the projections of at most one batch of units, float32 [n, H, W, C]."""
    missing = look.batch - len(pixels)  # so that there is one program
    whole = [np.pad(one, [(0, missing), *[(0, 0)] * (one.ndim - 1)]) for one in (pixels, channels)]
    positions = np.pad(places, [(0, missing), (0, 0)])
    subject = look.subject
    with set_precision(subject.config):
        inputs = subject.network.normalize(whole[0])
        found = deconvnet_unit(
            subject.network.model, subject.variables, inputs, name, whole[1], positions
        )
    return np.asarray(found.pixels, np.float32)[: len(pixels)]

"""Does a map depend on what the network has learned? Randomisation of the parameters from the top.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim, "Sanity Checks for Saliency Maps", 2018,
arXiv 1810.03292, §4 (cascading randomisation): layers get random parameters one after the other,
from the logits to the images. A map that explains the network must change. A map that stays as it
was shows the image, as an edge detector does.

Ours: similarity is measured on magnitudes, so a change of sign alone does not count as a change.
BatchNorm's statistics of a layer start anew with its parameters. The paper has no bar; ours is
where the upper half of the layers is random: such a network cannot tell the classes apart. Once the
first filters are random, even the edges that a method draws change.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.analysis.tracing.graph import Graph, trace
from jaxcnn.attribution.similarity import spearman, ssim, unit_range

# (variables, images, classes) → maps [N, H, W] or [N, H, W, C]
Method = Callable[[Any, jax.Array, jax.Array], jax.Array]
FAILS_ABOVE = 0.5  # similarity to the map of a network whose upper half is random


class Sanity(NamedTuple):
    """How similar maps of a network stay while its parameters become random from the top.

    Attributes:
      methods: M names.
      layers: L names from the top: at step l all layers down to this one have random parameters, at
        the last step all that there are.
      rank_correlation: of the magnitudes, float64 [M, L, N].
      ssim: of the magnitudes, each map scaled to the range from 0 to 1, float64 [M, L, N].
      two_images: rank correlation of the trained network's maps of neighbouring images, float64
        [M, N]: what maps have in common because of where things are in all images.
    """

    methods: tuple[str, ...]
    layers: tuple[str, ...]
    rank_correlation: np.ndarray
    ssim: np.ndarray
    two_images: np.ndarray

    @property
    def half(self) -> int:
        """Number of the step at which the upper half of the layers is random."""
        return (len(self.layers) - 1) // 2

    def failing(self, above: float = FAILS_ABOVE) -> tuple[str, ...]:
        """Returns the methods whose maps hardly change when the upper half of the layers is random.

        Args:
          above: a method fails if both of its similarities are at least this, as means over images.
        """
        measures = self.rank_correlation, self.ssim
        least = np.min([one[:, self.half].mean(axis=-1) for one in measures], axis=0)
        return tuple(
            name for name, value in zip(self.methods, least, strict=True) if value >= above
        )


def sanity_check(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    methods: Mapping[str, Method],
    key: jax.Array,
    *,
    classes: jax.Array | None = None,
    depth: int = 2,
    most_steps: int = 12,
) -> Sanity:
    """Returns how similar the maps of methods stay under cascading randomisation.

    Args:
      model: the network.
      variables: of the trained network.
      images: float32 [N, H, W, C].
      methods: by name; each is called L + 1 times.
      key: of the random parameters; another one than that of the network's initialisation, to which
        trained parameters stay similar.
      classes: int [N], whose evidence the maps show; None is the likeliest by the trained network.
      depth: length of the paths that are one layer: of 1 whole stages, of 2 their blocks.
      most_steps: largest L; of a network with more layers several become random at once.
    """
    graph = trace(model, variables, images)
    if classes is None:
        classes = jnp.argmax(jax.jit(graph.run)(variables, images)[0], axis=-1)
    layers = layers_from_top(graph, depth)
    counts = np.linspace(1, len(layers), min(most_steps, len(layers))).round().astype(int)
    fresh = jax.jit(model.init)(key, images)
    steps = [randomize(variables, fresh, layers[:count], depth) for count in counts]
    correlations, similarities, neighbours = [], [], []
    for method in methods.values():
        first = _magnitudes(method(variables, images, classes))
        others = [_magnitudes(method(random, images, classes)) for random in steps]
        correlations.append([spearman(first, other) for other in others])
        neighbours.append(spearman(first, jnp.roll(first, 1, axis=0)))
        scaled = [unit_range(maps) for maps in (first, *others)]
        similarities.append([ssim(scaled[0], other) for other in scaled[1:]])
    return Sanity(
        tuple(methods),
        tuple(layers[count - 1] for count in counts),
        np.array(correlations, np.float64),
        np.array(similarities, np.float64),
        np.array(neighbours, np.float64),
    )


def layers_from_top(graph: Graph, depth: int = 2) -> tuple[str, ...]:
    """Returns the names of the layers with parameters, from the logits to the images.

    Args:
      graph: of the network.
      depth: names longer than so many parts are cut, and layers of one name count as one.
    """
    names = [
        _layer(tuple(parameter.split("/")), depth)
        for node in graph.nodes
        for parameter in node.parameters
    ]
    return tuple(dict.fromkeys(names))[::-1]


def randomize(variables: Any, fresh: Any, layers: Collection[str], depth: int = 2) -> Any:
    """Returns variables of which some layers are those of another initialisation.

    Args:
      variables: of the trained network; those of the other layers are the same arrays.
      fresh: of the same network.
      layers: names of `layers_from_top`.
      depth: as for `layers_from_top`.
    """
    flat, random = (traverse_util.flatten_dict(tree) for tree in (variables, fresh))
    mixed = {
        path: random[path] if _layer(path[1:], depth) in layers else value
        for path, value in flat.items()
    }
    return traverse_util.unflatten_dict(mixed)


def _layer(path: tuple[str, ...], depth: int) -> str:
    """Returns the layer of a parameter's path, whose last part is the parameter's own name."""
    return "/".join(path[:-1][:depth])


def _magnitudes(values: jax.Array) -> jax.Array:
    """Returns maps [N, H, W] without signs; channels of a pixel are added."""
    magnitudes = jnp.abs(values)
    return jnp.sum(magnitudes, axis=-1) if magnitudes.ndim == 4 else magnitudes

"""Maps of classes: what Network in Network averages into its answer.

Lin, Chen and Yan, "Network In Network", 2013, §3.2 and figure 4: the last maps are one for each
class, and global average pooling makes the logits of them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.figures import style, tiles
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 10  # classes of a row


def draw_class_maps(
    images: np.ndarray,
    maps: np.ndarray,
    class_names: Sequence[str],
    truths: Sequence[str] = (),
    title: str = "",
) -> "Figure":
    """Draws a row for each image: the image, then the maps of its likeliest classes.

    A row has one scale, from zero to its largest value, or symmetric about zero if it has negative
    values. Below each map is its mean, which is the logit.

    Args:
      images: uint8 [N, H, W, 1 or 3].
      maps: [N, h, w, K], one for each class.
      class_names: K.
      truths: N names of true classes, "" where one is not known; or none.
      title: of the figure; names of strangers are made harmless here.
    """
    columns = 1 + min(MOST, maps.shape[-1])
    figure = style.new_figure(0.95 * columns, 1.25 * len(images) + 0.4)
    panels = style.new_axes(figure, len(images), columns, grid=False)
    for number, (row, image, values) in enumerate(zip(panels, images, maps, strict=True)):
        row[0].set_axis_off()
        row[0].imshow(tiles.enlarged(tiles.as_rgb(image)[None])[0])
        style.describe(row[0], label(truths[number], 12) if truths else "")
        logits = values.mean((0, 1))
        reach = float(np.abs(values).max()) or 1.0
        least = -reach if values.min() < 0 else 0
        for axes, each in zip(row[1:], np.argsort(-logits, kind="stable"), strict=False):
            style.show(axes, values[..., each], signed=least < 0, limits=(least, reach))
            style.describe(axes, f"{label(class_names[each], 12)}\n{logits[each]:.3g}")
    if title:
        style.headline(figure, title)
    return figure

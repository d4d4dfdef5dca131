"""Writes docs/pretrained.md: all trained weights that have a name.

python docs/pretrained.py
"""

from pathlib import Path

from jaxcnn.pretrained.weights_info import WeightsInfo, list_pretrained, weights_info

PAGE = Path(__file__).with_name("pretrained.md")
HEAD = """# All trained weights

`jaxcnn.create_pretrained(NAME)` returns a network with these weights; [Trained
weights](weights.md) says how. Of each network the first is the default. "Size" is the side of the
images in pixels and the short side that they are cut from. The accuracy on ImageNet's validation
images is the library's own figure, at the size given beside it where that is another one. "Compared
with" is what a file must equal on every read: a published hash or a part of one, and where no whole
SHA-256 is published, the first file that was downloaded.

| name | library | size | top-1 | licence | compared with |
|---|---|---|---|---|---|
"""


def page() -> str:
    """Returns the page."""
    return HEAD + "".join(map(_row, map(weights_info, list_pretrained())))


def _row(info: WeightsInfo) -> str:
    way = info.preprocessing
    cells = (
        f"`{info.name}`",
        info.library,
        f"{way.image_size}, {way.resize}",
        _accuracy(info),
        info.licence,
        info.known_by,
    )
    return f"| {' | '.join(cells)} |\n"


def _accuracy(info: WeightsInfo) -> str:
    if info.top1 is None:
        return ""
    other = info.measured is not None and info.measured != info.preprocessing
    place = f" at {info.measured.image_size}, {info.measured.resize}" if other else ""
    return f"{info.top1:.2f} %{place}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

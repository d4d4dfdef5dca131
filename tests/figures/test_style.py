import re
import sys

import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.figures import style


def drawn():
    figure = style.new_figure(3, 2)
    ((axes,),) = style.new_axes(figure)
    for number in range(3):
        axes.plot([0, 1], [number, 2], label=str(number), **style.line_style(number))
    style.describe(axes, "a title", "steps", "loss")
    style.legend(axes)
    return figure


def test_the_same_figure_is_the_same_file_and_pyplot_stays_out():
    assert style.encode(drawn(), ".svg") == style.encode(drawn(), ".svg")
    assert style.encode(drawn())[:4] == b"\x89PNG"
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_the_names_within_an_svg_do_not_depend_on_the_last_digits_of_coordinates():
    def named(shift):
        figure = style.new_figure(3, 2)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0.1 + shift, 0.1, 0.8, 0.8))
        axes.plot([0, 1], [0, 1], marker="o")
        return style.encode(figure, ".svg")

    assert named(0) == named(1e-13)
    names = set(re.findall(rb' id="([^"]+)"', named(0)))
    used = set(re.findall(rb'(?:url\(|href=")#([^")]+)', named(0)))
    assert used
    assert used <= names


@pytest.mark.parametrize("text", ["a title of many words " * 9, "n" * 200, "a\nb", "=$x$ " * 20])
def test_a_headline_fits_the_width_of_its_figure(text):
    figure = style.new_figure(3, 2)
    style.headline(figure, text)
    figure.draw_without_rendering()
    (title,) = figure.texts
    assert len(title.get_text().split("\n")) <= 2
    assert "$" not in title.get_text().replace(r"\$", "")
    box = title.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_a_figure_is_saved_by_its_ending(tmp_path):
    style.save(drawn(), tmp_path / "a.svg")
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    with pytest.raises(UserError, match=r"a\.jpg: a figure ends with \.png or \.svg"):
        style.save(drawn(), tmp_path / "a.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]


def test_21_lines_are_different():
    kinds = {tuple(style.line_style(number).items()) for number in range(21)}
    assert len(kinds) == 21
    assert style.line_style(21) == style.line_style(0)


def test_colors_of_numbers_are_those_of_a_shown_map():
    figure = style.new_figure(2, 2)
    ((axes,),) = style.new_axes(figure)
    image = style.show(axes, np.array([[-1.0, 2.0]]), signed=True)
    assert image.get_clim() == (-2, 2)  # zero is the middle, which is white
    assert image.to_rgba(np.array([0.0]), bytes=True)[0, :3].min() > 240
    np.testing.assert_array_equal(
        style.colored(np.array([-0.5, 1.0]), signed=True),
        image.to_rgba(np.array([-1.0, 2.0]), bytes=True)[:, :3],
    )
    assert style.show(axes, np.array([[1.0, 3.0]])).get_clim() == (1, 3)
    assert style.show(axes, np.full((2, 2), np.nan)).get_clim() == (0, 1)


def test_without_matplotlib_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not style.available()
    with pytest.raises(UserError, match=r"pip install 'jaxcnn\[plots\]'"):
        style.new_figure(2, 2)

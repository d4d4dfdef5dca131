import re
import sys

import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.figures import page, style
from jaxcnn.figures.page import Cell, Page, Section
from tests.figures import html

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "{{ 7 * 7 }}{% raw %}",
    "]]>--><b>&amp;",
    "</style></title></svg>",
    "מבוא לעברית",
    "\u202eturned\x1b[31m\n",
    "n" * 200,
)


def drawing(label="line"):
    figure = style.new_figure(3, 2)
    axes = style.new_axes(figure)[0, 0]
    axes.plot([1, 2], [3, 4], label=label[:30], **style.line_style(0))
    style.describe(axes, "title", "epoch", "loss")
    style.legend(axes)
    return figure


def whole(text):
    """A page with a text everywhere that a text can be."""
    picture = page.Picture(np.zeros((4, 4, 1), np.uint8), text)
    svg = page.inline(drawing(text), text)
    blocks = [
        page.Text(text, warning=True),
        page.Facts([(text, text)]),
        page.Tiles([(text, text, text)]),
        page.Table([text, "n"], [[text, Cell(text, 0.5, (0.1, 0.2, 1.0), text)]], "lr", text),
        page.Table([text, text], [[text, text]], caption=text, square=True),
        page.Figures([page.Drawing(svg, text), page.Drawing(page.drawn(drawing(text), text))]),
        page.Cards([page.Card([picture, picture], [(text, text), (text,)])]),
        page.Html(page.trusted("<p>ours</p>")),
        page.Columns([[page.Text(text)], [page.Fold(text, [page.Text(text)])]]),
    ]
    folded = page.Fold(text, blocks, open=True)
    return page.render(Page(text, text, [Section(text, blocks), Section(text, [folded])], text))


@pytest.mark.parametrize("text", ["plain", *HOSTILE])
def test_names_of_strangers_stay_texts(text):
    found = html.check(whole(text).replace("<p>ours</p>", ""))
    shown = page._shown(text)
    assert found.text.count(shown) >= 20
    assert {tag for tag, *_ in found.attributes} == {
        tag for tag, *_ in html.check(whole("plain")).attributes
    }


def test_a_space_that_breaks_no_line_stays():
    assert "5\u00a0%" in page.render(Page("5\u00a0%", "", []))


@pytest.mark.slow
def test_a_page_is_the_same_each_time():
    assert whole("a") == whole("a")
    assert whole("a") != whole("b")


def test_html_of_our_own_is_not_escaped():
    assert "<p>ours</p>" in whole("x")


def test_svg_has_texts_and_the_colours_of_the_page():
    svg = str(page.inline(drawing("<b>&"), 'a "b"'))
    assert svg.startswith('<svg viewBox="0 0 216 144" role="img" aria-label="a &#34;b&#34;">')
    assert "&lt;b&gt;&amp;" in svg
    assert ">epoch</text>" in svg
    assert "var(--ink)" in svg
    assert "var(--c0)" in svg
    assert not re.search("#[0-9a-f]{6}", svg)
    assert "font-family" not in svg
    assert "xmlns" not in svg


def test_colours_and_names_in_a_text_of_a_figure_are_left_alone():
    text = 'id="a" #222222'
    assert f">{text}</text>" in str(page.inline(drawing(text), ""))


def test_figures_have_names_of_their_own():
    svg = page.inline(drawing("a"), "")
    twice = [page.Html(svg), page.Figures([page.Drawing(svg)])]
    text = page.render(Page("t", "", [Section("s", twice)]))
    html.check(text)
    assert text.count('<clipPath id="f1-') == text.count('<clipPath id="f2-') == 1


def test_pictures_keep_their_pixels_and_large_ones_become_smaller():
    import base64
    import io

    import PIL.Image

    def back(pixels, kind="png"):
        address = page.Picture(pixels, "").source
        head, data = address.split(",")
        assert head == f"data:image/{kind};base64"
        return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(data))))

    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(back(pixels), pixels)
    np.testing.assert_array_equal(back(pixels[..., :1]), pixels[..., 0])
    assert back(np.zeros((2000, 1000, 3), np.uint8)).shape == (512, 256, 3)
    photograph = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert back(photograph, "jpeg").shape == (224, 224, 3)


def test_tables_align_numbers_to_the_right_and_draw_intervals():
    table = page.Table(["a", "b"], [["x", Cell("50 %", interval=(0.25, 0.5, 0.75))]])
    text = page.render(Page("t", "", [Section("s", [table])]))
    assert re.search(r'<th class="text">\s*<bdi>x</bdi>', text)
    assert re.search(r'<td class="number"><svg class="bar".*<bdi>50 %</bdi></td>', text, re.DOTALL)
    assert 'x="25.00"' in text
    assert 'width="50.00"' in text


@pytest.mark.parametrize("module", ["jinja2", "matplotlib.figure"])
def test_what_is_missing_is_named_in_one_line(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"needs jinja2 and matplotlib: pip install 'jaxcnn\[plots"):
        page.render(Page("t", "", []))

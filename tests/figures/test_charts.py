import numpy as np
import pytest

from jaxcnn.figures.charts.confusion import confusion_matrix, row_shares
from jaxcnn.figures.charts.curves import Line, curves
from jaxcnn.figures.charts.reliability import Bins, reliability


def line(y, name="", number=0):
    return Line(name, np.arange(len(y), dtype=float), np.array(y, float), number)


def test_curves_show_the_values_and_shares_in_percent():
    figure = curves(
        [line([0.5, 0.9], "train"), line([0.4, np.nan], "test")], "t", "top1", percent=True
    )
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [50, 90])
    assert np.isnan(axes.lines[1].get_ydata()[1])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "top1, %")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "test"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1, 0.5], "linear"), ([1, 0.001], "log"), ([1, 0, 0.001], "linear"), ([np.nan], "linear")],
)
def test_the_axis_is_logarithmic_for_positive_values_of_many_decades(values, scale):
    assert curves([line(values)], "t", "y", log=True).axes[0].get_yscale() == scale
    assert curves([line(values)], "t", "y").axes[0].get_yscale() == "linear"


def test_names_in_the_legend_are_shortened_and_those_with_an_underscore_shown():
    figure = curves([line([1], "_hidden"), line([1], "n" * 200), line([1], "$x$")], "t", "y")
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names[0].strip() == "_hidden"
    assert len(names[1]) < 30
    assert names[2] == r"\$x\$"


def test_one_curve_and_very_many_have_no_legend():
    assert curves([line([1], "a")], "t", "y").axes[0].get_legend() is None
    assert curves([line([1], str(i), i) for i in range(20)], "t", "y").axes[0].get_legend() is None


def test_reliability_leaves_out_empty_bins():
    bins = Bins("a", np.array([0, 4, 6]), np.array([0, 0.5, 1]), np.array([0, 0.6, 0.9]))
    above, below = reliability([bins]).axes
    diagonal, points = above.lines
    np.testing.assert_allclose(diagonal.get_ydata(), [0, 1])
    np.testing.assert_allclose(points.get_xdata(), [0.6, 0.9])
    np.testing.assert_allclose(points.get_ydata(), [0.5, 1])
    assert [bar.get_height() for bar in below.patches] == [0, 4, 6]
    assert len(reliability([bins, bins]).axes[0].lines) == 3


def test_the_confusion_matrix_is_coloured_by_rows():
    counts = np.array([[3, 1], [0, 0]])
    np.testing.assert_allclose(row_shares(counts), [[0.75, 0.25], [0, 0]])
    axes = confusion_matrix(counts, ["a", "b"], ["title"]).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), row_shares(counts))
    assert sorted(text.get_text() for text in axes.texts) == ["1", "3"]

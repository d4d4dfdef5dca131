"""Charts of what flows through a network: what they show, and that names stay text."""

import numpy as np
import pytest

from jaxcnn.analysis.effective_field import EffectiveField
from jaxcnn.analysis.ensemble import Convergence
from jaxcnn.analysis.residual import Sizes
from jaxcnn.analysis.signal import DeadShare, Moments
from jaxcnn.analysis.variance import Prediction
from jaxcnn.figures.charts import effective_field, signal
from tests.figures.test_pictures import HOSTILE, assert_harmless, texts


def prediction(rms, gradient, measured=1.0):
    return Prediction(rms, gradient, Moments(0.0, measured, 0.0, measured / 2))


def lines_of(axes):
    return [np.asarray(line.get_ydata(), float) for line in axes.lines]


@pytest.mark.slow
def test_flow_shows_lines_of_what_is_predicted_and_marks_of_what_is_measured():
    series = {
        "he": {"conv1": prediction(1.5, 0.3), "conv2": prediction(2.5, 0.1)},
        HOSTILE: {"conv1": prediction(1e-5, 0.3, 1e-6), "conv2": prediction(np.nan, 0.2)},
    }
    figure = signal.draw_flow(series, HOSTILE)
    upper, lower = figure.axes
    predicted, measured, *others = lines_of(upper)
    np.testing.assert_allclose(predicted, [1.5, 2.5])
    np.testing.assert_allclose(measured, [1, 1])
    assert len(others) == 2
    np.testing.assert_allclose(lines_of(lower)[1], [0.5, 0.5])
    assert upper.get_yscale() == lower.get_yscale() == "log"
    assert {"measured", "predicted from the weights", "he", "conv2"} <= set(texts(figure))
    assert_harmless(figure)


def test_many_layers_have_numbers_and_long_series_the_sequential_colours():
    layers = {f"layer{number}": prediction(1, 1) for number in range(40)}
    figure = signal.draw_flow({f"step {step}": layers for step in range(9)})
    assert "layer, from the image" in texts(figure)
    assert "layer3" not in texts(figure)
    colors = {tuple(np.atleast_1d(line.get_color())) for line in figure.axes[0].lines}
    assert len(colors) == 9


def test_zeros_are_left_out_of_a_logarithmic_axis():
    figure = signal.draw_by_layer({"logits": {"a": 0.1, "b": 0.0}}, "title", "size, units")
    (values,) = lines_of(figure.axes[0])
    assert values[0] == 0.1
    assert np.isnan(values[1])
    assert "size, units" in texts(figure)
    assert signal.draw_by_layer({"logits": {"a": 0.0}}, "", "").axes[0].get_yscale() == "linear"


def test_dead_units_are_percent_of_units_and_of_channels():
    shares = {"relu": DeadShare(0.25, 0.0), HOSTILE: DeadShare(1.0, 0.5)}
    figure = signal.draw_dead_units(shares, 1200, "net")
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [25, 100, 0, 50]
    assert "never positive for 1,200 images, %" in texts(figure)
    assert_harmless(figure)


def test_branches_are_beside_their_shortcuts():
    sizes = {"stage1/block1/add": Sizes(1.0, 4.0, 4.1), "stage1/block2/add": Sizes(0.0, 4.0, 4.0)}
    figure = signal.draw_branches(sizes, HOSTILE)
    upper, lower = figure.axes
    assert [list(line) for line in lines_of(upper)] == [[1, 0], [4, 4], [4.1, 4]]
    np.testing.assert_allclose(lines_of(lower)[0], [0.25, 0])
    assert "stage1/block1" in texts(figure)
    assert_harmless(figure)


def test_reuse_has_a_panel_for_each_block():
    reuse = {
        "stage1/layer2/conv1": {"stem/conv": 2.0, "stage1/layer1/conv2": 1.0},
        "transition1/conv": {"stem/conv": 1.0, "stage1/layer1/conv2": 4.0, HOSTILE: 2.0},
        "classifier": {"transition1/avg_pool": 1.0, "stage2/layer1/conv2": 3.0},
    }
    figure = signal.draw_reuse(reuse, "net")
    first, second = (axes.get_images()[0].get_array() for axes in figure.axes[:2])
    np.testing.assert_allclose(np.ma.filled(first, -1), [[1, 0.25], [0.5, 1], [-1, 0.5]])
    np.testing.assert_allclose(second, [[1 / 3], [1]])
    assert {"layer2", "transition1", "stem", "classifier"} <= set(texts(figure))
    assert_harmless(figure)


@pytest.mark.parametrize("errors", [True, False])
def test_an_ensemble_has_errors_where_labels_are_known(errors):
    values = np.array([0.5, 0.2])
    error = values if errors else np.full(2, np.nan)
    found = Convergence(np.array([1, 8]), values, values / 2, error, 0.3 if errors else np.nan)
    figure = signal.draw_ensemble(found, "net")
    assert len(figure.axes) == 1 + errors
    np.testing.assert_allclose(lines_of(figure.axes[0])[1], [0.25, 0.1])
    if errors:
        np.testing.assert_allclose(lines_of(figure.axes[1])[0], [50, 20])
        np.testing.assert_allclose(lines_of(figure.axes[1])[1], [30, 30])


def test_fields_are_rectangles_on_the_gradient():
    gradient = np.zeros((20, 30))
    gradient[8:13, 12:19] = 1
    fields = [
        EffectiveField(name, gradient, (6, 10, 15, 21), 7, 5.9, 7 / 11)
        for name in ("stage1/relu", HOSTILE)
    ]
    figure = effective_field.draw_fields(fields, "net")
    picture, _, sizes = figure.axes
    theoretical, effective = picture.patches
    assert theoretical.get_bbox().bounds == (9.5, 5.5, 11, 9)
    assert effective.get_bbox().bounds == (11.5, 6.5, 7, 7)
    assert effective.get_bbox().x0 < 12  # pixel 12 is within
    assert "stage1/relu\n95 % in 7 of 9x11 pixels" in texts(figure)
    assert [line[0] for line in lines_of(sizes)] == [11, 7, 5.9, 30]
    assert_harmless(figure)

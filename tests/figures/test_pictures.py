"""Figures of features and attribution: what they show, and that strangers' names stay text."""

import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.figures import (
    class_maps,
    filters,
    likeliest,
    maps,
    occluded,
    overlays,
    patches,
    style,
)

HOSTILE = "<b>$x_1$\x1b[31m\u202e" + "long " * 50
IMAGE = np.full((6, 6, 1), 200, np.uint8)


def texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def images_of(figure):
    return [image.get_array() for axes in figure.axes for image in axes.get_images()]


def assert_harmless(figure):
    """Nothing of a name is a formula or a control character, and the figure can be written."""
    found = " ".join(texts(figure))
    assert "\x1b" not in found
    assert "\u202e" not in found
    assert "$" not in found.replace(r"\$", "")
    assert max(map(len, found.split("\n"))) < 2000
    assert b"<b>" not in style.encode(figure, ".svg")


def test_filters_are_shown_at_one_scale_and_each_at_its_own():
    kernel = np.zeros((3, 3, 3, 4))
    kernel[1, 1, :, 0], kernel[1, 1, :, 1] = 1.0, -0.1
    figure = filters.draw_filters(kernel, "stem/conv")
    assert any("4 filters of 3x3x3" in text for text in texts(figure))
    shared, own = images_of(figure)
    assert (shared.min(), shared[..., 0].max()) == (115, 255)  # gaps are white; -0.1 is pale
    assert own.min() == 0  # and black at a scale of its own


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_filters_of_any_number_of_channels_are_drawn(channels):
    figure = filters.draw_filters(np.ones((3, 3, channels, 5)), HOSTILE)
    assert any("mean over the input channels" in text for text in texts(figure)) == (channels > 1)
    assert_harmless(figure)


def test_filters_of_one_pixel_are_refused():
    with pytest.raises(UserError, match="the filters of conv0 are 1x1"):
        filters.draw_filters(np.ones((1, 1, 3, 8)), "conv0")


def test_the_strongest_maps_come_first_whatever_their_sign():
    values = np.zeros((2, 2, 4))
    values[0, 0] = [1.0, -5.0, 0.0, 3.0]
    assert maps.strongest_channels(values, 3).tolist() == [1, 3, 0]


def test_a_row_of_maps_says_its_size_and_scale():
    values = np.zeros((4, 5, 3))
    values[0, 0, 0] = 2.0
    assert maps.describe_row("a", values) == ("a", "4x5, 3 of 3", "0 to 2, 2 all zero")
    assert maps.describe_row("a", -values)[2] == "-2 to 2, 2 all zero"


def test_maps_of_every_layer_have_a_row():
    layers = {HOSTILE: np.ones((4, 4, 20)), "fc": np.array([-1.0, 2.0])}
    figure = maps.draw_maps(IMAGE, layers, HOSTILE)
    assert len(images_of(figure)) == 3
    assert "4x4, 10 of 20" in "\n".join(texts(figure))
    assert_harmless(figure)


def test_patches_stand_left_and_their_projections_right():
    one = patches.MapPatches(
        7, np.full((9, 4, 4, 1), 10, np.uint8), np.full((9, 4, 4, 1), 0.5), np.arange(9.0)
    )
    few = one._replace(channel=3, patches=one.patches[:2], projections=one.projections[:2])
    figure = patches.draw_patches([one, few], HOSTILE)
    assert_harmless(figure)
    assert {"map 7: 0 to 8", "map 3: 0 to 8"} <= set(texts(figure))
    block, other = images_of(figure)
    middle = block.shape[1] // 2
    assert set(np.unique(block[:, : middle - 20])) == {10, 255}
    assert (block[:, middle:][..., 0] == 255).any()
    assert 9 * (other[:, :middle] == 10).sum() == 2 * (block[:, :middle] == 10).sum()
    assert block.shape == other.shape


def test_an_evolution_has_a_row_for_a_map_and_a_column_for_a_step():
    steps, grown = (1, 10, 1000), [np.full((5, 5, 1), value) for value in (0.1, 1, 10)]
    figure = patches.draw_evolution(steps, {2: grown, 0: grown}, {2: (1, 2, 3), 0: (0, 0, 1)}, "t")
    assert len(images_of(figure)) == 6
    assert {"map 2", "map 0", "step 1", "step 1,000", "3"} <= set(texts(figure))


def test_an_overlay_hides_the_image_where_the_map_is_largest_and_nowhere_else():
    values = np.zeros((6, 6))
    values[2, 3] = 4.0
    shown = overlays.overlay(IMAGE, values)
    assert shown[2, 3].tolist() == style.colored(np.ones(1))[0].tolist()
    grey = shown[0, 0]
    assert len(set(grey.tolist())) == 1
    assert grey[0] == 230  # pale: 0.55 of white and the rest of 200
    bright = np.arange(1000.0).reshape(20, 50)
    assert overlays.reach_of(bright) == pytest.approx(994, abs=0.1)  # half a percent is beyond
    assert (overlays.overlay(np.zeros((20, 50, 1), np.uint8), bright)[-1, -4:] == shown[2, 3]).all()
    signed = overlays.overlay(IMAGE, -values, signed=True)
    assert signed[2, 3].tolist() == style.colored(-np.ones(1), signed=True)[0].tolist()
    assert (overlays.overlay(IMAGE, np.zeros((6, 6))) == 230).all()


def test_a_color_bar_has_the_colors_of_the_overlay():
    grey, values = np.full((1, 256, 1), 128, np.uint8), np.linspace(0, 1, 256)[None]
    figure = overlays.draw_overlay(grey, overlays.Explained("saliency", values), "t")
    bar = figure.axes[-1].collections[-1]
    colors = bar.cmap(values[0] / overlays.reach_of(values), bytes=True)[:, :3]
    np.testing.assert_allclose(colors, overlays.overlay(grey, values)[0], atol=3)


def test_an_overlay_stands_beside_its_image_with_the_class_in_words():
    values = np.eye(6)
    one = overlays.Explained("grad_cam", values, note="layer stage4/relu")
    figure = overlays.draw_overlay(IMAGE, one, "cat.jpg: tabby, 83.1%")
    assert "cat.jpg: tabby, 83.1%" in texts(figure)
    assert "grad_cam\nlayer stage4/relu" in texts(figure)
    assert_harmless(overlays.draw_overlay(IMAGE, one._replace(note=HOSTILE), HOSTILE))


@pytest.mark.slow
def test_a_contact_sheet_has_a_block_for_each_image_and_wraps():
    row = [overlays.Explained(f"method{n}", np.eye(6)) for n in range(8)]
    row[3] = row[3]._replace(values=np.ones((6, 6, 3)), kind="pixels")
    row[4] = row[4]._replace(kind="signed_map")
    row[5] = row[3]._replace(kind="image")
    figure = overlays.draw_contact_sheet([IMAGE] * 2, [row] * 2, [HOSTILE, "b\nc"])
    assert len(images_of(figure)) == 2 * 9
    assert sum(text == "method7" for text in texts(figure)) == 2
    assert_harmless(figure)


def test_the_words_of_a_contact_sheet_and_an_evolution_are_not_cut_off():
    row = [overlays.Explained("saliency", np.eye(6))]
    sheet = overlays.draw_contact_sheet([IMAGE], [row], ["n" * 99 + "\nclass 7, 100.0%"])
    grown = [np.ones((5, 5, 1))] * 2
    title = "stage5/relu: strongest projection among 360 images, by step"
    evolution = patches.draw_evolution((1, 2), {2: grown}, {2: (1, 2)}, title)
    for figure in (sheet, evolution):
        figure.draw_without_rendering()
        words = [*figure.texts, *(axes.title for axes in figure.axes)]
        boxes = [one.get_window_extent() for one in words if one.get_text()]
        assert boxes
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_the_bar_of_the_true_class_has_another_color():
    row = likeliest.Answered(
        IMAGE, ("a", HOSTILE), np.array([0.7, 0.2]), HOSTILE, np.stack([IMAGE] * 2), np.arange(2.0)
    )
    figure = likeliest.draw_likeliest([row, row._replace(truth="")], HOSTILE)
    assert_harmless(figure)
    bars = [[bar.get_facecolor() for bar in axes.patches] for axes in figure.axes if axes.patches]
    assert bars[0][0] != bars[0][1]
    assert bars[1][0] == bars[1][1]
    assert len(images_of(figure)) == 6


def test_class_maps_come_by_their_logit():
    values = np.zeros((1, 2, 2, 3))
    values[..., 1], values[..., 2] = 4.0, 1.0
    figure = class_maps.draw_class_maps(IMAGE[None], values, ("a", HOSTILE, "c"), ["c"], "t")
    assert_harmless(figure)
    found = [text for text in texts(figure) if "\n" in text]
    assert [text.split("\n")[1] for text in found] == ["4", "1", "0"]
    shown = images_of(figure)[1:]
    assert [float(each.max()) for each in shown] == [4, 1, 0]


@pytest.mark.slow
def test_classes_of_an_occluded_image_have_names_and_rare_ones_are_others():
    likeliest_class = np.array([[3, 3, 3], [1, 1, 9]])
    row = occluded.Occluded(
        IMAGE, np.ones((2, 3)), np.full((2, 3), 0.5), likeliest_class, class_name=HOSTILE
    )
    names = [HOSTILE, "one", "two", "three", *"456789"]
    figure = occluded.draw_occluded([row], names, HOSTILE)
    assert_harmless(figure)
    assert {"three", "one", "9"} <= set(texts(figure))
    many = row._replace(likeliest=np.arange(9).reshape(3, 3))
    shown = texts(occluded.draw_occluded([many], names))
    assert "others" in shown
    assert len([text for text in shown if text in names[1:]]) == 6  # and the hostile one
    assert images_of(occluded.draw_occluded([row], names))[2].max() == 0.5

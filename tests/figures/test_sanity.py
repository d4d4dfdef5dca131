import numpy as np

from jaxcnn.figures.sanity import Panel, draw_sanity


def panel(network, layers, seed=0):
    methods = ["saliency", "guided_backprop"]
    values = np.random.default_rng(seed).uniform(-0.2, 1, (2, layers))
    names = [f"stage{number}" for number in range(layers)]
    return Panel(network, methods, names, values, values**2, ["guided_backprop"])


def test_every_network_and_measure_has_a_panel():
    first, second = panel("resnet", 4), panel("a$b", 3, seed=1)
    figure = draw_sanity([first, second])
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 4
    np.testing.assert_allclose(
        shown[0].images[0].get_array(), np.clip(first.rank_correlation, 0, 1)
    )
    np.testing.assert_allclose(shown[3].images[0].get_array(), second.ssim)
    names = [text.get_text() for text in shown[0].get_yticklabels()]
    assert names == ["saliency", "guided_backprop *"]
    assert [text.get_text() for text in shown[3].get_xticklabels()] == list(second.layers)
    assert shown[1].get_title() == r"a\$b: rank correlation"

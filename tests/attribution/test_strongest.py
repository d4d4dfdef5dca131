import numpy as np
import pytest

from jaxcnn.attribution.strongest import strongest_units


@pytest.mark.parametrize("size", [1, 4, 7, 20])
def test_the_strongest_are_those_of_a_whole_sort_however_the_images_come(size):
    maps = np.random.default_rng(0).normal(size=(20, 3, 5, 6)).astype(np.float32)
    found = strongest_units((maps[at : at + size] for at in range(0, 20, size)), 4)
    assert found.num_images == 20
    for channel in range(6):
        of_images = maps[..., channel].max((1, 2))
        order = np.argsort(-of_images)[:4]
        assert found.images[channel].tolist() == order.tolist()
        np.testing.assert_array_equal(found.values[channel], of_images[order])
        for image, (row, column), value in zip(
            order, found.places[channel], found.values[channel], strict=True
        ):
            assert maps[image, row, column, channel] == value


def test_of_equals_the_first_image_counts():
    found = strongest_units([np.ones((2, 1, 1, 1)), np.ones((3, 1, 1, 1))], 3)
    assert found.images.tolist() == [[0, 1, 2]]


def test_layers_without_maps_have_one_place_and_few_images_are_few():
    found = strongest_units([np.array([[1.0, 5.0], [2.0, 3.0]])])
    assert found.values.tolist() == [[2, 1], [5, 3]]
    assert found.images.tolist() == [[1, 0], [0, 1]]
    assert not found.places.any()
    assert found.places.shape == (2, 2, 2)


def test_dead_maps_are_those_that_no_image_excites():
    maps = np.zeros((3, 2, 2, 4))
    maps[1, 0, 1, 2], maps[2, 0, 0, 0], maps[..., 3] = 5.0, 7.0, -1.0
    found = strongest_units([maps])
    assert found.dead.tolist() == [False, True, False, True]
    assert found.liveliest(9).tolist() == [0, 2]
    assert found.liveliest(1).tolist() == [0]
    with pytest.raises(ValueError, match="no image"):
        strongest_units([])

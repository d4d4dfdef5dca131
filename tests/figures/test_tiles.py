import numpy as np

from jaxcnn.figures import tiles


def numbered(count, height=2, width=3):
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, height, width, 3), np.uint8
    )


def test_tiles_stand_in_rows_with_gaps_between_them_and_none_around():
    sheet = tiles.sheet(numbered(5), 2)
    assert sheet.corners.tolist() == [[0, 0], [0, 4], [3, 0], [3, 4], [6, 0]]
    assert sheet.pixels.shape == (8, 7, 3)  # three rows of 2, two columns of 3, gaps of 1
    grey = sheet.pixels[..., 0]
    assert grey[0].tolist() == [0, 0, 0, 255, 1, 1, 1]
    assert grey[2].tolist() == [255] * 7
    assert grey[7].tolist() == [4, 4, 4, 255, 255, 255, 255]  # the last row is shorter


def test_fewer_tiles_than_columns_make_one_row():
    assert tiles.sheet(numbered(2), 9).pixels.shape == (2, 7, 3)


def test_numbers_become_pictures_about_middle_grey():
    values = np.array([[[[0.0], [1.0]]], [[[-4.0], [2.0]]]])  # two tiles of 1x2
    own = tiles.as_pictures(values)[..., 0].reshape(2, 2)
    assert own.tolist() == [[128, 255], [0, 191]]
    shared = tiles.as_pictures(values, shared=True)[..., 0].reshape(2, 2)
    assert shared.tolist() == [[128, 159], [0, 191]]
    assert (tiles.as_pictures(np.zeros((1, 2, 2, 3))) == 128).all()


def test_other_channels_become_their_mean():
    values = np.array([[[[0.0, 2.0, 4.0, 2.0]]]])
    assert tiles.as_rgb(values).tolist() == [[[[2.0, 2.0, 2.0]]]]


def test_tiles_are_enlarged_by_whole_numbers():
    assert tiles.enlarged(np.zeros((1, 30, 50, 3)), 96).shape == (1, 120, 200, 3)
    assert tiles.enlarged(np.zeros((1, 200, 100, 3)), 96).shape == (1, 200, 100, 3)

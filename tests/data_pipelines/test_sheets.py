import numpy as np

from data_pipelines import sheets


def test_pairs_are_drawn_with_crops_and_boxes():
    batch = {
        "template": np.full((3, 2, 10, 10, 3), 50, np.uint8),
        "template_box": np.full((3, 2, 4), 0.2, np.float32),
        "search": np.full((3, 20, 20, 3), 90, np.uint8),
        "search_box": np.tile(np.array([0.25, 0.25, 0.5, 0.5], np.float32), (3, 1)),
    }
    picture = sheets.draw_pairs(batch)
    assert picture.shape == (4 + 10 + 4 + 20 + 4, 3 * (24 + 4) + 4, 3)
    assert (picture[4, 4] == 50).all() and (picture[4, 4 + 14] == 50).all() and (picture[0] == 255).all()
    assert (picture[18, 4] == 90).all() and picture[18 + 5, 4 + 5].tolist() == [0, 255, 0]
    assert (picture[18 + 10, 4 + 10] == 90).all()


def test_clips_are_drawn_with_their_phrases():
    batch = {
        "local": np.full((3, 2, 20, 20, 3), 50, np.uint8),
        "global": np.full((3, 2, 40, 40, 3), 90, np.uint8),
        "tokens": np.arange(3)[:, None],
        "target": np.array([1.0, 0.0, 0.0]),
    }
    picture = sheets.draw_clips(batch, {(i,): "AAA" for i in range(3)})
    assert picture.shape == (14 + 20 + 40 + 3 * 4 + 4, 3 * 2 * 44 + 4, 3)
    assert (picture[4 + 14, 4] == 50).all() and (picture[4 + 14, 4 + 44] == 50).all()
    assert (picture[4 + 14 + 24, 4] == 90).all() and (picture[0] == 255).all()
    green, red = (picture[4:18, x : x + 40].reshape(-1, 3).min(axis=0) for x in (4, 4 + 88))
    assert green[1] > green[0] and red[0] > red[1]
    several = {**batch, "tokens": np.arange(6).reshape(3, 2, 1), "target": np.tile([1.0, 0.0], (3, 1))}
    taller = sheets.draw_clips(several, {(i,): "AAA" for i in range(6)})
    assert taller.shape == (picture.shape[0] + 14, *picture.shape[1:])
    assert (taller[4 + 28, 4] == 50).all()

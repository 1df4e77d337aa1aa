import cv2
import numpy as np

from data_pipelines import phrase_plots, sources
from tests.data_pipelines import layouts


def test_counts_are_of_boxes_most_first(tmp_path):
    layouts.refer_kitti(tmp_path, ("0001", "0002", "0005"))
    layouts.write_phrase(tmp_path / "expression" / "0001", "vehicles", {"3": [1, 2], "4": [7]})
    found = phrase_plots.counts(sources.open_source("refer_kitti", tmp_path))
    # Two videos; "vehicles" is another way to say "cars", and track 7 has no box.
    assert list(found.items()) == [("car", 4 * layouts.LENGTH), ("left car", layouts.LENGTH), ("pedestrian", 0)]


def test_tail_is_a_picture():
    train = {f"phrase {i}": 1000 // (i + 1) for i in range(39)}
    picture = phrase_plots.draw_tail(train, {"phrase 0": 5, "new": 0}, "some set")
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert min(image.shape[:2]) > 500 and 0.02 < (image < 250).any(axis=2).mean() < 0.9


def test_clips_are_drawn_with_their_phrases():
    batch = {
        "local": np.full((3, 2, 20, 20, 3), 50, np.uint8),
        "global": np.full((3, 2, 40, 40, 3), 90, np.uint8),
        "tokens": np.arange(3)[:, None],
        "target": np.array([1.0, 0.0, 0.0]),
    }
    picture = phrase_plots.draw_clips(batch, {(i,): "AAA" for i in range(3)})
    assert picture.shape == (14 + 20 + 40 + 3 * 4 + 4, 3 * 2 * 44 + 4, 3)
    assert (picture[4 + 14, 4] == 50).all() and (picture[4 + 14, 4 + 44] == 50).all()
    assert (picture[4 + 14 + 24, 4] == 90).all() and (picture[0] == 255).all()
    green, red = (picture[4:18, x : x + 40].reshape(-1, 3).min(axis=0) for x in (4, 4 + 88))
    assert green[1] > green[0] and red[0] > red[1]
    several = {**batch, "tokens": np.arange(6).reshape(3, 2, 1), "target": np.tile([1.0, 0.0], (3, 1))}
    taller = phrase_plots.draw_clips(several, {(i,): "AAA" for i in range(6)})
    assert taller.shape == (picture.shape[0] + 14, *picture.shape[1:])
    assert (taller[4 + 28, 4] == 50).all()

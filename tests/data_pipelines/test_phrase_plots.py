import cv2
import numpy as np

from data_pipelines import phrase_plots, sources
from tests.data_pipelines import layouts


def test_counts_are_of_boxes_most_first(tmp_path):
    layouts.refer_kitti(tmp_path, ("0001", "0002", "0005"))
    layouts.write_phrase(tmp_path / "expression" / "0001", "vehicles", {"3": [1, 2], "4": [7]})
    counts = phrase_plots.counts(sources.open_source("refer_kitti", tmp_path))
    # Two videos; "vehicles" is another way to say "cars", and track 7 has no box.
    assert list(counts.items()) == [("car", 4 * layouts.LENGTH), ("left car", layouts.LENGTH), ("pedestrian", 0)]


def test_tail_is_a_picture():
    train = {f"phrase {i}": 1000 // (i + 1) for i in range(39)}
    picture = phrase_plots.draw_tail(train, {"phrase 0": 5, "new": 0}, "some set")
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert min(image.shape[:2]) > 500 and 0.02 < (image < 250).any(axis=2).mean() < 0.9

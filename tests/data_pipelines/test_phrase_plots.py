import cv2
import numpy as np
import pytest

from data_pipelines import phrase_plots, sources
from tests.data_pipelines import layouts
from trackers import errors
from trackers.tracking.pictures import drawing


def test_counts_are_of_boxes_most_first(tmp_path):
    layouts.refer_kitti(tmp_path, ("0001", "0002", "0005"))
    layouts.write_phrase(tmp_path / "expression" / "0001", "vehicles", {"3": [1, 2], "4": [7]})
    counts = phrase_plots.counts(sources.open_source("refer_kitti", tmp_path))
    # Two videos; "vehicles" is another way to say "cars", and track 7 has no box.
    assert list(counts.items()) == [("car", 4 * layouts.LENGTH), ("left car", layouts.LENGTH), ("pedestrian", 0)]


def test_tail_is_a_picture():
    train = {f"phrase {i}": 1000 // (i + 1) for i in range(39)}
    picture = phrase_plots.draw_tail(train, {"phrase 0": 5, "new": 0, "with a $\\frac{$": 2}, "some set")
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert min(image.shape[:2]) > 500 and 0.02 < (image < 250).any(axis=2).mean() < 0.9


def test_examples_are_frames_with_the_boxes_that_a_phrase_means(tmp_path):
    """From the most frequent phrase to the rarest that means a box; the first and last frame that it means one in."""
    layouts.refer_kitti(tmp_path, ("0001", "0002"))
    layouts.write_phrase(tmp_path / "expression" / "0002", "vehicles", {"3": [1], "7": [1]})
    source = sources.open_source("refer_kitti", tmp_path)
    counted = [text for text, boxes in phrase_plots.counts(source).items() if boxes]
    rows = phrase_plots.examples(source, 99, shown=2)
    assert len(rows) == len(counted) and {len(row) for row in rows} == {2}
    assert len(phrase_plots.examples(source, 1)) == 1
    video = next(video for video in source if any(phrase.text == counted[-1] for phrase in video.phrases))
    phrase = next(phrase for phrase in video.phrases if phrase.text == counted[-1])
    number = int(phrase.meant[:, 0].min())
    boxes = video.tracks.boxes[(video.tracks.frames == number) & np.isin(video.tracks.ids, phrase.meant[:, 1])]
    expected = drawing.annotate_tracks(video.load(video.frames[number - 1]), boxes, None, counted[-1], number)
    np.testing.assert_array_equal(rows[-1][0], expected)


def test_a_set_whose_phrases_mean_nothing_has_no_examples():
    with pytest.raises(errors.InputError, match="no phrase means a box"):
        phrase_plots.examples([], 4)

import numpy as np
import pytest

from data_pipelines.sources import Sequence
from trackers.errors import InputError
from trackers.evaluation import oracles

TRUTH = np.array([[10.0, 20, 30, 60], [12, 22, 30, 60], [14, 24, 20, 80], [0, 0, 40, 10]])
BOXES = np.array([[10.0, 20, 30, 60], [8, 30, 50, 40], [30, 20, 40, 40], [2, 1, 30, 20]])


def _sequence(**changes):
    return Sequence("s", list(range(4)), TRUTH, np.ones(4, bool), **changes)


def test_one_quantity_is_the_truth_and_the_others_are_the_tracker():
    cx, cy = BOXES[:, 0] + BOXES[:, 2] / 2, BOXES[:, 1] + BOXES[:, 3] / 2
    (w, h), (true_w, true_h) = BOXES[:, 2:].T, TRUTH[:, 2:].T
    area, true_area, ratio, true_ratio = w * h, true_w * true_h, w / h, true_w / true_h
    expected = {
        "size": (cx, cy, true_w, true_h),
        "aspect": (cx, cy, np.sqrt(area * true_ratio), np.sqrt(area / true_ratio)),
        "area": (cx, cy, np.sqrt(true_area * ratio), np.sqrt(true_area / ratio)),
        "center": (TRUTH[:, 0] + true_w / 2, TRUTH[:, 1] + true_h / 2, w, h),
    }
    assert list(expected) == list(oracles.KINDS)
    for kind, (x, y, width, height) in expected.items():
        wanted = np.stack([x - width / 2, y - height / 2, width, height], axis=1)
        np.testing.assert_allclose(oracles.mended(kind, BOXES, TRUTH), wanted, err_msg=kind)


@pytest.mark.parametrize("row", [[5.0, 5, 0, 10], [5, 5, -3, 10], [np.nan, 5, 3, 10]])
@pytest.mark.parametrize("kind", oracles.KINDS)
def test_boxes_without_area_stay_and_so_do_frames_without_a_target(kind, row):
    boxes, truth = BOXES.copy(), TRUTH.copy()
    boxes[1], truth[2] = row, 0
    mended = oracles.mended(kind, boxes, truth)
    np.testing.assert_array_equal(mended[1:3], boxes[1:3])
    np.testing.assert_array_equal(mended[3], oracles.mended(kind, BOXES, TRUTH)[3])


def test_losses_of_a_sequence():
    away = BOXES.copy()
    away[3] = [90, 90, 10, 10]
    loss = oracles.of_sequence("frames", _sequence(), away, (200, 200))

    def iou(a, b):
        w, h = (max(0, min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
        return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)

    # The first frame does not count.
    assert loss.ao == pytest.approx(np.mean([iou(away[i], TRUTH[i]) for i in (1, 2, 3)]))
    told = oracles.mended("size", away, TRUTH)
    assert loss.told["size"] == pytest.approx(np.mean([iou(told[i], TRUTH[i]) for i in (1, 2, 3)]))
    assert loss.touching == pytest.approx(2 / 3)
    # pytracking counts the first frame, too: centers 0, 8.6 (8, 2), 28.8 and far away.
    assert loss.precision == pytest.approx(2 / 4)


def test_truth_loses_nothing_and_means_are_of_sequences():
    right = oracles.of_sequence("frames", _sequence(), TRUTH, (200, 200))
    assert right.ao == right.touching == right.precision == 1 and set(right.told.values()) == {1.0}
    wrong = oracles.of_sequence("frames", _sequence(), BOXES, (200, 200))
    mean = oracles.mean([right, wrong])
    assert mean.ao == pytest.approx((1 + wrong.ao) / 2) and mean.auc == pytest.approx((right.auc + wrong.auc) / 2)
    assert mean.told["center"] == pytest.approx((1 + wrong.told["center"]) / 2)


def test_other_numbers_of_boxes_are_refused():
    sequence = _sequence()
    with pytest.raises(InputError, match="5 boxes for 4 frames"):
        oracles.of_sequence("frames", sequence, np.concatenate([BOXES, BOXES[:1]])[:5], (200, 200))

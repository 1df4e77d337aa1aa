import sys

import numpy as np
import pytest

from trackers.errors import InputError, UsageError
from trackers.evaluation import baselines

BOX = np.array([40.0, 30.0, 32.0, 24.0])


def _video(frames=6, step=3):
    """A textured patch that moves to the right over a noisy background."""
    rng = np.random.default_rng(0)
    patch = rng.integers(0, 255, (24, 32, 3), np.uint8)
    video = []
    for t in range(frames):
        frame = rng.integers(90, 110, (120, 160, 3), np.uint8)
        frame[30:54, 40 + step * t : 72 + step * t] = patch
        video.append(frame)
    return video


def _run(tracker, video, box=BOX, **options):
    state = tracker.init(None, video[0], box, **options)
    outputs = []
    for frame in video[1:]:
        state, output = tracker.step(None, state, frame, **options)
        outputs.append(output)
    return outputs


def test_static_never_moves():
    for output in _run(baselines.build("static"), _video()):
        np.testing.assert_array_equal(output.box, BOX)


@pytest.mark.parametrize("name", ["kcf", "csrt", "mil"])
def test_opencv_follows_the_patch(name):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, f"Tracker{name.upper()}_create"):
        pytest.skip(f"this OpenCV has no {name}")
    outputs = _run(baselines.build(name), _video())
    assert all(output.score == 1.0 for output in outputs)
    # MIL is not repeatable; a box that stays is 15 pixels off.
    assert abs(outputs[-1].box[0] - 55) < (11 if name == "mil" else 4)


@pytest.mark.parametrize("name", ["kcf", "csrt"])
def test_frame_size_cuts_the_padding_off(name):
    pytest.importorskip("cv2")
    padded = [np.pad(frame, ((0, 8), (0, 96), (0, 0))) for frame in _video()]
    own, again = _run(baselines.build(name), _video()), _run(baselines.build(name), padded, frame_size=(120, 160))
    np.testing.assert_array_equal(again[-1].box, own[-1].box)


def test_a_loss_repeats_the_last_box():
    pytest.importorskip("cv2")
    video = _video()
    black = [np.zeros_like(video[0])] * 3
    outputs = _run(baselines.build("kcf"), [*video, *black])
    assert outputs[-1].score == 0.0
    np.testing.assert_array_equal(outputs[-1].box, outputs[len(video) - 2].box)


@pytest.mark.parametrize("box", [[150.0, 110, 40, 40], [-20.0, -20, 21, 21], [10.2, 10.2, 0.5, 0.5], [40.0, 30, 4, 4]])
@pytest.mark.parametrize("name", ["kcf", "csrt", "mil"])
def test_boxes_at_the_border_and_tiny_ones_do_not_stop_the_run(name, box):
    pytest.importorskip("cv2")
    outputs = _run(baselines.build(name), _video(3), np.array(box))
    assert all(np.isfinite(output.box).all() for output in outputs)


def test_unknown_or_missing(monkeypatch):
    with pytest.raises(UsageError, match="static, kcf, csrt, mil"):
        baselines.build("siamfc")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match="pip install opencv-contrib-python-headless"):
        baselines.build("kcf")

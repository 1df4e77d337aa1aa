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


def _built(name):
    """A baseline that takes no files."""
    (entry,) = baselines.parse([name])
    return entry.build()


def _run(tracker, video, box=BOX, **options):
    state = tracker.init(None, video[0], box, **options)
    outputs = []
    for frame in video[1:]:
        state, output = tracker.step(None, state, frame, **options)
        outputs.append(output)
    return outputs


def test_static_never_moves():
    for output in _run(_built("static"), _video()):
        np.testing.assert_array_equal(output.box, BOX)


@pytest.mark.parametrize("name", ["kcf", "csrt", "mil"])
def test_opencv_follows_the_patch(name):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, f"Tracker{name.upper()}_create"):
        pytest.skip(f"this OpenCV has no {name}")
    outputs = _run(_built(name), _video())
    assert all(output.score == 1.0 for output in outputs)
    # MIL is not repeatable; a box that stays is 15 pixels off.
    assert abs(outputs[-1].box[0] - 55) < (11 if name == "mil" else 4)


@pytest.mark.parametrize("name", ["kcf", "csrt"])
def test_frame_size_cuts_the_padding_off(name):
    pytest.importorskip("cv2")
    padded = [np.pad(frame, ((0, 8), (0, 96), (0, 0))) for frame in _video()]
    own, again = _run(_built(name), _video()), _run(_built(name), padded, frame_size=(120, 160))
    np.testing.assert_array_equal(again[-1].box, own[-1].box)


def test_a_loss_repeats_the_last_box():
    pytest.importorskip("cv2")
    video = _video()
    black = [np.zeros_like(video[0])] * 3
    outputs = _run(_built("kcf"), [*video, *black])
    assert outputs[-1].score == 0.0
    np.testing.assert_array_equal(outputs[-1].box, outputs[len(video) - 2].box)


@pytest.mark.parametrize("box", [[150.0, 110, 40, 40], [-20.0, -20, 21, 21], [10.2, 10.2, 0.5, 0.5], [40.0, 30, 4, 4]])
@pytest.mark.parametrize("name", ["kcf", "csrt", "mil"])
def test_boxes_at_the_border_and_tiny_ones_do_not_stop_the_run(name, box):
    pytest.importorskip("cv2")
    outputs = _run(_built(name), _video(3), np.array(box))
    assert all(np.isfinite(output.box).all() for output in outputs)


def test_unknown_or_missing(monkeypatch):
    with pytest.raises(UsageError, match="static, kcf, csrt, mil, nano:BACKBONE.onnx,HEAD.onnx, vit:MODEL.onnx"):
        _built("siamfc")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match="pip install opencv-contrib-python-headless"):
        _built("kcf")


def test_files_belong_to_the_entry_before_them():
    asked = ["static", "csrt", "nano:/a/b.onnx", "/a/h.onnx", "untrained", "vit:m.onnx", "kcf"]
    entries = baselines.parse(asked, ["untrained"])
    assert [(entry.name, *entry.files) for entry in entries] == [
        ("static",), ("csrt",), ("nano", "/a/b.onnx", "/a/h.onnx"), ("untrained",), ("vit", "m.onnx"), ("kcf",),
    ]  # fmt: skip
    labels = ["static", "csrt", "nano(b)", "untrained", "vit(m)", "kcf"]
    assert [entry.label for entry in entries] == labels
    # A file in the working folder may be called as a baseline is.
    assert baselines.parse(["nano:./kcf", "./mil"])[0].files == ("./kcf", "./mil")


def test_labels_tell_networks_apart_and_name_folders():
    pieces = ["nano:/v1/b.onnx", "/v1/h.onnx", "nano:/v2/b.onnx", "/v2/h.onnx", "vit:/v2/a b,c.onnx"]
    assert [entry.label for entry in baselines.parse(pieces)] == ["nano(v1-b)", "nano(v2-b)", "vit(a-b-c)"]
    (long,) = baselines.parse([f"vit:{'x' * 300}.onnx"])
    assert len(long.label) < 100


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("nano", "nano was given 0 files: write nano:BACKBONE.onnx,HEAD.onnx"),
        ("nano:b.onnx,kcf", "nano was given 1 file"),
        ("nano:b.onnx,h.onnx,siamfc", "nano was given 3 files"),
        ("vit:", "vit was given 1 file: write vit:MODEL.onnx"),
        ("static:b.onnx", "static takes no file: write static instead of static:b.onnx"),
        ("static,b.onnx", "no baseline called 'b.onnx'"),
        ("kcf,kcf", "two are called kcf"),
        ("vit:a/m.onnx,vit:a/m.onnx", "two are called vit"),
    ],
)
def test_wrong_lists(asked, said):
    with pytest.raises(UsageError, match=f"--baselines: {said}"):
        baselines.parse(asked.split(","))


def _field(number, payload):
    """A field of a protocol buffer that holds bytes."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def _other_network(path):
    """An ONNX file of one operation, x -> relu(x): a network, but no tracker's."""
    node = _field(1, b"x") + _field(2, b"y") + _field(4, b"Relu")
    shape = _field(2, 4 * _field(1, bytes([8, 4])))
    value = _field(2, _field(1, bytes([8, 1]) + shape))  # float32 (4, 4, 4, 4)
    graph = _field(1, node) + _field(2, b"g")
    graph += _field(11, _field(1, b"x") + value) + _field(12, _field(1, b"y") + value)
    opset = _field(8, bytes([16, 13]))
    path.write_bytes(bytes([8, 8]) + _field(7, graph) + opset)


def test_files_that_are_missing_damaged_or_of_another_tracker(tmp_path, capfd):
    cv2 = pytest.importorskip("cv2")
    other, damaged = tmp_path / "other.onnx", tmp_path / "damaged.onnx"
    _other_network(other)
    damaged.write_bytes(other.read_bytes()[:-20])
    cv2.dnn.readNet(str(other))  # it is a network
    for asked, said in (
        (f"vit:{tmp_path / 'no.onnx'}", "no.onnx: No such file or directory: check the path"),
        (f"vit:{tmp_path}", "a folder stands where a file is meant"),
        (f"nano:{other},{damaged}", "damaged.onnx is damaged or no network .*: fetch it again"),
        (f"vit:{other}", "other.onnx: not its networks, .*: write vit:MODEL.onnx"),
        (f"nano:{other},{other}", "not its networks, or not in this order .*: write nano:BACKBONE.onnx,HEAD.onnx"),
    ):
        (entry,) = baselines.parse(asked.split(","))
        capfd.readouterr()
        with pytest.raises(InputError, match=said) as raised:
            entry.build()
        assert "\n" not in str(raised.value) and capfd.readouterr().err == ""


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_trained_tracker_follows_the_patch(peers, version, capfd):
    folder = peers / "nanotrack"
    files = folder / f"{version}_backbone.onnx", folder / f"{version}_head.onnx"
    (entry,) = baselines.parse(f"nano:{files[0]},{files[1]}".split(","))
    outputs = _run(entry.build(), _video(step=1))
    assert abs(outputs[-1].box[0] - 45) < 5 and capfd.readouterr().err == ""
    assert entry.label == f"nano({version}_backbone)"
    # Other bytes are another run.
    (other,) = baselines.parse([f"nano:{files[1]}", str(files[0])])
    assert entry.run.startswith("baseline nano ") and entry.run != other.run
    with pytest.raises(InputError, match="not in this order"):
        other.build()

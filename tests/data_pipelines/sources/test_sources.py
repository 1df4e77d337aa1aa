import json
import pkgutil

import numpy as np
import pytest

from data_pipelines import annotations, loader, sources
from data_pipelines.sources import coco, frames, got10k, lasot, otb, trackingnet
from tests.data_pipelines import layouts
from trackers import errors
from trackers.errors import InputError

T = layouts.LENGTH


def test_got10k(tmp_path):
    source = got10k.open(layouts.got10k(tmp_path))
    assert source.is_video and source.names == ["GOT-10k_Train_000001", "GOT-10k_Train_000002"]
    first = source[0]
    np.testing.assert_allclose(first.boxes, layouts.boxes())
    assert first.frames[0].name == "00000001.jpg" and len(first.frames) == T
    assert np.flatnonzero(~first.visible).tolist() == [3, 5]  # absent, not covered by the image at all


def test_got10k_list_selects_and_the_split_folder_opens_itself(tmp_path):
    layouts.got10k(tmp_path)
    (tmp_path / "train" / "list.txt").write_text("GOT-10k_Train_000002\n")
    assert got10k.open(tmp_path).names == ["GOT-10k_Train_000002"]
    (tmp_path / "train" / "list.txt").unlink()
    assert len(got10k.open(tmp_path / "train")) == 2


def test_got10k_test_split_has_one_box(tmp_path):
    layouts.got10k(tmp_path, "test", ("GOT-10k_Test_000001",))
    (sequence,) = got10k.open(tmp_path, "test")
    assert sequence.boxes.shape == (1, 4) and sequence.truth_withheld and len(sequence) == T


def test_got10k_wrong_places(tmp_path):
    with pytest.raises(InputError, match="got10k: .*nowhere is not a folder; expected"):
        got10k.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no sequences in"):
        got10k.open(tmp_path)
    layouts.got10k(tmp_path)
    with pytest.raises(InputError, match="has no folder val"):
        got10k.open(tmp_path, "val")
    with pytest.raises(InputError, match="got10k has no split 'training': use one of train"):
        got10k.open(tmp_path, "training")
    (tmp_path / "train" / "list.txt").write_text("GOT-10k_Train_000009\n")
    with pytest.raises(InputError, match="sequence GOT-10k_Train_000009: no frames"):
        got10k.open(tmp_path)[0]


def test_got10k_flags_of_another_length(tmp_path):
    layouts.got10k(tmp_path)
    layouts.write_flags(tmp_path / "train" / "GOT-10k_Train_000001" / "cover.label", [8, 8])
    with pytest.raises(InputError, match=r"cover\.label has 2 values: expected 24"):
        got10k.open(tmp_path)[0]


def test_lasot(tmp_path, capsys):
    source = lasot.open(layouts.lasot(tmp_path))
    assert source.names == ["cat-2", "cat-4", "dog-10"]
    assert "so the train split is protocol II's, of which 3 are there" in capsys.readouterr().err
    sequence = source[2]
    np.testing.assert_allclose(sequence.boxes, layouts.boxes())
    assert np.flatnonzero(~sequence.visible).tolist() == [2, 4]  # occluded, out of view
    assert sequence.frames[23].name == "00000024.jpg"


def test_lasot_published_lists_make_the_splits(tmp_path, capsys):
    layouts.lasot(tmp_path, ("cat-1", "cat-2", "dog-10"))
    (tmp_path / "training_set.txt").write_text("dog-10\ncat-1\n")
    (tmp_path / "testing_set.txt").write_text("cat-2\n")
    assert lasot.open(tmp_path).names == ["dog-10", "cat-1"]
    assert lasot.open(tmp_path, "test").names == ["cat-2"]
    assert capsys.readouterr().err == ""
    (tmp_path / "testing_set.txt").write_text("cat-2\nfox-1\n")
    with pytest.raises(InputError, match=r"1 of the 2 sequences in .*testing_set\.txt .* the first is fox-1"):
        lasot.open(tmp_path, "test")


def test_lasot_own_sequences_are_one_split(tmp_path, capsys):
    layouts.lasot(tmp_path, ("cat-1", "drone_at_night-1"))
    assert lasot.open(tmp_path).names == lasot.open(tmp_path, "test").names == ["cat-1", "drone_at_night-1"]
    assert "so the train split is all 2 sequences" in capsys.readouterr().err


def test_lasot_wrong_places(tmp_path):
    with pytest.raises(InputError, match="lasot: no sequences in .*CATEGORY/SEQUENCE"):
        lasot.open(tmp_path)
    layouts.lasot(tmp_path)
    with pytest.raises(
        InputError, match=r"lasot: no test sequences of protocol II \(name others in testing_set.txt\) in"
    ):
        lasot.open(tmp_path, "test")
    (tmp_path / "cat" / "cat-2" / "full_occlusion.txt").unlink()
    with pytest.raises(InputError, match=r"full_occlusion\.txt is missing: expected 24 whole numbers"):
        lasot.open(tmp_path)[0]
    with pytest.raises(InputError, match="lasot has no split 'val'"):
        lasot.open(tmp_path, "val")


def test_lasot_published_annotations_parse(sequences):
    root = sequences / "annotations" / "LaSOT"
    if not root.is_dir():
        pytest.skip(f"no LaSOT annotations in {root}")
    folders = lasot.find(annotations.folder(root, "lasot", ""))
    assert len(folders) == 20
    hidden = total = 0
    for path in folders.values():
        boxes = annotations.read_boxes(path / "groundtruth.txt")
        flags = lasot.hidden(path, len(boxes))
        hidden, total = hidden + int(flags.sum()), total + len(boxes)
    assert (hidden, total) == (2456, 56486)


def test_trackingnet(tmp_path):
    source = trackingnet.open(layouts.trackingnet(tmp_path))
    assert source.names == ["aaa", "ccc", "bbb"]  # by part: 0, 2, 10
    assert source[0].frames[0].name == "0.jpg" and source[0].frames[10].name == "10.jpg"
    np.testing.assert_allclose(source[0].boxes, layouts.boxes())
    for root in (tmp_path, tmp_path / "TEST"):
        (sequence,) = trackingnet.open(root, "test")
        assert sequence.name == "ddd" and sequence.truth_withheld
    with pytest.raises(InputError, match="trackingnet: no train annotations in"):
        trackingnet.open(tmp_path / "TEST")
    with pytest.raises(InputError, match="trackingnet has no split 'val'"):
        trackingnet.open(tmp_path, "val")


def test_coco(tmp_path):
    source = coco.open(layouts.coco(tmp_path))
    assert not source.is_video and len(source) == 2  # neither the crowd nor the box without width
    assert [s.name for s in source] == ["2-3", "1-7"]
    assert source[0].frames[0].name == "000000000002.jpg" and source[0].frames[0].exists()
    np.testing.assert_array_equal(source[1].boxes, [[10.5, 8, 14, 12]])
    assert source[1].visible.tolist() == [True]


def test_coco_images_folder_and_val(tmp_path):
    layouts.coco(tmp_path, "val2017", "images/val2017")
    assert coco.open(tmp_path, "val")[0].frames[0].exists()
    with pytest.raises(InputError, match="train2017 is not a folder"):
        coco.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "instances_train2017.json:1: not JSON"),
        ("{}", "not COCO's instance annotations .KeyError"),
        ('{"images": [], "annotations": []}', "no objects in"),
        (
            '{"images": [], "annotations": [{"id": 1, "image_id": 5, "iscrowd": 0, "bbox": [1, 1, 2, 2]}]}',
            "names image 5, which is not listed",
        ),
    ],
)
def test_coco_malformed(tmp_path, text, message):
    layouts.coco(tmp_path)
    (tmp_path / "annotations" / "instances_train2017.json").write_text(text)
    with pytest.raises(InputError, match=message):
        coco.open(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bbox": [1, 1, float("nan"), 2]}, "NaN is not a number"),
        ({"bbox": [1, 1, 10**400, 2]}, "bbox"),
        ({"bbox": [1, 1, 1e200, 2]}, "annotation 1 has the bbox"),
        ({"bbox": [1, 1, True, 2]}, "annotation 1 has the bbox"),
        ({"bbox": [1, 1, "2", 2]}, "annotation 1 has the bbox"),
        ({"bbox": [1, 1, 2, 2, 2]}, "annotation 1 has the bbox"),
        ({"image_id": 0.4}, "annotation '1' of image '0.4': ids are whole numbers"),
        ({"image_id": "1"}, "ids are whole numbers"),
        ({"id": True}, "ids are whole numbers"),
        ({"iscrowd": "0"}, "iscrowd '0', not 0 or 1"),
    ],
)
def test_coco_values(tmp_path, changed, message):
    layouts.coco(tmp_path)
    images = [{"id": 0, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    row = {"id": 1, "image_id": 1, "iscrowd": 0, "bbox": [1, 1, 2, 2]} | changed
    file = tmp_path / "annotations" / "instances_train2017.json"
    file.write_text(json.dumps({"images": images, "annotations": [row]}))
    with pytest.raises(InputError, match=message) as caught:
        coco.open(tmp_path)
    assert file.name in str(caught.value) and "\n" not in str(caught.value)


def test_frames(tmp_path):
    source = frames.open(layouts.frames(tmp_path))
    assert source.names == ["first", "second"] and len(source[0]) == T
    (alone,) = frames.open(tmp_path / "second")
    np.testing.assert_array_equal(alone.boxes, source[1].boxes)
    (tmp_path / "notes").mkdir()
    assert len(frames.open(tmp_path, "test")) == 2
    with pytest.raises(InputError, match="no sequences in"):
        frames.open(tmp_path / "notes")
    with pytest.raises(InputError, match="frames has no split 'val'"):
        frames.open(tmp_path, "val")


@pytest.mark.parametrize("separator", [",", "\t", " "])
def test_otb_layout(tmp_path, separator):
    (sequence,) = frames.open(layouts.otb(tmp_path, separator=separator))
    assert sequence.name == "Bird" and sequence.frames[0].name == "0001.jpg"
    np.testing.assert_allclose(sequence.boxes, layouts.boxes())


def test_otb_several_targets_and_partly_annotated(tmp_path):
    layouts.otb(tmp_path, "Jogging", targets=(".1", ".2"))
    assert frames.open(tmp_path).names == ["Jogging.1", "Jogging.2"]
    layouts.otb(tmp_path, "Football1", length=80)
    layouts.write_boxes(tmp_path / "Football1" / "groundtruth_rect.txt", layouts.boxes(74))
    sequence = otb.open(tmp_path)[0]
    assert sequence.name == "Football1" and len(sequence) == 74 and sequence.frames[-1].name == "0074.jpg"
    with pytest.raises(InputError, match="sequence Football1: 80 frames in .* but 74 boxes"):
        frames.open(tmp_path)[0]


def test_source_indexing_and_caching(tmp_path):
    source = frames.open(layouts.frames(tmp_path))
    assert source[-1].name == "second" and [s.name for s in source[:1]] == ["first"]
    assert source[0] is source[0]
    with pytest.raises(IndexError, match="frames has 2 sequences, no number 2"):
        source[2]


def test_every_source_states_its_facts_and_can_be_opened():
    layouts_on_disk = {module.name for module in pkgutil.iter_modules(sources.__path__)}
    assert set(sources.on_disk()) == layouts_on_disk
    assert sources.on_disk("clips") == ["refer_kitti", "refer_dance"]
    for name in sources.MODULES:
        module = sources.find(name)
        assert module.FACTS.kind in loader.KINDS
        entrance = {"clips": "open_from", "pairs": "batches"}[module.FACTS.kind] if module.FACTS.procedural else "open"
        assert callable(getattr(module, entrance))


def test_open_sequences(tmp_path):
    benchmark, opened = sources.open_sequences(f"frames:{layouts.frames(tmp_path / 'f')}")
    assert benchmark == "frames" and [s.name for s in opened] == ["first", "second"]
    benchmark, opened = sources.open_sequences(f"otb:{layouts.otb(tmp_path / 'o')}")
    assert benchmark == "otb" and [s.name for s in opened] == ["Bird"]
    layouts.got10k(tmp_path / "g", "test", ("GOT-10k_Test_000001",))
    layouts.got10k(tmp_path / "g", "val", ("GOT-10k_Val_000001",))
    assert sources.open_sequences(f"got10k:{tmp_path / 'g'}")[1][0].truth_withheld
    assert sources.open_sequences(f"got10k:{tmp_path / 'g' / 'val'}")[1][0].name == "GOT-10k_Val_000001"
    layouts.trackingnet(tmp_path / "t")
    assert [s.name for s in sources.open_sequences(f"trackingnet:{tmp_path / 't'}")[1]] == ["ddd"]


@pytest.mark.parametrize("spec", ["mot17:/data", "lasot", "lasot:", "/data/lasot", ""])
def test_open_sequences_wrong_spec(spec):
    with pytest.raises(errors.UsageError, match="write NAME:PATH with NAME one of"):
        sources.open_sequences(spec)


def test_real_sequences(sequences):
    opened = frames.open(sequences / "sot")
    lengths = {s.name: len(s) for s in opened}
    assert len(lengths) == 8 and lengths["kfp__Car4"] == 300 and sum(lengths.values()) == 1098
    assert all(s.visible.all() and len(s.boxes) == len(s) for s in opened)

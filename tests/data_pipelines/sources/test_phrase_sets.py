import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_pipelines import phrase_annotations, sources
from tests.data_pipelines import layouts
from trackers.errors import InputError, UsageError

REFERENCE = Path(__file__).parents[2] / "reference" / "ikun_losses" / "manifest.json"


def boxes_of(video, track):
    rows = video.tracks.select(video.tracks.ids == track)
    return rows.frames, rows.boxes


def test_conversion_of_phrases_is_the_programs():
    recorded = json.loads(REFERENCE.read_text())["values"]["expression_conversion"]
    assert len(recorded) > 10
    assert {name: phrase_annotations.convert(name) for name in recorded} == recorded


@pytest.mark.parametrize(("split", "name"), [("train", "0001"), ("test", "0005")])
def test_refer_kitti(tmp_path, split, name):
    source = sources.open_source("refer_kitti", layouts.refer_kitti(tmp_path), split)
    assert source.names == [name]
    (video,) = source
    assert len(video) == layouts.LENGTH and video.load(video.frames[0]).shape == (layouts.HEIGHT, layouts.WIDTH, 3)
    assert video.frames[0].name == "000000.png"
    frames, boxes = boxes_of(video, 2)
    np.testing.assert_array_equal(frames, np.arange(1, layouts.LENGTH + 1))  # counted from 1, image 0 first
    # Written as fractions with eight decimals.
    np.testing.assert_allclose(boxes, [layouts.walk(2, t) for t in range(layouts.LENGTH)], atol=1e-6)
    assert [(p.name, p.text) for p in video.phrases] == [
        ("cars", "car"), ("left-vehicles", "left car"), ("persons", "pedestrian"),
    ]  # fmt: skip
    np.testing.assert_array_equal(video.phrases[1].meant, [(t + 1, 1) for t in range(layouts.LENGTH // 2)])
    assert video.phrases[2].meant.shape == (0, 2)


def test_frames_of_an_image_and_of_the_published_ground_truth(tmp_path):
    """Boxes drawn where the phrase was labeled, against TransRMOT's file, which takes them one image late."""
    (video,) = sources.open_source("refer_kitti", layouts.refer_kitti(tmp_path))
    phrase = video.phrases[1]
    right = phrase_annotations.ground_truth(video, phrase)
    published = phrase_annotations.ground_truth(video, phrase, "published")
    for truth, late in ((right, 0), (published, 1)):
        half = layouts.LENGTH // 2
        np.testing.assert_array_equal(truth.frames, np.arange(1, half + 1))
        np.testing.assert_allclose(truth.boxes, [layouts.walk(1, t + late) for t in range(half)], atol=1e-6)
    # In the last image the published rule finds no boxes.
    everyone = video.phrases[0]
    assert len(phrase_annotations.ground_truth(video, everyone)) == 2 * layouts.LENGTH
    assert len(phrase_annotations.ground_truth(video, everyone, "published")) == 2 * (layouts.LENGTH - 1)
    with pytest.raises(UsageError, match="frame convention 'mot': use image or published"):
        phrase_annotations.ground_truth(video, phrase, "mot")


def test_an_id_twice_in_a_label_file_counts_once_and_labels_may_lack_a_frame(tmp_path):
    layouts.refer_kitti(tmp_path)
    labels = tmp_path / "KITTI" / "labels_with_ids" / "image_02" / "0001"
    (labels / "000003.txt").write_text("0 1 0.5 0.5 0.25 0.25\n0 1 0.1 0.1 0.1 0.1\n0 2 0.5 0.5 0 0.25\n")
    (labels / "000004.txt").unlink()
    (video,) = sources.open_source("refer_kitti", tmp_path)
    frames, boxes = boxes_of(video, 1)
    assert 5 not in frames and boxes[frames == 4].tolist() == [[32, 24, 16, 12]]
    assert 4 not in boxes_of(video, 2)[0]  # without area


def test_frames_without_image_are_left_out_with_a_word(tmp_path, capsys):
    layouts.refer_kitti(tmp_path)
    layouts.write_phrase(tmp_path / "expression" / "0001", "red-cars", {"3": [1], "99": [1]})
    (video,) = sources.open_source("refer_kitti", tmp_path)
    assert video.phrases[-1].meant.tolist() == [[4, 1]]
    assert "red-cars.json: 1 frame without image, the first is 99: left out" in capsys.readouterr().err


def test_refer_dance_from_dancetrack(tmp_path):
    layouts.refer_dance(tmp_path)
    train, test = (sources.open_source("refer_dance", tmp_path, split) for split in ("train", "test"))
    assert (train.names, test.names) == (["dancetrack0001"], ["dancetrack0004"])
    frames, boxes = boxes_of(train[0], 1)
    np.testing.assert_array_equal(frames, np.arange(1, layouts.LENGTH + 1))
    np.testing.assert_array_equal(boxes, [layouts.walk(1, t) for t in range(layouts.LENGTH)])
    assert train[0].frames[0].name == "00000001.jpg"
    truth = phrase_annotations.ground_truth(train[0], train[0].phrases[0])
    np.testing.assert_array_equal(truth.boxes, boxes)


def test_refer_dance_as_it_is_packed_itself(tmp_path):
    layouts.refer_dance(tmp_path / "a")
    kitti = layouts.refer_kitti(tmp_path / "b", ("dancetrack0001", "dancetrack0004")) / "KITTI"
    shutil.rmtree(tmp_path / "a" / "train")
    shutil.rmtree(tmp_path / "a" / "val")
    kitti.rename(tmp_path / "a" / "DanceTrack")
    (tmp_path / "a" / "seqmap.txt").write_text("dancetrack0001+standing-person\n")
    (video,) = sources.open_source("refer_dance", tmp_path / "a", "test")
    assert video.name == "dancetrack0001" and len(video.tracks) == 2 * layouts.LENGTH


def filled(layout, root, split, published):
    """compare's line of a Source with as many videos and descriptions as `published`: {video: names}."""
    videos = {name: [phrase_annotations.Phrase(p, "", np.zeros((0, 2))) for p in of] for name, of in published.items()}
    full = [phrase_annotations.Video(name, [], None, tuple(phrases)) for name, phrases in videos.items()]
    counted = sources.open_source(layout, root, split).published
    return phrase_annotations.compare(sources.Source(layout, list(videos), full.__getitem__, published=counted))


def test_two_images_of_one_number_are_refused(tmp_path):
    images = layouts.refer_kitti(tmp_path) / "KITTI" / "training" / "image_02" / "0001"
    shutil.copy(images / "000001.png", images / "copy_1.png")
    with pytest.raises(InputError, match=r"has 000001.png and copy_1.png, both of number 1: keep one"):
        phrase_annotations.numbered(images)


def test_published_numbers_are_compared_in_a_line(tmp_path):
    dance, kitti = layouts.refer_dance(tmp_path / "d"), layouts.refer_kitti(tmp_path / "k")
    train = {str(video): [str(min(video, 38)), "38"] for video in range(40)}
    assert filled("refer_dance", dance, "train", train) == (
        "refer_dance: as the published training split: videos: 40, distinct descriptions: 39"
    )
    train["0"] = ["38"]
    assert filled("refer_dance", dance, "train", train) == (
        "refer_dance: differs from the published training split: distinct descriptions: 38 instead of 39"
    )
    test = {str(video): [str(i) for i in range(17)] for video in range(24)}
    assert filled("refer_dance", dance, "test", test) == (
        "refer_dance: differs from the published test split: videos: 24 instead of 25"
    )
    three, four = ({str(v): [str(i) for i in range(n)] for v, n in enumerate(of)} for of in ((50,) * 3, (200,) * 4))
    assert filled("refer_kitti", kitti, "test", three) == (
        "refer_kitti: as the test split of version 1: videos: 3, descriptions of a video: 150"
    )
    assert filled("refer_kitti", kitti, "test", four) == (
        "refer_kitti: differs from the test split of version 2: descriptions of a video: 800 instead of 861"
    )


def test_rows_that_do_not_count_are_left_out(tmp_path):
    file = tmp_path / "gt.txt"
    file.write_text("1,1,2,2,5,5,1,1,1\n1,2,2,2,5,5,0,1,1\n7,1,2,2,5,5,1,1,1\n2,1,2,2,0,5,1,1,1\n")
    tracks = phrase_annotations.read_mot(file, {1: 1, 2: 2})
    assert (tracks.frames.tolist(), tracks.ids.tolist()) == ([1], [1])


def test_real_files(sequences, tmp_path):
    """MOT17 and SportsMOT ground truth with published phrases, put together in Refer-Dance's layout."""
    name = "boxmot__MOT17-04-FRCNN-mini"
    (tmp_path / "train").mkdir()
    (tmp_path / "expression").mkdir()
    (tmp_path / "train" / name).symlink_to(sequences / "mot" / name)
    (tmp_path / "expression" / name).symlink_to(sequences / "mot" / name / "expression")
    (video,) = sources.open_source("refer_dance", tmp_path)
    assert len(video) == 8 and video.load(video.frames[0]).shape == (1080, 1920, 3)
    by_name = {phrase.name: phrase for phrase in video.phrases}
    truth = phrase_annotations.ground_truth(video, by_name["person-standing-on-sidewalk"])
    assert set(truth.ids.tolist()) <= {60, 68, 69} and len(truth) > 0
    assert truth.boxes[:, 2:].min() > 0 and truth.frames.max() == 8


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: shutil.rmtree(r / "expression"), "expression is not a folder; expected Refer-KITTI's expression"),
        (lambda r: shutil.rmtree(r / "KITTI" / "training"), "video 0001: no images in .*image_02/0001; expected Refer"),
        (
            lambda r: shutil.rmtree(r / "KITTI" / "labels_with_ids"),
            "labels_with_ids/image_02/0001 is missing: expected",
        ),
        (lambda r: (r / "expression/0001/cars.json").write_text("{"), "cars.json:1: not JSON"),
        (lambda r: (r / "expression/0001/cars.json").write_text("[]"), "cars.json: not a phrase"),
        (
            lambda r: (r / "expression/0001/cars.json").write_text('{"label": {"x": [1]}, "sentence": ""}'),
            "not a phrase",
        ),
        (
            lambda r: (r / "KITTI/labels_with_ids/image_02/0001/000002.txt").write_text("0 1 100 50 20 20\n"),
            "000002.txt:1: '0 1 100 50 20 20': expected lines of class id x y w h, the box as fractions",
        ),
        (
            lambda r: (r / "KITTI/labels_with_ids/image_02/0001/000002.txt").write_text("\n0 1 a\n"),
            "000002.txt:2: '0 1 a': expected lines",
        ),
        (
            lambda r: [f.unlink() for f in (r / "expression/0001").iterdir()],
            "no phrases in .*0001: expected PHRASE.json",
        ),
    ],
)
def test_damage_is_named_in_one_line(tmp_path, damage, message):
    damage(layouts.refer_kitti(tmp_path))
    with pytest.raises(InputError, match=message) as caught:
        sources.open_source("refer_kitti", tmp_path)[0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *('{"label": {"1": [1.7]}, "sentence": ""}', '{"label": {"1": [true]}, "sentence": ""}'),
        *('{"label": {"1": "12"}, "sentence": ""}', '{"label": {"1": ["12"]}, "sentence": ""}'),
        *('{"label": {"1_0": [1]}, "sentence": ""}', '{"label": {"１": [1]}, "sentence": ""}'),
        *('{"label": {"1": [1], "01": [2]}, "sentence": ""}', '{"label": {"1": [1], "1": [2]}, "sentence": ""}'),
        *('{"label": {"1": [NaN]}, "sentence": ""}', '{"label": {}, "sentence": 3}', "[" * 100_000),
    ],
)
def test_phrases_hold_whole_numbers(tmp_path, text):
    file = layouts.refer_kitti(tmp_path) / "expression" / "0001" / "cars.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"cars\.json") as caught:
        sources.open_source("refer_kitti", tmp_path)[0]
    assert "\n" not in str(caught.value)


def test_label_files_with_digits_of_other_scripts_are_left_alone(tmp_path):
    labels = layouts.refer_kitti(tmp_path) / "KITTI" / "labels_with_ids" / "image_02" / "0001"
    (labels / "²5.txt").write_text("nothing")
    sources.open_source("refer_kitti", tmp_path)[0]
    for line in ("0 1.5 0.1 0.1 0.1 0.1", "0 1 nan 0.1 0.1 0.1", "0 1_0 0.1 0.1 0.1 0.1"):
        (labels / "000002.txt").write_text(line)
        with pytest.raises(InputError, match=r"000002\.txt:1: "):
            sources.open_source("refer_kitti", tmp_path)[0]


@pytest.mark.parametrize("layout", ["refer_kitti", "refer_dance"])
def test_wrong_folders_and_splits(tmp_path, layout):
    with pytest.raises(InputError, match="has no split 'val'"):
        sources.open_source(layout, tmp_path, "val")
    with pytest.raises(InputError, match="is not a folder; expected Refer-"):
        sources.open_source(layout, tmp_path / "nowhere")
    (tmp_path / "expression").mkdir()
    with pytest.raises(InputError, match=f"{layout}: no train videos in"):
        sources.open_source(layout, tmp_path)


def test_refer_dance_without_its_videos(tmp_path):
    shutil.rmtree(layouts.refer_dance(tmp_path) / "train")
    with pytest.raises(InputError, match="video dancetrack0001: no folder of its images under"):
        sources.open_source("refer_dance", tmp_path)[0]
    (tmp_path / "train" / "dancetrack0001" / "img1").mkdir(parents=True)
    with pytest.raises(InputError, match="video dancetrack0001: no images in"):
        sources.open_source("refer_dance", tmp_path)[0]
    layouts.write_frames(tmp_path / "train" / "dancetrack0001" / "img1", 2)
    with pytest.raises(InputError, match=r"gt/gt.txt is missing: expected Refer-Dance"):
        sources.open_source("refer_dance", tmp_path)[0]


def _second_version(root):
    """Makes the phrases those of version 2, which has what a language model made of them, too."""
    for file in (root / "expression").rglob("*.json"):
        file.write_text(file.read_text().replace('"sentence"', '"raw_sentence": "the cars", "sentence"'))
    return root


def test_versions_of_refer_kitti_are_never_mixed(tmp_path):
    first = layouts.refer_kitti(tmp_path / "v1", videos=("0001", "0005"))
    second = _second_version(layouts.refer_kitti(tmp_path / "v2", videos=("0000", "0017", "0005", "0019")))
    assert sources.open_source("refer_kitti", first, "test").names == ["0005"]
    assert sources.open_source("refer_kitti", second, "test").names == ["0005", "0019"]
    assert sources.open_source("refer_kitti", second).names == ["0000", "0017"]
    (second / "expression" / "0019").rename(first / "expression" / "0019")
    with pytest.raises(
        InputError, match=r"v1/expression/0001/.*json is of version 1 and .*v1/expression/0019/.*version 2"
    ):
        sources.open_source("refer_kitti", first, "test")

import collections
import dataclasses

import numpy as np
import pytest

from configs import ikun
from data_pipelines import phrase_annotations, sources
from data_pipelines.procedural import people
from data_pipelines.procedural.people import bodies, cast, learn_merges, motion, scene
from trackers.errors import InputError, UsageError

SMALL = people.ReferringSetConfig(train_videos=3, test_videos=2, length=24, height=96, width=128)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "out"
    people.write_set(root, SMALL, 1)
    return root


def test_half_of_the_test_phrases_are_new():
    train, test = ({d.sentence for d in phrases} for phrases in (cast.TRAIN, cast.TEST))
    assert (len(train), len(test), len(test - train)) == (45, 17, 9)
    assert "dancing person with brown shirt and green shorts" in test - train
    assert {"person moving left", "standing person", "person with red hat"} <= train


def test_a_phrase_means_what_it_says():
    look = cast.Look("brown", "shorts", "green", cast.HAIR[0], cast.SKIN[0], None)
    description = cast.Description(motion="dancing", shirt="brown", garment="shorts", garment_color="green")
    assert description.sentence == "dancing person with brown shirt and green shorts"
    assert description.holds(look, "dancing", 0, 0.5)
    assert not description.holds(look, "walking", 1, 0.5)
    assert not cast.Description(garment="pants", garment_color="green").holds(look, "dancing", 0, 0.5)
    assert cast.Description(moving="left").holds(look, "walking", -1, 0.5)
    assert not cast.Description(moving="left").holds(look, "standing", 0, 0.5)
    assert cast.Description(side="right").holds(look, "standing", 0, 0.9)
    assert not cast.Description(side="right").holds(look, "standing", 0, 0.5)
    assert not cast.Description(hat="red").holds(look, "standing", 0, 0.5)


def test_a_video_is_a_function_of_seed_split_and_number():
    one, same, other = (scene.video(seed, "train", 1, SMALL) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.load(one.frames[3]), same.load(same.frames[3]))
    np.testing.assert_array_equal(one.tracks.boxes, same.tracks.boxes)
    assert (one.load(one.frames[3]) != other.load(other.frames[3])).any()
    kept = scene.video(5, "train", 1, dataclasses.replace(SMALL, cached_frames=2))
    for frame in (3, 4, 3, 5, 3):
        np.testing.assert_array_equal(kept.load(frame), one.load(frame))
    test = scene.video(5, "test", 1, SMALL)
    assert (one.name, test.name) == ("synthetic0002", "synthetic0005")
    assert (one.load(one.frames[3]) != test.load(test.frames[3])).any()


def test_boxes_hold_the_figures():
    """A lone figure's pixels, found by drawing it, touch all four sides of its box."""
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(30):
        look = cast.draw_cast(rng, 1, cast.TRAIN)[0]
        path = motion.draw_path(rng, 24, 200, 200)
        path.x[:] = 100
        frame = int(rng.integers(24))
        shapes = bodies.shapes_of(look, path, frame)
        mask = np.zeros((260, 260), np.uint8)
        bodies.paint(mask, shapes, 1)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        drawn = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        x, y, w, h = bodies.extent(shapes)
        worst = max(worst, np.abs(drawn - [x, y, x + w, y + h]).max())
    # Thickness is rounded to whole pixels, and ends of lines are cut in whole pixels.
    assert worst < 3


def test_hidden_people_have_no_box_and_covered_ones_no_phrase():
    config = people.ReferringSetConfig(length=16, height=96, width=128, pillar_probability=0.0)
    drawn = scene.draw_scene(0, "train", 0, config)
    (look, path), rest = drawn.people[0], drawn.people[1:]
    drawn.people[:] = [(look, path), (look, path), *rest]  # the same figure twice: the second covers the first
    shares, boxes = drawn.visible(0)
    np.testing.assert_array_equal(boxes[0], boxes[1])
    assert shares[0] == 0 and shares[1] > 0
    path.x[:] = -500
    assert drawn.visible(0)[0][1] == 0


def test_phrases_hold_in_the_frames_of_the_motion():
    """Read back from the boxes: whoever moves left has a box that goes left."""
    config = people.ReferringSetConfig(length=40)
    seen = 0
    for video in (scene.video(3, "train", number, config) for number in range(4)):
        phrase = next(p for p in video.phrases if p.sentence == "person moving left")
        boxes = {(f, t): b for f, t, b in zip(video.tracks.frames, video.tracks.ids, video.tracks.boxes, strict=True)}
        middle = {key: box[0] + box[2] / 2 for key, box in boxes.items()}
        meant = set(map(tuple, phrase.meant.tolist()))
        for frame, track in meant:
            # Over a whole swing of the legs, whose reach widens the box on either side.
            if all((frame + i, track) in meant for i in range(11)):
                assert middle[frame + 10, track] < middle[frame, track]
                seen += 1
    assert seen > 20


def test_written_set_reads_back(written):
    for split, count in (("train", 3), ("test", 2)):
        read = sources.open_source("refer_dance", written, split)
        assert len(read) == count
        originals = people.open_split(SMALL, 1, split)
        for video, original in zip(read, originals, strict=True):
            assert video.name == original.name and len(video) == SMALL.length
            np.testing.assert_array_equal(video.tracks.frames, original.tracks.frames)
            np.testing.assert_allclose(video.tracks.boxes, original.tracks.boxes, atol=0.006)  # two decimals
            for phrase, other in zip(video.phrases, original.phrases, strict=True):
                assert (phrase.name, phrase.sentence) == (other.name, other.sentence)
                np.testing.assert_array_equal(phrase.meant, other.meant)
            image = original.load(original.frames[5])
            difference = video.load(video.frames[5]).astype(int) - image
            assert np.abs(difference).mean() < 6  # JPEG


def test_written_ground_truth_lists_every_phrase_of_the_test_videos(written):
    lines = (written / "seqmap.txt").read_text().split()
    assert len(lines) == 2 * 17
    for line in lines:
        video, _, phrase = line.partition("+")
        assert (written / "gt_template" / video / phrase / "gt.txt").exists()
    video = sources.open_source("refer_dance", written, "test")[0]
    phrase = max(video.phrases, key=lambda p: len(p.meant))
    text = (written / "gt_template" / video.name / phrase.name / "gt.txt").read_text()
    assert len(text.splitlines()) == len(phrase_annotations.ground_truth(video, phrase)) == len(phrase.meant)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(InputError, match="is not empty: name a new folder"):
        people.write_set(tmp_path, SMALL, 1)


def test_vocabulary_makes_every_word_one_token():
    assert people.VOCABULARY.read_text() == learn_merges.merges_text()
    merges = [tuple(line.split()) for line in learn_merges.merges_text().splitlines()[1:]]
    assert len(set(merges)) == len(merges)
    words = {word for d in (*cast.TRAIN, *cast.TEST) for word in d.sentence.split()}
    for word in words:
        parts = (*word[:-1], word[-1] + "</w>")
        for pair in merges:  # in order of rank, as byte-pair encoders apply them
            parts = learn_merges._apply(parts, pair)
        assert parts == (word + "</w>",), word


def test_merges_prefer_what_is_frequent():
    merges = learn_merges.learn_merges(collections.Counter({"ab": 1, "cd": 5}))
    assert merges == [("c", "d</w>"), ("a", "b</w>")]
    assert learn_merges.learn_merges({"a": 3}) == []


@pytest.mark.parametrize("variant", ikun.get_config.variants)
def test_configs_name_every_field(variant):
    config = ikun.get_config(variant)
    read = people.ReferringSetConfig.from_config(config)
    assert set(config.data.synthetic_referring) == {field.name for field in dataclasses.fields(read)}
    if "tiny" not in variant:
        assert read == people.ReferringSetConfig()


def test_wrong_settings():
    with pytest.raises(UsageError, match="must be at least 1"):
        people.ReferringSetConfig(people=(3, 2))
    with pytest.raises(UsageError, match="8x320 frames; give 32 or more"):
        people.ReferringSetConfig(height=8)
    with pytest.raises(InputError, match="has no split 'val'"):
        people.open_split(SMALL, 1, "val")

"""Each benchmark read from a tiny tree in its published layout."""

import re

import numpy as np
import pytest

from configs import grm
from data_pipelines import loader, pairs, published, regions, sources
from tests.data_pipelines import benchmark_layouts, layouts
from trackers.errors import InputError, UsageError
from trackers.evaluation import benchmark
from trackers.io import image_files

T, BOXES = benchmark_layouts.T, benchmark_layouts.whole()


def _open(name, root, split="test"):
    return {sequence.name: sequence for sequence in sources.open_source(name, root, split)}


def _hidden(sequence):
    return np.flatnonzero(~sequence.visible).tolist()


def test_lasot_leaves_surplus_images_out_and_takes_protocol_two(tmp_path, capsys):
    root = benchmark_layouts.lasot(tmp_path)
    found = _open("lasot", root)
    assert list(found) == ["monkey-17", "tiger-6"]
    said = capsys.readouterr().err
    assert said.count("\n") == 2 and "protocol II's, of which 2 are there" in said
    assert re.search(r"sequence monkey-17: 2 of 6 images in .*img have no box: left out\n", said)
    monkey = found["monkey-17"]
    assert len(monkey) == T and [p.name for p in monkey.frames] == [f"{t:08d}.jpg" for t in range(1, T + 1)]
    assert _hidden(monkey) == [1, 2] and _hidden(found["tiger-6"]) == [1, 2]
    np.testing.assert_array_equal(monkey.boxes[[0, 3]], BOXES[[0, 3]])
    assert list(_open("lasot", root, "train")) == ["tiger-5"]
    # Said once in a run. Flags of all images do as well as flags of all boxes.
    for name, frame in (("full_occlusion", 1), ("out_of_view", 2)):
        layouts.write_flags(root / "monkey" / "monkey-17" / f"{name}.txt", [t in (frame, 5) for t in range(6)], ",")
    assert _hidden(_open("lasot", root)["monkey-17"]) == [1, 2]
    assert capsys.readouterr().err.count("monkey-17") == 0


def test_lasot_counts_from_zero_where_that_is_asked_for(tmp_path):
    root = benchmark_layouts.lasot(tmp_path)
    shifted = _open("lasot", f"{root},origin=zero")["monkey-17"].boxes
    np.testing.assert_array_equal(shifted[[0, 3]], BOXES[[0, 3]] - [1, 1, 0, 0])
    np.testing.assert_array_equal(shifted[2], [0, 0, 0, 0])  # absent stays absent
    with pytest.raises(UsageError, match=r"lasot: origin=one is no option of it; it has origin=published\|zero$"):
        _open("lasot", f"{root},origin=one")
    with pytest.raises(UsageError, match="coco: origin=zero is no option of it; it has none$"):
        sources.open_source("coco", f"{root},origin=zero")


def test_lasot_boxes_beyond_the_images_are_damage_but_for_those_known(tmp_path, capsys):
    root = benchmark_layouts.lasot(tmp_path / "a")
    (root / "tiger" / "tiger-6" / "img" / "00000004.jpg").unlink()
    with pytest.raises(InputError, match="sequence tiger-6: 3 frames in .* but 4 boxes in"):
        _open("lasot", root)
    known = tmp_path / "b"
    (root / "tiger" / "tiger-6").rename(known)
    (root / "bus").mkdir()
    known.rename(root / "bus" / "bus-5")
    (root / "bus" / "bus-5").rename(root / "bus" / "bus-4")
    (root / "training_set.txt").write_text("bus-4\n")
    assert len(_open("lasot", root, "train")["bus-4"]) == 3
    assert "1 of 4 boxes in" in capsys.readouterr().err


def test_lasot_ext(tmp_path, capsys):
    (sequence,) = _open("lasot_ext", benchmark_layouts.lasot_ext(tmp_path)).values()
    assert sequence.name == "jianzi-3" and _hidden(sequence) == [1]
    assert capsys.readouterr().err == ""  # it has no lists


def test_tnl2k(tmp_path, capsys):
    root = benchmark_layouts.tnl2k(tmp_path)
    found = _open("tnl2k", root)
    assert sorted(found) == sorted(p.name for p in root.iterdir())
    assert found["Arrow Video_ZZ04_done"].frames[3].name == "00004.png" and found["INF_run1"].frames[0].exists()
    mended = found["test_015_Sord_video_Q01_done"]
    assert [p.name for p in mended.frames] == ["00000490.png", "00000491.png", "00000491.png", "00000493.png"]
    np.testing.assert_array_equal(mended.boxes, BOXES)
    lacking = found["Fight_video_6-Done"]
    assert [p.name for p in lacking.frames] == ["00001.png", "00003.png", "00004.png"]
    np.testing.assert_array_equal(lacking.boxes, BOXES[[0, 2, 3]])
    said = capsys.readouterr().err
    assert "00000492.png is cut short" in said and "the frame before it takes its place" in said
    assert "so the test split is all 4 sequences\n" in said
    (root / "TNL2K_testing_set.txt").write_text("INF_run1\n")
    (root / "annos" / "absent").mkdir(parents=True)
    (root / "annos" / "absent" / "INF_run1.txt").write_text("0 \n1 \n0 \n0 \n")
    (only,) = _open("tnl2k", root).values()
    assert _hidden(only) == [1]
    # What the one list holds out the other split does not have.
    assert "INF_run1" not in (rest := _open("tnl2k", root, "train")) and len(rest) == 3
    assert "all 3 sequences but those of TNL2K_testing_set.txt" in capsys.readouterr().err


def test_tnl2k_sequence_without_any_image_is_left_out_where_that_is_known(tmp_path, capsys):
    root = benchmark_layouts.tnl2k(tmp_path)
    for name in ("Fight_video_6-Done", "INF_run1"):
        for image in (root / name / "imgs").iterdir():
            image.unlink()
    with pytest.raises(InputError, match="sequence INF_run1: no frames in"):
        _open("tnl2k", root)
    assert "tnl2k: Fight_video_6-Done has no images" in capsys.readouterr().err


def test_uav123_takes_the_range_of_each_sequence(tmp_path, capsys):
    root = benchmark_layouts.uav123(tmp_path)
    found = _open("uav123", root)
    assert list(found) == ["bike1", "bird1_2"]
    bird = found["bird1_2"]
    assert [p.name for p in bird.frames] == [f"{n:06d}.jpg" for n in range(775, 775 + T)]
    assert np.isnan(bird.boxes[2]).all() and _hidden(bird) == [2]
    assert "sequence bird1_2: 4 boxes in " in (said := capsys.readouterr().err) and "703 were published" in said
    (long,) = _open("uav20l", root).values()
    assert long.name == "bike1" and len(long) == T
    (root / "data_seq" / "UAV123" / "bird1" / "000778.jpg").unlink()
    with pytest.raises(InputError, match=r"bird1_2: 3 frames numbered 775 to 778 in .* but 4 boxes in .*bird1_2\.txt"):
        _open("uav123", root)
    # As many images as boxes, but others.
    for image in (root / "data_seq" / "UAV123" / "bird1").iterdir():
        image.unlink()
    layouts.write_frames(root / "data_seq" / "UAV123" / "bird1", T, "{:06d}.jpg")
    with pytest.raises(InputError, match="bird1_2: 0 frames numbered 775 to 778 in"):
        _open("uav123", root)


def test_nfs_as_published(tmp_path):
    root = benchmark_layouts.nfs(tmp_path)
    for options in ("", ",fps=240"):
        (sequence,) = _open("nfs", f"{root}{options}").values()
        np.testing.assert_array_equal(sequence.boxes, BOXES)  # corners are not sizes
        assert _hidden(sequence) == [2] and len(sequence) == T
    assert _open("nfs", root)["airboard_1"].frames[0].parent.parent.name == "30"
    # The last lines of a file may be lacking, as long as every eighth is there.
    file = root / "airboard_1" / "30" / "airboard_1.txt"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[: 8 * T - 7]))
    np.testing.assert_array_equal(_open("nfs", root)["airboard_1"].boxes, BOXES)
    # One more image than boxes is how some were published; two are not.
    folder = root / "airboard_1" / "240" / "airboard_1"
    layouts.write_frames(folder, 1, "{:05d}.jpg", T + 1)
    assert len(_open("nfs", f"{root},fps=240")["airboard_1"]) == T
    layouts.write_frames(folder, 1, "{:05d}.jpg", T + 2)
    with pytest.raises(InputError, match="airboard_1: 6 frames in .* but 4 boxes in"):
        _open("nfs", f"{root},fps=240")
    (root / "airboard_1" / "30" / "airboard_1.txt").write_text("0 1 2 3\n")
    with pytest.raises(InputError, match=r"30/airboard_1\.txt:1: '0 1 2 3': expected lines track xmin"):
        _open("nfs", root)


def test_nfs_as_repacked(tmp_path):
    root = benchmark_layouts.nfs_repacked(tmp_path)
    (sequence,) = _open("nfs", root).values()
    assert sequence.name == "Skiing_red" and sequence.visible.all()
    np.testing.assert_array_equal(sequence.boxes, BOXES)
    with pytest.raises(InputError, match="nfs: .* is pytracking's copy, which has 30 frames a second, not 240"):
        _open("nfs", f"{root},fps=240")


def test_otb(tmp_path):
    root = benchmark_layouts.otb(tmp_path)
    found = _open("otb", root)
    assert list(found) == ["BlurCar1", "Board", "David", "Human4", "Jogging.1", "Jogging.2", "Tiger1"]
    assert [p.name for p in found["David"].frames] == [f"{n:04d}.jpg" for n in range(300, 300 + T)]
    assert found["BlurCar1"].frames[0].name == "0247.jpg" and found["Board"].frames[0].name == "00001.jpg"
    assert all(np.array_equal(found[name].boxes, BOXES) for name in found if name != "Tiger1")
    assert len(found["Tiger1"]) == T + 5
    omitted = _open("otb", f"{root},tiger1=6,origin=zero")
    assert omitted["Tiger1"].frames[0].name == "0006.jpg" and len(omitted["Tiger1"]) == T
    np.testing.assert_array_equal(omitted["Tiger1"].boxes, benchmark_layouts.whole(T + 5)[5:] - [1, 1, 0, 0])
    assert len(omitted["Board"]) == T
    layouts.write_frames(root / "Diving" / "img", 6, "{:04d}.jpg")
    benchmark_layouts.lines(root / "Diving" / "groundtruth_rect.txt", BOXES)
    assert len(_open("otb", root)["Diving"]) == T
    # Elsewhere images without boxes are damage.
    layouts.write_frames(root / "Board" / "img", 1, "{:05d}.jpg", T + 1)
    with pytest.raises(InputError, match="sequence Board: 5 frames .* but 4 boxes"):
        _open("otb", root)


def test_avist(tmp_path):
    root = benchmark_layouts.avist(tmp_path)
    (sequence,) = _open("avist", root).values()
    assert _hidden(sequence) == [1, 2] and sequence.frames[0].name == "img_00001.jpg"
    (root / "out_of_view" / "animals_in_grass_out_of_view.txt").unlink()
    with pytest.raises(InputError, match=r"animals_in_grass_out_of_view\.txt is missing: expected 4 whole numbers"):
        _open("avist", root)


def test_vasttrack(tmp_path, capsys):
    root = benchmark_layouts.vasttrack(tmp_path)
    found = _open("vasttrack", root)
    assert list(found) == ["Crossbody Backpack-31", "T-shirt-2"]
    assert all(_hidden(sequence) == [1] for sequence in found.values())
    assert "the test split is all 2 sequences" in capsys.readouterr().err
    listing = tmp_path / "vasttrack_test_list.txt"
    listing.write_text("T-shirt-2\nNot here-1\n")
    assert list(_open("vasttrack", root)) == ["T-shirt-2"]
    assert list(_open("vasttrack", root, "train")) == ["Crossbody Backpack-31"]
    listing.rename(tmp_path.parent / "list.txt")
    shifted = _open("vasttrack", f"{root},list={tmp_path.parent / 'list.txt'},origin=zero")
    np.testing.assert_array_equal(shifted["T-shirt-2"].boxes[[0, 1]], [BOXES[0] - [1, 1, 0, 0], [0] * 4])


def test_trek150(tmp_path):
    (sequence,) = _open("trek150", benchmark_layouts.trek150(tmp_path)).values()
    assert sequence.name == "P01-P01_03-188" and _hidden(sequence) == [3]
    assert sequence.frames[0].name == "frame_0000005641.jpg"


def test_vot(tmp_path):
    root = benchmark_layouts.vot(tmp_path)
    found = _open("vot", root)
    assert list(found) == ["ants1", "cat-vots.1", "cat-vots.2", "bag2013"]
    ants = found["ants1"]
    assert _hidden(ants) == [2] and ants.frames[0].parent.name == "color"
    np.testing.assert_array_equal(ants.boxes, [BOXES[0], [10, 10, 20, 20], [0] * 4, BOXES[3]])
    # pytracking's rule: edges of sqrt(200), so half of the box's area, its sides shrunk alike and a pixel wider.
    side = 20 * np.sqrt(200 / 400) + 1
    by_area = _open("vot", f"{root},box=area")["ants1"].boxes[1]
    np.testing.assert_allclose(by_area, [20 - side / 2, 20 - side / 2, side, side])
    np.testing.assert_array_equal(found["cat-vots.1"].boxes[[0, 1, 3]], [[11, 8, 2, 2]] * 3)
    # A target that appears later starts there.
    late = found["cat-vots.2"]
    assert len(late) == T - 1 and late.frames[0].name == "00000002.jpg" and _hidden(late) == [1]
    assert found["bag2013"].frames[0].parent.name == "bag2013"
    (root / "sequences" / "cat-vots" / "groundtruth_1.txt").write_text("m10,8,4,3,1,2,2,2,5\n")
    assert _open("vot", root / "sequences")["cat-vots.1"].truth_withheld


@pytest.mark.parametrize("runs", [[], [12], [0, 12], [3, 1], [2, 4, 6], [0, 1, 4, 1, 5, 1], [1, 0, 5, 2], [4, 4, 3, 1]])
def test_boxes_of_masks_are_those_of_their_pixels(tmp_path, runs):
    (tmp_path / "truth.txt").write_text(f"m{','.join(map(str, [5, 7, 4, 3, *runs]))}\n")
    pixels = np.zeros(12, bool)
    position = 0
    for place, run in enumerate(runs):
        pixels[position : position + run] = place % 2 == 1
        position += run
    rows, columns = np.nonzero(pixels.reshape(3, 4))
    expected = [0] * 4
    if len(rows):
        expected = [5 + columns.min(), 7 + rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    np.testing.assert_array_equal(regions.read(tmp_path / "truth.txt"), [expected])


@pytest.mark.parametrize(
    "line", ["m1,2,3", "m1,2,3,4,13", "m1,2,3,4,-1", "m1,2,3,x", "2", "1,2,3", "1,2,3,4,5", "a,b", ""]
)
def test_a_line_that_is_no_region_is_named(tmp_path, line):
    (tmp_path / "truth.txt").write_text(f"1,2,3,4\n{line}\n0\n")
    with pytest.raises(InputError, match=r"truth\.txt:2: .*expected a region a line"):
        regions.read(tmp_path / "truth.txt")


@pytest.mark.parametrize("head", [None, "frame,x,y,w,h"])
def test_videos(tmp_path, head):
    root = benchmark_layouts.videos(tmp_path, head=head)
    (sequence,) = _open("videos", root).values()
    assert _hidden(sequence) == ([1] if head else [])
    # In any order; each frame has its color.
    for t in (2, 0, 3, 1):
        frame = image_files.read_image(sequence.frames[t])
        assert frame.shape == (layouts.HEIGHT, layouts.WIDTH, 3)
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), [200 - 20 * t, 40, 20 * t], atol=2)


def test_videos_with_another_number_of_boxes(tmp_path):
    root = benchmark_layouts.videos(tmp_path)
    benchmark_layouts.lines(root / "walk.csv", benchmark_layouts.whole(3))
    with pytest.raises(InputError, match=r"walk: 4 frames in .* but 3 boxes in .*walk\.csv; give one for each"):
        _open("videos", root)
    (root / "walk.csv").write_text("frame,x,y,w,h\n1,2,3,4,5\n1,2,3,4,5\n")
    with pytest.raises(InputError, match=r"walk\.csv:3: '1,2,3,4,5': expected frame,x,y,w,h"):
        _open("videos", root)
    (root / "walk.csv").write_text("x,y,w,h,x\n1,2,3,4,5\n")
    with pytest.raises(InputError, match=r"walk\.csv:1: two columns are named x: keep one"):
        _open("videos", root)


def test_mot17_tracks(tmp_path):
    found = _open("mot17", benchmark_layouts.mot17(tmp_path), "train")
    assert list(found) == ["MOT17-02.7", "MOT17-02.9"]  # one copy, pedestrians that count
    assert _hidden(found["MOT17-02.7"]) == [1]
    late = found["MOT17-02.9"]
    assert [p.name for p in late.frames] == ["000003.jpg", "000004.jpg"] and late.visible.all()
    np.testing.assert_array_equal(late.boxes, BOXES[2:])


def test_dancetrack_tracks(tmp_path):
    root = benchmark_layouts.dancetrack(tmp_path)
    (sequence,) = _open("dancetrack", root, "val").values()
    assert sequence.name == "dancetrack0004.0" and len(sequence) == T and _hidden(sequence) == [1]
    np.testing.assert_array_equal(sequence.boxes[2:], BOXES[2:])
    with pytest.raises(InputError, match="dancetrack has no split 'test': use one of train, val"):
        _open("dancetrack", root)
    file = root / "val" / "dancetrack0004" / "gt" / "gt.txt"
    file.write_text("1,0,1,2,3,4,1,1,x\n")
    with pytest.raises(InputError, match=r"gt\.txt:1: '1,0,1,2,3,4,1,1,x': expected lines frame,id"):
        _open("dancetrack", root, "val")


def test_got10k_without_what_vot_forbids(tmp_path):
    names = [f"GOT-10k_Train_{n:06d}" for n in (3, 4, 5, 13)]
    root = layouts.got10k(tmp_path, names=names, length=1)
    assert sources.open_source("got10k", f"{root},exclude=vot").names == [names[0], names[2]]
    listing = tmp_path / "split.txt"
    listing.write_text("2\n0\n")  # from 0, as pytracking counts
    assert sources.open_source("got10k", f"{root},list={listing}").names == [names[2], names[0]]
    listing.write_text("4\n")
    with pytest.raises(InputError, match=r"split\.txt has the number 4, and the split has 4 sequences from 0 on"):
        sources.open_source("got10k", f"{root},list={listing}")
    listing.write_text(f"{names[1]}\n")
    assert sources.open_source("got10k", f"{root},list={listing}").names == [names[1]]
    with pytest.raises(InputError, match="got10k: no sequences that VOT allows in"):
        sources.open_source("got10k", f"{root},list={listing},exclude=vot")


def test_published_lists_have_the_published_sizes():
    assert len(published.GOT10K_FORBIDDEN) == 1000 and len(published.OTB) == 98 and len(published.NFS) == 100
    assert (len(published.LASOT_TRAIN), len(published.LASOT_TEST)) == (1120, 280)
    assert len(published.UAV123) == 123 and len({r.folder for r in published.UAV123.values()}) == 91
    assert len(published.UAV20L) == 20 and all(r.first == 1 for r in published.UAV20L.values())


@pytest.mark.parametrize("name", [*benchmark_layouts.BENCHMARKS, "mot17", "dancetrack", "trackingnet", "got10k"])
def test_another_layout_is_one_line_with_the_expected_one(tmp_path, name):
    module = sources.LAYOUTS.get(name, name)
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError) as caught:
            sources.open_sequences(f"{name}:{root}") if name in sources.LAYOUTS else sources.open_source(module, root)
        message = str(caught.value)
        assert message.startswith(f"{module}: ") and str(root) in message and "; expected " in message
        assert "\n" not in message


@pytest.mark.parametrize("name", list(benchmark_layouts.BENCHMARKS))
def test_truth_scored_against_itself_by_every_toolkit(tmp_path, name):
    """Frames without target are left out or counted as each benchmark has it, and no toolkit refuses the truth."""
    spec = f"{name}:{benchmark_layouts.BENCHMARKS[name](tmp_path)}"
    found, sequences = sources.open_sequences(spec)
    assert found == name and sequences
    benchmark.check_starts(sequences, image_files.read_image)
    # What a tracker that is right says: it must say something where the target is away.
    boxes = {s.name: np.where(s.visible[:, None], s.boxes, s.boxes[:1]) for s in sequences}
    scores = benchmark.score(name, sequences, boxes, {s.name: (layouts.WIDTH, layouts.HEIGHT) for s in sequences})
    assert not [score["error"] for score in scores.values() if "error" in score]
    shown = sum(int(s.visible[1:].sum()) for s in sequences)
    assert scores["got10k"]["overall"].frames == shown and scores["got10k"]["overall"].values["AO"] == pytest.approx(1)
    parts = scores["pytracking"]["sequences"]
    assert [parts[s.name].frames for s in sequences] == [int(s.visible.sum()) for s in sequences]
    expected = [s.visible.mean() if name == "avist" else 1 for s in sequences]
    np.testing.assert_allclose([parts[s.name].values["OP50"] for s in sequences], expected)


def test_every_source_on_disk_draws_its_layout():
    for name in sources.on_disk():
        lines = sources.tree(name).splitlines()
        assert lines and all("/" in line for line in lines) and lines[0].startswith("ROOT/"), name


def test_old_names_of_benchmarks_take_plain_folders_too(tmp_path):
    root = layouts.frames(tmp_path, length=2)
    for name in ("uav", "nfs", "avist", "otb", "frames"):
        assert [s.name for s in sources.open_sequences(f"{name}:{root}")[1]] == ["first", "second"]
    (sequence,) = sources.open_sequences(f"nfs:{benchmark_layouts.nfs(tmp_path / 'nfs')},fps=240")[1]
    assert sequence.frames[0].parent.parent.name == "240"


def test_every_set_can_be_trained_on_in_one_mixture(tmp_path, capsys):
    config = grm.get_config("tiny")
    builders = benchmark_layouts.BENCHMARKS | {
        "mot17": benchmark_layouts.mot17,
        "dancetrack": benchmark_layouts.dancetrack,
    }
    names = [name for name in sources.on_disk("pairs") if name in builders and name != "lasot"]
    for name in config.data.ratio:
        config.data.ratio[name] = float(name in names)
    for name in names:
        config.data[name] = str(builders[name](tmp_path / name, length=20))
    config.data.lasot = str(tmp_path)
    config.data.otb += ",tiger1=6"
    opened = [sources.open_from(config, name) for name in names]
    assert all(any(pairs.usable(source, sequence) for sequence in source) for source in opened)
    batch = next(loader.batches(config, 0, range(24)))
    assert batch["search"].shape == (24, 64, 64, 3) and np.isfinite(batch["search_box"]).all()
    said = capsys.readouterr().err
    assert f"lasot: nothing is drawn from {tmp_path}, as config.data.ratio.lasot is 0" in said

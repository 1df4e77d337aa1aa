import itertools

import ml_collections
import numpy as np
import pytest

from data_pipelines import clips, loader, sampling, sources
from data_pipelines.procedural import people
from data_pipelines.text import Tokenizer
from tests.data_pipelines import layouts
from trackers.errors import InputError


def make_config(root=None, **ratio):
    data = {
        "name": "clips",
        "ratio": dict.fromkeys(("refer_kitti", "refer_dance", "synthetic_referring", "frames"), 0.0) | ratio,
        "vocabulary": "",
        "threads": 2,
        "prefetch_batches": 1,
        "frames": "",
        "synthetic_referring": {"train_videos": 2, "test_videos": 2, "length": 20, "height": 48, "width": 64},
    }
    data |= {name: str(root / name) if root else "" for name in sources.on_disk("clips")}
    return ml_collections.ConfigDict({"seed": 3, "data": data, "model": {"local_size": 16, "global_size": 24}})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("words")
    layouts.refer_kitti(root / "refer_kitti")
    layouts.refer_dance(root / "refer_dance")
    return root


@pytest.fixture
def both(root):
    config = make_config(root, refer_kitti=3.0, refer_dance=1.0)
    config.data.vocabulary = str(people.VOCABULARY)
    return config


def take(iterator, count):
    return list(itertools.islice(iterator, count))


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])


def test_batches_are_the_clips_of_their_rows(both):
    (batch,) = take(loader.batches(both, 5, range(3, 7)), 1)
    assert {name: (value.shape, value.dtype.name) for name, value in batch.items()} == {
        "local": ((4, 2, 16, 16, 3), "uint8"),
        "global": ((4, 2, 24, 24, 3), "uint8"),
        "tokens": ((4, 77), "int32"),
        "target": ((4,), "float32"),
    }
    settings = clips.ClipConfig.from_config(both)
    opened = [sources.open_from(both, name) for name in ("refer_kitti", "refer_dance")]
    groups = [[i for video in source for i in clips.identities(video, settings)] for source in opened]
    texts = sorted({text for group in groups for identity in group for text in identity.texts})
    tokens = dict(zip(texts, Tokenizer(people.VOCABULARY)(texts), strict=True))
    for place, row in enumerate(range(3, 7)):
        expected = clips.clip(groups, [3.0, 1.0], settings, tokens, both.seed, 5, row)
        for name, value in expected.items():
            np.testing.assert_array_equal(batch[name][place], value)


def test_start_rows_and_threads_do_not_change_the_batches(both):
    whole = take(loader.batches(both, 0, range(6)), 3)
    (later,) = take(loader.batches(both, 2, range(6)), 1)
    assert_equal(later, whole[2])
    both.data.threads = 1
    parts = [take(loader.batches(both, 0, rows), 2) for rows in (range(0, 4), range(4, 6))]
    for step in range(2):
        assert_equal({n: np.concatenate([part[step][n] for part in parts]) for n in whole[step]}, whole[step])


def test_validation_is_of_the_test_videos(both, monkeypatch):
    seen = []
    identities = clips.identities
    monkeypatch.setattr(clips, "identities", lambda video, config: seen.append(video.name) or identities(video, config))
    take(loader.batches(both, 0, range(2), split="validation"), 1)
    assert set(seen) == {"0005", "dancetrack0004"}


def test_synthetic_needs_neither_files_nor_vocabulary():
    config = make_config(synthetic_referring=1.0)
    batch, again = (next(loader.batches(config, 0, range(16))) for _ in range(2))
    assert_equal(batch, again)
    assert set(batch["target"].tolist()) == {0.0, 1.0}
    texts = clips.phrases_by_tokens(config)
    assert len(texts) == 45 and all(tuple(row.tolist()) in texts for row in batch["tokens"])
    with config.unlocked():
        config.data.positive_share = 1.0
    assert next(loader.batches(config, 0, range(16)))["target"].min() == 1
    assert set(next(loader.batches(config, 0, range(2), split="validation"))) == set(batch)


def test_seeds_make_other_clips(both):
    one, other = (next(loader.batches(both, 0, range(4), seed=seed)) for seed in (1, 2))
    assert (one["local"] != other["local"]).any()
    assert sampling.generator(1, 0, 0).random() != sampling.generator(2, 0, 0).random()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.data.update(vocabulary=""), "config.data.vocabulary is not set: give CLIP's merges file"),
        (lambda c: c.data.update(vocabulary="/nowhere/merges.gz"), "vocabulary /nowhere/merges.gz does not exist"),
        (lambda c: c.data.update(refer_kitti=""), "its folder is not set: give --config.data.refer_kitti=FOLDER"),
        (lambda c: c.data.ratio.update(frames=1.0), "synthetic_referring mix with each other only"),
        (lambda c: c.data.update(clip_window=24), "no object of the train split is meant by a phrase in more than 24"),
    ],
)
def test_wrong_settings(both, change, message):
    with both.unlocked():
        change(both)
    with pytest.raises(InputError, match=message):
        loader.batches(both, 0, range(2))


def test_a_phrase_that_is_too_long_is_named(tmp_path):
    layouts.refer_dance(tmp_path / "refer_dance")
    folder = tmp_path / "refer_dance" / "expression" / "dancetrack0001"
    layouts.write_phrase(folder, "v-" * 80 + "red", {"1": [1]})
    config = make_config(tmp_path, refer_dance=1.0)
    config.data.vocabulary = str(people.VOCABULARY)
    with pytest.raises(InputError, match="the phrase 'v v .* has .* tokens, the model takes 77: shorten it"):
        loader.batches(config, 0, range(2))


def test_broken_file_while_iterating_is_the_plain_error(tmp_path):
    layouts.refer_dance(tmp_path / "refer_dance")
    config = make_config(tmp_path, refer_dance=1.0)
    config.data.vocabulary = str(people.VOCABULARY)
    iterator = loader.batches(config, 0, range(4))
    for path in (tmp_path / "refer_dance" / "train").rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"img1/000000\d\d\.jpg") as caught:
        next(iterator)
    assert "\n" not in str(caught.value)

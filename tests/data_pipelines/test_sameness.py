"""The sample at (seed, step, row) is one and the same, however its frames are stored and whoever makes it."""

import itertools

import numpy as np
import pytest

from configs import grm, mixformer_v2
from data_pipelines import loader, sources
from data_pipelines.builders import packing, sequences
from tests.data_pipelines import layouts

datasets = pytest.importorskip("data_pipelines.builders.datasets")
STEPS, ROWS = range(2, 4), range(6)
# (threads, batches made ahead, rows of each process)
MAKERS = ((1, 1, (ROWS,)), (5, 3, (ROWS,)), (2, 2, (range(0, 1), range(1, 4), range(4, 6))))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """{how: {name: folder}} of LaSOT and COCO: as published, as TFDS data sets; LaSOT also packed."""
    folder = tmp_path_factory.mktemp("stored")
    raw = {"lasot": layouts.lasot(folder / "lasot"), "coco": layouts.coco(folder / "coco")}
    for name, root in raw.items():
        datasets.write(name, root, folder / "tfds", ("train",))
    packed = packing.Packing(context=40.0)  # wide enough for every window
    sequences.write(sources.open_source("lasot", raw["lasot"]), folder / "packed", "train", packed)
    written = {name: folder / "tfds" / f"sot_{name}" / "train" for name in raw}
    return {"raw": raw, "tfds": written, "packed": {"shards": folder / "packed"}}


def _config(variant, folders, threads=2, prefetch=1):
    config = variant()
    with config.unlocked():
        config.data.ratio.update(
            {name: float(name in folders) for name in config.data.ratio} | dict.fromkeys(folders, 1.0)
        )
        config.data.update({name: str(folder) for name, folder in folders.items()})
        config.data.threads, config.data.prefetch_batches = threads, prefetch
    return config


def _taken(config, parts=(ROWS,)):
    """{name: (steps, rows, ...)} of the batches whose rows the processes `parts` make."""
    made = [list(itertools.islice(loader.batches(config, STEPS[0], rows), len(STEPS))) for rows in parts]
    joined = [{k: np.concatenate([part[s][k] for part in made]) for k in made[0][s]} for s in range(len(STEPS))]
    return {name: np.stack([batch[name] for batch in joined]) for name in joined[0]}


def _score():
    """MixFormerV2's training of the score: two templates, either order, negatives; in tiny."""
    config = mixformer_v2.get_config("tiny_score")
    assert (config.data.sampling, config.data.positive_probability) == ("trident", 0.5)
    return config


@pytest.mark.parametrize("variant", [lambda: grm.get_config("tiny"), _score], ids=["grm", "mixformer_v2"])
def test_the_same_samples_from_files_and_records_for_any_number_of_makers(stored, variant):
    expected = _taken(_config(variant, stored["raw"]))
    assert len({batch.tobytes() for batch in expected["search"].reshape(len(STEPS) * len(ROWS), -1)}) > 6
    for how in ("raw", "tfds"):
        for threads, prefetch, parts in MAKERS:
            found = _taken(_config(variant, stored[how], threads, prefetch), parts)
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, err_msg=f"{how} {threads} {name}")


@pytest.mark.parametrize("variant", [lambda: grm.get_config("tiny"), _score], ids=["grm", "mixformer_v2"])
def test_packed_frames_give_the_same_boxes_and_near_enough_the_same_pixels(stored, variant):
    folders = {"lasot": stored["raw"]["lasot"]}
    whole = _taken(_config(variant, folders))
    for threads, prefetch, parts in MAKERS:
        part = _taken(_config(variant, stored["packed"], threads, prefetch), parts)
        assert part.keys() == whole.keys()
        for name, values in whole.items():
            if values.dtype == np.uint8:
                error = np.mean((part[name].astype(float) - values) ** 2)
                assert 10 * np.log10(255**2 / error) > 35, name
            else:
                np.testing.assert_array_equal(part[name], values)

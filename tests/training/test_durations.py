"""Durations of a config that don't fit its run are refused by train.py in one line, before anything is written."""

import re

import pytest

import train
from tests.configs.test_variants import ALL, FAMILIES
from trackers.errors import UsageError
from trackers.training import schedules


@pytest.mark.parametrize(("family", "variant"), ALL)
def test_durations_of_every_variant_fit(family, variant):
    schedules.schedule(FAMILIES[family].get_config(variant))


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        # GRM, SimTrack, MixViT, OSTrack and MixFormerV2 drop their rate after four fifths of the run.
        (
            "simtrack:b16",
            {"train.total_epochs": 200},
            "--config.train.drop_epoch=400 is not before the end of the run, --config.train.total_epochs=200: the rate"
            " would never drop; give an earlier one .the papers': 160., or --config.train.drop_factor=1",
        ),
        ("simtrack:b16", {"train.total_epochs": 400}, "drop_epoch=400 is not before"),
        ("grm:b256", {"train.total_epochs": 100}, "drop_epoch=240 is not before .*: 80\\)"),
        ("grm:tiny", {"train.total_epochs": 0.5}, "drop_epoch=1 is not before .*total_epochs=0.5: .*: 0.4\\)"),
        ("mixvit:b", {"train.total_epochs": 300}, "drop_epoch=400"),
        ("ostrack:b256_ce", {"train.total_epochs": 240}, "drop_epoch=240"),
        ("mixformer_v2:stage1", {"train.total_epochs": 50}, "drop_epoch=400"),
        ("mixformer_v2:score_b", {"train.total_epochs": 20}, "drop_epoch=20"),
        # A run without an end, whose table of rates alone would fill the memory.
        (
            "grm:tiny",
            {"train.total_epochs": 10**9},
            "total_epochs=1e.09 of 8 steps each .config.data.pairs_per_epoch, config.train.batch_size. are more than"
            " 100000000 steps: give fewer",
        ),
        # Warm-up: of a rate that drops, and of one that falls along a cosine.
        ("grm:tiny", {"train.warmup_epochs": 1.0}, "warmup_epochs=1 does not end before --config.train.drop_epoch=1:"),
        ("ikun:tiny", {"train.total_epochs": 0.3}, "warmup_epochs=0.3 does not end before the end of the run"),
        ("neural_kalman:mot", {"train.warmup_epochs": 20.0}, "warmup_epochs=20 does not end before the end"),
        # A moving average that is longer than the run.
        (
            "grm:tiny",
            {"train.ema_decay": 0.999},
            "ema_decay=0.999 averages over more steps than the 16 of the run, --config.train.total_epochs=2: half .*"
            " give at most 0, or a longer run",
        ),
        ("grm:demo", {"train.ema_decay": 0.9999}, "more steps than the 5000 of the run, .* give at most 0.996"),
        # Procedural pictures that rise to full detail.
        ("grm:demo", {"train.total_epochs": 2}, "detail_steps=1500 is more than the 1250 steps of the run"),
        # OSTrack's keep rate, MixFormerV2's layers that fade.
        (
            "ostrack:b256_ce",
            {"train.total_epochs": 90, "train.drop_epoch": 72},
            "start_epoch=20 and ramp_epochs=80 end in epoch 100, after the run, --config.train.total_epochs=90:",
        ),
        ("ostrack:tiny", {"objective.ramp_epochs": 2}, "start_epoch=1 and ramp_epochs=2 end in epoch 3"),
        (
            "mixformer_v2:prune8",
            {"objective.elimination_epochs": 50},
            "elimination_epochs=50 is too long for the run, --config.train.total_epochs=45: the layers",
        ),
    ],
)
def test_train_refuses_what_does_not_fit(tmp_path, name, changes, says):
    config = _changed(name, changes)
    with pytest.raises(UsageError) as error:
        train.train(config, str(tmp_path / "run"))
    assert re.search(says, str(error.value)) and str(error.value).startswith("--config."), error.value
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("simtrack:b16", {"train.total_epochs": 200, "train.drop_epoch": 160}),
        ("simtrack:b16", {"train.total_epochs": 200, "train.drop_factor": 1.0}),
        # A longer run drops where it said it would; a cosine has no drop.
        ("simtrack:b16", {"train.total_epochs": 1000}),
        ("grm:b256", {"train.total_epochs": 100, "train.schedule": "cosine"}),
        # Nothing leaves, nothing fades, nothing is procedural, nothing is averaged for long.
        ("ostrack:b256", {"train.total_epochs": 90, "train.drop_epoch": 72}),
        ("mixformer_v2:prune8", {"objective.elimination_epochs": 50, "objective.eliminated": ()}),
        ("mixformer_v2:prune8", {"objective.elimination_epochs": 46}),
        ("grm:demo", {"train.total_epochs": 2, "data.ratio.synthetic": 0.0, "data.ratio.frames": 1.0}),
        ("grm:tiny", {"train.ema_decay": 0.95}),
    ],
)
def test_what_fits_is_taken(name, changes):
    schedules.schedule(_changed(name, changes))


def _changed(name, changes):
    family, variant = name.split(":")
    config = FAMILIES[family].get_config(variant).unlock()
    with config.ignore_type():
        config.update_from_flattened_dict(changes)
    return config

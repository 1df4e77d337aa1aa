"""Numbers of a config outside their range are refused by flag and range."""

import math

import pytest

from configs import grm
from trackers.errors import InputError, UsageError
from trackers.tracking import single_object
from trackers.training import metrics, ranges


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("seed", -1, "from 0 to 2147483647"),
        ("train.batch_size", 0, "from 1 up"),
        ("train.batch_size", -8, "from 1 up"),
        ("train.checkpoint_every_steps", 0, "from 1 up"),
        ("train.log_every_steps", 0, "from 1 up"),
        ("train.learning_rate", math.nan, "from 0 up"),
        ("train.learning_rate", math.inf, "from 0 up"),
        ("train.total_epochs", 0.0, "above 0"),
        ("train.total_epochs", 1e308, "above 0 to 1000000000"),
        ("train.ema_decay", 1.0, "from 0 to below 1"),
        ("objective.l1_weight", math.nan, "give a finite number"),
        ("objective.entropy_weight", math.inf, "give a finite number"),
        ("data.flip_probability", 1.5, "from 0 to 1"),
        ("data.pairs_per_epoch", 0, "from 1 up"),
        ("data.threads", 0, "from 1 to 4096"),
        ("train.batch_size", 10**400, "from 1 up"),
        ("model.division.layers", (1.0, math.inf), "give a finite number"),
        ("data.ratio.synthetic", -1.0, "from 0 up"),
        ("data.synthetic.backgrounds", 0, "from 1 to 65536"),
        ("data.synthetic.renew_every_steps", 0, "from 1 up"),
        ("data.synthetic.haze", 2.0, "from 0 to 1"),
        ("data.max_bad_fraction", -0.5, "from 0 to 1"),
        ("data.crop_area", (0.5,), "give two numbers"),
        ("objective.l1_weight", -5.0, "from 0 up"),
        ("objective.heatmap_overlap", 0.0, "above 0 to below 1"),
        ("mesh.max_unsharded", -1.0, "from 0 to 1"),
        ("objective.gamma", -1.0, "from 0 to 100"),
        ("tracking.largest_gap", -1, "from 0 to 2147483647"),
    ],
)
def test_a_value_outside_its_range_is_refused(key, value, rule):
    config = grm.get_config("tiny").unlock()
    with config.ignore_type():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(UsageError) as error:
        ranges.check(config)
    assert str(error.value).startswith(f"--config.{key}={value}: ") and rule in str(error.value)


@pytest.mark.parametrize("box", [(-1e308, 0, 1.7e308, 5), (0, 0, 1e30, 5), (1, 1, 1e-20, 5), (1e30, 0, 5, 5)])
def test_a_first_box_beyond_float32_crops_is_refused(box):
    with pytest.raises(InputError, match="give x,y from -1e.06 to 1e.06 and sides from 0.01 to 1e.06 pixels"):
        single_object.check_box(box, 48, 64)


def test_a_loss_that_is_no_number_promises_no_checkpoint_that_is_not_there(tmp_path):
    bad = {"loss": math.nan, "grad_norm": 1.0}
    with pytest.raises(InputError, match="there is no checkpoint yet: begin with a lower learning rate"):
        metrics.check_finite(3, bad, None, tmp_path)
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    with pytest.raises(InputError, match="the last checkpoint in .* is good: resume"):
        metrics.check_finite(3, bad, None, tmp_path)


@pytest.mark.parametrize(("key", "value"), [("tau", -1.0), ("tau", math.nan), ("a", 1e30), ("b", "x")])
def test_a_calibration_without_meaning_is_refused(key, value):
    with pytest.raises(UsageError, match=f"--config.calibration.{key}=.*: give a finite number from"):
        ranges.check({"calibration": {key: value}})

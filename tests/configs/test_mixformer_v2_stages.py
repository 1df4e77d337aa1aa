import jax
import numpy as np
import pytest

import trackers
from configs import mixformer_v2
from configs.mixformer_v2_stages import STAGES
from tests.recipes import random_variables
from trackers import objectives, weights
from trackers.tracking.single_object import Tracker, for_benchmark
from trackers.training import freezing, initial


@pytest.mark.parametrize("stage", [stage.__name__ for stage in STAGES])
def test_every_stage_describes_a_run(stage):
    config = mixformer_v2.get_config(stage)
    model, teacher = trackers.build(config.model), config.get("teacher")
    objective = objectives.build(config.objective, model, teacher and trackers.build(teacher.model))
    tracker = Tracker(model, config.tracking)
    assert config.init.checkpoint
    assert bool(tracker.settings.update_interval) == config.model.score_head
    # Layers that are taken over exist, and fill the model.
    layers, depth = config.init.layers, config.init.source.get("depth", config.model.depth)
    assert len(layers or range(depth)) == config.model.depth
    assert all(0 <= layer < depth for layer in layers)
    if teacher is None:
        assert config.model.score_head and config.data.positive_probability < 1
        return
    assert teacher.checkpoint
    # Teacher and student see the same crops, and compare distributions with equally many bins.
    assert [teacher.model[size] for size in ("template_size", "search_size")] == [
        config.model[size] for size in ("template_size", "search_size")
    ]
    of_teacher = teacher.model.head.get("bins", 4 * teacher.model.search_size // teacher.model.patch_size)
    assert config.model.head.bins == of_teacher
    # What fades is what is frozen, and has faded before the end.
    names = {f"encoder/block_{i}/norm1/scale": i for i in range(config.model.depth)}
    frozen = freezing.trainable({name: 0.0 for name in names}, config.train.frozen)
    assert tuple(i for name, i in names.items() if not frozen[name]) == objective.eliminated
    if objective.eliminated:
        assert config.train.total_epochs > objective.elimination_epochs


def test_the_tiny_student_starts_with_the_encoder_of_its_teacher(tmp_path):
    config = mixformer_v2.get_config("tiny_stage1")
    teacher = random_variables(trackers.build(config.teacher.model))
    weights.save(str(tmp_path), teacher, config.teacher.model)
    with config.unlocked():
        config.init.checkpoint = str(tmp_path)
    started = initial.Start(config.model, **config.init).variables(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, started["params"]["encoder"], teacher["params"]["encoder"])
    fresh = trackers.init(trackers.build(config.model), jax.random.key(0))["params"]
    for name in ("head", "prediction_tokens", "prediction_positions"):
        jax.tree.map(np.testing.assert_array_equal, started["params"][name], fresh[name])


def test_intervals_and_search_factors_are_those_of_the_scripts():
    """What the published scripts set; what a script does not name is the config's own: factor 5 for B, 4.5 for S."""
    intervals = {"lasot": 200, "got10k": 10, "trackingnet": 25, "vot20": 10, "vot20lt": 200}
    factors = {"lasot": 4.4, "got10k": 4.55, "trackingnet": 4.55, "vot20": 4.5, "vot20lt": 4.5}
    for variant, changed, search in (("b", {}, dict.fromkeys(factors, 5.0)), ("s", {"got10k": 15}, factors)):
        config = mixformer_v2.get_config(variant)
        model = trackers.build(config.model)
        for name, interval in (intervals | changed).items():
            settings = Tracker(model, for_benchmark(config, name)[1]).settings
            assert (settings.update_interval, settings.search_factor) == (interval, search[name])
            assert (settings.update_threshold, settings.score_decay, settings.clip_margin) == (0.5, 1.0, 10.0)

import pytest

import trackers
from configs import mixformer_v2
from configs.mixformer_v2_stages import STAGES
from trackers import objectives
from trackers.tracking.single_object import Tracker
from trackers.training import freezing


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_describes_a_run(stage):
    config = mixformer_v2.get_config(stage)
    model, teacher = trackers.build(config.model), config.get("teacher")
    objective = objectives.build(config.objective, model, teacher and trackers.build(teacher.model))
    tracker = Tracker(model, config.tracking)
    assert config.init.checkpoint or stage in ("tiny_stage1", "tiny_alone")
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

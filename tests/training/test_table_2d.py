"""Table 2d of MixFormerV2's supplement: what progressive pruning is where nothing fades."""

import jax
import numpy as np
import pytest

import trackers
import train
from configs import mixformer_v2
from tests.training import support
from trackers import weights
from trackers.nn import stacking
from trackers.training import initial, sharding


def _table_2d(variant, teacher):
    """A variant of Table 2d with m = 0, narrow, taught by and started from the MixViT in the folder `teacher`."""
    config = mixformer_v2.get_config(variant)
    sizes = {"width": 16, "heads": 2, "patch_size": 8, "template_size": 16, "search_size": 32}
    with config.unlocked():
        for model in (config.model, config.teacher.model):
            model.update(sizes | {"drop_path": 0.0, "dtype": "float32"})
        config.model.head.bins = 16
        # The plain head, which compiles faster.
        for head in (config.teacher.model.head, config.init.source.head):
            head.update({"kind": "corner", "channels": 8})
        config.train.update({"batch_size": 8, "clip_norm": 0.0, "learning_rate": 1e-2})
        config.objective.elimination_epochs = 0
        config.teacher.checkpoint = config.init.checkpoint = str(teacher)
    return config


def _three_steps(config):
    """(losses as bytes, variables) after three steps."""
    key, starts = jax.random.key(0), initial.starts(config)
    program = train.assemble(config, sharding.make_mesh(config.mesh))
    state = initial.train_state(program, starts["init"], key)
    teacher, losses = initial.teacher_variables(program, starts["teacher"], key), []
    for _, batch in zip(range(3), support.batches(config, 0, range(8)), strict=False):
        state, scalars = program.take_step(state, batch, key, teacher)
        losses.append([np.asarray(scalars[name]).tobytes() for name in ("loss", "ciou", "l1", "corner", "iou")])
    return losses, jax.device_get({"params": state.params, "batch_stats": state.batch_stats})


@pytest.mark.slow
def test_pmdp_without_fading_is_tea_skip_bit_for_bit(tmp_path, compile_quickly):
    """m = 0: eight of twelve layers are gone from the start. The network trains as the four layers that Tea-skip4 takes
    from MixViT do, and leaves their weights. Drop path, whose rates go by the depth, and clipping, whose norm is a sum
    of other parts, are off."""
    skip, pmdp = (_table_2d(variant, tmp_path) for variant in ("tea_skip4", "pmdp_prune4"))
    teacher = support.filled(trackers.build(skip.teacher.model))
    weights.save(tmp_path, teacher, skip.teacher.model)
    (losses, left), (losses_of_pmdp, variables) = _three_steps(skip), _three_steps(pmdp)
    assert losses == losses_of_pmdp
    layers = mixformer_v2.get_config("pmdp_depth4").init.layers
    of_pmdp, left = stacking.flatten(initial.fit(variables, left, layers)), stacking.flatten(left)
    assert left.keys() == of_pmdp.keys()
    for name, leaf in left.items():
        assert np.asarray(leaf).tobytes() == np.asarray(of_pmdp[name]).tobytes(), name
    # It has moved, away from the teacher's layer 5.
    place = "params/encoder/block_{}/mlp/fc1/kernel"
    moved = left[place.format(1)] - stacking.flatten(teacher)[place.format(5)]
    assert 0 < np.abs(moved).max() < 0.1

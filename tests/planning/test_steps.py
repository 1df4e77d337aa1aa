import importlib

import jax
import numpy as np
import pytest

import train
from data_pipelines import loader
from tests.training import support
from trackers.planning import steps
from trackers.training import flops, sharding

MESH = {"data": 1, "fsdp": 1, "tensor": 1}


def parts(config):
    """(program, inputs, mesh) of a config on one device."""
    mesh = sharding.make_mesh(MESH, jax.devices()[:1])
    program = train.assemble(config, mesh)
    return program, program.inputs(loader.shapes(config), config.train.batch_size, mesh), mesh


def small(**model):
    config = support.small_config()
    with config.unlocked():
        config.model.update(model)
    return config


def test_a_step_costs_three_forward_passes_but_for_the_gradient_of_the_images():
    """Each product has two gradients, that of the patch embedding only one: the images are not trained."""
    config = small()
    config.model.division.mode = "one_stream"
    config.model.division.layers = ()
    program, inputs, _ = parts(config)
    count, width = flops.of_tracker(program.model), config.model.width
    tokens = 2 * 2 + 4 * 4
    embedding = tokens * width * 3 * config.model.patch_size**2
    assert count["template"] * tokens == embedding * 4
    assert flops.of_step(program, inputs) == 2 * config.train.batch_size * (3 * count["whole"] - embedding)


def published(family, **model):
    """The base config of a family in float32, unrolled and without remat, two rows."""
    config = importlib.import_module(f"configs.{family}").get_config()
    with config.unlocked():
        config.model.update({"scan_layers": False, "remat": "none", "dtype": "float32", **model})
        config.train.batch_size = 2
    return config


def counted(config):
    """(FLOPs of a step by the formula, by XLA in the lowered program)."""
    program, inputs, _ = parts(config)
    return flops.of_step(program, inputs), program.take_step.lower(*inputs).cost_analysis()["flops"]


@pytest.mark.parametrize("family", ["grm", "simtrack", "mixformer_v2", "mixvit"])
def test_xla_counts_the_same_in_the_lowered_step(family):
    """At published widths and crops, three layers. XLA's figure has the element-wise operations, too (about 1.2 %), and
    leaves out products of convolutions with padding."""
    ours, xlas = counted(published(family, depth=3))
    assert ours == pytest.approx(xlas, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["grm", "simtrack", "mixformer_v2", "mixvit", "ikun"])
def test_xla_counts_the_same_in_the_lowered_step_at_published_size(family):
    ours, xlas = counted(published(family))
    assert ours == pytest.approx(xlas, rel=0.02)


def test_xla_sees_one_round_of_a_loop():
    ours, xlas = counted(published("mixformer_v2", depth=8, scan_layers=True))
    assert ours == flops.of_step(*parts(published("mixformer_v2", depth=8))[:2])
    assert xlas < 0.25 * ours


def test_layers_in_a_loop_cost_as_much_as_one_by_one_and_remat_more():
    plain, stacked, again = (
        flops.of_step(*parts(small(depth=4, **options))[:2])
        for options in ({}, {"scan_layers": True}, {"scan_layers": True, "remat": "full"})
    )
    assert plain == stacked
    assert 1.1 * stacked < again < 4 / 3 * stacked


def test_what_is_saved_for_the_backward_pass():
    """At least what enters the products of four layers; recomputation saves most of it."""
    config = small(depth=4, scan_layers=True)
    shapes = loader.shapes(config)
    program, _, mesh = parts(config)
    kept = steps.saved_for_backward(program, shapes, 3, mesh)
    tokens, width = 20, config.model.width
    assert kept > 3 * 4 * 4 * tokens * (2 * 4 * width + 3 * width)
    config.model.remat = "full"
    assert steps.saved_for_backward(parts(config)[0], shapes, 3, mesh) < kept / 2


def test_bytes_on_each_device_add_up():
    config = small()
    program, inputs, _ = parts(config)
    parameters = steps.parameters(program)
    assert steps.bytes_on_each(program.target.params) == 4 * parameters
    assert steps.bytes_on_each(program.target.opt_state) == pytest.approx(2 * 4 * parameters, abs=64)
    rows = config.train.batch_size * (16 * 16 * 3 + 32 * 32 * 3 + 4 * 4 + 4 * 4)
    assert steps.bytes_on_each(inputs[1]) == rows


def test_the_step_runs_on_made_up_arrays():
    config = small()
    program, inputs, mesh = parts(config)
    batch = steps.synthetic_batch(loader.shapes(config), config.train.batch_size)
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        name: (leaf.shape, leaf.dtype) for name, leaf in inputs[1].items()
    }
    seconds = steps.measure(program, program.take_step.lower(*inputs).compile(), batch, mesh, repeats=2)
    assert len(seconds) == 2 and np.all(np.array(seconds) > 0)


def test_a_teacher_costs_one_forward_pass_more():
    config = support.distilled_config()
    config.train.frozen = ()
    program, inputs, _ = parts(config)
    embeddings = 2 * (2 * 2 + 2 * 2 + 4 * 4) * config.model.width * 3 * config.model.patch_size**2
    whole = flops.of_tracker(program.model)["whole"]
    expected = 2 * config.train.batch_size * (4 * whole - embeddings / 2)
    assert flops.of_step(program, inputs) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("family", ["simtrack", "mixformer_v2", "mixvit", "ikun", "neural_kalman"])
def test_every_family_has_a_step_to_plan(family):
    config = importlib.import_module(f"configs.{family}").get_config("tiny")
    program, inputs, _ = parts(config)
    assert flops.of_step(program, inputs) > 0
    assert jax.eval_shape(program.take_step, *inputs)[1]["loss"].shape == ()

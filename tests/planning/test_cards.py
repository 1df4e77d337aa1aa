"""Cards that are not here: the formula, its parts and the command."""

import jax
import jax.numpy as jnp
import pytest

import train
from configs import grm
from data_pipelines import loader
from tests import forked
from tests.training import support
from trackers.errors import UsageError
from trackers.planning import card_kernels, cards, reports
from trackers.training import chips

H100 = next(chip for chip in chips.CHIPS if chip.name == "H100")
DATA = {"data": -1, "fsdp": 1, "tensor": 1}


def test_names():
    assert cards.named("gpu:h100x16") == (H100, 16) and cards.named("gpu:h100") == (H100, 1)
    assert cards.named("gpu") is None and cards.named("gpu:2") is None and cards.named("gpu:h100x0") is None
    with pytest.raises(UsageError, match="nodes of 8"):
        cards.named("gpu:h100x12")


def test_a_ring_within_a_node_and_rings_between_nodes():
    size = 4e8
    hops = lambda count: 2 * count * cards._HOP  # noqa: E731
    assert cards.all_reduce(size, H100, 1) == 0
    assert cards.all_reduce(size, H100, 8) == pytest.approx(2 * 7 / 8 * size / 450e9 + hops(7))
    between = 2 * 3 / 4 * size / 8 / 50e9
    assert cards.all_reduce(size, H100, 32) == pytest.approx(2 * 7 / 8 * size / 450e9 + between + hops(10))


def test_a_kernel_takes_what_takes_longest_of_it_and_a_start():
    x, w = jnp.zeros((64, 32)), jnp.zeros((32, 16))
    equation = jax.make_jaxpr(jnp.dot)(x, w).eqns[0]
    busy = card_kernels.Kernel(times=3, bytes=1.0, products=[equation], vector=67e6, special=39e6)
    idle = card_kernels.Kernel(times=2, bytes=3350e3, vector=1.0)
    arithmetic = (2 * 64 * 32 * 16 / 989e12 + 2e-6 + 10e-6) / 0.7
    compute, memory, starts, step = cards.seconds([busy, idle], H100)
    assert compute == pytest.approx(3 * arithmetic, rel=1e-6) and memory == pytest.approx(2 * 1e-6 / 0.9, rel=1e-6)
    assert starts == pytest.approx(5 * 3e-6)
    assert step == pytest.approx(3 * (arithmetic + 3e-6) + 2 * (1e-6 / 0.9 + 3e-6), rel=1e-6)


def test_attention_computes_again_what_it_does_not_keep():
    kernel = card_kernels.Kernel(times=1, vector=33.5e12)
    again = card_kernels.Kernel(times=1, vector=33.5e12, attention=True)
    assert cards.seconds([kernel], H100)[0] == pytest.approx(1 / 0.7)
    assert cards.seconds([again], H100)[0] == pytest.approx(8 / 6 / 0.7)


# benchmarks/RESULTS.md: rows 2, 8 and 7, and the step alone of the shipped tracker's training.
@pytest.mark.parametrize(
    ("variant", "mode", "batch", "measured"),
    [
        ("b256", "learned", 64, 47.1),
        ("b256", "learned", 128, 81.4),
        ("b256", "one_stream", 128, 72.6),
        ("t128", "learned", 128, 11.3),
    ],
)
@pytest.mark.slow
def test_measured_steps_are_predicted_within_a_fifth(variant, mode, batch, measured):
    config = grm.get_config(variant)
    with config.unlocked():
        config.model.dtype, config.model.division.mode = "bfloat16", mode
    given = train.assemble, loader.shapes(config), config, variant, "gpu:h100"
    plan = cards.make_plan(*given, DATA, batch)
    assert 1e3 * plan.times.step == pytest.approx(measured, rel=0.2)


def planned(name, batch, measured=None, mesh=DATA):
    config = support.small_config()
    return cards.make_plan(train.assemble, loader.shapes(config), config, "x", name, mesh, batch, measured)


def test_a_plan_on_more_cards_differs_by_its_links_alone():
    one, many = planned("gpu:h100", 4), planned("gpu:h100x16", 64)
    assert many.times.compute == one.times.compute and many.times.memory == one.times.memory
    assert one.times.links == 0 < many.times.links and one.times.step > one.times.least
    assert many.times.step == pytest.approx(one.times.step + many.times.links)
    assert many.model_flops == 16 * one.model_flops and many.rate < one.rate
    assert many.steps < one.steps  # of the whole run
    assert "by formula, nothing compiled" in reports.text(many) and "not predicted" in reports.text(many)
    row = reports.table([reports.summary(many)]).splitlines()[-1]
    assert "gpu:h100x16" in row and " - " in row


def test_starts_of_kernels_may_be_what_a_step_is_made_of():
    plan = planned("gpu:h100", 4)
    assert plan.times.bound == "starts" and plan.times.starts < plan.times.step
    assert "starts of kernels" in reports.text(plan) and "largest term: starts" in reports.text(plan)
    assert reports.summary(plan)["bound"] == "starts"


def test_a_measured_step_is_what_a_plan_goes_out_from():
    one, same, fewer = planned("gpu:h100", 8), planned("gpu:h100", 8, (0.5, 8)), planned("gpu:h100", 4, (0.5, 8))
    assert same.times.step == pytest.approx(0.5)
    assert fewer.times.step == pytest.approx(0.5 * planned("gpu:h100", 4).times.step / one.times.step)


def test_what_cannot_be_planned_is_named():
    with pytest.raises(UsageError, match="data=16 alone"):
        planned("gpu:h100x16", 64, mesh={"data": -1, "fsdp": 8, "tensor": 1})
    with pytest.raises(UsageError, match="65 pairs do not divide"):
        planned("gpu:h100x16", 65)


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--topology=gpu:h100x8", "--global_batch=8"], 0, "by formula, nothing compiled"),
        (["--topology=gpu:h100x8", "--find_batch"], 2, "--find_batch needs a compiler"),
        (["--topology=gpu:h100x8", "--anchor_ms=3"], 2, "--anchor_ms is of --sweep"),
        (["--sweep=v5e:2x4", "--out=DIR", "--anchor_ms=3"], 2, "--anchor_ms is of gpu:h100xN"),
        (
            ["--sweep=gpu:h100x8", "--out=DIR", "--anchor_ms=3", "--per_chip_batch=0"],
            2,
            "--anchor_ms is the time of --per_chip_batch pairs",
        ),
    ],
)
def test_as_a_command(flags, code, said):
    done = forked.run("plan.py", "--config=configs/grm.py:tiny", *flags)
    assert done.returncode == code and "Traceback" not in done.stderr
    assert said in (done.stderr.strip().splitlines()[-1] if code else done.stdout)

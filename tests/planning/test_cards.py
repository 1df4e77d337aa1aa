"""Cards that are not here: the formula, its parts and the command."""

import jax
import jax.numpy as jnp
import pytest

import train
from data_pipelines import loader
from tests import forked
from tests.training import support
from trackers.errors import UsageError
from trackers.planning import cards, reports
from trackers.training import chips, flops

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


def test_products_of_attention_are_told_from_the_others():
    def attend(x, w, q):
        return jnp.einsum("bhnm,bmhd->bnhd", jnp.einsum("bnhd,bmhd->bhnm", q, q), q).sum() + (x @ w).sum()

    shapes = ((6, 8), (8, 4), (2, 5, 3, 4))
    found = flops.products(attend, *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    kinds = sorted((cards.is_attention(equation), flops.of_product(equation)) for _, equation in found)
    assert kinds == [(False, 6 * 8 * 4), (True, 2 * 3 * 5 * 5 * 4), (True, 2 * 3 * 5 * 5 * 4)]


def test_seconds_of_a_step_add_up():
    work = {"products": 989e12, "attention": 989e12, "bytes": 3350e9}
    compute, memory = cards.seconds(work, H100)
    assert compute == pytest.approx(1 / 0.7 + 7 / 6 / 0.35) and memory == pytest.approx(1 / 0.9)


def planned(name, batch, measured=None, mesh=DATA):
    config = support.small_config()
    return cards.make_plan(train.assemble, loader.shapes(config), config, "x", name, mesh, batch, measured)


def test_a_plan_on_more_cards_differs_by_its_links_alone():
    one, many = planned("gpu:h100", 4), planned("gpu:h100x16", 64)
    assert many.times.compute == one.times.compute and many.times.memory == one.times.memory
    assert one.times.links == 0 < many.times.links and one.times.step == one.times.compute + one.times.memory
    assert many.model_flops == 16 * one.model_flops and many.rate < one.rate
    assert many.steps < one.steps  # of the whole run
    assert "by formula, nothing compiled" in reports.text(many) and "not predicted" in reports.text(many)
    row = reports.table([reports.summary(many)]).splitlines()[-1]
    assert "gpu:h100x16" in row and " - " in row


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

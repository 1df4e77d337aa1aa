"""Cards that are not here: what their compiler is given, the formula, and the command."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked, programs
from trackers.errors import InputError, UsageError
from trackers.planning import cards, prediction, program, topologies
from trackers.training import chips

H100 = next(chip for chip in chips.CHIPS if chip.name == "H100")
# Where `make test-plan` puts XLA's compiler for them.
COMPILER = Path(os.environ.get("TEST_XLA_CUDA", Path(sys.prefix) / "xla-cuda"))
needs_compiler = pytest.mark.skipif(
    not (COMPILER / "jax_plugins").exists(), reason="`make test-plan` installs XLA's compiler for NVIDIA cards"
)


def test_names():
    assert cards.named("gpu:h100x16") == (H100, 16) and cards.named("gpu:h100") == (H100, 1)
    assert cards.named("gpu") is None and cards.named("gpu:2") is None and cards.named("gpu:h100x0") is None
    with pytest.raises(UsageError, match="nodes of 8"):
        cards.named("gpu:h100x12")
    with pytest.raises(UsageError, match="at most"):
        cards.named("gpu:h100x800000")


def test_without_the_compiler_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(cards.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="jax-cuda12-plugin==.*PYTHONPATH=CARDS"):
        cards.devices("gpu:h100x8")


def pod(count):
    return topologies.Topology(f"gpu:h100x{count}", (), H100)


def collective(kind, size, count, **how):
    return program.Collective(kind=kind, bytes=size, times=1, group=tuple(range(count)), overlaps=True, **how)


def test_a_ring_within_a_node_and_rings_between_nodes():
    size, hop = 4e8, 5e-6

    def seconds(count, positions):
        return prediction.collective_seconds(collective("all-reduce", size, count), pod(count), positions)

    assert seconds(8, range(8)) == pytest.approx(2 * 7 / 8 * size / 450e9 + 2 * 3 * hop)
    between = 2 * 3 / 4 * size / 8 / 50e9
    assert seconds(32, range(32)) == pytest.approx(2 * 7 / 8 * size / 450e9 + between + 2 * 5 * hop)
    # One card of each node: all of it goes over the network.
    assert seconds(32, range(0, 32, 8)) == pytest.approx(2 * 3 / 4 * size / 50e9 + 2 * 2 * hop)


def operation(times=1, **contents):
    known = {"name": "x", "flops": 0.0, "bytes": 0.0, "overlaps": False, "cycles": 0.0}
    return program.Operation(times=times, **known | contents)


def test_a_kernel_takes_what_takes_longest_of_it_and_a_start():
    busy = operation(times=3, bytes=1.0, flops=989e6, vector=67e6, special=39e6)
    idle = operation(times=2, bytes=3350e3, vector=1.0)
    arithmetic = (1e-6 + 2e-6 + 10e-6) / 0.7
    compute, memory, starts, step = cards.seconds([busy, idle], H100)
    assert compute == pytest.approx(3 * arithmetic, rel=1e-6) and memory == pytest.approx(2 * 1e-6 / 0.9, rel=1e-6)
    assert starts == pytest.approx(5 * 3e-6)
    assert step == pytest.approx(3 * (arithmetic + 3e-6) + 2 * (1e-6 / 0.9 + 3e-6), rel=1e-6)


def test_products_of_float32_take_twice_as_long():
    half, all_wide = operation(flops=989e6, wide=494.5e6), operation(flops=989e6, wide=989e6)
    for product, factor in ((half, 1.5), (all_wide, 2.0)):
        assert cards.seconds([product], H100)[0] == pytest.approx(factor * 1e-6 / 0.7)


def test_which_faults_of_the_compiler_other_options_get_past():
    fault = RuntimeError("INTERNAL: Couldn't find output tile sizes that satisfy hlo: %dot_general.3 = f32[784,2048]")
    assert cards.options_for(fault) == {"xla_gpu_enable_triton_gemm": False}
    assert cards.options_for(RuntimeError("INTERNAL: something else")) is None


def test_what_is_computed_meanwhile_hides_as_much_of_a_collective():
    work = operation(flops=0.7 * 989e12 * 1e-3)  # a millisecond
    beside = collective("all-reduce", 450e6, 8, beside=(work,))
    alone = collective("all-reduce", 450e6, 8, beside=())
    taken = prediction.collective_seconds(alone, pod(8), range(8))
    assert taken > 1.5e-3

    def step(*collectives, scale=1.0):
        devices = tuple(Device(i) for i in range(8))
        where = topologies.Topology("gpu:h100x8", devices, H100)
        return prediction.times(program.Program((work,), collectives), where, devices, scale=scale)

    took = cards.seconds([work], H100)[3]
    assert step(alone).step == pytest.approx(took + taken)
    assert step(beside).step == pytest.approx(taken)
    assert step(beside).links == step(alone).links == pytest.approx(taken)
    assert step(scale=2.0).step == pytest.approx(2 * took)


def test_on_a_tpu_a_collective_that_is_awaited_later_is_hidden_as_before():
    v5e = next(chip for chip in chips.CHIPS if chip.name == "v5e")
    devices = tuple(Device(i, coords=(i, 0, 0)) for i in range(4))
    one = collective("all-gather", 1e9, 4, beside=())
    work = operation(flops=197e12)
    taken = prediction.times(program.Program((work,), (one,)), topologies.Topology("v5e:4x1", devices, v5e), devices)
    assert taken.step == pytest.approx(1.0) and taken.links > 1e-3


class Device:
    def __init__(self, number, coords=()):
        self.id, self.coords = number, coords


def plan(*flags, code=0):
    environ = os.environ | {"PYTHONPATH": f"{COMPILER}:{programs.ROOT}"}
    command = [sys.executable, "plan.py", *flags]
    done = subprocess.run(command, cwd=programs.ROOT, env=environ, capture_output=True, text=True, timeout=500)
    assert done.returncode == code, done.stderr[-2000:]
    return done.stdout


def row(out, label):
    """The number behind a label of a report."""
    return float(next(line for line in out.splitlines() if line.strip().startswith(label))[22:].split()[0])


TINY = ("--config=configs/grm.py:tiny", "--config.model.dtype=bfloat16")


@needs_compiler
def test_a_step_with_fused_kernels_on_one_card():
    out = plan(*TINY, "--config.model.kernels=fused", "--topology=gpu:h100", "--global_batch=8")
    assert "1 x NVIDIA H100 80GB HBM3" in out and "fits" in out and "MEASURED" not in out
    assert row(out, "step") > row(out, "starts of kernels") > 0 == row(out, "links")
    executed, model = (float(line.split()[2]) for line in out.splitlines() if "FLOPs   " in line)
    assert executed == pytest.approx(model, rel=0.3)  # both in GFLOP


@needs_compiler
def test_an_odd_number_of_tokens():
    """9 + 16 of them: cuDNN's attention has gradients for even numbers alone."""
    out = plan(*TINY, "--config.model.template_size=48", "--topology=gpu:h100", "--global_batch=8")
    assert "fits" in out


@needs_compiler
def test_queries_and_keys_of_two_sources_on_several_cards():
    """iKUN's fusion: cuDNN's attention wants them split alike."""
    flags = ("--topology=gpu:h100x4", "--mesh=data=-1,fsdp=2", "--global_batch=8")
    assert "fits" in plan("--config=configs/ikun.py:tiny", "--config.model.dtype=bfloat16", *flags)


@needs_compiler
def test_a_sharded_step_on_two_nodes():
    out = plan(*TINY, "--topology=gpu:a100x16", "--mesh=data=-1,fsdp=2", "--global_batch=32")
    kinds = {tuple(line.split()[:2]) for line in out.splitlines() if " times " in line}
    assert ("reduce-scatter", "fsdp") in kinds and ("all-reduce", "data") in kinds
    assert "16 x NVIDIA A100" in out and row(out, "links") > 0


@needs_compiler
@pytest.mark.slow
# benchmarks/RESULTS.md: row 8, and the step alone of the shipped tracker's training.
@pytest.mark.parametrize(("variant", "measured"), [("b256", 81.4), ("t128", 11.3)])
def test_measured_steps_are_predicted_within_a_fifth(variant, measured):
    out = plan(
        f"--config=configs/grm.py:{variant}",
        "--config.model.dtype=bfloat16",
        "--topology=gpu:h100",
        "--global_batch=128",
    )
    assert row(out, "step") == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--topology=gpu:h100x12"], 2, "nodes of 8"),
        pytest.param(
            ["--topology=gpu:h100x8"],
            1,
            "pip install --no-deps --target CARDS",
            marks=pytest.mark.skipif(bool(importlib.util.find_spec("jax_plugins")), reason="the compiler is installed"),
        ),
        (["--topology=gpu:h100x8", "--anchor_ms=3"], 2, "--anchor_ms is of --sweep"),
        (["--sweep=v5e:2x4", "--out=DIR", "--anchor_ms=3"], 2, "--anchor_ms is of gpu:h100xN"),
        (
            ["--sweep=gpu:h100x8", "--out=DIR", "--anchor_ms=3", "--per_chip_batch=0"],
            2,
            "--anchor_ms is the time of --per_chip_batch pairs",
        ),
    ],
)
def test_wrong_usage(flags, code, said):
    done = forked.run("plan.py", "--config=configs/grm.py:tiny", *flags)
    assert done.returncode == code and "Traceback" not in done.stderr
    assert said in done.stderr.strip().splitlines()[-1]

"""plan.py: as a command, and its searches with made-up plans."""

import dataclasses

import pytest

import plan
from tests import forked
from trackers.errors import InputError, UsageError
from trackers.planning import prediction, reports
from trackers.training import chips

CHIP = next(chip for chip in chips.CHIPS if chip.name == "v5e")


def made_up(batch, count=1, limit=100, name="v5e"):
    """A plan of `batch` rows of which `limit` fit on a chip."""
    known = {"name": "x", "topology": f"v5e:{count}x1", "chip": CHIP, "mesh": {"data": count, "fsdp": 1, "tensor": 1}}
    sizes = dict.fromkeys(("params", "optimizer", "average", "rest", "saved", "model_flops", "executed_flops"), 2.0**30)
    base = reports.Plan(**known, batch=batch, parameters=1, steps=100, **sizes)
    needed = batch / count / limit * CHIP.memory
    if needed > 1.5 * CHIP.memory:
        return dataclasses.replace(base, lack=prediction.DoesNotFit(needed, CHIP.memory))
    times = prediction.Times(compute=1e-3 * batch / count, memory=2e-3, links=1e-3, step=3e-3, compiler=None)
    memory = prediction.Memory(
        arguments=needed, temporaries=0.0, outputs=0.0, code=0.0, total=needed, limit=CHIP.memory
    )
    return dataclasses.replace(base, times=times, memory=memory, collectives={("all-reduce", "data"): (2, 1e6, False)})


@pytest.mark.parametrize(("start", "limit"), [(8, 100), (1, 3), (64, 5), (100, 100), (7, 1)])
def test_find_batch_comes_close_to_the_largest(start, limit):
    tried = []
    best = plan.find_batch(lambda batch: made_up(batch, 4, limit), start, 4, tried.append)
    assert best.memory.fits and limit * 0.94 - 1 <= best.batch / 4 <= limit
    assert len(tried) < 12


def test_find_batch_where_nothing_fits():
    with pytest.raises(InputError, match="not even one row"):
        plan.find_batch(lambda batch: made_up(batch, 1, 0.5), 4, 1, lambda line: None)


def test_sweep_writes_a_table_and_a_picture_and_goes_on_where_it_was(tmp_path):
    asked = []

    def plan_of(name, mesh, batch):
        asked.append((name, mesh["fsdp"], batch))
        return made_up(batch, plan.topologies.size(name), limit=20)

    names = ["v5e:2x4", "v5e:4x4/fsdp=16", "v5e:8x8"]
    rows = plan.sweep(plan_of, "x", names, "", 8, 256, tmp_path, lambda line: None)
    assert asked == [("v5e:2x4", 1, 64), ("v5e:2x4", 1, 256), ("v5e:4x4", 16, 128), ("v5e:4x4", 16, 256),
                     ("v5e:8x8", 1, 512), ("v5e:8x8", 1, 256)]  # fmt: skip
    table = (tmp_path / "sweep.md").read_text().splitlines()
    assert len(table) == 2 + len(rows) and "(+" in table[2]  # 32 rows a chip do not fit
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    again = plan.sweep(plan_of, "x", [*names, "v5e:2x2"], "", 8, 0, tmp_path, lambda line: None)
    assert asked[6:] == [("v5e:2x2", 1, 32)] and len(again) == 7


def test_mesh_sizes():
    assert plan.mesh_sizes("fsdp=8,data=-1") == {"data": -1, "fsdp": 8, "tensor": 1}
    assert plan.mesh_sizes("data=256") == {"data": 256, "fsdp": 1, "tensor": 1}
    for wrong in ("model=2", "data", "data=x", "data=²", "data=８", "data=1_0", "data=--1"):
        with pytest.raises(UsageError, match="fsdp=8,data=-1"):
            plan.mesh_sizes(wrong)


SMALL = [
    "--config.model.width=32",
    "--config.model.depth=2",
    "--config.model.heads=2",
    "--config.model.head.channels=8",
]


def _run(*arguments, code=0):
    done = forked.run("plan.py", *arguments)
    assert done.returncode == code, done.stderr[-2000:]
    if code:
        assert "Traceback" not in done.stderr
        return done.stderr.strip().splitlines()[-1]
    return done.stdout


def test_a_plan_for_two_cpu_devices_is_compared_with_what_it_takes():
    out = _run("--config=configs/grm.py:tiny", *SMALL, "--topology=cpu:2", "--global_batch=4")
    assert "2 x cpu, mesh data 2 x fsdp 1 x tensor 1, 4 pairs a step (2 a chip)" in out
    assert "all-reduce         data" in out
    assert "PREDICTION" in out and "MEASURED" in out and "x the prediction" in out


def test_a_batch_that_does_not_fill_the_mesh_is_rounded_up_and_told():
    small = [*SMALL, "--config.train.batch_size=3", "--topology=cpu:2", "--nocompare"]
    out = _run("--config=configs/grm.py:tiny", *small)
    assert out.startswith("planned for 4 pairs a step: the config's 3 do not fill 2 shards (--global_batch)\n")
    assert "4 pairs a step (2 a chip)" in out


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ([], 2, "--topology is missing"),
        (["--topology=v9:2x2"], 2, "v9:2x2"),
        (["--topology=cpu:2", "--mesh=data=3"], 2, "data=3"),
        (["--topology=cpu:2", "--global_batch=3"], 2, "does not divide"),
        (["--sweep=v5e:2x4"], 2, "--out"),
        (["--topology=gpu"], 1, "no GPU"),
    ],
)
def test_wrong_usage(arguments, code, named):
    assert named in _run("--config=configs/grm.py:tiny", *arguments, code=code)


def test_a_plan_for_a_tpu_that_is_not_here():
    pytest.importorskip("libtpu", reason="pip install -r requirements/plan.txt")
    out = _run("--config=configs/grm.py:tiny", *SMALL, "--topology=v5e:2x4", "--mesh=data=2,fsdp=2,tensor=2")
    assert "8 x TPU v5 lite" in out and "fits" in out and "MEASURED" not in out
    kinds = {tuple(line.split()[:2]) for line in out.splitlines() if " times " in line}
    assert any("fsdp" in axes for _, axes in kinds) and any("tensor" in axes for _, axes in kinds)

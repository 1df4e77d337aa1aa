"""experiments.score_order as users call it."""

from tests import forked


def test_students_that_are_not_there_are_named(tmp_path):
    folders = f"--workdir={tmp_path / 'out'}", f"--students={tmp_path}"
    done = forked.run("experiments.score_order", *folders, "--seeds=2")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = f"error: --students: {tmp_path}/seed0/stage1 does not exist: run experiments.distillation for this seed"
    assert said in done.stderr and not (tmp_path / "out").exists()

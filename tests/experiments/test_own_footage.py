"""experiments.own_footage as users call it; the training itself takes minutes and has its pieces' tests elsewhere."""

from tests import forked
from tests.data_pipelines import layouts


def test_wrong_usage(tmp_path):
    folder, run, foreign = (tmp_path / name for name in ("videos", "run", "foreign"))
    layouts.frames(folder)
    (foreign / "footage").mkdir(parents=True)
    (foreign / "footage" / "0-other").symlink_to(tmp_path)
    judged = [f"--benchmark=frames:{folder}", "--sequences=first"]
    cases = {
        (2, f"{folder} holds first, which is held out"): [f"--footage={folder}/second,{folder}", *judged],
        (1, "--footage: /no/such is not a folder"): ["--footage=/no/such", *judged],
        (2, f"--workdir={foreign} is of other footage"): [f"--footage={folder}/second", *judged],
        (2, "--benchmark"): ["--footage=."],
    }
    lines = [
        ["experiments.own_footage", f"--workdir={foreign if 'other footage' in words else run}", *arguments]
        for (_, words), arguments in cases.items()
    ]
    for (code, words), done in zip(cases, forked.run_all(lines), strict=True):
        assert done.returncode == code and words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr

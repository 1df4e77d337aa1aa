"""experiments.loop_choices: its table against plain numbers, and as users call it."""

import json

import numpy as np
import pytest

from data_pipelines.procedural import video
from experiments import loop_choices
from tests import forked
from tests.data_pipelines import layouts
from trackers.errors import UsageError


def test_choices_are_numbers_of_tracking_and_model():
    choice = loop_choices.parsed("window=0.5,update_interval=20,model.templates=2")
    assert choice == loop_choices.Choice({"window": 0.5, "update_interval": 20}, {"templates": 2})
    assert isinstance(choice.fields["templates"], int)
    for text in ("window", "window=half", "window=1_0", ""):
        with pytest.raises(UsageError, match="--choices"):
            loop_choices.parsed(text)
    for text in loop_choices.GRID:
        assert loop_choices.parsed(text)


def test_gains_of_halves_and_what_is_chosen_on_one_of_them():
    base = {"procedural": np.array([0.5, 0.7]), "real": np.array([0.4, 0.6, 0.2, 0.8])}
    # Sequences 1 and 3 are half 1, 2 and 4 half 2.
    first = {"procedural": base["procedural"] + [0.01, 0.03], "real": base["real"] + [0.12, -0.1, 0.08, -0.06]}
    both = {"procedural": base["procedural"] + 0.01, "real": base["real"] + 0.04}
    text = loop_choices.table({loop_choices.AS_IT_IS: base, "first": first, "both": both})
    rows = {row[0]: row[1:] for row in ([c.strip() for c in line.strip("|").split("|")] for line in text.splitlines())}
    assert rows["as it is"][:4] == ["60.0", "30.0", "70.0", "50.0"]
    gains = 100 * np.array([0.12, -0.1, 0.08, -0.06])
    error = gains.std(ddof=1) / 2
    assert rows["first"] == ["62.0", "40.0", "62.0", "51.0", "+2.0 ± 1.0", f"+1.0 ± {error:.1f}", "no"]
    assert rows["both"][4:] == ["+1.0 ± 0.0", "+4.0 ± 0.0", "yes"]
    assert "Chosen on half 1 and procedural: first (+10.0 and +2.0 there, -8.0 on half 2)." in text
    assert "Chosen on half 2 and procedural: both (+4.0 and +1.0 there, +4.0 on half 1)." in text


@pytest.mark.slow
def test_as_users_call_it(tmp_path):
    video.write_sequences(tmp_path / "videos", 4, 2, seed=7)
    arguments = [f"--benchmark=frames:{tmp_path / 'videos'}", f"--out={tmp_path / 'out'}", "--videos=2", "--frames=2"]
    done = forked.run("experiments.loop_choices", *arguments, "--choices=aspect_update=0,window=0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (tmp_path / "out" / "loop_choices.md").read_text().strip()
    kept = json.loads((tmp_path / "out" / "loop_choices.json").read_text())
    assert set(kept) == {"as it is", "aspect_update=0,window=0.5"}
    assert len(kept["as it is"]["real"]["ao"]) == 4 and len(kept["as it is"]["procedural"]["ao"]) == 2
    # What is there is not tracked again.
    kept["as it is"]["real"]["ao"] = [0.25] * 4
    (tmp_path / "out" / "loop_choices.json").write_text(json.dumps(kept))
    again = forked.run("experiments.loop_choices", *arguments, "--choices=aspect_update=0,window=0.5")
    assert again.returncode == 0, again.stderr
    row = next(line for line in again.stdout.splitlines() if line.startswith("| as it is"))
    assert [cell.strip() for cell in row.split("|")[3:6]] == ["25.0"] * 3


def test_wrong_usage(tmp_path):
    layouts.frames(tmp_path / "videos")
    named = [f"--benchmark=frames:{tmp_path / 'videos'}", f"--out={tmp_path / 'out'}"]
    cases = {
        (1, "two halves need four sequences, there are 2"): named,
        (2, "--choices window"): [*named, "--choices=window"],
        (1, "tracking.windw"): [*named, "--choices=windw=1"],
        (1, "model.nope"): [*named, "--choices=model.nope=1"],
        (1, "tracking.update_interval"): [*named, "--choices=update_interval=5"],
    }
    done = forked.run_all([["experiments.loop_choices", *arguments] for arguments in cases.values()])
    for (code, words), each in zip(cases, done, strict=True):
        assert each.returncode == code and words in each.stderr, each.stderr
        assert "Traceback" not in each.stderr

"""What `python -m trackers.evaluation.vot` writes, and what it says."""

import configparser
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from data_pipelines import sources
from tests import programs
from tests.data_pipelines import layouts
from tests.evaluation.vot.test_multistart_scores import RECORDED
from trackers import errors
from trackers.evaluation.vot import workspace

CONFIG = {"model": {"name": "grm"}, "tracking": {}}


def _registry(root):
    registry = configparser.ConfigParser()
    registry.read(root / "trackers.ini")
    return registry


def test_trackers_are_added_and_replaced_beside_others(tmp_path):
    root = tmp_path / "50%"
    root.mkdir()
    (root / "trackers.ini").write_text("# mine\n[other]\ncommand = other\n")
    for checkpoint in ("first", "second"):
        workspace.add_tracker(root, "grm-b_1", CONFIG, tmp_path / checkpoint)
        workspace.add_tracker(root, "last", CONFIG)
    registry = _registry(root)
    assert registry.sections() == ["other", "grm-b_1", "last"] and "# mine" in (root / "trackers.ini").read_text()
    found = registry["grm-b_1"]
    assert (found["protocol"], found["convert"]) == ("python", "rectangle")
    assert found["arg_checkpoint"] == str(tmp_path / "second") and "arg_checkpoint" not in registry["last"]
    assert json.loads(Path(found["arg_config"]).read_text()) == CONFIG
    with pytest.raises(errors.UsageError, match="--name 'a b'"):
        workspace.add_tracker(root, "a b", CONFIG)


def test_stacks(tmp_path):
    yaml = pytest.importorskip("yaml")
    workspace.create(tmp_path / "box", "vot2022/shorttermbox", 20, 90)
    assert yaml.safe_load((tmp_path / "box" / "config.yaml").read_text())["stack"] == "./stack.yaml"
    stack = yaml.safe_load((tmp_path / "box" / "stack.yaml").read_text())
    analyses = stack["experiments"]["baseline"]["analyses"]
    assert analyses[0] == {"type": "multistart_eao_score", "name": "eaoscore", "low": 20, "high": 90}
    assert stack["experiments"]["realtime"]["realtime"] == {"grace": 3}
    workspace.create(tmp_path / "vots", "vots2024/votstval")
    workspace.create(tmp_path / "vots", "other")  # what is there stays
    assert yaml.safe_load((tmp_path / "vots" / "config.yaml").read_text())["stack"] == "vots2024/votstval"
    assert not (tmp_path / "vots" / "stack.yaml").exists()


def test_another_stack_than_the_one_that_is_there_is_named(tmp_path):
    workspace.check_stack(tmp_path / "absent", "vot2022/shorttermbox", 20, 90)
    workspace.create(tmp_path, "vot2022/shorttermbox", 20, 90)
    workspace.check_stack(tmp_path, "vot2022/shorttermbox", 20, 90)
    with pytest.raises(errors.InputError, match=r"stack.yaml is there and is not what these --stack, --low and --high"):
        workspace.check_stack(tmp_path, "vot2022/shorttermbox", 20, 91)
    with pytest.raises(errors.InputError, match="config.yaml is there"):
        workspace.check_stack(tmp_path, "vots2024/main")


def test_another_sequence_of_the_same_name_is_not_taken_for_it(tmp_path):
    """Its images would stay, under the truth of the other."""
    layouts.got10k(tmp_path / "got10k", split="val")
    sequence = sources.open_sequences(f"got10k:{tmp_path / 'got10k'}/val")[1][0]
    workspace.write_sequences(tmp_path / "W", [sequence], 10)
    folder = tmp_path / "W" / "sequences" / sequence.name
    truth = (folder / "groundtruth.txt").read_bytes()
    later = dataclasses.replace(
        sequence, frames=sequence.frames[2:], boxes=sequence.boxes[2:], visible=sequence.visible[2:]
    )
    with pytest.raises(errors.InputError, match=f"sequence {sequence.name}: .* holds another of that name"):
        workspace.write_sequences(tmp_path / "W", [later], 10)
    # Nor are images of its own, which a download has.
    for link in (folder / "color").iterdir():
        content = link.read_bytes()
        link.unlink()
        link.write_bytes(content)
    downloaded = sources.open_sequences(f"vot:{tmp_path / 'W'}")[1]
    with pytest.raises(errors.InputError, match="holds another of that name"):
        workspace.write_sequences(tmp_path / "W", downloaded, 10)
    assert (folder / "groundtruth.txt").read_bytes() == truth


def test_sequences_read_back_and_anchors_run_to_the_farther_end(tmp_path):
    layouts.got10k(tmp_path / "got10k", split="val")
    sequences = sources.open_sequences(f"got10k:{tmp_path / 'got10k'}/val")[1]
    workspace.write_sequences(tmp_path / "W", sequences[:1], 10)
    workspace.write_sequences(tmp_path / "W", sequences, 10)
    found = sources.open_sequences(f"vot:{tmp_path / 'W'}")[1]
    assert [sequence.name for sequence in found] == [sequence.name for sequence in sequences]
    for mine, original in zip(found, sequences, strict=True):
        np.testing.assert_array_equal(mine.visible, original.visible)
        np.testing.assert_allclose(mine.boxes[mine.visible], original.boxes[original.visible])
        assert mine.frames[5].read_bytes() == original.frames[5].read_bytes()
    anchors = np.loadtxt(tmp_path / "W" / "sequences" / found[0].name / "anchor.value")
    assert {int(i): anchors[i] for i in np.flatnonzero(anchors)} == {0: 1, 10: 1, 20: -1}
    facts = (tmp_path / "W" / "sequences" / found[0].name / "sequence").read_text()
    assert f"width={layouts.WIDTH}\n" in facts and f"height={layouts.HEIGHT}\n" in facts
    hidden = found[0].visible & False
    blind = type(found[0])("blind", found[0].frames, found[0].boxes, hidden)
    with pytest.raises(errors.InputError, match="sequence blind: the target is visible in none of the frames 0, 10"):
        workspace.write_sequences(tmp_path / "W", [blind], 10)


def test_init_and_score_as_commands(tmp_path):
    layouts.got10k(tmp_path / "got10k", split="val")
    root = tmp_path / "W"
    result = programs.run(
        "trackers.evaluation.vot", "init", f"--workspace={root}", f"--benchmark=got10k:{tmp_path}/got10k/val"
    )
    assert result.returncode == 0, result.stderr
    assert f"vot evaluate --workspace {root} grm" in result.stdout
    assert json.loads((root / "trackers" / "grm.json").read_text())["model"]["width"] == 192
    assert (root / "sequences" / "list.txt").exists() and "low: 115, high: 755" in (root / "stack.yaml").read_text()

    scored = ("trackers.evaluation.vot", "score", f"--results={RECORDED}/results/grm/baseline", "--low=15", "--high=60")
    result = programs.run(*scored, f"--out={tmp_path}/out")
    assert result.returncode == 0, result.stderr
    assert "| all            |   0.7421 |     0.8129 | 0.6209 |" in result.stdout
    assert (tmp_path / "out" / "table.md").read_text() == result.stdout
    assert json.loads((tmp_path / "out" / "results.json").read_text())["eao"] == pytest.approx(0.6208528)

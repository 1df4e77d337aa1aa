"""docs/api.md: its code is run as it stands there."""

import re

import jax
import numpy as np
import pytest

import trackers
from configs import grm
from data_pipelines.procedural import video
from tests import programs
from tests.convert import torch_files
from trackers import convert
from trackers.io import video_files

pytest.importorskip("cv2")
PAGE = programs.ROOT / "docs" / "api.md"
# The page names a large network; here a file of its name holds a small one.
SMALL = "from configs import grm\n\n\ndef get_config(variant):\n    return grm.get_config('tiny')\n"


def test_every_block_runs_in_order(tmp_path, monkeypatch, capsys):
    frames, boxes = video.sequence(5001, 4)
    with video_files.VideoWriter(tmp_path / "my.mp4") as writer:
        for frame in frames:
            writer.write(frame)
    config = grm.get_config("tiny").model
    variables = trackers.init(trackers.build(config), jax.random.key(0))
    storages = torch_files.Storages()
    published = {name: storages.tensor(array) for name, array in convert.from_variables(variables, config).items()}
    torch_files.write_zip(tmp_path / "GRM_ep0300.pth.tar", {"net": torch_files.ordered(published)}, storages)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "grm.py").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    small = grm.get_config("tiny")
    monkeypatch.setattr(grm, "get_config", lambda variant: small)  # as imported by the page; SMALL is what it loads
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 8
    names = {"next_frame": frames[1]}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number + 1}", "exec"), names)
    assert capsys.readouterr().out.count("[") == 3
    assert names["published"].tracker.model.width == 96
    assert names["ok"] and np.isfinite([names[key] for key in "xywh"]).all()
    assert 0 <= names["x"] < 320 and 0 <= names["y"] < 240
    assert np.isfinite(names["output"].box).all()

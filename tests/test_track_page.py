"""docs/track.md names flags that track.py has."""

import re

from tests import programs


def test_every_flag_of_the_page_is_there():
    text = (programs.ROOT / "docs" / "track.md").read_text()
    named = set(re.findall(r"--([a-z][a-z_-]*)", text)) - {"no-draw"}
    done = programs.run("track.py", "--help")
    assert done.returncode == 0
    offered = set(re.findall(r"--(?:\[no\])?([a-z_]+)", done.stdout))
    assert {"camera", "stream", "every", "jsonl", "mot", "trail"} <= named <= offered

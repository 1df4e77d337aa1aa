"""The programs of this house by one name, wherever `pip install` put them.

    onestream track --video V.mp4 --box x,y,w,h --out DIR
    onestream train --config configs/grm.py:b256 --workdir DIR
    onestream PROGRAM --help

A config that the current folder does not have (configs/grm.py:b256) is the installed one. `python -m trackers PROGRAM`
is the same command.
"""

import runpy
import sys
from pathlib import Path

import trackers

# What a program is called, and the module that is run.
_PROGRAMS = {
    "track": "track",
    "train": "train",
    "eval": "eval",
    "refer": "refer",
    "plan": "plan",
    "convert": "trackers.convert",
    "export": "trackers.export",
    "data": "data_pipelines",
}


def main():
    """Runs the program that the first argument names; its exit codes. 2 where there is no such program."""
    if not hasattr(trackers, "DISTRIBUTION"):
        sys.exit(
            "error: PyPI's package `trackers` was installed over one-stream-trackers: uninstall both, and install them"
            " in environments of their own"
        )
    given = sys.argv[1:]
    if not given or given[0] in ("--help", "-h", "--version"):
        print(f"one-stream-trackers {trackers.__version__}")
        if "--version" not in given:
            print(f"onestream {'|'.join(_PROGRAMS)} [--help] ...")
        return
    name, *rest = given
    if name not in _PROGRAMS:
        print(f"error: onestream {name}: choose among {', '.join(_PROGRAMS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"onestream {name}", *_with_installed_configs(rest)]
    runpy.run_module(_PROGRAMS[name], run_name="__main__", alter_sys=False)


def _with_installed_configs(words):
    """The arguments with configs/... as the installed file where the current folder has none of that name."""
    house = Path(__file__).resolve().parents[1]
    changed = []
    for before, word in zip([None, *words], words, strict=False):
        flag, _, value = word.rpartition("=")
        if flag in ("--config", "-config") or (not flag and before in ("--config", "-config")):
            file = Path(value.split(":")[0])
            if file.parts[:1] == ("configs",) and not file.exists() and (house / file).exists():
                word = f"{flag}={house / value}" if flag else str(house / value)
        changed.append(word)
    return changed


if __name__ == "__main__":
    main()

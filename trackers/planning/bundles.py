"""Cycles of kernels that are not XLA's own, of which TPU's compiler gives no estimate.

It schedules bundles of instructions, one a cycle, and can be told to write them down. Waiting for memory is not in it.
"""

import os
import pathlib
import re

_BUNDLE = re.compile(r"^ *(?:0x)?[0-9a-f]+ +(?:[A-Z]{2})?: ([> ]*)\{")
_ROUNDS = re.compile(r"scmp\.ge\.s32\.totalorder %\w+, (\d+) /\* loop exit test")
_FILE = re.compile(r"\d+-((?:(?!-\d+-schedule-analysis).)*)-\d+-final_bundles\.txt")
_KERNEL = re.compile(r'%(\S+) = .*custom_call_target="tpu_custom_call"')


def write_to(folder):
    """Has libtpu write schedules into a folder that is there; must come before it is loaded (topologies.find)."""
    given = os.environ.get("LIBTPU_INIT_ARGS", "")
    ours = f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true --xla_jf_dump_llo_pass_label_regex=final_bundles"
    os.environ["LIBTPU_INIT_ARGS"] = f"{given} {ours}".strip()


def take(folder, text):
    """{kernel: bundles that one call executes} of the schedules in a folder, which is emptied.

    What a program leaves out in some of its rounds counts in all of them.

    Args: text: of the compiled program, that of jax's Compiled.as_text().

    Raises: ValueError where the schedule of one of its kernels is not there.
    """
    found, kernels = {}, set(_KERNEL.findall(text))
    for path in sorted(pathlib.Path(folder).iterdir()):
        name = _FILE.fullmatch(path.name)
        if name and name[1] in kernels:
            found[name[1]] = executed(path.read_text())
        path.unlink()
    if kernels - found.keys():
        raise ValueError(f"no schedule was written of {', '.join(sorted(kernels - found.keys()))}")
    return found


def executed(text):
    """Bundles that a schedule executes: those of its loop as often as that runs, the others once.

    Raises: ValueError for loops in loops.
    """
    depths = [line[1].count(">") for line in map(_BUNDLE.match, text.splitlines()) if line]
    rounds = _ROUNDS.findall(text)
    if max(depths, default=0) > 1 or len(rounds) > 1 or bool(rounds) != any(depths):
        raise ValueError(f"a schedule has {len(rounds)} loops, up to {max(depths, default=0)} in each other")
    return depths.count(0) + depths.count(1) * int(rounds[0] if rounds else 0)

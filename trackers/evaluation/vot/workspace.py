"""A workspace of the VOT toolkit for a tracker of this library:

    W/config.yaml                            which stack of experiments, where the trackers are named
    W/stack.yaml                             the stack, where it is one of STACKS
    W/trackers.ini                           a section a tracker
    W/trackers/NAME.json                     the sections `model` and `tracking` of its config
    W/sequences/{list.txt,SEQUENCE/...}      as the toolkit has downloaded them, or written from a benchmark

Everything that is there stays: a workspace of `vot initialize` gets a tracker, nothing else.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
from etils import epath

from trackers import errors
from trackers.io import image_files, outputs, plain_text

# Experiments of stacks that the toolkit knows by these names but cannot run (multistart.py); low and high: the ends of
# the interval of lengths over which EAO is the mean.
_MULTISTART = """\
title: {title}
experiments:
  baseline:
    type: trackers.evaluation.vot.multistart.MultiStart
    analyses:
      - {{type: multistart_eao_score, name: eaoscore, low: {low}, high: {high}}}
      - {{type: multistart_eao_curve, name: eaocurve, high: {high}}}
      - {{type: multistart_average_ar, name: ar}}
  realtime:
    type: trackers.evaluation.vot.multistart.MultiStart
    realtime: {{grace: 3}}
    analyses:
      - {{type: multistart_eao_score, name: eaoscore, low: {low}, high: {high}}}
      - {{type: multistart_eao_curve, name: eaocurve, high: {high}}}
      - {{type: multistart_average_ar, name: ar}}
  unsupervised:
    type: unsupervised
    repetitions: 1
    analyses:
      - {{type: average_accuracy, name: accuracy, burnin: 1}}
"""
# {stack: its title}: those with EAO from multiple starts.
STACKS = {
    "vot2020/shortterm": "VOT-ST2020 challenge",
    "vot2021/shortterm": "VOT-ST2021 challenge",
    "vot2022/shortterm": "VOT-ST2022 challenge",
    "vot2022/shorttermbox": "VOT-ST2022 bounding-box challenge",
}
# {stack: name in config.tracking.benchmarks}: what the programs call the benchmark.
SETTINGS = {"vot2020/shortterm": "vot20", "vot2020/longterm": "vot20lt", "vot2022/shorttermbox": "vot22stb"}
# What has to be in PYTHONPATH of the toolkit.
ROOT = Path(__file__).resolve().parents[3]
# Lengths between which EAO is averaged, in these stacks.
LOW, HIGH = 115, 755
# Frames between two anchors (VOT2020, Sec. 2).
ANCHOR_DISTANCE = 50
# Seconds that the toolkit waits for an answer: of a network that is compiled first.
_TIMEOUT_S = 1800
_NAME = re.compile("[a-zA-Z0-9-_]+")


def create(folder, stack, low=LOW, high=HIGH):
    """Writes W/config.yaml, and W/stack.yaml for one of STACKS, where the workspace has none.

    Args:
      folder: W. stack: a name of the toolkit's, such as "vots2024/votstval", or a path of a stack of one's own.
      low, high: of EAO's interval in frames, for sequences shorter than VOT's; used for STACKS only.

    Raises: InputError where the files cannot be written.
    """
    folder = epath.Path(folder)
    if (folder / "config.yaml").exists():
        return
    for name, text in _stack_files(stack, low, high).items():
        outputs.write_text(folder / name, text)
    (folder / "results").mkdir(exist_ok=True)


def check_stack(folder, stack, low=LOW, high=HIGH):
    """Checks that a workspace has no stack yet, or the one that `create` would write. Args: as of `create`.

    Raises: InputError naming the file that says otherwise.
    """
    folder = epath.Path(folder)
    if not (folder / "config.yaml").exists():
        return
    for name, text in _stack_files(stack, low, high).items():
        file = folder / name
        if not file.exists() or plain_text.read_text(file, "the workspace's settings") != text:
            raise errors.InputError(
                f"{file} is there and is not what these --stack, --low and --high make: leave them out to keep it, give"
                " another --workspace, or change the file"
            )


def _stack_files(stack, low, high):
    """{name: text} of the files that choose a stack, the one last with which a workspace is there."""
    files = {}
    if stack in STACKS:
        files["stack.yaml"] = _MULTISTART.format(title=STACKS[stack], low=low, high=high)
        stack = "./stack.yaml"
    return files | {"config.yaml": f"stack: {json.dumps(stack)}\nregistry:\n- ./trackers.ini\n"}


def add_tracker(folder, name, config, checkpoint=None):
    """Adds a tracker to W/trackers.ini, or gives the one of that name another config and checkpoint.

    Args:
      folder: W. name: letters, digits, "-" and "_", as the toolkit has them.
      config: {"model": section, "tracking": section}, plain dicts.
      checkpoint: as weights.load takes it; the shipped weights when None.

    Raises: UsageError for another name, InputError where the files cannot be read or written.
    """
    if not _NAME.fullmatch(name):
        raise errors.UsageError(f"--name {name!r}: the toolkit takes letters, digits, - and _ only")
    folder = epath.Path(folder).resolve()
    config_file, registry = folder / "trackers" / f"{name}.json", folder / "trackers.ini"
    outputs.write_text(config_file, json.dumps(config, indent=1) + "\n")
    values = {
        "label": name,
        "protocol": "python",
        "command": "trackers.evaluation.vot.targets:Targets",
        "convert": "rectangle",
        "timeout": _TIMEOUT_S,
        "arg_config": config_file,
    }
    if checkpoint:
        values["arg_checkpoint"] = epath.Path(checkpoint).resolve()
    # What a "%" means to the reader of such files is said by two of them.
    section = "".join(f"{key} = {str(value).replace('%', '%%')}\n" for key, value in values.items())
    others = _without(plain_text.read_text(registry, "sections of trackers") if registry.exists() else "", name)
    outputs.write_text(registry, f"{others}[{name}]\n{section}")


def _without(text, name):
    """Text of trackers.ini without the section of a tracker, with an empty line after the others."""
    kept, here = [], False
    for line in text.splitlines():
        if line.startswith("["):
            here = line.strip() == f"[{name}]"
        if not here:
            kept.append(line)
    text = "\n".join(kept).strip()
    return f"{text}\n\n" if text else ""


def write_sequences(folder, sequences, anchor_distance=ANCHOR_DISTANCE):
    """Writes sequences of any benchmark in VOT's layout, their images linked; those that are there stay.

    Anchors lie every so many frames on visible targets; a run goes from each towards the end that is farther away
    (VOT2020, Sec. 2).

    Args: folder: W, a local one. sequences: list of data_pipelines.sources.Sequence whose true boxes are public.

    Raises: InputError where a sequence's truth is withheld, has no anchor or cannot be written, or W has another of its
      name.
    """
    root = epath.Path(folder) / "sequences"
    outputs.check_distinct([(sequence.name, [root / _folder_name(sequence)]) for sequence in sequences])
    for sequence in sequences:
        _check_images(root / _folder_name(sequence), sequence)
    for sequence in sequences:
        _write_sequence(root / _folder_name(sequence), sequence, anchor_distance)
    names = root / "list.txt"
    listed = plain_text.read_names(names, "a sequence a line") if names.exists() else []
    new = [_folder_name(sequence) for sequence in sequences]
    outputs.write_text(names, "".join(f"{name}\n" for name in dict.fromkeys([*listed, *new])))


def _folder_name(sequence):
    return sequence.name.replace("/", "_")


def _links(folder, sequence):
    """[(link, frame)] of a sequence's images."""
    ending = sequence.frames[0].suffix
    return [(folder / "color" / f"{number:08d}{ending}", frame) for number, frame in enumerate(sequence.frames, 1)]


def _check_images(folder, sequence):
    """Checks that a folder has no images but links to the sequence's: the truth of others would be replaced."""
    for link, frame in _links(folder, sequence):
        same = os.path.islink(link) and os.path.realpath(link) == os.path.realpath(frame)
        if os.path.lexists(link) and not same:
            raise errors.InputError(
                f"sequence {sequence.name}: {folder} holds another of that name ({link.name} is not {frame}): give"
                " another --workspace, or take the folder and its results out"
            )


def _write_sequence(folder, sequence, anchor_distance):
    if sequence.truth_withheld:
        raise errors.InputError(f"sequence {sequence.name}: the true boxes are withheld, and VOT's scores need them")
    numbers = np.arange(len(sequence))
    forward = 2 * numbers <= len(sequence) - 1
    anchors = np.where(numbers % anchor_distance == 0, np.where(forward, 1, -1), 0) * sequence.visible
    if not anchors.any():
        raise errors.InputError(
            f"sequence {sequence.name}: the target is visible in none of the frames 0, {anchor_distance}, ... that runs"
            " start from: leave it out (--sequences), or give another --anchor_distance"
        )
    height, width = image_files.read_image(sequence.frames[0]).shape[:2]
    for link, frame in _links(folder, sequence):
        link.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(link):
            os.symlink(os.path.realpath(frame), link)
    regions = [
        ",".join(f"{value:.10g}" for value in box) if seen else "0"
        for box, seen in zip(sequence.boxes, sequence.visible, strict=True)
    ]
    outputs.write_text(folder / "groundtruth.txt", "".join(f"{region}\n" for region in regions))
    outputs.write_text(folder / "anchor.value", "".join(f"{anchor}\n" for anchor in anchors))
    images = f"color/%08d{sequence.frames[0].suffix}"
    facts = {"name": folder.name, "fps": 30, "format": "default", "channels.color": images}
    facts |= {"width": width, "height": height, "length": len(sequence)}
    outputs.write_text(folder / "sequence", "".join(f"{key}={value}\n" for key, value in facts.items()))

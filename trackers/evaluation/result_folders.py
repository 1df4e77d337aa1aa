"""What an evaluation's folder keeps for comparisons, and how it is read back.

    OUT/results.json      numbers by toolkit and sequence (reports.py)
    OUT/curves.json       curves of pytracking's analysis by tracker and sequence, fractions at its thresholds
    OUT/attributes.json   {sequence: [attribute, ...]}, where the benchmark has attributes

Whatever is scored here is {tracker: {toolkit: {"overall": Score, "sequences": {name: Score}} or {"error": str}}}, as
benchmark.score gives it, so that tables and charts are the same for one evaluation and for several.
"""

import dataclasses

import numpy as np
from etils import epath

from trackers.errors import InputError
from trackers.evaluation import charts, records, scores, tables
from trackers.io import plain_text

RESULTS, CURVES, ATTRIBUTES = "results.json", "curves.json", "attributes.json"
_ANALYSIS = "pytracking"
_SPEEDS = ("tracker_fps", "end_to_end_fps")
_AGAIN = "run eval.py with the same --out again, which takes the boxes that are there"


@dataclasses.dataclass(frozen=True)
class Results:
    """What one folder holds.

    folder: its path. scored: see above, without "overall" and of the toolkits of tables.COLUMNS only. speeds:
    {tracker: {"tracker_fps", "end_to_end_fps"}}. attributes: {sequence: [attribute, ...]}, {} without a file of them.
    """

    folder: epath.Path
    scored: dict
    speeds: dict
    attributes: dict


def write_curves(out, scored):
    """Writes OUT/curves.json. scored: see above."""
    kept = {}
    for tracker, toolkits in scored.items():
        parts = toolkits[_ANALYSIS].get("sequences", {})
        kept[tracker] = {
            name: {kind.key: np.round(part.curves[kind.key], 7) for kind in charts.CURVES}
            for name, part in parts.items()
        }
    thresholds = {kind.key: np.round(kind.steps, 7) for kind in charts.CURVES}
    value = {"units": "fractions of the frames", "toolkit": _ANALYSIS, "thresholds": thresholds, "trackers": kept}
    records.write_json(epath.Path(out) / CURVES, value, indent=None)


def write_attributes(out, members):
    """Writes OUT/attributes.json, or removes one that does not hold any more.

    Args: members: {attribute: [sequence, ...]} as data_pipelines.attributes.read gives it, {} where there are none.
    """
    listed = {}
    for attribute, names in members.items():
        for name in names:
            listed.setdefault(name, []).append(attribute)
    if listed:
        records.write_json(epath.Path(out) / ATTRIBUTES, listed)
    else:
        (epath.Path(out) / ATTRIBUTES).unlink(missing_ok=True)


def read(folder):
    """The Results of a folder that eval.py wrote.

    Raises: InputError naming the file that is missing, damaged, or of something that cannot be compared.
    """
    folder = epath.Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name one that eval.py wrote (its --out)")
    path = folder / RESULTS
    known = plain_text.read_json(path, "the numbers that eval.py leaves in its --out")
    if isinstance(known, dict) and "phrases" in known:
        raise InputError(f"{path} holds scores of phrases: only results of tracking one object can be compared")
    if not isinstance(known, dict) or not isinstance(known.get("trackers"), dict) or not known["trackers"]:
        raise InputError(f"{path} holds no trackers: name a folder that eval.py wrote without --starts and --workdir")
    with plain_text.naming(path, _AGAIN):
        given = {tracker: entry.get("scores") for tracker, entry in known["trackers"].items()}
        speeds = {
            tracker: {key: _number(entry["speed"][key]) for key in _SPEEDS}
            for tracker, entry in known["trackers"].items()
        }
    if None in given.values():
        raise InputError(f"{path} holds no scores: the benchmark's ground truth is not public, its server has them")
    curves = plain_text.read_json(folder / CURVES, f"the curves that eval.py leaves there ({_AGAIN})")
    with plain_text.naming(path, _AGAIN):
        wanted = dict.fromkeys(toolkit for _, toolkit, _ in tables.COLUMNS)
        scored = {
            tracker: {toolkit: _toolkit(toolkit, entry[toolkit]) for toolkit in wanted}
            for tracker, entry in given.items()
        }
        for toolkits in scored.values():
            lists = [list(score["sequences"]) for score in toolkits.values() if "sequences" in score]
            if any(names != lists[0] for names in lists):
                raise ValueError("the toolkits have other sequences")
    with plain_text.naming(folder / CURVES, _AGAIN):
        for tracker, toolkits in scored.items():
            for name, part in toolkits[_ANALYSIS].get("sequences", {}).items():
                part.curves.update(_curves(curves["trackers"][tracker][name]))
    return Results(folder, scored, speeds, read_attributes(folder / ATTRIBUTES))


def read_attributes(path, needed=False):
    """{sequence: [attribute, ...]} of a JSON file; {} where there is none, unless it is `needed`.

    Raises: InputError where the file holds something else.
    """
    expected = "JSON {sequence: [attribute, ...]}"
    path = epath.Path(path)
    if not needed and not path.exists():
        return {}
    known = plain_text.read_json(path, expected)
    listed = isinstance(known, dict) and all(isinstance(value, list) for value in known.values())
    if not listed or not all(isinstance(name, str) for value in known.values() for name in value):
        raise InputError(f"{path} holds no attributes: expected {expected}")
    return known


def restricted(toolkits, names):
    """Scores of one tracker on the sequences `names` only, with "overall" of them. toolkits: one value of `scored`."""
    kept = {}
    for toolkit, score in toolkits.items():
        if "error" in score:
            kept[toolkit] = score
            continue
        parts = {name: score["sequences"][name] for name in names}
        kept[toolkit] = {"overall": _combined(list(parts.values())), "sequences": parts}
    return kept


def sequences(toolkits):
    """The names of the sequences that a tracker was scored on, in their order. toolkits: one value of `scored`."""
    return next((list(score["sequences"]) for score in toolkits.values() if "sequences" in score), [])


def _combined(parts):
    """scores.combine of sequences without their overlaps: pooled numbers are means weighted by frames."""
    pooled = scores.TOOLKITS[parts[0].toolkit].pooled
    frames = [part.frames for part in parts]
    if pooled:  # sequences of no frame that counts have no number, and none is asked of them
        parts = [part for part in parts if part.frames] or parts
    weights = [part.frames for part in parts] if pooled and any(frames) else None
    values = {
        name: float(np.average([part.values[name] for part in parts], weights=weights)) for name in parts[0].values
    }
    curves = {name: np.mean([part.curves[name] for part in parts], axis=0) for name in parts[0].curves}
    return scores.Score(parts[0].toolkit, sum(frames), curves, values)


def _toolkit(toolkit, entry):
    if "error" in entry:
        return {"error": str(entry["error"])}
    names = [name for name, _, _ in scores.TOOLKITS[toolkit].numbers]
    parts = {}
    for sequence, row in entry["sequences"].items():
        frames = _number(row["frames"])
        if frames < 0 or frames != int(frames):
            raise ValueError(f"{frames:g} frames")
        parts[sequence] = scores.Score(toolkit, int(frames), {}, {name: _number(row[name]) for name in names})
    if not parts:
        raise ValueError("a tracker has no sequence")
    return {"sequences": parts}


def _curves(entry):
    made = {kind.key: np.array([_number(value) for value in entry[kind.key]]) for kind in charts.CURVES}
    for kind in charts.CURVES:
        if made[kind.key].shape != kind.steps.shape:
            raise ValueError(f"a curve of {len(made[kind.key])} values, not {len(kind.steps)}")
    return made


def _number(value):
    """A number of a JSON file as float, NaN for null. Raises: TypeError or ValueError for anything else."""
    if value is None:
        return np.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    if not np.isfinite(float(value)):
        raise ValueError("a number that is not finite")
    return float(value)

"""Scores tracks of many objects as MOT17, MOT20 and DanceTrack are scored: HOTA, MOTA, IDF1.

    python -m trackers.evaluation.mot --ground_truth FOLDER --results FOLDER [--seqmap FILE] [--out FOLDER]

Ground truth lies in FOLDER/SEQUENCE/gt/gt.txt (as published) or FOLDER/SEQUENCE.txt, results in FOLDER/SEQUENCE.txt or
FOLDER/data/SEQUENCE.txt, lines frame,id,x,y,w,h,confidence,... each. What refer.py wrote is taken as both, too: there
a sequence is VIDEO+PHRASE, in VIDEO/PHRASE/{gt,predict}.txt. Prints a row a sequence and COMBINED, all of them as one;
--out gets table.md and results.json. The numbers are those of the official TrackEval.
"""

from absl import flags
from etils import epath

from trackers import errors
from trackers.evaluation import clear, hota, identity, records, tables
from trackers.io import mot_files, outputs, plain_text

FLAGS = flags.FLAGS

METRICS = (hota, clear, identity)
# The name of these scores in results.json, where single-object results have their toolkits'.
TOOLKIT = "trackeval"
_PERCENT = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDR", "IDP")
LEGEND = """\
In per cent, but for the counts. HOTA, DetA, AssA, LocA: means over the IoU thresholds 0.05 to 0.95; the others: at an
IoU of 0.5. IDSW: identity switches; MT, PT, ML: objects tracked mostly (above 80 %), partly (20 % and more), hardly.
COMBINED: the boxes of all sequences pooled. Equal to TrackEval's on the same files."""


def score(truth_root, results_root, seqmap=None, preprocessing=None, first_frame=1):
    """Scores of a folder of results.

    Args:
      truth_root, results_root: paths of the layouts above.
      seqmap: path of a list of sequences, a line each, perhaps under the heading "name"; None = all.
      preprocessing: "mot17" or "mot20" leaves out what hota.without_distractors does (nothing where pedestrians are all
        there is), "none" only ground truth with confidence 0; None: "mot20" where a sequence's name says that it is
        MOT20's, else "mot17".
      first_frame: the number that the files give to a video's first frame.

    Frames after the last are refused, as in TrackEval, where the ground truth has SEQUENCE/seqinfo.ini.
    Returns: {sequence or "COMBINED": {field: float, fractions, or int}}.
    Raises: InputError naming the folder or file that is missing or cannot be read.
    """
    parts = {}
    for name, place in _sequences(epath.Path(truth_root), seqmap).items():
        length = mot_files.length_of(epath.Path(truth_root) / name)
        truth = mot_files.read(place, first_frame, length)
        tracks = mot_files.read(_tracks(epath.Path(results_root), name), first_frame, length, judged=True)
        hota.check_size(truth, tracks, place)
        if preprocessing != "none":
            benchmark = preprocessing or ("mot20" if name.startswith("MOT20") else "mot17")
            truth, tracks = hota.without_distractors(truth, tracks, benchmark, place)
        parts[name] = [metric.score(truth, tracks) for metric in METRICS]
    return {**{name: values(row) for name, row in parts.items()}, "COMBINED": values(combined(parts.values()))}


def values(part):
    """{field: float, fractions, or int} of what the METRICS gave, in their order."""
    return {field: value for metric in part for field, value in metric.values().items()}


def combined(parts):
    """What the METRICS give for all sequences as one. parts: what they gave for each, in their order."""
    return [metric.combine(list(column)) for metric, column in zip(METRICS, zip(*parts, strict=True), strict=True)]


def results(tracker, overall, sequences, speed=None):
    """The part "trackers" of results.json, as single-object evaluations have it.

    Args: tracker: its name. overall, sequences: what `values` gave for all as one, and {name: for each}. speed: dict.
    """
    scored = {TOOLKIT: {"overall": overall, "sequences": sequences}}
    return {"trackers": {tracker: {**({"speed": speed} if speed else {}), "scores": scored}}}


def _sequences(root, seqmap):
    """{name: path of its ground truth}, as listed or sorted."""
    expected = "expected SEQUENCE/gt/gt.txt or SEQUENCE.txt in it"
    if not root.is_dir():
        raise errors.InputError(f"ground truth {root}: no such folder; {expected}")
    if seqmap:
        names = [name for name in plain_text.read_names(epath.Path(seqmap), "a sequence a line") if name != "name"]
        if not names:
            raise errors.InputError(f"seqmap {seqmap} names no sequence: give one a line")
    else:
        names = [file.parent.parent.name for file in root.glob("*/gt/gt.txt")]
        names = names or [file.stem for file in root.glob("*.txt") if not file.stem.endswith("seqmap")]
        names = sorted(names or ["+".join(file.parts[-3:-1]) for file in root.glob("*/*/gt.txt")])
    if not names:
        raise errors.InputError(f"ground truth {root} holds no sequence; {expected}")
    return {name: _first([root / name / "gt" / "gt.txt", root / f"{name}.txt"], root, name, "gt") for name in names}


def _tracks(root, name):
    return _first([root / f"{name}.txt", root / "data" / f"{name}.txt"], root, name, "predict")


def _first(paths, root, name, kind):
    """The first of the paths that exists, or a phrase's file. Raises: InputError where none does."""
    video, plus, phrase = name.partition("+")
    for path in [*paths, *([root / video / phrase / f"{kind}.txt"] if plus else [])]:
        if path.exists():
            return path
    raise errors.InputError(f"{paths[0]} is missing, and so is {paths[1]}: an empty file says that there are no boxes")


def report(scored):
    """Text: the table of `score`'s result, and what its columns are."""
    rows = [
        [name, *(f"{100 * row[field]:.2f}" for field in _PERCENT), *(str(row[field]) for field in clear.COUNTS)]
        for name, row in scored.items()
    ]
    return "\n\n".join([tables.markdown(["sequence", *_PERCENT, *clear.COUNTS], rows), LEGEND])


def main(argv):
    del argv
    if FLAGS.out:
        outputs.claim_folder(FLAGS.out)
    scored = score(FLAGS.ground_truth, FLAGS.results, FLAGS.seqmap, FLAGS.preprocessing, FLAGS.first_frame)
    text = report(scored)
    if FLAGS.out:
        outputs.write_text(epath.Path(FLAGS.out) / "table.md", text + "\n")
        overall = scored.pop("COMBINED")
        facts = {"benchmark": FLAGS.ground_truth, "units": "fractions"}
        facts |= results(outputs.name_of(FLAGS.results), overall, scored)
        records.write_json(epath.Path(FLAGS.out) / "results.json", facts)
    print(text)


if __name__ == "__main__":
    flags.DEFINE_string("ground_truth", None, "Folder of SEQUENCE/gt/gt.txt or SEQUENCE.txt.", required=True)
    flags.DEFINE_string("results", None, "Folder of SEQUENCE.txt.", required=True)
    flags.DEFINE_string("seqmap", None, "File with a sequence a line; none: all of the ground truth.")
    flags.DEFINE_enum(
        "preprocessing", None, [*hota.DISTRACTORS, "none"],
        "Whose distractors are left out; none given: MOT20's in sequences called MOT20-..., MOT17's in others.",
    )  # fmt: skip
    flags.DEFINE_integer("first_frame", 1, "Number that the files give to a video's first frame.", 0)
    flags.DEFINE_string("out", None, "Folder for table.md and results.json; none: printed only.")
    errors.run(main)

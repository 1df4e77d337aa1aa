"""Says before the upload what a benchmark's server would reject in a file of results.

    python -m trackers.evaluation.submission FILE [--kind KIND] [--benchmark NAME:PATH]

FILE is the zip, or the folder that is to be packed. Kinds, told from FILE where not given: got10k, trackingnet, lasot
(its MATLAB toolkit's folder), vot, mot (MOTChallenge), dancetrack, rmot (TrackEval's phrases). --benchmark names
the data set, whose sequences, lengths and first boxes the results are then held against. Prints a line a fault, each
with file and line; exit code 0: accepted, 1: rejected. Lines that begin with "note:" reject nothing.
"""

import re

from absl import flags
from etils import epath

from data_pipelines import annotations, published, sources
from trackers import errors
from trackers.evaluation import server_rules, server_rules_vot
from trackers.io import archives, mot_files, plain_text
from trackers.io.numbers import counted

FLAGS = flags.FLAGS

CHECKS = {
    "got10k": server_rules.got10k,
    "trackingnet": server_rules.trackingnet,
    "lasot": server_rules.lasot,
    "vot": server_rules_vot.check,
    "mot": server_rules.mot,
    "dancetrack": server_rules.dancetrack,
    "rmot": server_rules.rmot,
}
# Benchmark -> the kind of what its server or toolkit takes.
KINDS = {
    "got10k": "got10k",
    "trackingnet": "trackingnet",
    "lasot": "lasot",
    "lasot_ext": "lasot",
    "tnl2k": "lasot",
    "vasttrack": "lasot",
    "vot": "vot",
    "vots": "vot",
    "mot17": "mot",
    "dancetrack": "dancetrack",
    "refer_kitti": "rmot",
    "refer_dance": "rmot",
}
BENCHMARK_HELP = (
    f"NAME:PATH of the data set, NAME one of {', '.join(KINDS)}; mot17 and dancetrack: the folder of a split's videos."
)
# Faults that are printed; the number of the others is said.
_SHOWN, _NOTES_SHOWN = 40, 5


def check(path, kind=None, benchmark=None):
    """Prints what is wrong with a file of results, or what is accepted -> exit code.

    Args: path: of the zip or folder. kind: key of CHECKS. benchmark: NAME:PATH of the data set.

    Raises: UsageError for a kind or benchmark that is none, InputError for a file that cannot be read.
    """
    found = findings(path, kind, benchmark)
    for note in found.notes[:_NOTES_SHOWN]:
        print(f"note: {plain_text.printable(note)}")
    if len(found.notes) > _NOTES_SHOWN:
        print(f"note: {len(found.notes) - _NOTES_SHOWN} more")
    for fault in found.faults[:_SHOWN]:
        print(plain_text.printable(fault))
    if found.faults:
        more = len(found.faults) - _SHOWN
        print(
            f"{path}: rejected, {counted(len(found.faults), 'fault')}"
            + (f", {more} of them not shown" if more > 0 else "")
        )
        return 1
    print(f"{path}: accepted as {found.kind}" + ("" if benchmark else "; lengths are known with --benchmark only"))
    return 0


def findings(path, kind=None, benchmark=None):
    """server_rules.Findings of a file of results, with its `kind`. Arguments and errors as of `check`."""
    known = _kind_of(benchmark) if benchmark else None
    if kind and known and kind != known:
        raise errors.UsageError(f"--kind={kind}: the results of {benchmark} are of kind {known}: leave one out")
    expected = _expected(benchmark, known) if benchmark else None
    with archives.open_tree(path) as tree:
        found = server_rules.Findings()
        found.kind = kind or known or _kind(tree)
        CHECKS[found.kind](tree, expected, found)
    return found


def _kind(tree):
    """The kind that the names in a file tell."""
    names = tree.names
    if server_rules_vot.MANIFEST in names or any(name.endswith("_time.value") for name in names):
        return "vot"
    if any(name.endswith("/predict.txt") or name == "seqmap.txt" for name in names):
        return "rmot"
    if any(re.search(r"([^/]+)/\1_(00[1-3]|time)\.txt$", name) or "GOT-10k_Test_" in name for name in names):
        return "got10k"
    if any("_tracking_result/" in name for name in names) or tree.path.name.endswith("_tracking_result"):
        return "lasot"
    texts = [name for name in names if name.endswith(".txt") and "__MACOSX" not in name and name not in tree.faults]
    # Files without boxes, and those that cannot be read, tell nothing.
    columns = {_columns(tree, name) for name in texts[:5]} - {0}
    # A folder of TrackingNet's boxes may be called so, too.
    if any("dancetrack" in name or (name.startswith("tracker/") and 4 not in columns) for name in names):
        return "dancetrack"
    if any(name.rpartition("/")[2][:-4] in published.LASOT_TEST for name in texts):
        return "lasot"
    if columns and min(columns) >= 6:
        return "mot"
    if 4 in columns:
        return "trackingnet"
    if tree.faults:
        name, what = next(iter(tree.faults.items()))
        raise errors.InputError(f"{tree.path}: {plain_text.printable(name)} {what}")
    raise errors.UsageError(f"{tree.path}: what these results are for cannot be told: give --kind, {', '.join(CHECKS)}")


def _columns(tree, name):
    """Numbers in the first line of a file, 0 where it is none."""
    try:
        return len(plain_text.decode(tree.read(name), name, "numbers").partition("\n")[0].replace(",", " ").split())
    except errors.InputError:
        return 0


def _kind_of(spec):
    name, _, path = spec.partition(":")
    if name not in KINDS or not path:
        raise errors.UsageError(f"--benchmark={spec}: write NAME:PATH with NAME one of {', '.join(KINDS)}")
    return KINDS[name]


def _expected(spec, kind):
    """{name: server_rules.Expected} of a data set."""
    name, _, path = spec.partition(":")
    read = {"mot": _videos, "dancetrack": _videos, "rmot": _phrases, "vot": _targets}.get(kind, _sequences)
    return read(name, path)


def _sequences(name, path):
    _, found = sources.open_sequences(f"{name}:{path}")
    return {one.name: server_rules.Expected(len(one.frames), one.boxes[0]) for one in found}


def _videos(name, path):
    """Of a folder of MOT's videos: the frames that seqinfo.ini tells, or the images."""
    root = annotations.folder(path, name, "SEQUENCE/{seqinfo.ini,img1/000001.jpg}")
    expected = {}
    for folder in sorted(root.iterdir()):
        frames = mot_files.length_of(folder)
        if frames is None and (folder / "img1").is_dir():
            frames = len(annotations.image_names(folder / "img1"))
        if frames is not None:
            expected[folder.name] = server_rules.Expected(frames)
    if not expected:
        raise errors.InputError(f"{name}: no videos in {root}: name the folder of a split, such as test")
    return expected


def _phrases(name, path):
    videos = sources.open_source(name, path, "test")
    return {f"{video.name}/{one.name}": server_rules.Expected(len(video)) for video in videos for one in video.phrases}


def _targets(name, path):
    """Targets of VOT sequences as files of results name them; frames of the whole sequence, not from the start on."""
    _, found = sources.open_sequences(f"{name}:{path}")
    expected = {}
    for one in found:
        frames = len(annotations.image_names(epath.Path(one.frames[0]).parent))
        sequence, dot, target = one.name.rpartition(".")
        # As the toolkit does it, one target alone is not named.
        alone = dot and sum(other.name.startswith(f"{sequence}.") for other in found) == 1
        named = sequence if alone else f"{sequence}_{target}" if dot else one.name
        expected[named] = server_rules.Expected(frames)
    return expected


def main(argv):
    if len(argv) != 2:
        raise errors.UsageError("give one file: python -m trackers.evaluation.submission FILE")
    return check(epath.Path(argv[1]), FLAGS.kind, FLAGS.benchmark)


if __name__ == "__main__":
    flags.DEFINE_enum("kind", None, sorted(CHECKS), "What the results are for; none: told from the file.")
    flags.DEFINE_string("benchmark", None, BENCHMARK_HELP)
    errors.run(main, positional=True)

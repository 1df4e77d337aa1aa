"""Results in the form that a benchmark's server or toolkit takes. eval.py writes the first three by itself.

    got10k        ZIP: SEQUENCE/SEQUENCE_001.txt and SEQUENCE_time.txt, x,y,w,h with three decimals
    trackingnet   ZIP: SEQUENCE.txt, x,y,w,h with two decimals (the server rounds them to whole pixels)
    lasot         FOLDER/TRACKER_tracking_result/SEQUENCE.txt: LaSOT's MATLAB toolkit, TNL2K's, VastTrack's
    mot           ZIP: SEQUENCE.txt, frame,id,x,y,w,h,confidence,-1,-1,-1: MOTChallenge
    dancetrack    ZIP: tracker/SEQUENCE.txt, the same lines
    vot           ZIP: EXPERIMENT/SEQUENCE/FILES and manifest.yml, as `vot pack` makes it of a workspace's results
    rmot          VIDEO/PHRASE/{gt,predict}.txt and seqmap.txt: refer.py --benchmark writes it, nothing is to be packed

    python -m trackers.evaluation.servers --kind mot --results FOLDER --out FILE.zip

packs results that lie on disk: FOLDER/SEQUENCE.txt (ours, or with boxes separated by tabs or spaces), for got10k
FOLDER/SEQUENCE/SEQUENCE_001.txt, for vot WORKSPACE/results/TRACKER, for lasot --out is a folder. What comes out is
checked as `python -m trackers.evaluation.submission` does.
"""

import datetime
import io
import platform
import sys
import zipfile

from absl import flags
from etils import epath

from data_pipelines import annotations
from trackers import errors
from trackers.evaluation import submission
from trackers.io import mot_files, outputs, plain_text

FLAGS = flags.FLAGS

# What DanceTrack's server wants the folder in its zip to be called.
DANCETRACK_FOLDER = "tracker"
# Files that lie beside boxes and are none.
_BESIDE = ("_time.txt", "seqmap.txt")
# So that equal results make equal files.
_DATE = (1980, 1, 1, 0, 0, 0)
_COMPLETE = "no results to pack"


def got10k(results, names=None):
    """{name in the zip: text} of sequence folders in `results`; names: of the sequences, None for all."""
    results = epath.Path(results)
    names = names or _names(results, lambda path: path.is_dir(), lambda path: path.name)
    files = {}
    for name in names:
        found = sorted(file.name for file in (results / name).glob(f"{name}_*.txt"))
        files |= {f"{name}/{file}": plain_text.read_text(results / name / file, "lines of numbers") for file in found}
    return _some(files, results)


def trackingnet(results, names=None):
    """{name in the zip: text} of box files in `results`."""
    return {f"{name}.txt": _lines(boxes, "%.2f") for name, boxes in _boxes(results, names)}


def lasot(results, names=None, shift=0):
    """{name in the folder: text} of box files in `results`, a folder with the tracker's name.

    shift: what is added to x and y, 1 where they count pixels from 0 (origin=zero), as the toolkit counts from 1.
    """
    folder = f"{epath.Path(results).name}_tracking_result"
    return {f"{folder}/{name}.txt": _lines(b + [shift, shift, 0, 0], "%.3f") for name, b in _boxes(results, names)}


def mot(results, names=None, folder=""):
    """{name in the zip: text} of the tracks in `results`, FOLDER/SEQUENCE.txt or FOLDER/data/SEQUENCE.txt."""
    results = epath.Path(results)
    results = results / "data" if (results / "data").is_dir() else results
    names = names or _names(results, _is_boxes, lambda path: path.name[:-4])
    tracks = {name: mot_files.read(results / f"{name}.txt", 1, judged=True) for name in names}
    return {f"{folder}{name}.txt": mot_files.as_text(found) for name, found in tracks.items()}


def dancetrack(results, names=None):
    """The same below the folder that the server expects."""
    return mot(results, names, f"{DANCETRACK_FOLDER}/")


def vot(results, names=None):
    """{name in the zip: bytes} of a tracker's results in a workspace of the VOT toolkit, WORKSPACE/results/TRACKER.

    names: of the sequences, None for all. manifest.yml names the tracker, the stack of WORKSPACE/config.yaml, and what
    packed it; the command of the tracker, which `vot pack` adds from trackers.ini, is not repeated.
    """
    import yaml

    results = epath.Path(results)
    files = {}
    for path in sorted(results.glob("*/*/*"), key=str):
        name = "/".join(path.parts[-3:])
        if path.is_dir() or (names and path.parent.name not in names):
            continue
        files[name] = plain_text.read_bytes(path, "a file of results")
    _some(files, results)
    config = results.parent.parent / "config.yaml"
    stack = None
    if config.exists():
        with plain_text.naming(config):
            known = yaml.safe_load(plain_text.read_text(config, "the workspace's settings"))
            stack = known.get("stack") if isinstance(known, dict) else None
    manifest = {
        "identifier": results.name,
        "configuration": {},
        "timestamp": datetime.datetime.now().strftime("%Y-%m-%dT%H-%M-%S.%f"),
        "platform": sys.platform,
        "python": platform.python_version(),
        "toolkit": None,
        "stack": stack,
    }
    return files | {"manifest.yml": yaml.safe_dump(manifest)}


# Kind -> what packs it, and whether into a zip.
PACKERS = {
    "got10k": got10k,
    "trackingnet": trackingnet,
    "lasot": lasot,
    "mot": mot,
    "dancetrack": dancetrack,
    "vot": vot,
}
_FOLDERS = ("lasot",)
# Benchmark of eval.py -> the kind that it writes, where the truth is withheld and where it is public.
_WITHHELD = {"got10k": "got10k", "trackingnet": "trackingnet"}
_PUBLIC = {"lasot": "lasot", "lasot_ext": "lasot", "tnl2k": "lasot", "vasttrack": "lasot"}


def write(kind, files, out):
    """Writes what a packer gave: a zip, whole or not at all, or the files of a folder -> its path (etils.epath)."""
    out = epath.Path(out)
    if kind in _FOLDERS:
        for name, text in files.items():
            outputs.write_text(out / name, text)
        return out / next(iter(files)).split("/")[0]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, content)
    outputs.write_bytes(out, packed.getvalue())
    return out


def of_evaluation(spec, name, tracker, sequences, out):
    """Writes what benchmark `name`'s server or toolkit takes of the boxes in OUT/NAME/TRACKER.

    Args: spec: as eval.py was given it, NAME:PATH. sequences: list of data_pipelines Sequence, all tracked.

    Returns: the path, None where nothing takes them.
    """
    withheld = any(sequence.truth_withheld for sequence in sequences)
    kind = (_WITHHELD if withheld else _PUBLIC).get(name)
    if kind is None:
        return None
    results, names = out / name / tracker, [sequence.name for sequence in sequences]
    if kind == "lasot":
        files = lasot(results, names, shift=int(",origin=zero" in spec))
        return write(kind, files, out / name / "tracking_results")
    return write(kind, PACKERS[kind](results, names), out / name / f"{tracker}.zip")


def _boxes(results, names):
    results = epath.Path(results)
    names = names or _names(results, _is_boxes, lambda path: path.name[:-4])
    return [(name, annotations.read_boxes(results / f"{name}.txt")) for name in names]


def _is_boxes(path):
    return path.name.endswith(".txt") and not path.name.endswith(_BESIDE)


def _names(results, is_one, name):
    if not results.is_dir():
        raise errors.InputError(f"results {results}: no such folder; expected a tracker's boxes in it")
    return _some(sorted(name(path) for path in results.iterdir() if is_one(path)), results)


def _some(found, results):
    if not found:
        raise errors.InputError(
            f"results {results}: {_COMPLETE}; python -m trackers.evaluation.servers --help says where"
        )
    return found


def _lines(boxes, number):
    return "".join(",".join(number % value for value in row) + "\n" for row in boxes)


def main(argv):
    del argv
    if FLAGS.kind in _FOLDERS:
        outputs.claim_folder(FLAGS.out)
    else:
        outputs.claim_file(FLAGS.out)
    path = write(FLAGS.kind, PACKERS[FLAGS.kind](FLAGS.results), FLAGS.out)
    print(f"wrote {path}")
    return submission.check(path, FLAGS.kind, FLAGS.benchmark)


if __name__ == "__main__":
    flags.DEFINE_enum("kind", None, sorted(PACKERS), "Whose server or toolkit it is for.", required=True)
    flags.DEFINE_string("results", None, "Folder of a tracker's results.", required=True)
    flags.DEFINE_string("out", None, "The zip; with --kind=lasot a folder.", required=True)
    flags.DEFINE_string("benchmark", None, submission.BENCHMARK_HELP)
    errors.run(main)

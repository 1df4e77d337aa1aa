"""Results of tracking with words in the layout that the field's tools read, and their scores.

    ROOT/VIDEO/PHRASE/gt.txt        the boxes that the phrase means (frame,id,x,y,w,h,1,1,1)
    ROOT/VIDEO/PHRASE/predict.txt   the boxes that were found       (frame,id,x,y,w,h,confidence,-1,-1,-1)
    ROOT/seqmap.txt                 a line VIDEO+PHRASE for each folder, without a heading

This is what the TrackEval copy of TransRMOT (Wu et al., CVPR 2023) takes as both ground truth and trackers folder. The
number that papers give for Refer-KITTI is COMBINED: boxes and matches of all phrases pooled. The mean over phrases is
another number.
"""

import dataclasses
import io
import re

import numpy as np
from etils import epath

from trackers.errors import InputError
from trackers.evaluation import hota, mot, records, tables
from trackers.io import array_files, mot_files, outputs, plain_text
from trackers.io.numbers import counted

TRUTH, FOUND, SEQMAP = "gt.txt", "predict.txt", "seqmap.txt"
LEGEND = """\
COMBINED: boxes of all phrases pooled, the row of the papers; mean over phrases: the mean of the rows of the phrases.
Means over the IoU thresholds 0.05 to 0.95, MOTA and IDF1 at 0.5, equal to TrackEval's on the same files."""
# What tables show beside HOTA's fields. MOTA has no mean over phrases: where few boxes are meant it has no lower bound.
FURTHER = ("MOTA", "IDF1")


@dataclasses.dataclass(frozen=True)
class Scores:
    """parts: {(video, phrase folder): (Hota, Clear, Identity)}, in the order of the seqmap."""

    parts: dict

    @property
    def combined(self):
        """{field: float or int} of all phrases pooled."""
        return mot.values(mot.combined(self.parts.values()))

    @property
    def phrases(self):
        """{"VIDEO+PHRASE": {field: float or int}}."""
        return {"+".join(pair): mot.values(part) for pair, part in self.parts.items()}

    @property
    def mean(self):
        """{field of HOTA: float}, means over phrases."""
        rows = [part[0].values() for part in self.parts.values()]
        return {field: float(np.mean([row[field] for row in rows])) for field in hota.FIELDS}


def folder_name(phrase):
    """A phrase as the name of its folder: words joined by "-", without characters that paths or seqmaps cannot hold."""
    return re.sub(r"[^\w.,'()-]+", "-", phrase.strip()).strip("-.") or "phrase"


def folder_names(phrases):
    """[folder name] of phrases. Raises: InputError where two would share one, or one is too long for a disk."""
    names = [folder_name(phrase) for phrase in phrases]
    for k, name in enumerate(names):
        if (size := len(name.encode())) > outputs.LONGEST_NAME:
            raise InputError(
                f"phrase {phrases[k][:60]!r}... names a folder of {size} bytes, and disks take {outputs.LONGEST_NAME}:"
                " shorten it"
            )
        if name in names[:k]:
            other = phrases[names.index(name)]
            raise InputError(f"phrases {other!r} and {phrases[k]!r} would share the folder {name}: change or drop one")
    return names


def write(root, video, folder, tracks, truth=None):
    """Writes one phrase's results; `truth` None leaves the ground truth out.

    Args: root: path (gs:// too). video, folder: names. tracks, truth: Tracks.
    """
    place = epath.Path(root) / video / folder
    mot_files.write(place / FOUND, tracks)
    if truth is not None:
        mot_files.write_truth(place / TRUTH, truth)


def write_similarities(folder, tracks, phrases, similarities, **facts):
    """Writes similarity.npz (frame, id, box, similarity (n, P), phrases, and the `facts`) and similarity.json:
    {"phrases": [...], "tracks": {id: {frame: [P numbers, null where the box could not be judged]}}}."""
    folder = epath.Path(folder)
    packed = io.BytesIO()
    columns = {"frame": tracks.frames, "id": tracks.ids, "box": tracks.boxes, "similarity": similarities}
    np.savez_compressed(packed, phrases=np.array(phrases, np.str_), **columns, **facts)
    outputs.write_bytes(folder / "similarity.npz", packed.getvalue())
    by_track = {}
    for number, frame, row in zip(tracks.ids.tolist(), tracks.frames.tolist(), similarities.tolist(), strict=True):
        by_track.setdefault(number, {})[frame] = [round(value, 5) for value in row]
    records.write_json(folder / "similarity.json", {"phrases": list(phrases), "tracks": by_track})


def check_source(folder, source):
    """Refuses a folder with the results of another video of the same name.

    Raises: InputError naming both; `source` is what write_similarities was given as such.
    """
    try:
        other = str(_kept(folder)["source"])
    except plain_text.DAMAGE:
        return
    if other != source:
        raise InputError(f"{folder} holds the results of {other}, not of {source}: name another --out")


def read_similarities(folder, run, count):
    """The similarities (n, P) that write_similarities left with run=`run` for n = `count` boxes, or None."""
    try:
        kept = _kept(folder)
        if str(kept["run"]) == run and len(kept["similarity"]) == count:
            return kept["similarity"]
    except plain_text.DAMAGE:
        pass
    return None


def _kept(folder):
    """{name: array} of what write_similarities left."""
    with (epath.Path(folder) / "similarity.npz").open("rb") as opened:
        return array_files.read_npz(opened, folder)


def write_seqmap(root, pairs):
    """Writes ROOT/seqmap.txt. pairs: [(video, phrase folder)]."""
    outputs.write_text(epath.Path(root) / SEQMAP, "".join(f"{video}+{folder}\n" for video, folder in pairs))


def score(root, seqmap=None, first_frame=1):
    """Scores of a results folder.

    Args: root: path of the layout above. seqmap: path of the list of phrases; ROOT/seqmap.txt, or all folders that have
      a gt.txt where there is none. first_frame: the number that the files give to a video's first frame.

    Raises: InputError for a missing folder or file, or one with frames before the first, naming it.
    """
    root = epath.Path(root)
    if not root.is_dir():
        raise InputError(f"results {root}: no such folder; expected VIDEO/PHRASE/{{{TRUTH},{FOUND}}}")
    parts = {}
    for video, folder in _listed(root, seqmap):
        place = root / video / folder
        for name in (TRUTH, FOUND):
            if not (place / name).exists():
                raise InputError(f"{place / name} is missing: an empty file says that there are no boxes")
        truth, found = (mot_files.read(place / name, first_frame, judged=name == FOUND) for name in (TRUTH, FOUND))
        hota.check_size(truth, found, place)
        parts[video, folder] = [metric.score(truth, found) for metric in mot.METRICS]
    return Scores(parts)


def _folders(folder):
    return [entry for entry in folder.iterdir() if entry.is_dir()]


def _listed(root, seqmap):
    path = epath.Path(seqmap) if seqmap else root / SEQMAP
    if seqmap or path.exists():
        if not path.exists():
            raise InputError(f"seqmap {path} does not exist: give a file of lines VIDEO+PHRASE")
        lines = plain_text.read_names(path, "lines VIDEO+PHRASE")
        pairs = [line.split("+", 1) for line in lines if line != "name"]
        wrong = next((pair[0] for pair in pairs if len(pair) != 2), None)
        if wrong is not None:
            raise InputError(f"seqmap {path}: line {wrong!r} is not VIDEO+PHRASE")
        if not pairs:
            raise InputError(f"seqmap {path} names no phrase: give lines VIDEO+PHRASE")
    else:
        # Not by glob, which passes over folders that may not be read.
        phrases = [folder for video in _folders(root) for folder in _folders(video)]
        truths = [folder for folder in phrases if TRUTH in [file.name for file in folder.iterdir()]]
        pairs = sorted((folder.parent.name, folder.name) for folder in truths)
    if not pairs:
        raise InputError(f"results {root} hold no phrase: expected VIDEO/PHRASE/{{{TRUTH},{FOUND}}}")
    return [tuple(pair) for pair in pairs]


def table(name, scores):
    """The paper's table: one row with COMBINED in per cent, and the mean over phrases below it. name: the method's."""
    rows = [[name, *_cells(scores.combined)], ["mean over phrases", *_cells(scores.mean)]]
    return tables.markdown(["method", *hota.FIELDS, *FURTHER], rows)


def phrase_table(scores):
    """One row a phrase, in per cent, with its boxes in the ground truth and in the result."""
    rows = []
    for (video, folder), part in scores.parts.items():
        counts = [str(int(part[0].tp[0] + part[0].fn[0])), str(int(part[0].tp[0] + part[0].fp[0]))]
        rows.append([f"{video} {folder}", *counts, *_cells(mot.values(part))])
    return tables.markdown(["phrase", "meant", "found", *hota.FIELDS, *FURTHER], rows)


def _cells(values):
    return [f"{100 * values[field]:.2f}" if field in values else "-" for field in (*hota.FIELDS, *FURTHER)]


def report(name, scores):
    """Text with both tables; `name` is the method's."""
    count = len(scores.parts)
    head = f"{counted(count, 'phrase')} in {counted(len({video for video, _ in scores.parts}), 'video')}, in per cent"
    return "\n\n".join([head, table(name, scores), phrase_table(scores), LEGEND])


def write_report(out, name, scores, speed=None, **facts):
    """Writes OUT/table.md and OUT/results.json, and returns the text of the table.

    Args: name: the method's. scores: Scores. speed: dict, what is said of it. facts: what results.json begins with.

    results.json has fractions: of all phrases pooled and of each, below "trackers" as other evaluations have them;
    "combined", "mean_over_phrases" and "phrases" are the same numbers under the names of the papers.
    """
    out, text = epath.Path(out), report(name, scores)
    outputs.write_text(out / "table.md", text + "\n")
    numbers = {"combined": scores.combined, "mean_over_phrases": scores.mean, "phrases": scores.phrases}
    judged = mot.results(name, scores.combined, scores.phrases, speed)
    records.write_json(out / "results.json", {**facts, "units": "fractions", **numbers, **judged})
    return text

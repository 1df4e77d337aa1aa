"""Videos of people or cars with phrases: what the referring data sets share.

A phrase is a JSON file {"label": {"FRAME": [id, ...]}, "sentence": "..."}: which tracks it means in which frame. FRAME
is the number in the name of the image file and of the label file, whichever number the data set starts with.
"""

import dataclasses
import re
import sys
from collections.abc import Callable
from collections.abc import Sequence as ListLike

import numpy as np

from data_pipelines import annotations
from trackers import errors
from trackers.io import mot_files, numbers, plain_text
from trackers.io.image_files import read_image
from trackers.io.numbers import counted

# How many images after the one that a phrase was labeled in its boxes are taken from, and whose rule that is.
CONVENTIONS = {"image": 0, "published": 1}
_SAME_WORD = {
    "cars": "car",
    "vehicles": "car",
    "people": "pedestrian",
    "persons": "pedestrian",
    "males": "men",
    "females": "women",
    "light-colors": "light-color",
}
_LABEL_COLUMNS = 6
# A box may leave the image, but not by more than this: otherwise it is in pixels.
_LARGEST_FRACTION = 2


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A phrase about one video.

    Attributes:
      name: that of its file, without suffix: the folder of its results in the RMOT evaluation layout.
      sentence: as published.
      meant: (M, 2) int64 rows (frame, id), ordered: the tracks that it means, frames as in Video.tracks. Empty where
        it means none.
    """

    name: str
    sentence: str
    meant: np.ndarray

    @property
    def text(self):
        """The words that the network is given: iKUN's program makes them from the file's name."""
        return convert(self.name)


@dataclasses.dataclass(frozen=True)
class Video:
    """One video with its tracks and phrases.

    Attributes:
      name: unique within its source.
      frames: list-like of T frames; `load` turns one into (H, W, 3) uint8 RGB.
      tracks: its boxes, each with an area; frames count from 1 in order of the images, whatever their names start at.
      phrases: tuple of Phrase.
    """

    name: str
    frames: ListLike
    tracks: mot_files.Tracks
    phrases: tuple[Phrase, ...]
    load: Callable = read_image

    def __len__(self):
        return len(self.frames)


def convert(name):
    """A phrase's file name as the sentence that iKUN is trained on: synonyms become one word.

    "light-color-vehicles-in-the-left" -> "light-color car in the left". Case-sensitive, as in the program.
    """
    words = name.replace("-", " ").replace("light color", "light-color").split(" ")
    return " ".join(_SAME_WORD.get(word, word) for word in words)


def ground_truth(video, phrase, convention="image"):
    """The boxes that a phrase means.

    Args:
      video: Video.
      phrase: one of its phrases.
      convention: "image", the right one: the boxes of the image that the phrase was labeled in; or "published":
        TransRMOT's gt.txt for Refer-KITTI (also iKUN's gt_template), whose frame i + 1 holds the ids labeled in image
        i, counted from 0, with their boxes in image i + 1. Scoring a tracker that numbers its frames from 1 against
        the one or the other makes 8 HOTA (TempRMOT, issue 2).

    Returns: mot_files.Tracks, frames from 1. A labeled id without box in its image has no row.
    Raises: UsageError for another convention.
    """
    if convention not in CONVENTIONS:
        raise errors.UsageError(f"frame convention {convention!r}: use {' or '.join(CONVENTIONS)}")
    tracks, shift = video.tracks, CONVENTIONS[convention]
    meant = set(map(tuple, phrase.meant.tolist()))
    frames = tracks.frames - shift
    keep = [key in meant for key in zip(frames.tolist(), tracks.ids.tolist(), strict=True)]
    return dataclasses.replace(tracks, frames=frames).select(np.array(keep, bool))


def compare(source):
    """How the numbers of videos and descriptions of a Source of Video differ from source.published, in a line.

    Of its releases the one is compared that differs in the fewest numbers, the first of several. Counted are "videos",
    "distinct descriptions" (file names, each once) and "descriptions of a video" (the same in two videos is two).
    """
    names = [phrase.name for video in source for phrase in video.phrases]
    found = {
        "videos": len(source),
        "distinct descriptions": len(set(names)),
        "descriptions of a video": len(names),
    }
    differing = {
        release: [f"{what}: {found[what]} instead of {n}" for what, n in stated.items() if found[what] != n]
        for release, stated in source.published.items()
    }
    release = min(differing, key=lambda release: len(differing[release]))
    if differing[release]:
        return f"{source.name}: differs from {release}: {', '.join(differing[release])}"
    return f"{source.name}: as {release}: {', '.join(f'{what}: {found[what]}' for what in source.published[release])}"


def numbered(path):
    """{number in the name: file name} of the images in folder `path`, in order of the numbers.

    Raises: InputError for two of one number.
    """
    files = {}
    for name in annotations.image_names(path):
        digits = re.findall("[0-9]+", name)
        if digits:
            number = int(digits[-1])
            if number in files:
                raise errors.InputError(f"{path} has {files[number]} and {name}, both of number {number}: keep one")
            files[number] = name
    return dict(sorted(files.items()))


def read_phrases(folder, positions):
    """The phrases of one video.

    Args:
      folder: the folder of its JSON files.
      positions: {frame number in the files: frame}.

    Returns: tuple of Phrase, ordered by name. Frames that have no image are left out, which a line on stderr says.
    Raises: InputError where there is no phrase or a file is not as described above.
    """
    found = files(folder)
    if not found:
        raise errors.InputError(f"no phrases in {folder}: expected PHRASE.json files")
    return tuple(_read_phrase(file, positions) for file in found)


def files(folder):
    """The files of phrases in a video's folder, ordered by name; hidden ones are left out."""
    found = (file for file in folder.iterdir() if file.suffix == ".json" and not file.name.startswith("."))
    return sorted(found, key=lambda file: file.stem)


def _read_phrase(file, positions):
    expected = '{"label": {"FRAME": [id, ...]}, "sentence": "..."}'
    content = plain_text.read_json(file, expected)
    try:
        sentence, labels = content["sentence"], _labels(content["label"])
        if not isinstance(sentence, str):
            raise ValueError("its sentence is not text")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise errors.InputError(f"{file}: not a phrase ({plain_text.reason(error)}); expected {expected}") from None
    unknown = [frame for frame in labels if frame not in positions]
    if unknown:
        print(
            f"{file}: {counted(len(unknown), 'frame')} without image, the first is {unknown[0]}: left out",
            file=sys.stderr,
        )
    meant = {(positions[f], track) for f, tracks in labels.items() if f in positions for track in tracks}
    return Phrase(file.stem, sentence, np.array(sorted(meant), np.int64).reshape(-1, 2))


def _labels(content):
    """{frame number in the files: [id]} of a phrase's "label"."""
    labels = {}
    for text, tracks in content.items():
        frame = numbers.whole(text)
        if frame in labels:
            raise ValueError(f"frame {frame} stands twice")
        if not isinstance(tracks, list):
            raise ValueError(f"frame {frame} has no list of ids")
        wrong = [track for track in tracks if not numbers.is_whole(track)]
        if wrong:
            raise ValueError(f"frame {frame} has the id {str(wrong[0])[:40]!r}, which is not a whole number")
        labels[frame] = tracks
    return labels


def read_label_folder(folder, positions, size):
    """Tracks from label files, one a frame: "class id x y w h" a line, top left corner and size over the image's size.

    Args:
      folder: NUMBER.txt files; a frame without objects has none. Where an id stands twice in a frame its first line
        counts.
      positions: {frame number in the files: frame}.
      size: (height, width) of the images in pixels.

    Raises: InputError naming file and line.
    """
    if not folder.is_dir():
        raise errors.InputError(f"{folder} is missing: expected label files such as {folder}/000000.txt")
    height, width = size
    rows = {}
    for file in folder.iterdir():
        if file.suffix == ".txt" and numbers.is_digits(file.stem) and int(file.stem) in positions:
            for _, track, *box in _label_lines(file):
                rows.setdefault((positions[int(file.stem)], track), box)
    boxes = np.array(list(rows.values()), np.float64).reshape(-1, 4) * [width, height, width, height]
    frames, ids = np.array(list(rows), np.float64).reshape(-1, 2).T
    return _with_area(mot_files.from_rows(frames, ids, boxes, source=folder))


def read_mot(file, positions):
    """Tracks from a MOT ground-truth file without the rows that do not count (confidence 0).

    Args:
      file: its path.
      positions: {frame number in the file: frame}; rows of other frames are left out.

    Raises: InputError naming file and line.
    """
    tracks = mot_files.read(file)
    tracks = tracks.select((tracks.confidence != 0) & np.isin(tracks.frames, list(positions)))
    frames = np.array([positions[number] for number in tracks.frames.tolist()], np.int64)
    return _with_area(dataclasses.replace(tracks, frames=frames))


def _with_area(tracks):
    return tracks.select((tracks.boxes[:, 2:] > 0).all(axis=1))


def _label_lines(file):
    expected = "lines of class id x y w h, the box as fractions of the image"
    for number, line in enumerate(annotations.read_text(file, expected).split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = [numbers.number(value) for value in numbers.cells(line)]
        except ValueError:
            values = []
        whole = all(value.is_integer() and abs(value) <= numbers.LARGEST_WHOLE for value in values[:2])
        if len(values) != _LABEL_COLUMNS or not whole or max(map(abs, values[2:])) > _LARGEST_FRACTION:
            raise errors.InputError(f"{file}:{number}: {line.strip()[:60]!r}: expected {expected}")
        yield values

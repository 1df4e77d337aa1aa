"""Videos without labels, video files and folders of frames at any depth:

    ROOT/**/NAME.mp4                                    or .avi, .mkv, .webm, .mov, .m4v
    ROOT/**/FOLDER/{0001.jpg ...}                       or .jpeg, .png, .bmp, in natural order

Regions stand in for targets, and are followed from frame to frame (data_pipelines/unlabelled). A sequence is a run of
20 frames; of each video there are at most frames=N frames, in runs spread evenly over it. Validation has the last tenth
of all runs.

A video file is decoded once: its frames, reduced to 960 pixels, are kept as JPEG files in the user's cache, under
trackers/footage (trackers is in $XDG_CACHE_HOME or ~/.cache; 600 frames take about 100 MB), and made anew where
the file has changed. Folders of frames are read where they are.
"""

import hashlib
import os
import pathlib
import re
import shutil
import tempfile

import numpy as np

from data_pipelines import annotations, cache, sampling, trees
from data_pipelines.sources import Facts, Sequence, Source
from data_pipelines.sources.videos import SUFFIXES
from data_pipelines.unlabelled import views
from trackers import errors, progress
from trackers.io import video_files

FACTS = Facts(validation="validation", options={"frames": int})
SPLITS = ("train", "validation")
_LAYOUT = "video files, or folders of 20 frames or more, at any depth: NAME.mp4, FOLDER/0001.jpg"
# Frames of a run, as few as pairs are drawn from.
RUN = sampling.MIN_FRAMES
_QUALITY = 95
_FORMAT = 1
_FRAME = re.compile(r"(\d{8})-\d\d\.jpg")


def open(root, split="train", frames="600"):
    """The runs of frames in `root`, but for those that are held out -> Source without labels.

    What cannot be used is named in a line each and left out. Args: frames: most frames of a video, as text.
    """
    path = trees.root(root, "footage", split, SPLITS, _LAYOUT)
    most = int(frames)
    if most < RUN:
        raise errors.UsageError(f"footage: frames={frames}: a run takes {RUN} frames, give as many or more")
    runs = []
    for folder in trees.folders_in(path):
        names = annotations.image_names(folder)
        if names:
            runs += _usable(_runs_of_folder, folder, names, most)
        for file in sorted(folder.iterdir(), key=lambda p: annotations.natural_key(p.name)):
            if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                runs += _usable(_runs_of_file, file, most)
    runs = trees.part("footage", runs, split, f"runs of {RUN} frames", path, _LAYOUT)

    def load(index):
        name, files = runs[index]
        return Sequence(name, files, np.zeros((RUN, 4)), np.ones(RUN, bool))

    return Source("footage", [name for name, _ in runs], load, labelled=False)


def _usable(runs, *given):
    try:
        return runs(*given)
    except errors.InputError as error:
        annotations.say_once(f"footage: {error}; it is left out")
        return []


def _starts(total, most):
    """First frames of the runs of a video of `total` frames, `most` at most used."""
    count = min(total, most) // RUN
    return [number * total // count for number in range(count)]


def _runs_of_folder(folder, names, most):
    starts = _starts(len(names), most)
    if not starts:
        raise _too_short(f"folder {folder}", len(names))
    return [(f"{folder} {start}", [folder / name for name in names[start : start + RUN]]) for start in starts]


def _too_short(what, count):
    return errors.InputError(
        f"{what} has {count} frames of {RUN} that a run takes (as photographs they can be used: --config.data.photos)"
    )


def _runs_of_file(file, most):
    folder = cache.folder("footage") / f"{file.stem[:80]}-{_fingerprint(file, most)}"
    try:
        if not folder.is_dir():
            _unpack(file, most, folder)
        numbers = [match[1] for name in sorted(os.listdir(folder)) if (match := _FRAME.fullmatch(name))]
    except OSError as error:
        raise errors.InputError(
            f"{file}: its frames cannot be kept in {folder.parent} ({errors.os_reason(error)}); set XDG_CACHE_HOME"
        ) from None
    starts = list(dict.fromkeys(numbers))
    return [(f"{file} {int(s)}", [folder / f"{s}-{place:02d}.jpg" for place in range(RUN)]) for s in starts]


def _fingerprint(file, most):
    status = os.stat(file)
    facts = _FORMAT, os.path.abspath(file), status.st_size, status.st_mtime_ns, most, RUN, views.LARGEST_SIDE, _QUALITY
    return hashlib.sha256("\0".join(map(str, facts)).encode()).hexdigest()[:16]


def _unpack(file, most, folder):
    """Decodes a video's runs into `folder`, whole or not at all."""
    video = video_files.Video(file)
    total = len(video) or sum(1 for _ in video)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    try:
        if not _write(video, total, most, part):
            raise _too_short(f"video {file}", total)
        try:
            part.rename(folder)
        except OSError:
            # Another process that came first has made the same.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(video, total, most, folder):
    """Writes START-PLACE.jpg of each run into a folder -> number of runs that are whole."""
    import cv2

    starts, whole = _starts(total, most), 0
    started = iter([*starts, None])
    start = next(started)
    for index, frame in enumerate(progress.bar(video, total=total, desc=f"frames of {video.path.name}", disable=None)):
        if start is None:
            return whole
        if index < start:
            continue
        reduced = cv2.cvtColor(views.fitted(frame, f"video {video.path}"), cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(".jpg", reduced, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        (folder / f"{start:08d}-{index - start:02d}.jpg").write_bytes(encoded.tobytes())
        if index - start == RUN - 1:
            start, whole = next(started), whole + 1
    # A header may promise more frames than there are.
    if start is not None:
        for file in folder.glob(f"{start:08d}-*"):
            file.unlink()
    return whole

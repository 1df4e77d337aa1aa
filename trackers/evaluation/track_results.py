"""What tracking through one video leaves: tables that are whole up to the last frame, videos, JSON lines, a window.

OUT/boxes.csv     frame,x,y,w,h,score of one target, frame,id,x,y,w,h,score,lost of several
OUT/tracks.txt    MOTChallenge: frame (from 1),id,x,y,w,h,score,-1,-1,-1
OUT/tracked.mp4   the frames with the boxes drawn     OUT/source.mp4   the frames as they came
"""

import collections
import contextlib
import dataclasses
import time
from pathlib import Path

import numpy as np

from trackers.evaluation import records
from trackers.io import outputs, result_streams, video_files
from trackers.tracking.pictures import drawing

_ONE, _SEVERAL = ("frame", "x", "y", "w", "h", "score"), ("frame", "id", "x", "y", "w", "h", "score", "lost")
_DRAWN, _SOURCE, _BOXES, _MOT = "tracked.mp4", "source.mp4", "boxes.csv", "tracks.txt"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be left.

    draw, record, mot: whether tracked.mp4, source.mp4 and tracks.txt are. trail: frames that a drawn trail goes back.
    json: stream for JSON lines, or None. window: pictures.window.Window, or None.
    """

    draw: bool = True
    record: bool = False
    mot: bool = False
    trail: int = 0
    json: object = None
    window: object = None

    def names(self):
        """The files, boxes.csv first."""
        asked = {_DRAWN: self.draw, _SOURCE: self.record, _MOT: self.mot}
        return [_BOXES, *(name for name, wanted in asked.items() if wanted)]


def claim(out):
    """Makes the folder of results, and makes sure that its files can be written. Raises: InputError."""
    outputs.claim_folder(out)
    for name in (_BOXES, _DRAWN, _SOURCE, _MOT):
        outputs.claim_file(out / name)


class TrackResults(contextlib.ExitStack):
    """Writes what is wanted, frame by frame. A context manager; files are complete after leaving it in any way.

    Args:
      out: folder. wanted: Wanted. ids: of all targets, in the order in which they start.
      rate: frames per second. paced: whether frames come as time goes by, and videos must keep pace with the clock.

    names: of the files, boxes.csv first. frames: how many were added; last: the number of the newest.
    """

    def __init__(self, out, wanted, ids, rate, paced=False):
        super().__init__()
        self._wanted, self._ids = wanted, ids
        self.names, self.frames, self.last = wanted.names(), 0, None
        out, writer = Path(out), video_files.PacedWriter if paced else video_files.VideoWriter
        self._videos = {
            name: self.enter_context(writer(records.replacing(out / name), rate))
            for name in (_DRAWN, _SOURCE)
            if name in self.names
        }
        header = _ONE if len(ids) == 1 else _SEVERAL
        self._boxes = self.enter_context(result_streams.Table(records.replacing(out / _BOXES), header))
        self._mot = None
        if wanted.mot:
            self._mot = self.enter_context(result_streams.Table(records.replacing(out / _MOT)))
        self._trails = [collections.deque(maxlen=wanted.trail) for _ in ids]
        self._clock = collections.deque(maxlen=20)

    def add(self, number, frame, boxes, scores, lost, **shades):
        """What was found in a frame.

        Args:
          number: the frame's, from 0. frame: (H, W, 3) uint8 RGB.
          boxes: (N, 4) x, y, w, h in pixels, of the N targets that have started. scores: (N,), NaN where there is none.
          lost: (N,) bool.
          shades: `division` and `window` of drawing.annotate, of one target.
        """
        self._clock.append(time.perf_counter())
        self._write(number, boxes, scores, lost)
        self.frames, self.last = self.frames + 1, number
        if _SOURCE in self._videos:
            self._videos[_SOURCE].write(frame)
        window = self._wanted.window
        if _DRAWN not in self._videos and window is None:
            return
        drawn = self._drawn(number, frame, boxes, scores, lost, **shades)
        if _DRAWN in self._videos:
            self._videos[_DRAWN].write(drawn)
        if window is not None:
            note = f"{self._rate():.0f} fps" if len(self._clock) > 1 else None
            window.show(self._drawn(number, frame, boxes, scores, lost, note=note, **shades))
        for trail, box in zip(self._trails, boxes, strict=False):
            trail.append(box[:2] + 0.5 * box[2:])

    def _write(self, number, boxes, scores, lost):
        started = self._ids[: len(boxes)]
        for target, box, score, away in zip(started, boxes, scores, lost, strict=True):
            cells, said = [f"{value:.3f}" for value in box], f"{score:.5f}" if np.isfinite(score) else ""
            one = [str(number), *cells, said]
            self._boxes.write(one if len(self._ids) == 1 else [one[0], str(target), *one[1:], str(int(away))])
            if self._mot is not None:
                sure = f"{score:g}" if np.isfinite(score) else "1"
                self._mot.write([str(number + 1), str(target), *(f"{v:.2f}" for v in box), sure, "-1", "-1", "-1"])
        if self._wanted.json is not None:
            line = result_streams.json_line(number, started, boxes, scores, lost)
            print(line, file=self._wanted.json, flush=True)

    def _drawn(self, number, frame, boxes, scores, lost, note=None, **shades):
        if len(self._ids) == 1:
            trail = [*self._trails[0], boxes[0][:2] + 0.5 * boxes[0][2:]] if self._wanted.trail else ()
            about = {"score": scores[0], "lost": bool(lost[0]), "trail": trail, "note": note, **shades}
            return drawing.annotate(frame, boxes[0], number=number, **about)
        labels = [
            f"{target}{' lost' * bool(away)}" + (f" {score:.2f}" if np.isfinite(score) else "")
            for target, score, away in zip(self._ids[: len(boxes)], scores, lost, strict=True)
        ]
        return drawing.annotate_targets(frame, boxes, labels, lost, self._trails, number, note)

    def _rate(self):
        return (len(self._clock) - 1) / max(1e-6, self._clock[-1] - self._clock[0])

"""The video that a program is given: a file, a folder of images, a camera or a stream."""

import dataclasses
import itertools
from collections.abc import Iterable

from absl import flags
from etils import epath

from data_pipelines import annotations
from trackers import errors, progress
from trackers.io import image_files, live_video, video_files

FLAGS = flags.FLAGS


def define_flags():
    """--video and --images."""
    flags.DEFINE_string("video", None, "Video file to track in.")
    flags.DEFINE_string("images", None, "Folder of images to track in, in natural order of names; instead of --video.")


def define_live_flags():
    """--camera and --stream, and which frames of any video are taken."""
    flags.DEFINE_integer("camera", None, "Number of a camera to track in, 0 for the first.", lower_bound=0)
    flags.DEFINE_string("stream", None, "URL of a stream to track in: rtsp://..., http://...")
    flags.DEFINE_float("timeout", 10.0, "Seconds that a camera or stream may take for a frame.", lower_bound=0.1)
    flags.DEFINE_integer("start_frame", 0, "Frame to start in, 0 for the first; --box is the target in it.", 0)
    flags.DEFINE_integer("every", 1, "Of so many frames one is tracked.", lower_bound=1)


def open_frames():
    """The frames that --video or --images names, or --camera or --stream: video_files.Video, image_files.Images or
    live_video.LiveVideo.

    Raises: UsageError where none or several are given, InputError for what cannot be read.
    """
    live = [name for name in ("camera", "stream") if name in FLAGS and FLAGS[name].value is not None]
    if (FLAGS.video is not None) + (FLAGS.images is not None) + len(live) != 1:
        more = ", or --camera NUMBER or --stream URL" if "camera" in FLAGS else ""
        raise errors.UsageError(f"give either --video FILE or --images FOLDER{more}")
    if live:
        return live_video.LiveVideo(FLAGS[live[0]].value, FLAGS.timeout)
    if FLAGS.video is not None:
        return video_files.Video(FLAGS.video)
    folder = epath.Path(FLAGS.images)
    names = annotations.image_names(folder)
    if not names:
        kinds = ", ".join(annotations.IMAGE_SUFFIXES)
        raise errors.InputError(f"--images {folder}: no such folder, or no images ({kinds}) in it")
    return image_files.Images(annotations.Frames(folder, names))


def watched(frames):
    """The frames, with a progress bar."""
    return progress.bar(frames, total=len(frames) or None, smoothing=0.05)


@dataclasses.dataclass(frozen=True)
class Selected:
    """Frames of a video with their numbers, from 0: every so many from one on. Iterating gives (number, frame).

    frames: of open_frames. first: number of the first one that is taken. every: distance to the next. asked: what asked
    for the first one, for the message; None: --start_frame.
    """

    frames: Iterable
    first: int = 0
    every: int = 1
    asked: str | None = None

    def __len__(self):
        return max(0, -(-(len(self.frames) - self.first) // self.every))

    @property
    def rate(self):
        """Frames per second, of those taken."""
        return self.frames.rate / self.every

    def __iter__(self):
        chosen = itertools.islice(enumerate(self.frames), self.first, None, self.every)
        number = None
        for number, frame in chosen:
            yield number, frame
        if number is None:
            asked = self.asked or f"--start_frame {self.first}"
            raise errors.InputError(f"{asked}: the video ends before that frame: give an earlier one")

"""The video that a program is given: a file, or a folder of images."""

from absl import flags
from etils import epath

from data_pipelines import annotations
from trackers import errors, progress
from trackers.io import image_files, video_files

FLAGS = flags.FLAGS


def define_flags():
    """--video and --images."""
    flags.DEFINE_string("video", None, "Video file to track in.")
    flags.DEFINE_string("images", None, "Folder of images to track in, in natural order of names; instead of --video.")


def open_frames():
    """The frames that --video or --images names: video_files.Video or image_files.Images.

    Raises: UsageError where neither or both are given, InputError for what cannot be read.
    """
    if (FLAGS.video is None) == (FLAGS.images is None):
        raise errors.UsageError("give either --video FILE or --images FOLDER")
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

"""Keeps what storage libraries print from threads of their own off standard error.

Orbax, TensorStore, asyncio, TFDS and tensorboardX report one failed read or write from every thread, with a traceback
each; the error is then raised to us, and one line says it. TRACKERS_VERBOSE=1 in the environment brings their messages
back.
"""

import logging
import os
import sys
import threading
import traceback
from pathlib import Path

VARIABLE = "TRACKERS_VERBOSE"
_OURS = str(Path(__file__).resolve().parents[1])
_THEIRS = ("orbax", "tensorstore", "asyncio", "concurrent/futures", "tensorboardX", "tensorflow_datasets")
_LOGGERS = ("absl", "asyncio")


def libraries():
    """Installs the filters, once; every program begins with it, before anything is read or written."""
    if os.environ.get(VARIABLE, "0") not in ("", "0") or getattr(sys.excepthook, "storage_is_quiet", False):
        return
    # XLA, TensorFlow and OpenCV read them when they are loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_worth_saying)
    threaded, unraisable, uncaught = threading.excepthook, sys.unraisablehook, sys.excepthook

    def in_thread(args):
        if not _theirs_alone(args.exc_traceback):
            threaded(args)

    def in_callback(args):
        if not _theirs_alone(args.exc_traceback):
            unraisable(args)

    def anywhere(kind, error, trace):
        # TensorStore's threads hand their errors to this hook, too.
        if not _theirs_alone(trace):
            uncaught(kind, error, trace)

    anywhere.storage_is_quiet = True
    threading.excepthook, sys.unraisablehook, sys.excepthook = in_thread, in_callback, anywhere


def _worth_saying(record):
    """Filter of log records. What orbax and asyncio log of a failure is raised to us afterwards."""
    return record.name != "asyncio" and not any(f"/{name}/" in record.pathname for name in _THEIRS)


def _theirs_alone(trace):
    """Whether an error came through the storage libraries and through no line of this program."""
    files = [frame.filename for frame in traceback.extract_tb(trace, limit=200)]
    theirs = [any(f"/{name}" in file for name in _THEIRS) for file in files]
    ours = [file.startswith(_OURS) and "/site-packages/" not in file for file in files]
    return any(theirs) and not any(ours)

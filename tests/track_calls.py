"""Calls track.py's main with one list of arguments after another, given as JSON; prints the error that each ends in."""

import json
import sys

from absl import flags
from absl.testing import flagsaver

import track
from trackers import errors


def outcome(arguments):
    """ "Class: message" of what main raises, or "none"."""
    with flagsaver.flagsaver():
        flags.FLAGS(["track.py", *arguments])
        try:
            track.main([])
        except (errors.InputError, errors.UsageError) as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return "none"


if __name__ == "__main__":
    for call in json.loads(sys.argv[1]):
        print(outcome(call))

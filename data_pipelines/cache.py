"""Where things are kept that cost time to make and can be made again."""

import os
import pathlib


def folder(name):
    """CACHE/trackers/NAME, which may not be there yet; CACHE is $XDG_CACHE_HOME or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "trackers" / name

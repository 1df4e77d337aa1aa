"""Compiled programs kept from start to start, so that a program that was compiled once starts at once.

A run keeps them in WORKDIR/compiled, unless config.compiled names another folder or none; the programs that track keep
theirs in the user's cache folder. What the user has set for jax (JAX_COMPILATION_CACHE_DIR) stands. Nothing depends on
the folder: what cannot be read there is compiled again, and what cannot be written is not kept.
"""

import hashlib
import os
import platform
import warnings
from pathlib import Path

import jax
from etils import epath

from trackers.errors import InputError
from trackers.io import outputs

FOLDER = "compiled"
# Environment variable of the programs that track: a folder, or nothing to keep nothing.
VARIABLE = "ONESTREAM_CACHE"


def keep_of_run(setting, workdir, report=print):
    """Keeps what a run compiles. To be called before jax compiles anything.

    Args:
      setting: config.compiled: "workdir", "" (keep nothing) or a folder (gs:// too).
      workdir: path of the run (gs:// too), which is made where the folder in it is.
      report: function of one line of text, which is said where the folder cannot be written to.
    """
    if setting:
        keep(epath.Path(workdir) / FOLDER if setting == "workdir" else setting, report)


def keep_of_user(environ=os.environ):
    """Keeps what a program compiles for this user, quietly where that is not possible.

    The folder is $ONESTREAM_CACHE, else onestream/compiled in $XDG_CACHE_HOME or ~/.cache.
    """
    folder = environ.get(VARIABLE)
    if folder is None:
        caches = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".cache"
        folder = Path(caches) / "onestream" / FOLDER
    if folder:
        keep(folder, lambda line: None)
        # Most of what tracks a video compiles in less than jax's one second.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def keep(folder, report=print):
    """Keeps what jax compiles in `folder` (gs:// too), unless the user has chosen another; report: as keep_of_run."""
    if jax.config.jax_compilation_cache_dir:
        return
    folder = epath.Path(folder)
    if "://" not in str(folder):
        folder = folder.expanduser().resolve() / _processor()
    try:
        outputs.claim_folder(folder, "compiled programs:")
    except InputError as error:
        report(f"{error}; going on without: every start compiles")
        return
    # A full disk, or an entry that was cut off: jax says so at length each time, and compiles.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _processor():
    """A name of this kind of processor: what is compiled for one CPU may not run on another that shares the disk."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    abilities = next((line for line in lines if line.startswith("flags")), "")
    return hashlib.sha256(f"{platform.machine()} {platform.processor()} {abilities}".encode()).hexdigest()[:8]

"""What a program does before jax starts, for the machine that it is on.

TPU's compiler may be installed where no TPU is, for plan.py. jax takes an installed libtpu for a TPU, loads it and lets
it report at length what it cannot find. So where there is no TPU and the user has not chosen platforms, jax is told
which ones there are.

On a CPU, XLA asks the C library for the buffers of a call anew in each call, which gives large ones back to the kernel
as soon as they are freed; the kernel then has to find, and zero, every page again. Training has such buffers; a frame
of tracking has not, and is slower with one heap for all threads (benchmarks/RESULTS.md).
"""

import ctypes
import glob
import importlib.util
import os
import pkgutil

import jax

# Parameters of glibc's mallopt (malloc.h), and values by which freed memory stays: nothing is mapped on its own, the
# heap is never trimmed, and all threads share the one heap that can grow to any size.
_KEEPING = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_ARENA_MAX": (-8, 1)}


def tpu_is_here():
    """Whether this machine has TPU chips."""
    return bool(glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*"))


def leave_out_absent_tpu():
    """Sets jax's platforms to those without TPU where libtpu is installed for nothing; must come before jax is used.

    A choice of the user (JAX_PLATFORMS) stands, and so does jax's own search where there are other plugins than CUDA's.
    """
    asked = jax.config.jax_platforms or "JAX_FORCE_TPU_INIT" in os.environ
    if asked or importlib.util.find_spec("libtpu") is None or tpu_is_here():
        return
    plugins = _plugins()
    if all("cuda" in name for name in plugins):
        jax.config.update("jax_platforms", "cuda,cpu" if plugins else "cpu")


def keep_freed_memory():
    """Has memory that was freed stay with the process, where jax will compute on a CPU and the C library is glibc.

    Must come before jax has threads. What the user has told malloc (MALLOC_*, GLIBC_TUNABLES) stands.

    Returns: whether it was done.
    """
    told = [name for name in os.environ if name.startswith("MALLOC_")]
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if told or any(name in tunables for name in ("arena_max", "mmap_", "trim_threshold")) or not _computes_on_cpu():
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - other C libraries have a mallopt of other parameters, or none
        return all(libc.mallopt(*setting) for setting in _KEEPING.values())
    except (OSError, AttributeError):
        return False


def _computes_on_cpu():
    if asked := jax.config.jax_platforms:
        return asked.split(",")[0] == "cpu"
    return not (tpu_is_here() or glob.glob("/dev/nvidia[0-9]*") or _plugins())


def _plugins():
    """Names of the installed jax plugins, e.g. xla_cuda12."""
    spec = importlib.util.find_spec("jax_plugins")
    return [] if spec is None else [module.name for module in pkgutil.iter_modules(spec.submodule_search_locations)]

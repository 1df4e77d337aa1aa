"""Compilers for TPUs and NVIDIA cards may be installed where neither is, for plan.py: programs should start as if they
were not.

jax takes an installed libtpu for a TPU, loads it and lets it report at length what it cannot find; likewise with a
plugin for CUDA. So where the devices are absent and the user has not chosen platforms, jax is told which ones there
are.
"""

import glob
import importlib.util
import os
import pkgutil

import jax

# What a driver for NVIDIA cards makes: its own files, those of Windows' Linux, those of Jetson.
_NVIDIA = ("/dev/nvidia*", "/dev/dxg", "/dev/nvmap", "/dev/nvhost*")


def tpu_is_here():
    """Whether this machine has TPU chips."""
    return bool(glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*"))


def _nvidia_is_here():
    return any(map(glob.glob, _NVIDIA))


def leave_out_absent():
    """Sets jax's platforms to those that are here, where a compiler is installed for one that is not; must come before
    jax is used.

    A choice of the user (JAX_PLATFORMS) stands, and so does jax's own search where there are other plugins than CUDA's.
    """
    plugins = _plugins()
    if jax.config.jax_platforms or "JAX_FORCE_TPU_INIT" in os.environ or not all("cuda" in name for name in plugins):
        return
    tpu, nvidia = importlib.util.find_spec("libtpu") is not None, bool(plugins)
    if (tpu and not tpu_is_here()) or (nvidia and not _nvidia_is_here()):
        here = ["tpu"] * (tpu and tpu_is_here()) + ["cuda"] * (nvidia and _nvidia_is_here()) + ["cpu"]
        jax.config.update("jax_platforms", ",".join(here))


def _plugins():
    """Names of the installed jax plugins, e.g. xla_cuda12."""
    spec = importlib.util.find_spec("jax_plugins")
    return [] if spec is None else [module.name for module in pkgutil.iter_modules(spec.submodule_search_locations)]

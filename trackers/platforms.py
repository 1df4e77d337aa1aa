"""TPU's compiler may be installed where no TPU is, for plan.py: programs should start as if it were not.

jax takes an installed libtpu for a TPU, loads it and lets it report at length what it cannot find. So where there is no
TPU and the user has not chosen platforms, jax is told which ones there are.
"""

import glob
import importlib.util
import os
import pkgutil

import jax


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


def _plugins():
    """Names of the installed jax plugins, e.g. xla_cuda12."""
    spec = importlib.util.find_spec("jax_plugins")
    return [] if spec is None else [module.name for module in pkgutil.iter_modules(spec.submodule_search_locations)]

"""Published peaks of accelerators, and measured ones of whatever else is here.

Units: FLOP/s of dense bfloat16 matrix products (a multiply-add is two), bytes, bytes/s. `link` is one direction of one
link to a neighbor; TPU pages give both directions of all ports together (v5e: 400 GB/s = 4 ports x 2 x 50 GB/s).
"""

import dataclasses
import os
import time

import jax
import jax.numpy as jnp

_TPU_PAGES = "cloud.google.com/tpu/docs/"
_NVIDIA = "NVIDIA data sheet (dense, SXM)"


@dataclasses.dataclass(frozen=True)
class Chip:
    """name: as it is shown. kind: jax's device_kind. flops: FLOP/s. memory: bytes. bandwidth: bytes/s of that memory.

    link: bytes/s of one link in one direction. ring: sides of a slice at which links close to a ring: "full" = only the
    side of the whole pod (16), "cubes" = multiples of 4, "switch" = all chips see each other over one `link`.
    source: where the numbers are from. clock: cycles/s, 0 = not known.
    """

    name: str
    kind: str
    flops: float
    memory: float
    bandwidth: float
    link: float
    ring: str
    source: str
    clock: float = 0.0


# v4's links: Jouppi et al., ISCA 2023, table 4 (6 links of 50 GB/s). Clocks of v5e and v5p follow from their peak and
# the 4 and 8 matrix units of 128 x 128 that the pages name; v4's is published and agrees with the same sum.
CHIPS = (
    Chip("v4", "TPU v4", 275e12, 32 * 2**30, 1200e9, 50e9, "cubes", _TPU_PAGES + "v4; ISCA 2023 table 4", 1.05e9),
    Chip("v5e", "TPU v5 lite", 197e12, 16 * 2**30, 819e9, 50e9, "full", _TPU_PAGES + "v5e", 1.503e9),
    Chip("v5p", "TPU v5", 459e12, 95 * 2**30, 2765e9, 100e9, "cubes", _TPU_PAGES + "v5p", 1.751e9),
    Chip("v6e", "TPU v6 lite", 918e12, 32 * 2**30, 1638e9, 100e9, "full", _TPU_PAGES + "v6e"),
    Chip("A100", "NVIDIA A100-SXM4-80GB", 312e12, 80e9, 2039e9, 300e9, "switch", _NVIDIA),
    Chip("H100", "NVIDIA H100 80GB HBM3", 989e12, 80e9, 3350e9, 450e9, "switch", _NVIDIA),
    Chip("H200", "NVIDIA H200", 989e12, 141e9, 4800e9, 450e9, "switch", _NVIDIA),
)


def published(device):
    """The Chip of a jax device that the table knows, else None."""
    return next((chip for chip in CHIPS if chip.kind == device.device_kind), None)


def of_device(device, sharing=1):
    """The Chip of a jax device; what is not in the table is measured, where it can be (the device is here).

    Args:
      device: a jax device, of a topology or present.
      sharing: devices that share one processor's cores and memory (virtual CPU devices).
    """
    return published(device) or measured(device, sharing)


def measured(device, sharing=1):
    """A Chip whose peaks are measured here: a float32 matrix product (bfloat16 on a GPU), a copy, the memory free."""
    dtype = jnp.float32 if device.platform == "cpu" else jnp.bfloat16
    side = 1024 if device.platform == "cpu" else 8192
    square = jax.device_put(jnp.ones((side, side), dtype), device)
    flops = 2 * side**3 / _seconds(jax.jit(jnp.matmul), square, square)
    large = jax.device_put(jnp.ones(2**25, jnp.float32), device)
    bandwidth = 2 * large.nbytes / _seconds(jax.jit(lambda x: x + 1), large)
    rates = flops / sharing, bandwidth / sharing
    source = f"measured: {flops / 1e9:.0f} GFLOP/s ({dtype.__name__}), {bandwidth / 1e9:.1f} GB/s"
    source += f", shared by {sharing} devices" if sharing > 1 else ""
    memory = _memory(device) / sharing
    return Chip(device.device_kind, device.device_kind, rates[0], memory, rates[1], rates[1], "switch", source)


def _memory(device):
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _seconds(function, *args, repeats=5):
    """The shortest of a few runs after one to warm up."""
    jax.block_until_ready(function(*args))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - start)
    return min(times)

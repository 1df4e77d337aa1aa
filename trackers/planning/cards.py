"""NVIDIA cards that are not here: what their compiler is told of them, and how long its program should take on one.

XLA compiles for a card that it only has a description of (docs/scaling.md has what to install; no driver is needed). It
tries no variants of a product there, as it does on a card, so a product may be another kernel.

A card does one kernel after another. Each takes

  max(bytes / (MEMORY bandwidth), arithmetic) + KERNEL
  arithmetic = (products' FLOPs / peak + vector operations / VECTOR + special operations / SPECIAL) / ARITHMETIC

as in one kernel the products wait for what is computed element by element, and this for them (FlashAttention-3, Shah et
al., 2024, is about what is lost so). Products of float32 numbers count twice: jax takes them as TF32, half as fast by
the data sheets. Not counted: products too small to fill the card or their tiles, arrays that stay in the card's cache,
what addresses and loops take.
"""

import importlib.util
import math
import os
import re

import jax
from jax.experimental import topologies as jax_topologies

from trackers.errors import InputError, UsageError
from trackers.training import chips

# Stated, not fitted to a step. The best that is reported for large bfloat16 products on an H100 is about 0.79 of the
# data sheet (780 TFLOP/s), those of a network are smaller; the same is taken for arithmetic of other kinds. Long copies
# reach 0.9.
ARITHMETIC, MEMORY = 0.7, 0.9
# Operations/s. Vector: half of the data sheets' float32 FLOP/s, as a multiply-add counts two there. Special: 16 a clock
# and multiprocessor (CUDA programming guide, throughput of instructions; the H100's 3.9e12 is also FlashAttention-3's).
VECTOR = {"A100": 9.75e12, "H100": 33.5e12, "H200": 33.5e12}
SPECIAL = {"A100": 2.4e12, "H100": 3.9e12, "H200": 3.9e12}
# Seconds that a kernel takes however little it does, an assumption ("a few microseconds"), within CUDA graphs, too.
KERNEL = 3e-6
# Cards of a node, and bytes/s each way between nodes for each card (data sheets of DGX A100, H100, H200).
NODE, NETWORK = 8, {"A100": 25e9, "H100": 50e9, "H200": 50e9}
# Seconds from one card or node to the next: an assumption; eight cards so sum a few numbers in 30 microseconds.
_HOP = 5e-6
# No plan is for more cards than these: the largest clusters that are spoken of.
_MOST = 65536
_NAMES = re.compile(r"gpu:(a100|h100|h200)(?:x([1-9][0-9]*))?")
# In a folder of their own, as jax says at every start that it finds no driver.
_PACKAGES = f"jax-cuda12-plugin=={jax.__version__} jax-cuda12-pjrt=={jax.__version__}"
_PACKAGES += " nvidia-cuda-nvcc-cu12 nvidia-cudnn-cu12"
# What to do without them.
_REMEDY = f"pip install --no-deps --target CARDS {_PACKAGES}; then the same behind PYTHONPATH=CARDS (no GPU is needed)"

# What the compiler asks of a card, from NVIDIA's data sheets and the CUDA programming guide's table of compute
# capabilities. Shared memory in KiB of a multiprocessor, and what a block may have of it.
_BOTH = {
    "threads_per_block_limit": 1024, "threads_per_warp": 32, "threads_per_core_limit": 2048,
    "registers_per_core_limit": 65536, "registers_per_block_limit": 65536, "shared_memory_per_block": 48 * 1024,
    "block_dim_limit_x": 2**31 - 1, "block_dim_limit_y": 65535, "block_dim_limit_z": 65535,
}  # fmt: skip
_AMPERE = {"shared_memory_per_core": 164 * 1024, "shared_memory_per_block_optin": 163 * 1024, "fpus_per_core": 64}
_HOPPER = {"shared_memory_per_core": 228 * 1024, "shared_memory_per_block_optin": 227 * 1024, "fpus_per_core": 128}
_CAPABILITY = {"A100": "major: 8", "H100": "major: 9 feature_extension: ACCELERATED_FEATURES"}
_CAPABILITY["H200"] = _CAPABILITY["H100"]
_LIMITS = {
    "A100": {**_AMPERE, "core_count": 108, "clock_rate_ghz": 1.41, "l2_cache_size": 40 * 2**20},
    "H100": {**_HOPPER, "core_count": 132, "clock_rate_ghz": 1.98, "l2_cache_size": 50 * 2**20},
    "H200": {**_HOPPER, "core_count": 132, "clock_rate_ghz": 1.98, "l2_cache_size": 50 * 2**20},
}


def named(name):
    """(chips.Chip, number of cards) of "gpu:h100x8", or None for another name.

    Raises: UsageError for a number of cards that does not fill its last node, or for more than there are anywhere.
    """
    match = _NAMES.fullmatch(name)
    if match is None:
        return None
    count = int(match[2] or 1)
    if count > _MOST:
        raise UsageError(f"topology {name}: give at most {_MOST} cards")
    if count > NODE and count % NODE:
        raise UsageError(f"topology {name}: more than {NODE} cards come in nodes of {NODE}")
    return next(chip for chip in chips.CHIPS if chip.name == match[1].upper()), count


def knows(chip):
    """Whether a chips.Chip is one of these cards, here or not."""
    return chip.name in VECTOR


def devices(name):
    """jax's devices of "gpu:h100x8", a tuple, for its compiler alone.

    Raises: UsageError as `named`; InputError where the compiler is not installed.
    """
    chip, count = named(name)
    # jax would look for the libraries that running needs, and for a driver.
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    plugins = importlib.util.find_spec("jax_plugins")
    found = plugins and any(importlib.util.find_spec(f"jax_plugins.xla_cuda{version}") for version in (12, 13))
    if not found:
        raise InputError(f"planning for {name} needs XLA's compiler for NVIDIA cards: {_REMEDY}")
    nodes = max(1, count // NODE)
    shape = {"target_config": _description(chip), "topology": f"1x{nodes}x{count // nodes}"}
    try:
        return tuple(jax_topologies.get_topology_desc(platform="cuda", topology_name=name, **shape).devices)
    except Exception as error:
        raise InputError(f"planning for {name}: {str(error).splitlines()[0]}: {_REMEDY}") from None


def latency(count):
    """Seconds until a message is with all of so many cards or nodes, along a tree (as NCCL sends small ones)."""
    return math.ceil(math.log2(count)) * _HOP


def missing_library(error):
    """What to say of an error of jax or of the compiler that means a library is missing, else None."""
    said = str(error)
    if not any(name in said for name in ("cuDNN not found", "ptxas", "libdevice", "cudnn", "CUDNN")):
        return None
    return f"{said.splitlines()[0][:200]}: {_REMEDY}"


def options_for(error):
    """Options with which the compiler gets past an error of its own, else None.

    It writes some products as kernels of its own (Triton) and fails where the sizes that it assumes for one's tiles do
    not fit; on a card that is here it tries others. cuBLAS takes any product.
    """
    return {"xla_gpu_enable_triton_gemm": False} if "output tile sizes" in str(error) else None


def _description(chip):
    """A card as XLA reads it: the text of its GpuTargetConfigProto."""
    numbers = {**_BOTH, **_LIMITS[chip.name]}
    numbers |= {"memory_bandwidth": int(chip.bandwidth), "device_memory_size": int(chip.memory)}
    lines = [f"{key}: {value}" for key, value in numbers.items()]
    return (
        f"gpu_device_info {{ {' '.join(lines)} cuda_compute_capability {{ {_CAPABILITY[chip.name]} }} }}"
        f' platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 }} device_description_str: "{chip.kind}"'
    )


def seconds(operations, chip):
    """(arithmetic alone, memory alone, their starts alone, all) of a program on one card, one kernel after another.

    Args: operations: list of program.Operation. chip: chips.Chip of a card.
    """
    compute = memory = starts = step = 0.0
    for each in operations:
        units = (
            (each.flops + each.wide) / chip.flops + each.vector / VECTOR[chip.name] + each.special / SPECIAL[chip.name]
        )
        arithmetic, traffic = units / ARITHMETIC, each.bytes / (MEMORY * chip.bandwidth)
        compute, memory = compute + each.times * arithmetic, memory + each.times * traffic
        starts += each.times * KERNEL
        step += each.times * (max(arithmetic, traffic) + KERNEL)
    return compute, memory, starts, step


if __name__ == "__main__":
    print(_PACKAGES)

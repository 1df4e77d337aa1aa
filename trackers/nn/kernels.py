"""What a device is best given: the dtype to compute in, the layers' layout, and which kernels execute attention and
norms. docs/training.md has the table, with the measurement behind each row."""

import jax
import jax.numpy as jnp

# auto: fused kernels where there are any for the device and the arrays; fused: the same, or an error; plain: XLA's
# operations alone, as on a CPU.
KERNELS = ("auto", "fused", "plain")
# auto: float32 on a CPU, where 16 bits are slower, bfloat16 elsewhere.
DTYPES = ("auto", "float32", "bfloat16", "float16")
_GPUS = ("gpu", "cuda", "rocm")


def check(kernel):
    """Raises: ValueError for another name."""
    if kernel not in KERNELS:
        raise ValueError(f"model.kernels must be one of {KERNELS}, got {kernel!r}")


def compute_dtype(name):
    """The jnp.dtype that `model.dtype` names, for the device that a function is being traced for.

    Raises: ValueError for a name that is not one of DTYPES.
    """
    if name not in DTYPES:
        raise ValueError(f"model.dtype must be one of {DTYPES}, got {name!r}")
    if name != "auto":
        return jnp.dtype(name)
    return jnp.dtype("float32" if _platforms()[-1] == "cpu" else "bfloat16")


def stacks_layers(setting, platform=None):
    """Whether equal layers are stacked and computed in a loop, which `model.scan_layers` says: True, False, or None for
    what the device is best given: one by one on a GPU, stacked elsewhere (compiling does not grow with depth there).

    Args: platform: of the device ("cpu", "gpu", "tpu"); None = that for which a function is being traced.
    """
    if setting is not None:
        return setting
    return (platform or _platforms()[-1]) not in _GPUS


def attention(q, k, v, *, scale=None, causal=False, kernel="auto"):
    """Attention of queries (B,N,H,d) to keys and values (B,M,H,d): (B,N,H,d).

    Args: scale: of the logits, 1/sqrt(d) when None. causal: a query looks at keys up to its own position only.
    """
    fused = on_gpu(kernel, q) and q.shape[-1] % 8 == 0 and q.shape[-1] <= 128
    implementation = "cudnn" if fused else "xla"
    return jax.nn.dot_product_attention(q, k, v, scale=scale, is_causal=causal, implementation=implementation)


def fuses_division(kernel, qkv):
    """Whether attention under a learned division of qkv (B,N,3,H,d) goes through fused_attention.py."""
    size = qkv.shape[-1]
    return on_gpu(kernel, qkv) and 16 <= size <= 128 and not size & (size - 1)


def on_gpu(kernel, x):
    """Whether x is computed on an NVIDIA card that is here, in a dtype that its kernels take.

    Raises: ValueError where `kernel` is "fused" and it is not.
    """
    platforms = _platforms()
    known = {"gpu", "cuda"} >= {*platforms} and x.dtype in (jnp.bfloat16, jnp.float16)
    if kernel == "fused" and not known:
        raise ValueError(
            f"model.kernels is fused, and there is no fused attention for {x.dtype} on {platforms[-1]}:"
            " set model.kernels=auto, or model.dtype=bfloat16 on an NVIDIA card"
        )
    return known and kernel != "plain"


def _platforms():
    """Platforms of jax's default device and of the one that is traced for, where the mesh says so (placement.py)."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return [jax.default_backend(), *([device.platform] if device is not None else [])]

"""What a device is best given: the dtype to compute in, the layers' layout, and which kernels execute attention and
norms. docs/training.md has the table, with the measurement behind each row."""

import jax
import jax.numpy as jnp

from trackers.nn import placement

# auto: fused kernels where there are any for the device and the arrays; fused: the same, or an error; plain: XLA's
# operations alone, as on a CPU.
KERNELS = ("auto", "fused", "plain")
# auto: float32 on a CPU, where 16 bits are slower, bfloat16 elsewhere.
DTYPES = ("auto", "float32", "bfloat16", "float16")


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
    what the device is best given: stacked on a TPU (compiling does not grow with depth there), one by one elsewhere.

    Args: platform: of the device ("cpu", "gpu", "tpu"); None = that for which a function is being traced.
    """
    if setting is not None:
        return setting
    return (platform or _platforms()[-1]) == "tpu"


def attention(q, k, v, *, scale=None, causal=False, kernel="auto"):
    """Attention of queries (B,N,H,d) to keys and values (B,M,H,d): (B,N,H,d).

    Args: scale: of the logits, 1/sqrt(d) when None. causal: a query looks at keys up to its own position only.
    """
    if _tpu_takes(kernel, q, k.shape[1]):
        from trackers.nn import tpu_attention  # here: programs on a CPU start without Pallas

        return tpu_attention.attention((q, k, v), scale=scale, causal=causal)
    settings = {"scale": scale, "is_causal": causal}
    if on_gpu(kernel, q) and q.shape[-1] % 8 == 0 and q.shape[-1] <= 128:
        # cuDNN's wants all three split alike, which they are not by themselves where keys come from elsewhere.
        q, k, v = map(placement.split_heads, (q, k, v))
        return even_attention(q, k, v, implementation="cudnn", **settings)
    return jax.nn.dot_product_attention(q, k, v, implementation="xla", **settings)


def even_attention(q, k, v, **settings):
    """jax.nn.dot_product_attention of queries (B,N,H,d) to keys and values (B,M,H,d): (B,N,H,d).

    Odd N and M are filled up with a token that nothing looks at: jax gives cuDNN's attention gradients for even ones
    alone. settings: dot_product_attention's.
    """
    queries, keys = q.shape[1], k.shape[1]

    def filled(x):
        return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)))

    if keys % 2:
        settings["key_value_seq_lengths"] = jnp.full(q.shape[:1], keys, jnp.int32)
    return jax.nn.dot_product_attention(*map(filled, (q, k, v)), **settings)[:, :queries]


def self_attention(qkv, kernel="auto"):
    """Attention of all tokens to all; qkv: queries, keys and values as one array (B,N,3,H,d). Returns (B,N,H,d)."""
    if _tpu_takes(kernel, qkv):
        from trackers.nn import tpu_attention  # as above

        return tpu_attention.attention((qkv,))
    return attention(*jnp.moveaxis(qkv, 2, 0), kernel=kernel)


def fuses_division(kernel, qkv):
    """Whether divided_attention can take qkv (B,N,3,H,d)."""
    size = qkv.shape[-1]
    return _tpu_takes(kernel, qkv) or (on_gpu(kernel, qkv) and 16 <= size <= 128 and not size & (size - 1))


def divided_attention(qkv, looks, division, eps=1e-6):
    """Attention under a learned division in one kernel, as fused_attention.divided_attention has it."""
    if _platforms()[-1] == "tpu":
        from trackers.nn import tpu_attention  # as above

        return tpu_attention.attention((qkv,), (looks, division), eps=eps)
    from trackers.nn import fused_attention  # as above

    return fused_attention.divided_attention(qkv, looks, division, eps)


def on_gpu(kernel, x):
    """Whether x is computed on an NVIDIA card, in a dtype that its kernels take.

    Raises: ValueError where `kernel` is "fused" and there are no kernels for x.
    """
    return _device(kernel, x) == "gpu"


def _tpu_takes(kernel, x, *keys):
    """Whether x (B,N,...,H,d), computed on a TPU, and so many keys are what its kernel takes. Raises as on_gpu."""
    if _device(kernel, x) != "tpu":
        return False
    from trackers.nn import tpu_attention  # as above

    return tpu_attention.takes(x.shape[-1], x.shape[1], *keys)


def _device(kernel, x):
    """ "gpu" or "tpu" where there are kernels for x, else None; the device need not be here (plan.py)."""
    platform, found = _platforms()[-1], None
    if platform in ("gpu", "cuda") and x.dtype in (jnp.bfloat16, jnp.float16):
        found = "gpu"
    if platform == "tpu" and x.dtype == jnp.bfloat16:
        found = "tpu"
    if kernel == "fused" and found is None:
        raise ValueError(
            f"model.kernels is fused, and there is no fused attention for {x.dtype} on {platform}:"
            " set model.kernels=auto, or model.dtype=bfloat16 on an NVIDIA card or a TPU"
        )
    return found if kernel != "plain" else None


def _platforms():
    """Platforms of jax's default device and of the one that is traced for, where the mesh says so (placement.py)."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return [jax.default_backend(), *([device.platform] if device is not None else [])]

"""What stands between the two linear layers of an MLP."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

# erf(z) = 1 - e^(-z^2) t (a1 + t (a2 + ...)) with t = 1 / (1 + P z) for z >= 0, to 1.5e-7 (Abramowitz, Stegun 7.1.26).
_P = 0.3275911
_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def gelu(x):
    """The exact (erf) GELU; in 16 bits to 4e-7 before rounding, keeping x alone for the backward pass."""
    return _short_gelu(x) if x.dtype.itemsize == 2 else nn.gelu(x, approximate=False)


@jax.custom_vjp
def _short_gelu(x):
    # A GPU is bound by the many steps of its own erf here, and XLA would write that to memory for the backward pass.
    wide = x.astype(jnp.float32)
    return (wide * _normal_share(wide)[0]).astype(x.dtype)


def _short_gelu_backward(x, cotangent):
    # Times a 1 that XLA cannot see through: on several cards it would keep the forward pass's series for all of x, in
    # float32, in place of computing it again.
    wide = x.astype(jnp.float32) * jax.lax.optimization_barrier(jnp.float32(1))
    share, bell = _normal_share(wide)
    slope = share + wide * bell * np.float32(1 / np.sqrt(2 * np.pi))
    return ((slope * cotangent.astype(jnp.float32)).astype(x.dtype),)


_short_gelu.defvjp(lambda x: (_short_gelu(x), x), _short_gelu_backward)


def _normal_share(x):
    """(the share of a normal distribution below x, e^(-x^2/2))."""
    bell = jnp.exp(-0.5 * x * x)
    t = 1 / (1 + np.float32(_P * np.sqrt(0.5)) * jnp.abs(x))
    series = jnp.float32(0)
    for factor in reversed(_A):
        series = (series + np.float32(factor)) * t
    above = 0.5 * bell * series
    return jnp.where(x < 0, above, 1 - above), bell


def quick_gelu(x):
    """CLIP's approximation of GELU."""
    return x * nn.sigmoid(1.702 * x)


ACTIVATIONS = {"gelu": gelu, "quick_gelu": quick_gelu}

"""Random numbers, all that a function needs in one draw: XLA takes long to compile each draw."""

import math

import jax
import jax.numpy as jnp


def draws(key, uniform, normal=(0,)):
    """Independent numbers of the given shapes. Returns (uniform in [0, 1), standard normal), float32."""
    count = math.prod(uniform)
    u = jax.random.uniform(key, (count + math.prod(normal),))
    # Kept off 0, where the inverse is infinite.
    n = math.sqrt(2.0) * jax.lax.erf_inv(jnp.maximum(2.0 * u[count:] - 1.0, -1.0 + 1e-6))
    return u[:count].reshape(uniform), n.reshape(normal)


def pick(u, count):
    """Integers 0..count - 1 (int32) from uniform numbers."""
    return jnp.minimum(jnp.floor(u * count), count - 1).astype(jnp.int32)

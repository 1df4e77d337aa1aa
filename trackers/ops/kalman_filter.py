"""A constant-velocity Kalman filter over boxes, pure functions for jit, vmap and scan.

State (8,): cx, cy, a, h and their velocities a frame, with a = w / h (as in DeepSORT, Wojke et al., ICIP 2017, whose
noise levels, in parts of the height, are the ones here). NSA (Du et al., "GIAOTracker", ICCV workshops 2021) scales the
observation noise by 1 - confidence, so that a sure detection moves the state more. All float32.
"""

import flax
import jax.numpy as jnp

# Standard deviations in parts of the height, of position and of velocity; those of the aspect are absolute.
POSITION_NOISE, VELOCITY_NOISE = 1 / 20, 1 / 160
ASPECT_NOISE, ASPECT_VELOCITY_NOISE, OBSERVED_ASPECT_NOISE = 1e-2, 1e-5, 1e-1
# No detection is believed altogether: the least of 1 - confidence.
LEAST_DOUBT = 0.05
# Boxes lower than this count as so high where noise is measured in heights; pixels.
_LEAST_HEIGHT = 1.0


@flax.struct.dataclass
class State:
    """mean: (..., 8). covariance: (..., 8, 8)."""

    mean: jnp.ndarray
    covariance: jnp.ndarray


def to_observation(boxes):
    """Boxes (..., 4) x, y, w, h in pixels -> (..., 4) cx, cy, a, h."""
    x, y, w, h = jnp.moveaxis(jnp.asarray(boxes, jnp.float32), -1, 0)
    return jnp.stack([x + w / 2, y + h / 2, w / jnp.maximum(h, 1e-6), h], axis=-1)


def to_boxes(observation):
    """(..., 4) or (..., 8), the first four cx, cy, a, h -> boxes (..., 4) x, y, w, h."""
    cx, cy, a, h = jnp.moveaxis(observation[..., :4], -1, 0)
    return jnp.stack([cx - a * h / 2, cy - h / 2, a * h, h], axis=-1)


def process_noise(mean):
    """Variances (..., 8) that a frame adds to the state."""
    scale = _height(mean)
    position, velocity = (POSITION_NOISE * scale) ** 2, (VELOCITY_NOISE * scale) ** 2
    aspect, turn = jnp.full_like(scale, ASPECT_NOISE**2), jnp.full_like(scale, ASPECT_VELOCITY_NOISE**2)
    return jnp.stack([position, position, aspect, position, velocity, velocity, turn, velocity], axis=-1)


def observation_noise(mean, confidence):
    """Variances (..., 4) of an observation with a confidence (...) from 0 to 1: NSA's scaling."""
    position = (POSITION_NOISE * _height(mean)) ** 2
    base = jnp.stack([position, position, jnp.full_like(position, OBSERVED_ASPECT_NOISE**2), position], axis=-1)
    return base * jnp.maximum(1.0 - confidence, LEAST_DOUBT)[..., None]


def start(observation):
    """State of a new track from its first observation (..., 4), at rest, its velocity unknown."""
    mean = jnp.concatenate([observation, jnp.zeros_like(observation)], axis=-1)
    position, velocity = 2 * POSITION_NOISE * _height(mean), 10 * VELOCITY_NOISE * _height(mean)
    aspect, turn = jnp.full_like(position, ASPECT_NOISE), jnp.full_like(position, ASPECT_VELOCITY_NOISE)
    deviation = jnp.stack([position, position, aspect, position, velocity, velocity, turn, velocity], axis=-1)
    return State(mean, _diagonal(deviation**2))


def predict(state, noise):
    """The state one frame later. noise: variances (..., 8)."""
    transition = jnp.eye(8) + jnp.eye(8, k=4)
    mean = jnp.einsum("ij,...j->...i", transition, state.mean)
    covariance = jnp.einsum("ij,...jk,lk->...il", transition, state.covariance, transition)
    return State(mean, covariance + _diagonal(noise))


def update(state, observation, noise):
    """The state after an observation (..., 4) with variances `noise` (..., 4).

    The covariance is updated in Joseph's form, which stays symmetric and positive in float32.
    """
    innovation, covariance = innovate(state, observation, noise)
    cross = state.covariance[..., :, :4]
    gain = jnp.swapaxes(jnp.linalg.solve(covariance, jnp.swapaxes(cross, -1, -2)), -1, -2)
    mean = state.mean + jnp.einsum("...ij,...j->...i", gain, innovation)
    keep = jnp.eye(8) - jnp.concatenate([gain, jnp.zeros_like(gain)], axis=-1)
    kept = jnp.einsum("...ij,...jk,...lk->...il", keep, state.covariance, keep)
    return State(mean, kept + jnp.einsum("...ij,...j,...lj->...il", gain, noise, gain))


def innovate(state, observation, noise):
    """(innovation (..., 4), its covariance (..., 4, 4)) of an observation, given a predicted state."""
    return observation - state.mean[..., :4], state.covariance[..., :4, :4] + _diagonal(noise)


def _height(mean):
    return jnp.maximum(jnp.abs(mean[..., 3]), _LEAST_HEIGHT)


def _diagonal(variances):
    return variances[..., :, None] * jnp.eye(variances.shape[-1])

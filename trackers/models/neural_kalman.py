"""A Kalman filter whose noise a small recurrent network predicts: the "neural Kalman filter" of iKUN (CVPR 2024).

Its code and details were never released, so this is our reading of the idea: the filter of ops/kalman_filter.py
(constant velocity, NSA's scaling by confidence: GIAOTracker) with process and observation noise multiplied by factors
that a GRU gives each frame. What the GRU sees, innovation and last correction, is after KalmanNet (Revach et al., IEEE
TSP 2022, features F2 and F4), which however predicts the gain itself. The factors are 1 at first: a network that has
learned nothing is the plain NSA filter.
"""

import math

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.ops import kalman_filter


@flax.struct.dataclass
class Track:
    """What the filter says of T frames of B tracks.

    predicted: (B,T,8) before the frame's observation; filtered: (B,T,8) after it; both cx, cy, a, h and velocities a
      frame, in pixels. innovation: (B,T,4), and spread (B,T,4,4), its covariance; zero and one where nothing was seen.
    """

    predicted: jax.Array
    filtered: jax.Array
    innovation: jax.Array
    spread: jax.Array


class Cell(nn.Module):
    """One frame: carry (State, hidden (B,H), last correction (B,8)), inputs (observation, confidence, seen)."""

    hidden: int
    largest_factor: float

    @nn.compact
    def __call__(self, carry, inputs):
        state, hidden, correction = carry
        observation, confidence, seen = inputs
        process = kalman_filter.process_noise(state.mean) * self._factor(hidden, 8, "process")
        predicted = kalman_filter.predict(state, process)
        # In heights, so that near and far objects look alike to the network.
        scale = jnp.maximum(jnp.abs(predicted.mean[:, 3:4]), 1.0)
        unit = jnp.concatenate([scale, scale, jnp.ones_like(scale), scale], axis=-1)
        difference = jnp.where(seen[:, None], observation - predicted.mean[:, :4], 0.0)
        flags = jnp.stack([jnp.where(seen, confidence, 0.0), seen.astype(jnp.float32)], axis=-1)
        features = jnp.concatenate([difference / unit, correction / jnp.tile(unit, (1, 2)), flags], axis=-1)
        hidden, _ = nn.GRUCell(self.hidden, name="gru")(hidden, jnp.clip(features, -10.0, 10.0))
        noise = kalman_filter.observation_noise(predicted.mean, confidence) * self._factor(hidden, 4, "observation")
        # Where nothing is seen the values are not used, and must not spoil gradients either.
        safe = jnp.where(seen[:, None], observation, predicted.mean[:, :4])
        updated = kalman_filter.update(predicted, safe, noise)
        state = jax.tree.map(lambda a, b: _where(seen, a, b), updated, predicted)
        innovation, spread = kalman_filter.innovate(predicted, safe, noise)
        spread = _where(seen, spread, jnp.broadcast_to(jnp.eye(4), spread.shape))
        correction = state.mean - predicted.mean
        return (state, hidden, correction), Track(predicted.mean, state.mean, innovation, spread)

    def _factor(self, hidden, count, name):
        """Factors (B, count) of variances, between 1 / largest_factor and largest_factor, 1 at first."""
        logits = nn.Dense(count, kernel_init=nn.initializers.zeros_init(), name=name)(hidden)
        return jnp.exp(math.log(self.largest_factor) * jnp.tanh(logits))


class Model(nn.Module):
    """The filter over whole tracks. hidden: units of the GRU. largest_factor: limit of what it does to a variance."""

    hidden: int = 32
    largest_factor: float = 100.0

    # See one_stream.OneStreamTracker.
    task = "smooth"

    @nn.compact
    def __call__(self, observed, confidence, seen):
        """Filters tracks from their first frame on.

        Args:
          observed: (B,T,4) cx, cy, a, h; ignored where not seen, except that a track starts with its first frame.
          confidence: (B,T) from 0 to 1. seen: (B,T) bool.

        Returns: Track.
        """
        if self.hidden < 1 or self.largest_factor < 1:
            raise ValueError(
                f"model.hidden {self.hidden} and model.largest_factor {self.largest_factor} must be 1 or more"
            )
        state = kalman_filter.start(observed[:, 0])
        batch = observed.shape[0]
        carry = (state, jnp.zeros((batch, self.hidden)), jnp.zeros((batch, 8)))
        scan = nn.scan(Cell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
        _, rest = scan(self.hidden, self.largest_factor, name="cell")(
            carry, (observed[:, 1:], confidence[:, 1:], seen[:, 1:])
        )
        first = Track(state.mean, state.mean, jnp.zeros((batch, 4)), jnp.broadcast_to(jnp.eye(4), (batch, 4, 4)))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[:, None], b], axis=1), first, rest)

    def example_inputs(self, batch=1):
        """Inputs of the model's own shapes: two frames of a square."""
        observed = jnp.broadcast_to(jnp.array([8.0, 8.0, 1.0, 8.0], jnp.float32), (batch, 2, 4))
        return observed, jnp.ones((batch, 2)), jnp.ones((batch, 2), bool)


def _where(mask, a, b):
    return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b)

"""OSTrack's objective: that of a center head, while candidate elimination sets in."""

import dataclasses

import jax.numpy as jnp

from trackers.objectives import center


@dataclasses.dataclass(frozen=True)
class Objective(center.Objective):
    """center.Objective, with a keep rate of the search tokens that falls from 1 to the model's elimination.keep.

    start_epoch: the rate is 1 before it. ramp_epochs: length of the fall, half a cosine; the program's ends at 100.
    """

    start_epoch: int = 20
    ramp_epochs: int = 80

    def schedule(self, epoch, train):
        return {"keep_rate": keep_rate(epoch, self.start_epoch, self.ramp_epochs, self.model.elimination.keep)}


def keep_rate(epoch, start, ramp, last):
    """1 before epoch `start`, then along half a cosine to `last` in `ramp` epochs: () float32."""
    progress = jnp.clip((epoch - start) / ramp, 0.0, 1.0) if ramp else jnp.where(epoch >= start, 1.0, 0.0)
    return last + (1.0 - last) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))

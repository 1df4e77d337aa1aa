"""OSTrack's objective: that of a center head, while candidate elimination sets in."""

import dataclasses

import jax.numpy as jnp

from trackers.objectives import center, forward


@dataclasses.dataclass(frozen=True)
class Objective(center.Objective):
    start_epoch: int = 20
    ramp_epochs: int = 80

    inputs = ("epoch",)

    def __call__(self, params, batch_stats, batch, rngs=None, train=True, *, epoch):
        rate = keep_rate(epoch, self.start_epoch, self.ramp_epochs, self.model.elimination.keep)
        prediction, batch_stats = forward.predict(self.model, params, batch_stats, batch, rngs, train, keep_rate=rate)
        loss, metrics = self.loss(prediction, batch["search_box"])
        return loss, ({**metrics, "keep_rate": rate}, batch_stats)


def keep_rate(epoch, start, ramp, last):
    progress = jnp.clip((epoch - start) / ramp, 0.0, 1.0) if ramp else jnp.where(epoch >= start, 1.0, 0.0)
    return last + (1.0 - last) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))

"""What an objective may add to another one with a few lines of its own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import train
from trackers.nn.heads import Prediction
from trackers.objectives import corners
from trackers.training import state


class Tracker(nn.Module):
    """A box whose width is a parameter times what the schedule says."""

    @nn.compact
    def __call__(self, template, template_box, search, train=False, keep_rate=1.0):
        width = self.param("width", nn.initializers.constant(0.5), ()) * keep_rate
        box = jnp.stack([jnp.float32(0.5), jnp.float32(0.5), width, jnp.float32(0.5)])
        return Prediction(box=jnp.broadcast_to(box, (len(search), 4)), score=None, maps={})


@dataclasses.dataclass(frozen=True)
class Scheduled(corners.Objective):
    epochs: int = 4

    def schedule(self, epoch, train):
        return {"keep_rate": 1.0 - (epoch - 1) / self.epochs} if train else {}


BATCH = {
    "template": np.zeros((2, 1, 8, 8, 3), np.uint8),
    "template_box": np.full((2, 1, 4), 0.25, np.float32),
    "search": np.zeros((2, 8, 8, 3), np.uint8),
    "search_box": np.array([[0.25, 0.25, 0.5, 0.5]] * 2, np.float32),
}


def test_a_schedule_reaches_the_model_and_the_metrics_of_training_alone():
    objective, variables = Scheduled(model=Tracker()), {"params": {"width": jnp.float32(0.5)}, "batch_stats": {}}
    optimizer = optax.sgd(0.0)
    before = state.create(variables, optimizer)

    @jax.jit
    def step(train_state):
        settings = {"objective": objective, "optimizer": optimizer, "epoch_steps": 10}
        return train.train_step(train_state, BATCH, jax.random.key(0), **settings)[1]

    for taken, rate in ((0, 1.0), (9, 1.0), (10, 0.75), (25, 0.5)):
        scalars = step(before.replace(step=jnp.int32(taken)))
        # The predicted box is as narrow as the rate says, inside the true one.
        np.testing.assert_allclose([scalars["keep_rate"], scalars["iou"]], rate, rtol=1e-6)
    scalars = train.eval_step(variables, BATCH, 3, objective=objective)
    assert scalars["iou"] == 1.0 and "keep_rate" not in scalars

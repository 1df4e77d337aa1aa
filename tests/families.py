"""The families that the tests of the contract go over: a new tracker is one line here (docs/new_tracker.md).

By the name of its config file: the variant of its published base size, for placements on meshes. Each has a variant
`tiny`, too.
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp

import trackers
from tests import recipes
from trackers.nn.one_stream import OneStreamTracker

FAMILIES = {
    "grm": "b256",
    "simtrack": "b16",
    "mixformer_v2": "b",
    "mixvit": "b",
    "ostrack": "b256_ce",
    "ikun": "cascade_attention",
}


def config(family, variant="tiny"):
    """The config of a family."""
    return importlib.import_module(f"configs.{family}").get_config(variant)


@functools.cache
def tiny(family, **fields):
    """(model, variables) of a family's variant tiny, float32; fields: others of config.model."""
    model = trackers.build({**trackers.to_plain(config(family).model), "dtype": "float32", **fields})
    return model, recipes.random_variables(model)


def inputs(model, batch=3):
    """Arguments of a one-stream tracker: normalized noise, and boxes that differ from sample to sample."""
    template, box, search = jax.eval_shape(lambda: model.example_inputs(batch))
    sides = jnp.broadcast_to(jnp.linspace(0.3, 0.6, batch)[:, None, None], (*box.shape[:2], 2))
    noise = [jax.random.normal(jax.random.key(i), image.shape) for i, image in enumerate((template, search))]
    return noise[0], jnp.concatenate([jnp.full_like(sides, 0.25), sides], axis=-1), noise[1]


def is_published(family):
    """Whether there is a converter of the family's published weights."""
    return importlib.util.find_spec(f"trackers.convert.{family}") is not None


ONE_STREAM = tuple(name for name in FAMILIES if isinstance(trackers.build(config(name).model), OneStreamTracker))

"""Where activations live on a mesh: between blocks every array is split along its batch and whole along the rest.

The mesh is the one that the function being traced runs under (trackers.training.sharding.under); without one, and on
one device, nothing is done. So modules need to know neither the mesh nor whether there is one.
"""

import math

import jax
from jax.sharding import PartitionSpec as P

BATCH_AXES = ("data", "fsdp")


def split_batch(x):
    """`x` (B,...), constrained to be split along its leading axis over the mesh axes "data" and "fsdp".

    B has to divide over them, as sharding.process_rows sees to.
    """
    return jax.lax.with_sharding_constraint(x, P(BATCH_AXES)) if is_split() else x


def split_heads(x):
    """`x` (B,N,H,d), constrained as above, and its heads split over "tensor"; each axis where it divides."""
    if not is_split():
        return x
    mesh = jax.sharding.get_abstract_mesh()
    batch = BATCH_AXES if x.shape[0] % math.prod(mesh.shape[axis] for axis in BATCH_AXES) == 0 else None
    heads = "tensor" if "tensor" in mesh.shape and x.shape[2] % mesh.shape["tensor"] == 0 else None
    return jax.lax.with_sharding_constraint(x, P(batch, None, heads))


def is_split():
    """Whether the function being traced runs under a mesh of several devices with the batch's axes."""
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and mesh.size > 1 and set(BATCH_AXES) <= set(mesh.axis_names)

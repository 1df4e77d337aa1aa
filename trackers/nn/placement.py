"""Where activations live on a mesh: between blocks every array is split along its batch and whole along the rest.

The mesh is the one that the function being traced runs under (trackers.training.sharding.under); without one, and on
one device, nothing is done. So modules need to know neither the mesh nor whether there is one.
"""

import jax
from jax.sharding import PartitionSpec as P

BATCH_AXES = ("data", "fsdp")


def split_batch(x):
    """`x` (B,...), constrained to be split along its leading axis over the mesh axes "data" and "fsdp".

    B has to divide over them, as sharding.process_rows sees to.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or not set(BATCH_AXES) <= set(mesh.axis_names):
        return x
    return jax.lax.with_sharding_constraint(x, P(BATCH_AXES))

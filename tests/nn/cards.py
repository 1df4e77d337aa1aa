"""Programs for accelerators that are not here."""

import jax


def nvidia_program(function, *shapes):
    """The text of what an H100 would be given to compute function(*shapes), jax.ShapeDtypeStructs; nothing is run."""
    # From jax 0.11 on kernels ask which card they are lowered for.
    card = jax.sharding.AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1,), ("x",), abstract_device=card)):
        return jax.jit(function).trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()

import jax
import pytest


@pytest.fixture(scope="module")
def compile_quickly():
    """The compiler does not spend time on making programs fast, where other slow tests want it to; it leaves the order
    of operations alone, in which two programs may otherwise differ."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)

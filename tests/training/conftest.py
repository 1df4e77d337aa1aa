import jax
import pytest


@pytest.fixture(scope="module")
def compile_once(tmp_path_factory):
    """Runs of one config share their compiled programs, as the same command started again would compile the same, and
    the compiler does not spend time on making them fast."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_disable_most_optimizations", False)

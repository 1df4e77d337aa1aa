import hashlib
import os
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

import pytest

from tests import programs

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Nearly all of the time goes to compiling programs that run once (`make test-slow` has whole models run: 0 there).
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Of each operation, where in our files it was written: a twelfth of the time, for profilers alone.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
if programs.QUICK_COMPILER and os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1":
    os.environ.setdefault("XLA_FLAGS", programs.QUICK_COMPILER)


def _programs_folder():
    """Where compiled programs are kept from test to test and run to run, for this processor and these packages."""
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text().splitlines() if processor.exists() else []
    abilities = [line for line in lines if line.startswith("flags")]
    facts = [platform.processor(), *abilities[:1], *(metadata.version(name) for name in ("jax", "jaxlib"))]
    digest = hashlib.sha1(" ".join(facts).encode()).hexdigest()[:10]
    return Path(tempfile.gettempdir()) / f"trackers_tests_{os.getuid()}_{digest}"


# Most tests compile what others have compiled, and what is computed operation by operation is compiled by the hundred.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_programs_folder()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")


def pytest_configure(config):
    """Temporary files of libraries, which do not all remove theirs, go to a folder that does not outlive the run."""
    if hasattr(config, "workerinput"):  # of pytest-xdist, with the environment of the process that started it
        return
    # Pytest keeps the folders of the last runs itself.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="trackers_run_")
    config.add_cleanup(lambda: shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True))


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Programs of a module that has ended would fill the memory, and each search for garbage would go through them."""
    yield
    import jax

    jax.clear_caches()


def _shared(variable, *parts):
    given = os.environ.get(variable)
    folder = Path(given) if given else Path(__file__).resolve().parents[2].joinpath("shared", *parts)
    if not folder.is_dir():
        pytest.skip(f"{parts[-1]} are not shipped with the repository: set {variable} to their folder")
    return folder


@pytest.fixture
def sequences():
    """Folder of real sequences in the GOT-10k layout (sot/NAME/...)."""
    return _shared("TRACKERS_SEQUENCES", "sequences")


@pytest.fixture
def recorded_metrics():
    """Folder of the toolkit scores recorded on real sequences, which may not be redistributed."""
    return _shared("TRACKERS_METRICS", "reference", "metrics")


@pytest.fixture
def vocabulary():
    """CLIP's byte-pair vocabulary, which comes with CLIP."""
    return _shared("TRACKERS_TEXT", "text") / "bpe_simple_vocab_16e6.txt.gz"


@pytest.fixture
def peers():
    """Folder of other trackers' trained networks, to compare with (nanotrack/...)."""
    return _shared("TRACKERS_PEERS", "peers")

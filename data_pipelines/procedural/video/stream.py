"""Batches of procedural pairs, for data_pipelines/pairs.py and for use inside a training step."""

import dataclasses
import functools
import queue
import threading

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.procedural.video.banks import make_banks
from data_pipelines.procedural.video.config import SyntheticConfig
from data_pipelines.procedural.video.training_pairs import pairs

SPLITS = ("train", "validation")
CHUNK = 8  # rows made by one call on a CPU: a row's numbers then never depend on which other rows are asked for


def _key(seed, split, *numbers):
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), SPLITS.index(split))
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key


# Compiled once a config, however many streams are opened.
_banks = functools.partial(jax.jit, static_argnames="config")(make_banks)


@functools.cache
def _placed_banks(place, seed, split, config):
    """(number, detail) -> the banks with a placement. Their key is made inside: a key cannot be put onto devices of
    other processes."""
    banks = functools.partial(make_banks, config=config)
    return jax.jit(lambda number, detail: banks(_key(seed, split, 0, number), detail=detail), out_shardings=place)


@functools.partial(jax.jit, static_argnames="config")
def _pairs(key, rows, banks, config):
    return pairs(jax.vmap(lambda row: jax.random.fold_in(key, row))(rows), banks, config)


def banks_at(seed, step, config, split="train", place=None):
    """The banks that serve at a step: a function of seed, split and step // config.renew_every_steps.

    place: jax.sharding.Sharding of all arrays; None = on this process's device.
    """
    number = step // config.renew_every_steps
    begins, rises = number * config.renew_every_steps, config.detail_steps
    # Slowly at first: what matches by color has to be found before there is texture.
    detail = config.detail * (min(begins / rises, 1.0) ** 2 if rises and split == "train" else 1.0)
    if place is not None:
        return _placed_banks(place, seed, split, config)(np.uint32(number), np.float32(detail))
    return _banks(_key(seed, split, 0, number), config, np.float32(detail))


def make_batch(seed, step, rows, banks, config, split="train"):
    """Pairs of the global batch rows `rows` (n,) int32 at a step; also for use inside jit, as in a training step.

    Equal to `batches` up to rounding, where another program makes them. banks: from `banks_at`.

    Returns:
      dict as of `pair`, with a leading axis n.
    """
    return _pairs(_key(seed, split, 1, step), jnp.asarray(rows, jnp.int32), banks, config)


@dataclasses.dataclass(frozen=True)
class OnDevice:
    """Training batches made inside a training step, for loader.on_device."""

    settings: SyntheticConfig
    seed: int

    @property
    def renew_every_steps(self):
        """Steps that the same banks serve."""
        return self.settings.renew_every_steps

    def facts(self, step, place):
        """The banks of a step, see `banks_at`."""
        return banks_at(self.seed, step, self.settings, place=place)

    def make(self, facts, step, rows):
        """See `make_batch`."""
        return make_batch(self.seed, step, rows, facts, self.settings)


def on_device(config, seed):
    """The OnDevice of an experiment's config, see SyntheticConfig.from_config."""
    return OnDevice(SyntheticConfig.from_config(config), int(seed))


def _batch(seed, step, rows, banks, config, split):
    """One batch as numpy arrays: the aligned chunks that hold the rows, cut to them; all at once on an accelerator."""
    if jax.default_backend() != "cpu":
        return jax.device_get(make_batch(seed, step, np.asarray(rows), banks, config, split))
    chunks = sorted({row // CHUNK for row in rows})
    parts = [make_batch(seed, step, np.arange(CHUNK * c, CHUNK * (c + 1)), banks, config, split) for c in chunks]
    place = {c * CHUNK + i: n * CHUNK + i for n, c in enumerate(chunks) for i in range(CHUNK)}
    index = np.array([place[row] for row in rows])
    return {name: np.concatenate([np.asarray(part[name]) for part in parts])[index] for name in parts[0]}


def batches(config, start_step, rows, seed=None, split="train"):
    """Endless batches from `start_step` on, made one ahead in a background thread.

    The sample at (seed, step, row) depends on nothing else: not on `rows` (but for rounding on an accelerator), nor on
    where the stream was started.

    Args:
      config: the experiment's config; see SyntheticConfig.from_config.
      start_step: first step.
      rows: range of the global batch rows that this process makes.
      seed: int; config.seed when None.
      split: "train" or "validation".

    Yields:
      dict: "template" (n, K, Hz, Wz, 3) uint8, "template_box" (n, K, 4) float32, "search" (n, Hx, Wx, 3) uint8,
      "search_box" (n, 4) float32.

    Raises:
      ValueError: no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: synthetic video has {' and '.join(SPLITS)}")
    seed = int(config.seed if seed is None else seed)
    return _stream(SyntheticConfig.from_config(config), int(start_step), list(rows), seed, split)


def _stream(settings, step, rows, seed, split):
    ready, stop = queue.Queue(maxsize=1), threading.Event()

    def put(item):
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.2)
            except queue.Full:
                continue

    def work(step):
        epoch, banks = None, None
        try:
            # This thread hands numbers to jax freely, whatever the training loop forbids itself.
            with jax.transfer_guard("allow"):
                while not stop.is_set():
                    if step // settings.renew_every_steps != epoch:
                        epoch = step // settings.renew_every_steps
                        banks = banks_at(seed, step, settings, split)
                    put(_batch(seed, step, rows, banks, settings, split))
                    step += 1
        except Exception as error:  # raised again where the batch is asked for
            put(error)

    thread = threading.Thread(target=work, args=(step,), name="synthetic", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()

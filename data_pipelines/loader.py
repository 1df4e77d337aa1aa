"""Batches at training speed: tf.data over the pure functions of (seed, step, row) in `pairs` and, for words, `clips`.

OpenCV decodes and resizes outside Python's lock inside the threads of a parallel map, so cores stay busy with one plain
NumPy function that is also tested without TensorFlow; its JPEG decoding is as fast as TensorFlow's (INTEGER_ACCURATE)
and equal to it to the last bit.
"""

import contextlib
import os
import sys

import numpy as np

from data_pipelines import clips, pairs, sampling, sources, trajectories
from trackers import errors

FILES = ("lasot", "got10k", "trackingnet", "coco", "frames", "shards")
# Sources of clips with phrases, and which of them lie on disk.
REFERRING = ("refer_kitti", "refer_dance", "synthetic_referring")
REFERRING_FILES = REFERRING[:2]
SPLITS = ("train", "validation")
# What a source holds out for validation; the others have nothing published with labels besides their training split.
_VALIDATION = {"got10k": "val", "coco": "val", **dict.fromkeys(REFERRING, "test")}


def batches(config, start_step, rows, seed=None, split="train"):
    """Endless batches from step `start_step` on; the batch of a step does not depend on where one starts.

    Args:
      config: whole config (configs/*.py): data, tracking, model, seed.
      start_step: first step, >= 0.
      rows: range of the rows of the global batch that this process makes.
      seed: integer >= 0; config.seed when None.
      split: "train" or "validation" (the published validation split of each data set that has one, else its training
        split, saying so; no brightness change).

    Yields: dict of numpy arrays, B = len(rows): template (B, K, Hz, Wz, 3) uint8 RGB, template_box (B, K, 4) float32
      x, y, w, h as fractions of the crop, search (B, Hx, Wx, 3) uint8, search_box (B, 4) float32, and with
      config.data.positive_probability below 1 label (B,) float32, 0 for search crops without the target. From the
      REFERRING sources, which do not mix with the others: local (B, T, Hl, Wl, 3) uint8 RGB, global (B, T, Hg, Wg, 3)
      uint8, tokens (B, context_length) int32, target (B,) float32, 1 where the phrase means the object, else 0. Where
      config.data has `trajectories`: what trajectories.batches yields.

    Raises: InputError (also later, while iterating) naming what is wrong on disk or in the config.
    """
    if split not in SPLITS:
        raise errors.InputError(f"no split {split!r}: {' or '.join(SPLITS)}")
    seed = config.seed if seed is None else seed
    if seed < 0:
        raise errors.InputError(f"seed {seed}: must be 0 or larger")
    if "trajectories" in config.data:
        return trajectories.batches(config, start_step, rows, seed, split)
    known = (*FILES, "synthetic", *REFERRING)
    unknown = sorted(set(config.data.ratio) - set(known))
    if unknown:
        raise errors.InputError(f"config.data.ratio.{unknown[0]}: no such source; use one of {', '.join(known)}")
    ratio = {name: float(value) for name, value in config.data.ratio.items() if value}
    if not ratio or min(ratio.values()) < 0:
        raise errors.InputError("config.data.ratio: give at least one source a share above 0, none one below")
    if set(ratio) == {"synthetic"}:
        return _synthetic(config, start_step, rows, seed, split)
    tf = _tensorflow()
    if set(ratio) & set(REFERRING):
        if set(ratio) - set(REFERRING):
            raise errors.InputError(f"config.data.ratio: {', '.join(REFERRING)} mix with each other only")
        words = {name: ratio[name] for name in REFERRING if name in ratio}
        return _clips(tf, words, config, start_step, rows, seed, split)
    files = {name: ratio[name] for name in FILES if name in ratio}
    share = ratio.get("synthetic", 0.0) / sum(ratio.values())
    opened = open_sources(config, files, split)
    made = _from_files(tf, opened, list(files.values()), share, config, start_step, rows, seed, split)
    if not share:
        return made
    return _mixed(made, _synthetic(config, start_step, rows, seed, split), share, start_step, rows, seed, split)


def shapes(config):
    """{name: (shape, dtype)} of one row of the training batches of a whole config; nothing is read."""
    if "trajectories" in config.data:
        return trajectories.shapes(config)
    if any(config.data.ratio.get(name, 0) for name in REFERRING):
        return clips.shapes(clips.ClipConfig.from_config(config))
    return _shapes(pairs.PairConfig.from_config(config))


def open_sources(config, names, split="train"):
    """[Source] of the data sets `names` at the paths in config.data.

    Raises: InputError for an unset path, naming its flag, and for whatever is wrong at a path.
    """
    opened = []
    for name in names:
        path = config.data[name]
        if not path:
            raise errors.InputError(
                f"config.data.ratio.{name} is {config.data.ratio[name]} but its folder is not set: give"
                f" --config.data.{name}=FOLDER, or --config.data.ratio.{name}=0"
            )
        held_out = _VALIDATION.get(name, "train") if split == "validation" else "train"
        if split == "validation" and held_out == "train":
            print(f"{name}: no validation split, so its validation pairs come from training videos", file=sys.stderr)
        opened.append(sources.open_source(name, path, held_out))
    return opened


def _synthetic(config, start_step, rows, seed, split):
    from data_pipelines.procedural import video

    return video.batches(config, start_step, rows, seed, split)


def _is_synthetic(share, seed, step, row, split):
    # A stream of its own: the file pair of a row is the same whatever the share.
    return sampling.generator(seed, step, row, split).spawn(1)[0].random() < share


def _from_files(tf, opened, ratio, share, config, start_step, rows, seed, split):
    """Batches of file pairs; rows that `share` gives to the synthetic source are left blank."""
    pair_config = pairs.PairConfig.from_config(config)
    shapes = _shapes(pair_config)

    def sample(step, row):
        if share and _is_synthetic(share, seed, step, row, split):
            return {name: np.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}
        return pairs.pair(opened, ratio, pair_config, seed, step, row, split)

    return _stream(tf, sample, shapes, config, start_step, rows)


def open_referring(config, names, split="train"):
    """[Source] of the referring data sets `names`: as open_sources, and the synthetic set of config.seed."""
    opened = []
    for name in names:
        if name in REFERRING_FILES:
            opened += open_sources(config, [name], split)
        else:
            from data_pipelines.procedural import people

            settings = people.ReferringSetConfig.from_config(config)
            held_out = _VALIDATION[name] if split == "validation" else "train"
            opened.append(people.open_split(settings, config.seed, held_out))
    return opened


def _clips(tf, ratio, config, start_step, rows, seed, split):
    """Batches of clips with phrases."""
    clip_config = clips.ClipConfig.from_config(config)
    groups = []
    for source in open_referring(config, ratio, split):
        groups.append([identity for video in source for identity in clips.identities(video, clip_config)])
        if not groups[-1]:
            raise errors.InputError(
                f"{source.name}: no object of the {split} split is meant by a phrase in more than {clip_config.span}"
                " frames; check it with python -m data_pipelines check"
            )
    texts = sorted({text for group in groups for identity in group for text in identity.texts})
    encode = open_tokenizer(config, ratio)
    tokens = dict(zip(texts, encode(texts, length=clip_config.context_length), strict=True))
    weights = list(ratio.values())

    def sample(step, row):
        return clips.clip(groups, weights, clip_config, tokens, seed, step, row, split)

    return _stream(tf, sample, clips.shapes(clip_config), config, start_step, rows)


def open_phrases(config, split="train"):
    """{token ids as a tuple: phrase} of the referring sources that have a share, to read batches by."""
    names = [name for name in REFERRING if config.data.ratio.get(name, 0)]
    texts = sorted(
        {p.text for source in open_referring(config, names, split) for video in source for p in video.phrases}
    )
    ids = open_tokenizer(config, names)(texts, length=clips.ClipConfig.from_config(config).context_length)
    return {tuple(row.tolist()): text for row, text in zip(ids, texts, strict=True)}


def open_tokenizer(config, names):
    """The tokenizer of config.data.vocabulary; where that is empty and `names` are synthetic only, their own."""
    from data_pipelines.text import Tokenizer

    if config.data.vocabulary:
        return Tokenizer(config.data.vocabulary)
    if set(names) != {"synthetic_referring"}:
        raise errors.InputError(
            "config.data.vocabulary is not set: give CLIP's merges file,"
            " --config.data.vocabulary=bpe_simple_vocab_16e6.txt.gz"
        )
    from data_pipelines.procedural import people

    return Tokenizer(people.VOCABULARY)


def _stream(tf, sample, shapes, config, start_step, rows):
    """Batches of samples that a pool of threads makes.

    Args:
      tf: module.
      sample: function of step and row -> dict as `shapes`; raises InputError.
      shapes: {name: (shape, dtype)} of a sample.
      config, start_step, rows: of `batches`.
    """
    import cv2

    # One thread a sample: OpenCV's own threads would fight over the same cores.
    cv2.setNumThreads(1)
    failures = []

    def make(number):
        try:
            made = sample(start_step + int(number) // len(rows), rows[int(number) % len(rows)])
        except errors.InputError as error:
            failures.append(error)
            raise
        return [made[name] for name in shapes]

    def load(number):
        arrays = tf.numpy_function(make, [number], [dtype for _, dtype in shapes.values()])
        for array, (shape, _) in zip(arrays, shapes.values(), strict=True):
            array.set_shape(shape)
        return dict(zip(shapes, arrays, strict=True))

    dataset = tf.data.Dataset.range(np.iinfo(np.int64).max)
    dataset = dataset.map(load, num_parallel_calls=config.data.threads, deterministic=True)
    dataset = dataset.batch(len(rows)).prefetch(config.data.prefetch_batches)
    options = tf.data.Options()
    options.threading.private_threadpool_size = config.data.threads
    iterator = dataset.with_options(options).as_numpy_iterator()
    while True:
        try:
            batch = next(iterator)
        except tf.errors.OpError:
            if failures:
                # TensorFlow turns exceptions into text; this is the one that was raised.
                raise failures[0] from None
            raise
        yield batch


def _shapes(config):
    """{name: (shape, dtype)} of one pair."""
    k, z, x = config.templates, config.template_size, config.search_size
    shapes = {
        "template": ((k, z, z, 3), np.uint8),
        "template_box": ((k, 4), np.float32),
        "search": ((x, x, 3), np.uint8),
        "search_box": ((4,), np.float32),
    }
    return shapes | ({"label": ((), np.float32)} if config.positive_probability < 1 else {})


def _tensorflow():
    # Before its import: TensorFlow greets with lines about kernels that nothing here runs.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import tensorflow as tf
    except ImportError:
        raise errors.InputError(
            "reading data sets needs TensorFlow's data pipeline: pip install tensorflow-cpu"
            " (synthetic pairs, --config.data.ratio.synthetic=1 alone, do without)"
        ) from None
    # The accelerator belongs to JAX; too late, and harmless, where something has used TensorFlow already.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    return tf


def _mixed(files, synthetic, share, start_step, rows, seed, split):
    """File batches with the rows that are the synthetic source's taken from its batches (which are made whole)."""
    for step, (batch, made) in enumerate(zip(files, synthetic, strict=True), start_step):
        theirs = np.array([_is_synthetic(share, seed, step, row, split) for row in rows])
        yield {
            name: np.where(theirs.reshape(-1, *[1] * (value.ndim - 1)), made[name], value)
            for name, value in batch.items()
        }

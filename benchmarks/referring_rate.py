"""Tracking with words: every crop, frame and phrase encoded once, against the published program's pair by pair.

    python -m benchmarks.referring_rate [--config configs/ikun.py:tiny] [--tracks 20] [--phrases 20] [--frames 8]

Both give the same similarities. Prints how many images and phrases each encodes, and its seconds after a first run that
compiles. The pairs are run one by one, as the program does, or --pair_batch at a time.
"""

import functools

import jax
import numpy as np
from absl import flags

import trackers
from benchmarks import timing
from trackers import errors
from trackers.io import mot_files
from trackers.ops import crops
from trackers.tracking import squares, with_words

FLAGS = flags.FLAGS


def pair_by_pair(model, variables, chosen, tracks, frames, tokens, batch=1, limit=None):
    """What the program computes: the whole network for every pair of a clip and a phrase.

    Args:
      model, variables, tracks, tokens: as Referrer.similarities takes them; frames: (F, H, W, 3), numbered from 1.
      chosen: with_words.Settings. batch: pairs at a time. limit: stop after so many pairs.

    Returns: (similarities (n, P), Work).
    """
    total, count = np.zeros((len(tracks), len(tokens))), np.zeros(len(tracks))
    clips = with_words.plan(tracks, chosen, *frames[0].shape[:2])
    for clip in clips:
        count[clip.rows] += 1
    pairs = [(clip, phrase) for clip in clips for phrase in range(len(tokens))][:limit]
    work = with_words.Work(pairs=len(pairs))
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        filled = part + part[:1] * (batch - len(part))
        local = np.stack([_crops(model, tracks, frames, clip) for clip, _ in filled])
        global_ = np.stack([_frames(model, tracks, frames, clip) for clip, _ in filled])
        cosines = np.asarray(_cosines(model, variables, local, global_, tokens[[phrase for _, phrase in filled]]))
        for (clip, phrase), cosine in zip(part, cosines, strict=False):
            total[clip.rows, phrase] += cosine
        work.crops += len(part) * local.shape[1]
        work.frames += len(part) * local.shape[1]
        work.phrases += len(part)
    mean = np.divide(total, count[:, None], out=np.full_like(total, np.nan), where=count[:, None] > 0)
    return mean.astype(np.float32), work


@functools.partial(jax.jit, static_argnums=0)
def _cosines(model, variables, local, global_, tokens):
    images = (crops.normalize(image, crops.CLIP_MEAN, crops.CLIP_STD) for image in (local, global_))
    return model.apply(variables, *images, tokens)


def _crops(model, tracks, frames, clip):
    size = int(model.local_size)
    return [squares.local_image(frames[tracks.frames[row] - 1], tracks.boxes[row], size) for row in clip.sampled]


def _frames(model, tracks, frames, clip):
    return [squares.global_image(frames[tracks.frames[row] - 1], int(model.global_size)) for row in clip.sampled]


def scene(count, length, height=240, width=320, seed=0):
    """(frames (length, H, W, 3) uint8 noise, Tracks of `count` objects that are in all of them)."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (length, height, width, 3), dtype=np.uint8)
    sizes = rng.uniform(20, 80, (length * count, 2))
    corners = rng.uniform(0, 1, (length * count, 2)) * ((width, height) - sizes)
    numbers, ids = np.repeat(np.arange(1, length + 1), count), np.tile(np.arange(1, count + 1), length)
    return frames, mot_files.from_rows(numbers, ids, np.concatenate([corners, sizes], axis=1))


def define_flags():
    errors.define_config("A config of configs/ikun.py.", "configs/ikun.py:tiny")
    flags.DEFINE_integer("tracks", 20, "Objects that are in all frames.", lower_bound=1)
    flags.DEFINE_integer("phrases", 20, "Phrases that every object is compared with.", lower_bound=1)
    flags.DEFINE_integer("frames", 8, "Frames of the video.", lower_bound=1)
    flags.DEFINE_integer("pair_batch", 1, "Pairs that the slow way takes at a time.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of weights, video and phrases.", lower_bound=0)
    flags.DEFINE_integer("pairs", None, "Time only so many pairs of the slow way, and scale up.", lower_bound=1)


def main(argv):
    del argv
    config = FLAGS.config
    model = trackers.build(config.model)
    if model.task != "refer":
        raise errors.UsageError(f"--config: {config.model.name} does not track with words: give configs/ikun.py:tiny")
    variables = trackers.init(model, jax.random.key(FLAGS.seed))
    frames, tracks = scene(FLAGS.tracks, FLAGS.frames, seed=FLAGS.seed)
    text = config.model.transformer
    numbers = np.random.default_rng(FLAGS.seed)
    tokens = numbers.integers(1, text.vocabulary - 1, (FLAGS.phrases, text.length), dtype=np.int32)
    referrer = with_words.Referrer(model, config.tracking)
    results = {}

    def once():
        results["once"] = referrer.similarities(variables, tracks, frames, tokens)

    def slow(limit):
        given = model, variables, referrer.settings, tracks, frames, tokens
        results["pair by pair"] = pair_by_pair(*given, FLAGS.pair_batch, limit)

    once()
    seconds = timing.once(once).wall
    slow(FLAGS.pair_batch)
    slow_seconds = timing.once(lambda: slow(FLAGS.pairs)).wall
    _report(results, seconds, slow_seconds)


def _report(results, seconds, slow_seconds):
    """Prints what both ways took; results: {way: (similarities, Work)}, the slow way's perhaps of a few pairs."""
    (ours, work), (theirs, naive) = results["once"], results["pair by pair"]
    scale = work.pairs / naive.pairs
    config = FLAGS["config"].config_filename
    print(f"{FLAGS.tracks} tracks x {FLAGS.phrases} phrases, {FLAGS.frames} frames, {work.pairs} pairs, {config}")
    rows = [("once", work, seconds, 1.0), ("pair by pair", naive, slow_seconds * scale, scale)]
    for name, encoded, taken, factor in rows:
        counts = {field: round(getattr(encoded, field) * factor) for field in ("crops", "frames", "phrases")}
        cells = "  ".join(f"{field} {count:6d}" for field, count in counts.items())
        print(f"{name:13s} {cells}  {taken:8.2f} s")
    ratio = scale * (naive.crops + naive.frames) / (work.crops + work.frames)
    print(f"images encoded {ratio:.1f}x less, wall clock {slow_seconds * scale / seconds:.1f}x less")
    if FLAGS.pairs is None:
        print(f"largest difference of a similarity {np.abs(ours - theirs).max():.1e}")


if __name__ == "__main__":
    define_flags()
    errors.run(main)

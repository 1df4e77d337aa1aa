"""Tracking with words: every crop, frame and phrase encoded once, against the published program's pair by pair.

    python -m benchmarks.referring_rate [--config configs/ikun.py:tiny] [--tracks 20] [--phrases 20] [--frames 8]

Both give the same similarities. Prints how many images and phrases each encodes, and its seconds after a first run that
compiles. The pairs are run one by one, as the program does, or --pair_batch at a time.
"""

import argparse
import importlib
import time

import jax
import numpy as np

import trackers
from trackers.io import mot_files
from trackers.ops import crops
from trackers.tracking import squares, with_words


def pair_by_pair(model, variables, chosen, tracks, frames, tokens, batch=1, limit=None):
    """What the program computes: the whole network for every pair of a clip and a phrase.

    Args:
      model, variables, tracks, tokens: as Referrer.similarities takes them; frames: (F, H, W, 3), numbered from 1.
      chosen: with_words.Settings. batch: pairs at a time. limit: stop after so many pairs.

    Returns: (similarities (n, P), Work).
    """
    apply = jax.jit(lambda variables, *inputs: model.apply(variables, *(_normalize(x) for x in inputs[:2]), inputs[2]))
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
        cosines = np.asarray(apply(variables, local, global_, tokens[[phrase for _, phrase in filled]]))
        for (clip, phrase), cosine in zip(part, cosines, strict=False):
            total[clip.rows, phrase] += cosine
        work.crops += len(part) * local.shape[1]
        work.frames += len(part) * local.shape[1]
        work.phrases += len(part)
    mean = np.divide(total, count[:, None], out=np.full_like(total, np.nan), where=count[:, None] > 0)
    return mean.astype(np.float32), work


def _normalize(images):
    return crops.normalize(images, crops.CLIP_MEAN, crops.CLIP_STD)


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


def _seconds(run):
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/ikun.py:tiny")
    for name, value in {"tracks": 20, "phrases": 20, "frames": 8, "pair_batch": 1, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--pairs", type=int, default=None, help="time only so many pairs of the slow way, and scale up")
    args = parser.parse_args()

    path, _, variant = args.config.partition(":")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    config = module.get_config(variant or None)
    model = trackers.build(config.model)
    variables = trackers.init(model, jax.random.key(args.seed))
    frames, tracks = scene(args.tracks, args.frames, seed=args.seed)
    rng = np.random.default_rng(args.seed)
    text = config.model.transformer
    tokens = rng.integers(1, text.vocabulary - 1, (args.phrases, text.length), dtype=np.int32)

    referrer = with_words.Referrer(model, config.tracking)

    def once():
        return referrer.similarities(variables, tracks, frames, tokens)

    def slow(limit):
        settings = referrer.settings
        return pair_by_pair(model, variables, settings, tracks, frames, tokens, args.pair_batch, limit)

    once()
    (ours, work), seconds = _seconds(once)
    slow(args.pair_batch)
    total = work.pairs
    (theirs, naive), slow_seconds = _seconds(lambda: slow(args.pairs))
    scale = total / naive.pairs
    rows = [("once", work, seconds, 1.0), ("pair by pair", naive, slow_seconds * scale, scale)]
    print(f"{args.tracks} tracks x {args.phrases} phrases, {args.frames} frames, {total} pairs, {args.config}")
    for name, found, taken, factor in rows:
        counts = {field: round(getattr(found, field) * factor) for field in ("crops", "frames", "phrases")}
        cells = "  ".join(f"{field} {count:6d}" for field, count in counts.items())
        print(f"{name:13s} {cells}  {taken:8.2f} s")
    ratio = scale * (naive.crops + naive.frames) / (work.crops + work.frames)
    print(f"images encoded {ratio:.1f}x less, wall clock {slow_seconds * scale / seconds:.1f}x less")
    if args.pairs is None:
        print(f"largest difference of a similarity {np.abs(ours - theirs).max():.1e}")


if __name__ == "__main__":
    main()

"""Which frames make a training pair: a pure function of (seed, split, step, row).

The causal rule of the field's samplers (Yan et al., STARK, ICCV 2021; GRM's program): a template frame, then a later
search frame of the same video, both with the target visible and less than `max_gap` frames apart; data sets by ratio,
sequences uniformly. Image data sets give the same image twice. Another rule ("trident") and search frames without the
target serve the training of a score (MixFormer's online tracker).
"""

import bisect
import dataclasses
import itertools

import numpy as np

from trackers import errors

# Only videos of at least this many frames, and with more than twice the frames of a pair visible, are drawn from.
MIN_FRAMES = 20
# Frames by which the permitted gap grows each time that no visible frame was found within it.
GAP_GROWTH = 5
# Draws after which a source is held to have nothing usable.
_MAX_DRAWS = 1000
_SPLITS = {"train": 0, "validation": 1}


@dataclasses.dataclass(frozen=True)
class Draw:
    """One pair: index of the source, of the sequence in it, of the K template frames and of the search frame.

    positive: whether the search frame shows the target. search_sequence: where that frame lies in another sequence.
    """

    source: int
    sequence: int
    templates: tuple[int, ...]
    search: int
    positive: bool = True
    search_sequence: int | None = None


def generator(seed, step, row, split="train", attempt=0):
    """The random numbers of one sample: np.random.Generator that depends on these five values only.

    Args:
      seed, step, row: integers >= 0; row is the place in the global batch.
      split: "train" or "validation"; the two share no stream.
      attempt: 0, or which replacement of a bad sample it is for (bad_samples.py).
    """
    # Spawn key 0 is taken: Generator.spawn(1) has it.
    entropy = np.random.SeedSequence([seed, _SPLITS[split], step, row], spawn_key=(attempt,) if attempt else ())
    return np.random.Generator(np.random.Philox(entropy))


def pick(ratio, number):
    """Index into `ratio` (non-negative weights) that the uniform `number` in [0, 1) falls on."""
    edges = list(itertools.accumulate(float(weight) for weight in ratio))
    last = max(index for index, weight in enumerate(ratio) if weight)
    return min(bisect.bisect_right(edges, number * edges[-1]), last)


def usable(sequence, templates=1):
    """Whether a video has frames enough for a pair of `templates` templates and one search frame."""
    return len(sequence) >= MIN_FRAMES and int(sequence.visible.sum()) > 2 * (templates + 1)


def sample(sources, ratio, rng, templates=1, max_gap=200, rule="causal", positive_probability=1.0, unlabelled_gap=5):
    """Draws one pair.

    Args:
      sources: list of Source.
      ratio: list of their weights, not all zero.
      rng: from `generator`; advanced.
      templates: number K of template frames.
      max_gap: frames; the search frame is at most max_gap - 1 after the first template (as the program counts), the
        other templates at most max_gap before it.
      rule: a key of RULES.
      positive_probability: chance of a search frame with the target; the others are frames in which it is hidden, or
        without such frames a frame of another sequence.
      unlabelled_gap: frames; the search frame is at most so many after the template in videos without labels, where it
        takes the place of max_gap.

    Returns: Draw.
    Raises: InputError where a source has nothing to draw from.
    """
    which = pick(ratio, rng.random())
    source = sources[which]
    gap = max_gap if source.labelled else unlabelled_gap + 1
    for _ in range(_MAX_DRAWS):
        index = int(rng.integers(len(source)))
        if not source.is_video:
            return _with_sign(Draw(which, index, (0,) * templates, 0), source, rng, positive_probability)
        sequence = source[index]
        if not usable(sequence, templates):
            continue
        frames = RULES[rule](sequence.visible, rng, templates, gap)
        if frames is not None:
            return _with_sign(Draw(which, index, *frames), source, rng, positive_probability)
    raise errors.InputError(
        f"{source.name}: {_MAX_DRAWS} draws found no sequence with {MIN_FRAMES} frames and more than"
        f" {2 * (templates + 1)} of them with a visible target; check it with python -m data_pipelines check"
    )


def _causal(visible, rng, templates, max_gap):
    """((K,) template frames, search frame), or None where this video has no pair in causal order."""
    first = np.flatnonzero(visible[templates - 1 : len(visible) - 1]) + templates - 1
    if not len(first):
        return None
    for gap in range(max_gap, max_gap + len(visible) + GAP_GROWTH, GAP_GROWTH):
        base = int(first[rng.integers(len(first))])
        earlier = _choose(visible, base - gap, base, templates - 1, rng)
        later = _choose(visible, base + 1, base + gap, 1, rng)
        if earlier is not None and later is not None:
            return (base, *earlier), later[0]
    return None


def _trident(visible, rng, templates, max_gap):
    """((K,) template frames, search frame) as MixFormer's "trident_pro" draws them: the first template and the search
    frame independently, the other templates on the first one's side of the search frame, at most max_gap away.

    The program takes those others visible or not; a frame without the target has no box to crop around, so here they
    are visible.
    """
    base, search = (int(frame) for frame in rng.choice(np.flatnonzero(visible), 2))
    window = (search - max_gap, search) if base < search else (search + 1, search + 1 + max_gap)
    others = _choose(visible, *window, templates - 1, rng)
    return None if others is None else ((base, *others), search)


RULES = {"causal": _causal, "trident": _trident}


def _with_sign(draw, source, rng, positive_probability):
    """The draw, or one without the target in its search frame."""
    if positive_probability >= 1 or rng.random() < positive_probability:
        return draw
    hidden = np.flatnonzero(~source[draw.sequence].visible) if source.is_video else ()
    if len(hidden):
        return dataclasses.replace(draw, search=int(rng.choice(hidden)), positive=False)
    for _ in range(_MAX_DRAWS if len(source) > 1 else 0):
        other = int(rng.integers(len(source) - 1))
        other += other >= draw.sequence
        frames = np.flatnonzero(source[other].visible)
        if len(frames):
            return dataclasses.replace(draw, search=int(rng.choice(frames)), positive=False, search_sequence=other)
    raise errors.InputError(
        f"{source.name}: no search frame without the target: no frame in which it is hidden, and no other sequence"
    )


def _choose(visible, start, stop, count, rng):
    """`count` visible frames of [start, stop), with replacement, as a list; None where there is none."""
    if count == 0:
        return []
    start = max(start, 0)
    candidates = np.flatnonzero(visible[start : max(stop, 0)])
    # As rng.choice(candidates, count) draws, in a fraction of its time.
    return (start + candidates[rng.integers(0, len(candidates), count)]).tolist() if len(candidates) else None

"""Tracking with words (iKUN): which of any tracker's boxes does a phrase mean?

A track is cut where a frame is missing; each piece is covered by clips of `window` frames that start every `stride`
frames, the last one pulled back to full length. Of each clip `samples` frames are shown to the network, and the cosine
of the clip counts for all of its frames: a box has the mean of the clips that cover it (the program's inference).

The program encodes two crops, two frames and a phrase for every pair of a clip and a phrase. Here each crop, each frame
and each phrase is encoded once, in the order of the video and forgotten when no clip needs it any more: the crops of
all tracks in several frames in one call, the frames in one call. What is left for a pair is the fusion, many pairs in
one jitted call. A thread reads and cuts the next frames meanwhile. The numbers are the same.
"""

import collections
import concurrent.futures
import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trackers.errors import InputError
from trackers.io import mot_files
from trackers.models import ikun
from trackers.nn.tokens import as_pair
from trackers.ops import crops
from trackers.tracking import squares

# Of every number of frames, clips, crops or phrases: memory is asked for that many.
_MOST = 4096


@dataclasses.dataclass(frozen=True)
class Settings:
    """The `tracking` section of a config.

    window, stride: frames of a clip, frames from one clip's start to the next.
    samples: frames of a clip that the network sees (T), evenly spread from its first.
    threshold: a box is what the phrase means where its similarity is above this.
    clips_per_batch, phrases_per_batch: a fusion takes so many clips times so many phrases.
    crops_per_batch: largest batch of crops encoded at once, of one frame or several.
    frames_per_batch: so many frames at most are gathered until their crops fill such a batch, and encoded at once.
    """

    window: int = 8
    stride: int = 4
    samples: int = 2
    threshold: float = 0.0
    clips_per_batch: int = 4
    phrases_per_batch: int = 8
    crops_per_batch: int = 32
    frames_per_batch: int = 4

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or value is True or not 1 <= value <= _MOST):
                raise InputError(f"tracking.{field.name} must be a whole number from 1 to {_MOST}, got {value!r}")
        if not isinstance(self.threshold, (int, float)) or not math.isfinite(self.threshold):
            raise InputError(f"tracking.threshold must be a finite number, got {self.threshold!r}")
        if self.stride > self.window:
            raise InputError(f"tracking.stride {self.stride} leaves frames out of windows of {self.window}: lower it")


def settings(config):
    """Settings from a config's `tracking` section. Raises: InputError for an unknown or impossible one."""
    known = [field.name for field in dataclasses.fields(Settings)]
    for name in config or {}:
        if name not in known:
            raise InputError(f"tracking.{name} is not a setting of tracking with words: it has {', '.join(known)}")
    return Settings(**dict((config or {}).items()))


@dataclasses.dataclass(frozen=True)
class Clip:
    """rows: indices in Tracks of the clip's boxes, one a frame. sampled: (T,) those that are shown to the network."""

    rows: np.ndarray
    sampled: np.ndarray


def plan(tracks, chosen, height, width):
    """The clips of all tracks, in the order in which a video makes them complete.

    Args: tracks: Tracks. chosen: Settings. height, width: the frames'; a box without a pixel in them is a gap.
    """
    visible = _visible(tracks.boxes, height, width)
    clips = []
    for number in np.unique(tracks.ids):
        rows = np.flatnonzero((tracks.ids == number) & visible)
        for piece in mot_files.pieces(tracks.frames[rows]):
            clips += [
                _clip(rows[piece][window], chosen.samples) for window in windows(piece.stop - piece.start, chosen)
            ]
    return sorted(clips, key=lambda clip: tracks.frames[clip.sampled[-1]])


def pairs_of(tracks, chosen, height, width, phrases):
    """How many pairs of a clip and a phrase `similarities` goes through; arguments as of plan, and how many phrases."""
    return len(plan(tracks, chosen, height, width)) * phrases


def _visible(boxes, height, width):
    """Which boxes (n, 4) have an area and a pixel inside the frame, edges truncated to whole pixels: (n,) bool."""
    first, last = np.trunc(boxes[:, :2]), np.trunc(boxes[:, :2] + boxes[:, 2:])
    last = np.maximum(last, first + 1)
    inside = np.maximum(first, 0) < np.minimum(last, (width, height))
    return (inside & (boxes[:, 2:] > 0)).all(axis=1)


def _within_reach(box, height, width):
    """The box cut off one frame beyond the borders, so that none, however wrong, needs more memory than that."""
    size = np.array([width, height])
    first, last = np.maximum(box[:2], -size), np.minimum(box[:2] + box[2:], 2 * size)
    return np.concatenate([first, last - first])


def windows(length, chosen):
    """[slice] of the clips over a piece of `length` frames."""
    slices = []
    for start in range(0, length, chosen.stride):
        stop = min(length, start + chosen.window)
        slices.append(slice(max(0, stop - chosen.window), stop))
        if stop == length:
            break
    return slices


def _clip(rows, samples):
    return Clip(rows, rows[np.arange(samples) * len(rows) // samples])


@dataclasses.dataclass
class Work:
    """What was computed: crops, frames and phrases encoded, and pairs of a clip and a phrase fused."""

    crops: int = 0
    frames: int = 0
    phrases: int = 0
    pairs: int = 0


class Referrer:
    """Scores tracks against phrases with a model of trackers.models that has iKUN's methods; holds no arrays.

    Args:
      model: from trackers.build; see trackers.models.ikun for the methods and sizes that are used.
      config: mapping or ConfigDict of Settings.

    Raises: InputError for an unknown or impossible setting, or images that are not square.
    """

    def __init__(self, model, config=None):
        self.model = model
        self.settings = settings(config)
        self._encode_local = jax.jit(lambda variables, images: self._one_frame(variables, images, "encode_local"))
        self._encode_global = jax.jit(lambda variables, images: self._one_frame(variables, images, "encode_global"))
        self._encode_text = jax.jit(lambda variables, tokens: model.apply(variables, tokens, method="encode_text"))
        self._relate = jax.jit(lambda variables, *maps: model.apply(variables, *maps, method="relate"))
        self._fuse = jax.jit(self._fuse_pairs)
        self._local_side, self._global_side = (_square(model, name) for name in ("local_size", "global_size"))

    def _one_frame(self, variables, images, method):
        """Features (B, h, w, C) of uint8 images (B, S, S, 3), each a clip of one frame."""
        images = crops.normalize(images, crops.CLIP_MEAN, crops.CLIP_STD)
        return self.model.apply(variables, images[:, None], method=method)[:, 0]

    def _fuse_pairs(self, variables, related, text):
        """Cosines (clips, phrases) of what `relate` gave for the clips and TextFeatures of the phrases."""
        clips, phrases = jax.tree.leaves(related)[0].shape[0], text.sentence.shape[0]
        related = jax.tree.map(lambda leaf: jnp.repeat(leaf, phrases, axis=0), related)
        text = jax.tree.map(lambda leaf: jnp.tile(leaf, (clips,) + (1,) * (leaf.ndim - 1)), text)
        fused = self.model.apply(variables, related, text, method="fuse_related")
        return ikun.similarity(fused, text.sentence).reshape(clips, phrases)

    def similarities(self, variables, tracks, frames, tokens, first_frame=1, tick=lambda rows: None, length=None):
        """How well each phrase fits each box.

        Args:
          variables: the model's.
          tracks: mot_files.Tracks.
          frames: iterable of (H, W, 3) uint8 RGB, all frames of the video in order; not read further than needed.
          tokens: (P, 77) int32, the phrases.
          first_frame: number that the tracks give to the first frame of the video.
          tick: called with the number of pairs of a clip and a phrase that are done, again and again; pairs_of says how
            many there are.
          length: frames of the video where they have been counted, so that tracks of another are found at its start.

        Returns: (similarities (n, P) float32, Work). NaN for a box without a pixel inside the frame.

        Raises: InputError where the tracks have a frame that the video has not, or the frames change their size.
        """
        tokens = np.asarray(tokens, np.int32)
        total, count = np.zeros((len(tracks), len(tokens))), np.zeros(len(tracks))
        work = Work()
        if len(tracks) and len(tokens):
            text = self._text(variables, tokens, work)
            for clip, cosines in self._clips(variables, tracks, frames, text, first_frame, length, work):
                total[clip.rows] += cosines[: len(tokens)]
                count[clip.rows] += 1
                tick(len(tokens))
        mean = np.divide(total, count[:, None], out=np.full_like(total, np.nan), where=count[:, None] > 0)
        return mean.astype(np.float32), work

    def _text(self, variables, tokens, work):
        """[TextFeatures of phrases_per_batch phrases]; the last batch is filled up with its first phrase."""
        size = min(self.settings.phrases_per_batch, len(tokens))
        batches = []
        for start in range(0, len(tokens), size):
            part = tokens[start : start + size]
            work.phrases += len(part)
            batches.append(
                self._encode_text(variables, np.concatenate([part, np.repeat(part[:1], size - len(part), 0)]))
            )
        return batches

    def _clips(self, variables, tracks, frames, text, first_frame, length, work):
        """Yields (clip, (P or more,) cosines) of all clips while the frames are read."""
        features, waiting, gathered = _Features(), [], []
        video = self._read(tracks, frames, first_frame, length, features)
        with concurrent.futures.ThreadPoolExecutor(1) as reader:
            ahead = collections.deque(reader.submit(next, video, None) for _ in range(self.settings.frames_per_batch))
            try:
                while ahead:
                    read = ahead.popleft().result()
                    if read is not None:
                        ahead.append(reader.submit(next, video, None))
                        gathered.append(read)
                    if gathered and (read is None or self._is_full(gathered)):
                        self._encode(variables, gathered, features, work)
                        waiting += [clip for part in gathered for clip in part.clips]
                        gathered = []
                    size = self.settings.clips_per_batch
                    while len(waiting) >= size or (waiting and read is None):
                        yield from self._fuse_batch(variables, waiting[:size], tracks.frames, text, features, work)
                        waiting = waiting[size:]
            finally:
                reader.shutdown(cancel_futures=True)

    def _read(self, tracks, frames, first_frame, length, features):
        """Iterator of _Read of the frames that are shown to the network; checks tracks and video on the way."""
        clips, shape = None, None
        number = first_frame - 1
        for number, image in enumerate(frames, start=first_frame):
            if clips is None:
                shape = image.shape
                clips = collections.deque(plan(tracks, self.settings, *shape[:2]))
                _check_frames(tracks, clips, first_frame, length)
                rows_of = features.expect(clips, tracks.frames)
            if image.shape != shape:
                raise InputError(
                    f"frame {number} of the video has another size than its first frame: they must be equal"
                )
            if number in rows_of:
                boxes = [_within_reach(tracks.boxes[row], *shape[:2]) for row in rows_of[number]]
                crops_ = [squares.local_image(image, box, self._local_side) for box in boxes]
                complete = []
                while clips and tracks.frames[clips[0].sampled[-1]] == number:
                    complete.append(clips.popleft())
                yield _Read(number, squares.global_image(image, self._global_side), rows_of[number], crops_, complete)
            if not clips:
                return
        raise _too_short(tracks, number, first_frame)

    def _is_full(self, gathered):
        """Whether frames that were gathered fill a batch."""
        return (
            len(gathered) == self.settings.frames_per_batch
            or sum(len(part.rows) for part in gathered) >= self.settings.crops_per_batch
        )

    def _encode(self, variables, gathered, features, work):
        """Encodes frames and crops, a list of _Read, into `features`."""
        pictures = [part.picture for part in gathered]
        encoded = _in_batches(self._encode_global, variables, pictures, self.settings.frames_per_batch)
        features.frames |= {part.number: found for part, found in zip(gathered, encoded, strict=True)}
        work.frames += len(pictures)
        rows = [row for part in gathered for row in part.rows]
        pictures = [picture for part in gathered for picture in part.crops]
        encoded = _in_batches(self._encode_local, variables, pictures, self.settings.crops_per_batch)
        features.crops |= dict(zip(rows, encoded, strict=True))
        work.crops += len(rows)

    def _fuse_batch(self, variables, clips, frames, text, features, work):
        size = self.settings.clips_per_batch
        filled = clips + clips[:1] * (size - len(clips))
        local = _stack([[features.crops[row] for row in clip.sampled] for clip in filled])
        global_ = _stack([[features.frames[int(frames[row])] for row in clip.sampled] for clip in filled])
        related = self._relate(variables, local, global_)
        cosines = np.concatenate([self._fuse(variables, related, part) for part in text], axis=1)
        work.pairs += len(clips) * work.phrases
        for clip, values in zip(clips, cosines, strict=False):
            features.release(clip, frames)
            yield clip, values


class _Read(NamedTuple):
    """A frame for the network: its number and picture, the rows of its boxes with their pictures, and the clips that
    wait for no later frame."""

    number: int
    picture: np.ndarray
    rows: list
    crops: list
    clips: list


class _Features:
    """Encoded crops by row and frames by number, kept for as long as a clip needs them."""

    def __init__(self):
        self.crops, self.frames = {}, {}
        self._crop_uses, self._frame_uses = collections.Counter(), collections.Counter()

    def expect(self, clips, frames):
        """Counts what the clips will use; {frame: [rows to encode]}."""
        for clip in clips:
            self._crop_uses.update(clip.sampled.tolist())
            self._frame_uses.update(frames[clip.sampled].tolist())
        rows_of = collections.defaultdict(list)
        for row in sorted(self._crop_uses):
            rows_of[int(frames[row])].append(row)
        return rows_of

    def release(self, clip, frames):
        for row in clip.sampled.tolist():
            for kept, uses, key in (
                (self.crops, self._crop_uses, row),
                (self.frames, self._frame_uses, int(frames[row])),
            ):
                uses[key] -= 1
                if not uses[key]:
                    del kept[key]


def _square(model, name):
    """The side of the model's images `name`, pixels."""
    height, width = as_pair(getattr(model, name))
    if height != width:
        raise InputError(f"model.{name} is {height}x{width}: tracking with words takes square images")
    return int(height)


def _check_frames(tracks, clips, first_frame, length):
    early = [int(tracks.frames[clip.sampled[0]]) for clip in clips]
    if early and min(early) < first_frame:
        raise InputError(
            f"the tracks have frame {min(early)} but the first frame of the video counts as {first_frame}: give"
            " --first_frame, or count frames as the video does"
        )
    # Also of boxes that are not shown to the network themselves.
    late = [int(tracks.frames[clip.rows[-1]]) for clip in clips]
    if late and length is not None and max(late) >= first_frame + length:
        raise _too_short(tracks, first_frame + length - 1, first_frame)


def _too_short(tracks, last, first_frame):
    return InputError(
        f"the tracks have frame {tracks.frames.max()} but the video ends at {last} (its first frame counts as"
        f" {first_frame}): give the video that was tracked, or another --first_frame"
    )


def _in_batches(encode, variables, pictures, largest):
    """[features] of uint8 pictures (S, S, 3), in few calls. encode: (variables, (B, S, S, 3)) -> (B, ...)."""
    encoded, start = [], 0
    for count in _powers(len(pictures), largest):
        encoded += list(encode(variables, np.stack(pictures[start : start + count])))
        start += count
    return encoded


def _powers(count, largest):
    """Batch sizes that add up to `count`: powers of two, so that few shapes are compiled and nothing is filled up."""
    while count:
        size = min(largest, 1 << (count.bit_length() - 1))
        yield size
        count -= size


def _stack(rows):
    return jnp.stack([jnp.stack(row) for row in rows])


def chosen(tracks, similarity, threshold=0.0):
    """The boxes that a phrase means: Tracks whose similarity (n,) is above the threshold (NaN never is)."""
    return tracks.select(np.asarray(similarity) > threshold)

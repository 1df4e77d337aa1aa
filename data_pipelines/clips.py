"""The data kind "clips": clips of one object with a phrase for a referring tracker, pure in (seed, split, step, row).

The rules are those of iKUN's training program (Du et al., CVPR 2024). An object's kept frames are those in which it has
a box and at least one phrase of the video means it. A clip is a window of consecutive kept frames cut into equal
segments, one frame drawn from each; one of these frames and one phrase of the video are drawn, and the target says
whether the phrase means the object in that frame. Objects are drawn uniformly and independently (the program takes each
once an epoch).
"""

import dataclasses
import math

import numpy as np

from data_pipelines import bad_samples, phrase_annotations, sampling, sources, text, tf_stream
from trackers import errors
from trackers.tracking import squares

# Tries of a random crop before the whole image is taken, as in torchvision's RandomResizedCrop.
_CROP_TRIES = 10


@dataclasses.dataclass(frozen=True)
class ClipConfig:
    """What a clip is; the fields are those of config.model and config.data."""

    # Sides of the local and the global images, pixels.
    local_size: int = 224
    global_size: int = 672
    # Frames T of a clip, drawn one from each of as many equal segments of the window (the supplement's T is 8).
    clip_frames: int = 2
    # Kept frames of the window, a multiple of clip_frames.
    clip_window: int = 8
    # Kept frames from one frame of the window to the next.
    clip_stride: int = 1
    # Aspect and area ranges of the random crop of every padded image, drawn separately for each.
    crop_ratio: tuple[float, float] = (0.8, 1.0)
    crop_area: tuple[float, float] = (0.08, 1.0)
    # Share of clips whose phrase holds; the others then get a phrase that means others, as often as it does, so that
    # words alone do not give the answer away. 0 = the program: every phrase of the video alike, so that few hold.
    positive_share: float = 0.0
    # Phrases that are asked about a clip, drawn one by one; 1 = the program.
    phrases_per_clip: int = 1
    # Token ids of a phrase.
    context_length: int = 77

    def __post_init__(self):
        if self.clip_frames < 1 or self.clip_window % self.clip_frames or self.clip_stride < 1:
            raise errors.UsageError(
                f"config.data: clip_window {self.clip_window} must be a multiple of clip_frames {self.clip_frames}, and"
                f" clip_stride {self.clip_stride} at least 1"
            )
        for name in ("crop_ratio", "crop_area"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise errors.UsageError(f"config.data.{name} {(low, high)}: give 0 < smallest <= largest")
        if self.phrases_per_clip < 1:
            raise errors.UsageError(f"config.data.phrases_per_clip {self.phrases_per_clip}: give 1 or more")
        if not 0 <= self.positive_share <= 1:
            raise errors.UsageError(f"config.data.positive_share {self.positive_share}: give 0 to 1")

    @property
    def asked(self):
        """Leading shape of a clip's tokens and target: () for one phrase, (Q,) for more."""
        return () if self.phrases_per_clip == 1 else (self.phrases_per_clip,)

    @property
    def span(self):
        """Kept frames from the first to the last of a window, both counted."""
        return (self.clip_window - 1) * self.clip_stride + 1

    @property
    def shapes(self):
        """{name: (shape, dtype)} of one clip."""
        t, local, global_ = self.clip_frames, self.local_size, self.global_size
        return {
            "local": ((t, local, local, 3), np.uint8),
            "global": ((t, global_, global_, 3), np.uint8),
            "tokens": ((*self.asked, self.context_length), np.int32),
            "target": (self.asked, np.float32),
        }

    @classmethod
    def from_config(cls, config):
        """From a whole config (configs/*.py); fields that its sections do not have keep their defaults."""
        names = {field.name for field in dataclasses.fields(cls)}
        values = {}
        for section in (config.data, config.model):
            values |= {name: section[name] for name in names if name in section}
        for name in {"local_size", "global_size"} & set(values):
            side, *others = set(np.ravel(values[name]).tolist())
            if others:
                raise errors.UsageError(f"config.model.{name} {values[name]}: images with phrases are square")
            values[name] = side
        return cls(**values)


def shapes(config):
    """{name: (shape, dtype)} of one clip of a whole config."""
    return ClipConfig.from_config(config).shapes


def on_device(config, seed):
    """Clips are made by the host alone, see loader.on_device."""
    return None


def finish(config):
    """Clips leave the host whole, see loader.finish."""
    return None


def batches(config, start_step, rows, seed, split):
    """Batches of clips for loader.batches, whose arguments these are.

    Returns: iterator of dicts of numpy arrays, B = len(rows): local (B, T, Hl, Wl, 3) uint8 RGB, global
      (B, T, Hg, Wg, 3) uint8, tokens (B, context_length) int32, target (B,) float32, 1 where the phrase means the
      object, else 0; with Q > 1 phrases_per_clip (B, Q, context_length) and (B, Q).
    Raises: InputError (also later, while iterating) naming what is wrong on disk or in the config.
    """
    clip_config = ClipConfig.from_config(config)
    shares = sources.shares(config, "clips")
    sources.say_unused(config, "clips")
    groups = []
    for name in shares:
        source = sources.open_from(config, name, split)
        groups.append([identity for video in source for identity in identities(video, clip_config)])
        if not groups[-1]:
            raise errors.InputError(
                f"{name}: no object of the {split} split is meant by a phrase in more than {clip_config.span} frames;"
                " check it with python -m data_pipelines check"
            )
    texts = sorted({words for group in groups for identity in group for words in identity.texts})
    ids = text.open_tokenizer(config)(texts, length=clip_config.context_length)
    tokens = dict(zip(texts, ids, strict=True))
    weights = list(shares.values())

    def draw(step, row, attempt):
        return clip(groups, weights, clip_config, tokens, seed, step, row, split, attempt)

    replacing = bad_samples.Replacing(draw, shares, weights, config, seed, split)
    return tf_stream.stream(replacing, clip_config.shapes, config, start_step, rows, replacing.summary)


def phrases_by_tokens(config, split="train"):
    """{token ids as a tuple: phrase} of all sources that have a share: what the tokens of batches say."""
    opened = [sources.open_from(config, name, split) for name in sources.shares(config, "clips")]
    texts = sorted({phrase.text for source in opened for video in source for phrase in video.phrases})
    ids = text.open_tokenizer(config)(texts, length=ClipConfig.from_config(config).context_length)
    return {tuple(row.tolist()): words for row, words in zip(ids, texts, strict=True)}


def usable(source, video):
    """Number of objects of a source's video that clips of the program's length can be drawn from."""
    del source
    return len(identities(video, ClipConfig()))


def usable_noun(source):
    """What `usable` counts, in the singular."""
    del source
    return "object"


@dataclasses.dataclass(frozen=True)
class Identity:
    """One object of one video, in its M kept frames.

    Attributes:
      video: phrase_annotations.Video.
      id: its number there.
      frames: (M,) int64, counted from 1 as in video.tracks, ascending.
      boxes: (M, 4) float64 x, y, w, h in pixels.
      holds: (M, P) bool, whether each of the video's P distinct phrases means it in that frame.
      texts: tuple of these P phrases.
      frequency: (P,) float64, share of all boxes of the video that each of them means.
    """

    video: phrase_annotations.Video
    id: int
    frames: np.ndarray
    boxes: np.ndarray
    holds: np.ndarray
    texts: tuple[str, ...]
    frequency: np.ndarray


def identities(video, config):
    """The objects of a video that a clip can be drawn from: those with more than config.span kept frames.

    Args: video: phrase_annotations.Video. config: ClipConfig. Returns: list of Identity, ordered by id.
    """
    tracks = video.tracks
    place = {words: i for i, words in enumerate(dict.fromkeys(phrase.text for phrase in video.phrases))}
    rows = {key: row for row, key in enumerate(zip(tracks.frames.tolist(), tracks.ids.tolist(), strict=True))}
    holds = np.zeros((len(tracks), len(place)), bool)
    for phrase in video.phrases:
        meant = [rows[key] for key in map(tuple, phrase.meant.tolist()) if key in rows]
        holds[meant, place[phrase.text]] = True
    objects, frequency = [], holds.sum(axis=0) / max(len(tracks), 1)
    for number in np.unique(tracks.ids).tolist():
        kept = np.flatnonzero((tracks.ids == number) & holds.any(axis=1))
        if len(kept) > config.span:
            track = tracks.select(kept)
            objects.append(Identity(video, number, track.frames, track.boxes, holds[kept], tuple(place), frequency))
    return objects


def draw_frames(count, config, rng, split="train"):
    """Which kept frames make a clip.

    Args:
      count: number of kept frames, more than config.span.
      config: ClipConfig.
      rng: np.random.Generator, advanced.
      split: "train", or "validation": then the middle frame of each segment.

    Returns: (T,) int64, ascending.
    """
    start = int(rng.integers(count - config.span + 1))
    segment = config.clip_window // config.clip_frames
    within = rng.integers(segment, size=config.clip_frames) if split == "train" else segment // 2
    return start + config.clip_stride * (segment * np.arange(config.clip_frames) + within)


def draw_phrase(holds, frequency, config, rng):
    """Which phrase goes with a clip.

    Args:
      holds: (P,) bool of one frame, at least one true.
      frequency: (P,) of the video, see Identity.
      config: ClipConfig.
      rng: np.random.Generator, advanced.

    Returns: index of the phrase.
    """
    weights = np.ones(len(holds))
    if config.positive_share:
        others = frequency * ~holds
        negative = rng.random() >= config.positive_share and others.any()
        weights = others if negative else holds.astype(np.float64)
    return int(rng.choice(len(holds), p=weights / weights.sum()))


def random_window(side, ratio, area, rng):
    """A random part of a square image, as torchvision's RandomResizedCrop draws it.

    Args:
      side: the image's, in pixels.
      ratio: (smallest, largest) width over height, uniform in the logarithm.
      area: (smallest, largest) share of the image's area, uniform.
      rng: np.random.Generator, advanced.

    Returns: (left, top, right, bottom), whole pixels inside the image.
    """
    for _ in range(_CROP_TRIES):
        pixels = side * side * rng.uniform(*area)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width, height = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < width <= side and 0 < height <= side:
            left, top = int(rng.integers(side - width + 1)), int(rng.integers(side - height + 1))
            return left, top, left + width, top + height
    aspect = min(max(1.0, ratio[0]), ratio[1])
    width, height = max(1, round(side * min(aspect, 1.0))), max(1, round(side / max(aspect, 1.0)))
    left, top = (side - width) // 2, (side - height) // 2
    return left, top, left + width, top + height


def clip(groups, ratio, config, tokens, seed, step, row, split="train", attempt=0):
    """Draws and reads one clip with its phrase.

    Args:
      groups: list of lists of Identity, one a source, none empty.
      ratio: list of the sources' weights.
      config: ClipConfig.
      tokens: {text: (context_length,) int32 token ids}.
      seed, step, row: integers >= 0, row in the global batch.
      split: "train", or "validation": another stream, middle frames, no random crops.
      attempt: 0, or which replacement of a bad sample this is (bad_samples.py).

    Returns: dict: local (T, local_size, local_size, 3) uint8 RGB, global (T, global_size, global_size, 3) uint8,
      tokens (context_length,) int32, target () float32, 1 where the phrase means the object in the drawn frame, else 0;
      with Q > 1 phrases_per_clip (Q, context_length) and (Q,).
    Raises: BadSample naming a missing or damaged image.
    """
    rng = sampling.generator(seed, step, row, split, attempt)
    group = groups[sampling.pick(ratio, rng.random())]
    identity = group[int(rng.integers(len(group)))]
    indices = draw_frames(len(identity.frames), config, rng, split)
    asked = int(rng.choice(indices)) if split == "train" else int(indices[len(indices) // 2])
    holds = identity.holds[asked]
    phrases = [draw_phrase(holds, identity.frequency, config, rng) for _ in range(config.phrases_per_clip)]

    def view(image, size):
        image = squares.pad(image)
        window = random_window(len(image), config.crop_ratio, config.crop_area, rng) if split == "train" else None
        return squares.resize(image, size, window)

    local, global_ = [], []
    for index in indices:
        frame = bad_samples.read(identity.video.load, identity.video.frames[identity.frames[index] - 1])
        x, y, w, h = identity.boxes[index]
        corners = [round(value) for value in (x, y, x + w, y + h)]
        local.append(view(squares.cut(frame, corners), config.local_size))
        global_.append(view(frame, config.global_size))
    return {
        "local": np.stack(local),
        "global": np.stack(global_),
        "tokens": np.stack([tokens[identity.texts[k]] for k in phrases]).reshape(*config.asked, -1),
        "target": holds[phrases].astype(np.float32).reshape(config.asked),
    }

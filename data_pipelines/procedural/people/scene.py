"""One synthetic referring video: its picture in any frame, and what is true about it."""

import dataclasses
import functools

import numpy as np

from data_pipelines import phrase_annotations
from data_pipelines.procedural.people import bodies, cast, motion
from data_pipelines.procedural.people.config import ReferringSetConfig
from data_pipelines.sources import Source
from trackers import errors
from trackers.io import mot_files

SPLITS = {"train": cast.TRAIN, "test": cast.TEST}
# A person has a box from this visible share of its body on, and phrases mean it from the second on.
_SEEN, _RECOGNIZED = 0.1, 0.3
# Side of the noise that frames are strewn with, pixels more than the frame's.
_NOISE_ROOM = 32


@dataclasses.dataclass(frozen=True)
class Scene:
    """Everything that a video is drawn from.

    people: list of (Look, Path); pillars: list of (foot line in pixels, Shape); background: (H, W, 3) float32 grey
    levels; noise: (H + 32, W + 32, 3) float32; seed: for the frames' noise.
    """

    people: list
    pillars: list
    background: np.ndarray
    noise: np.ndarray
    seed: int

    def things(self, frame):
        """[(person's index or None, [Shape])] back to front."""
        drawn = [(p.foot[frame], i, bodies.shapes_of(look, p, frame)) for i, (look, p) in enumerate(self.people)]
        drawn += [(foot, None, [shape]) for foot, shape in self.pillars]
        return [(who, shapes) for _, who, shapes in sorted(drawn, key=lambda thing: thing[0])]

    def render(self, frame):
        """Frame number `frame` from 0 as (H, W, 3) uint8 RGB."""
        height, width = self.background.shape[:2]
        image = self.background.astype(np.uint8)
        for _, shapes in self.things(frame):
            bodies.paint(image, shapes)
        y, x = np.random.default_rng([self.seed, frame]).integers(_NOISE_ROOM, size=2)
        return np.clip(image + self.noise[y : y + height, x : x + width], 0, 255).astype(np.uint8)

    def visible(self, frame):
        """(P,) share of each person's body that can be seen, and (P, 4) boxes x, y, w, h of the whole body."""
        shape = self.background.shape[:2]
        owners = np.zeros(shape, np.uint8)
        alone, boxes = np.zeros(len(self.people)), np.zeros((len(self.people), 4))
        for who, shapes in self.things(frame):
            bodies.paint(owners, shapes, len(self.people) + 1 if who is None else who + 1)
            if who is not None:
                boxes[who] = bodies.extent(shapes)
                mask = np.zeros(shape, np.uint8)
                bodies.paint(mask, shapes, 1)
                alone[who] = mask.sum() / max(_inside(boxes[who], shape), 1e-3)
        seen = np.bincount(owners.ravel(), minlength=len(self.people) + 2)[1 : len(self.people) + 1]
        return seen / np.maximum(alone, 1.0), boxes


def _inside(box, shape):
    """Share of a box that is inside a picture of shape (H, W)."""
    x, y, w, h = box
    across = min(x + w, shape[1]) - max(x, 0)
    down = min(y + h, shape[0]) - max(y, 0)
    return max(across, 0) * max(down, 0) / (w * h)


def draw_scene(seed, split, number, config):
    """Scene of a video, a function of its arguments. config: ReferringSetConfig."""
    rng = np.random.default_rng([seed, list(SPLITS).index(split), number])
    height, width = config.height, config.width
    count = int(rng.integers(config.people[0], config.people[1] + 1))
    looks = cast.draw_cast(rng, count, SPLITS[split])
    people = [(look, motion.draw_path(rng, config.length, height, width)) for look in looks]
    pillars = [_draw_pillar(rng, height, width)] if rng.random() < config.pillar_probability else []
    noise = rng.normal(0.0, config.noise, (height + _NOISE_ROOM, width + _NOISE_ROOM, 3)).astype(np.float32)
    return Scene(people, pillars, _draw_background(rng, height, width), noise, int(rng.integers(2**31)))


def _draw_pillar(rng, height, width):
    foot, x, half = rng.uniform(0.8, 0.95) * height, rng.uniform(0.2, 0.8) * width, rng.uniform(0.015, 0.04) * width
    corners = np.array([[x - half, 0], [x + half, 0], [x + half, foot], [x - half, foot]])
    return foot, bodies.Shape(corners, tuple(rng.integers(60, 150, 3).tolist()))


def _draw_background(rng, height, width):
    """A wall with things on it above a floor, with blotches of light: (H, W, 3) float32."""
    import cv2

    # Duller than clothes are.
    wall, floor = (rng.uniform(*range_) + rng.uniform(-18, 18, 3) for range_ in ((95, 200), (65, 150)))
    edge = int(height * rng.uniform(0.5, 0.62))
    image = np.empty((height, width, 3), np.float32)
    image[:edge] = wall
    image[edge:] = floor * np.linspace(0.75, 1.1, height - edge)[:, None, None]
    for _ in range(int(rng.integers(2, 7))):
        w, h = rng.uniform(0.05, 0.25) * width, rng.uniform(0.08, 0.3) * height
        x, y = rng.uniform(0, width - w), rng.uniform(0, edge - h)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), rng.uniform(50, 230, 3).tolist(), cv2.FILLED)
    light = cv2.resize(rng.normal(0, 10, (6, 8, 1)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.7) + light[..., None], 0, 255)


def video(seed, split, number, config):
    """One video as phrase_annotations.Video; its frames are drawn when they are loaded.

    Args: seed: int >= 0. split: "train" or "test". number: from 0. config: ReferringSetConfig.
    """
    scene = draw_scene(seed, split, number, config)
    boxes, recognized = [], {}
    for frame in range(config.length):
        shares, extents = scene.visible(frame)
        for who in np.flatnonzero(shares >= _SEEN).tolist():
            boxes.append((frame + 1, who + 1, *extents[who]))
            recognized[frame + 1, who + 1] = shares[who] >= _RECOGNIZED
    table = np.array(boxes, np.float64).reshape(-1, 6)
    tracks = mot_files.from_rows(table[:, 0], table[:, 1], np.round(table[:, 2:], 2), source="synthetic referring")
    phrases = [_phrase(d, scene, tracks, recognized) for d in SPLITS[split]]
    name = f"synthetic{_offset(split, config) + number + 1:04d}"
    ordered = tuple(sorted(phrases, key=lambda phrase: phrase.name))
    load = functools.lru_cache(maxsize=config.cached_frames)(scene.render)
    return phrase_annotations.Video(name, range(config.length), tracks, ordered, load)


def _offset(split, config):
    return 0 if split == "train" else config.train_videos


def _phrase(description, scene, tracks, recognized):
    width = scene.background.shape[1]
    meant = []
    for frame, who, box in zip(tracks.frames.tolist(), tracks.ids.tolist(), tracks.boxes, strict=True):
        look, path = scene.people[who - 1]
        motion_now, way = cast.MOTIONS[path.motion[frame - 1]], int(path.direction[frame - 1])
        place = (box[0] + box[2] / 2) / width
        if recognized[frame, who] and description.holds(look, motion_now, way, place):
            meant.append((frame, who))
    sentence = description.sentence
    return phrase_annotations.Phrase(
        sentence.replace(" ", "-"), sentence, np.array(sorted(meant), np.int64).reshape(-1, 2)
    )


def open_from(config, split="train"):
    """open_split of a whole config (configs/*.py): its data.synthetic_referring and its seed."""
    return open_split(ReferringSetConfig.from_config(config), config.seed, split)


def open_split(config, seed, split="train"):
    """The videos of a split -> Source of phrase_annotations.Video, drawn when asked for.

    Args: config: ReferringSetConfig. seed: int >= 0. split: "train" or "test"; nine of the test's 17
    phrases are new.

    Raises: InputError for another split.
    """
    if split not in SPLITS:
        raise errors.InputError(f"synthetic_referring has no split {split!r}: use one of {', '.join(SPLITS)}")
    count = config.train_videos if split == "train" else config.test_videos
    names = [f"synthetic{_offset(split, config) + number + 1:04d}" for number in range(count)]
    return Source("synthetic_referring", names, functools.partial(video, seed, split, config=config))

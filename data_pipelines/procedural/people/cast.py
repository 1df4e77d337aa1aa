"""Who is in a video and what can be said about them."""

import dataclasses
from pathlib import Path

# The merges that make each word of the descriptions one token (learn_merges.py), a file as tokenizers read files.
VOCABULARY = Path(__file__).with_name("merges.txt")
COLORS = {
    "black": (28, 28, 32),
    "white": (238, 238, 232),
    "blue": (40, 80, 200),
    "red": (205, 40, 40),
    "green": (40, 150, 60),
    "brown": (125, 80, 45),
    "yellow": (235, 205, 50),
    "purple": (130, 60, 160),
}
GARMENTS = ("pants", "shorts", "skirt")
MOTIONS = ("walking", "dancing", "standing", "jumping")
HAIR = ((30, 22, 18), (80, 50, 25), (150, 110, 50), (110, 110, 110))
SKIN = ((245, 208, 178), (214, 165, 125), (156, 106, 72), (100, 68, 48))
# A picture's left and right, as fractions of its width.
_LEFT, _RIGHT = 1 / 3, 2 / 3


@dataclasses.dataclass(frozen=True)
class Look:
    """What one person looks like throughout a video; hat is a color or None."""

    shirt: str
    garment: str
    garment_color: str
    hair: tuple[int, int, int]
    skin: tuple[int, int, int]
    hat: str | None


@dataclasses.dataclass(frozen=True)
class Description:
    """One phrase; what is None is not said."""

    motion: str | None = None
    shirt: str | None = None
    garment: str | None = None
    garment_color: str | None = None
    hat: str | None = None
    # "left" or "right": where the person moves, or where in the picture it is.
    moving: str | None = None
    side: str | None = None

    @property
    def sentence(self):
        """ "dancing person with brown shirt and green shorts", "person moving left", ..."""
        worn = [f"{color} {thing}" for color, thing in self._worn() if color]
        words = [f"{self.motion} person" if self.motion else "person"]
        words += [f"with {' and '.join(worn)}"] if worn else []
        words += [f"moving {self.moving}"] if self.moving else []
        words += [f"in the {self.side}"] if self.side else []
        return " ".join(words)

    def _worn(self):
        return (self.shirt, "shirt"), (self.garment_color, self.garment), (self.hat, "hat")

    def holds(self, look, motion, direction, place):
        """Whether the phrase means a person in one frame.

        Args:
          look: Look.
          motion: one of MOTIONS.
          direction: -1 moving left, 1 moving right, 0 neither.
          place: middle of the person as a fraction of the picture's width.
        """
        return (
            self.motion in (None, motion)
            and self.shirt in (None, look.shirt)
            and (self.garment is None or (self.garment, self.garment_color) == (look.garment, look.garment_color))
            and self.hat in (None, look.hat)
            and (self.moving is None or direction == {"left": -1, "right": 1}[self.moving])
            and (self.side is None or {"left": place < _LEFT, "right": place > _RIGHT}[self.side])
        )


def _descriptions():
    """(45 phrases of the training videos, 17 of the test videos: 9 of them are new)."""
    shirts = [Description(shirt=color) for color in COLORS]
    motions = [Description(motion=motion) for motion in MOTIONS]
    moving = [Description(moving=side) for side in ("left", "right")]
    sides = [Description(side=side) for side in ("left", "right")]
    hats = [Description(hat=color) for color in ("red", "white", "black", "yellow", "green")]
    worn = [
        Description(garment=garment, garment_color=color)
        for garment, color in (
            ("pants", "black"), ("pants", "blue"), ("pants", "brown"), ("pants", "red"), ("shorts", "white"),
            ("shorts", "green"), ("shorts", "black"), ("shorts", "red"), ("skirt", "red"), ("skirt", "black"),
            ("skirt", "yellow"), ("skirt", "white"), ("skirt", "blue"),
        )
    ]  # fmt: skip
    doing = [
        Description(motion=motion, shirt=color)
        for motion, color in (
            ("walking", "black"), ("walking", "white"), ("dancing", "blue"), ("dancing", "red"), ("standing", "black"),
            ("jumping", "green"),
        )
    ]  # fmt: skip
    whole = [
        Description(motion=motion, shirt=shirt, garment=garment, garment_color=color)
        for motion, shirt, garment, color in (
            ("dancing", "black", "pants", "blue"), ("dancing", "white", "shorts", "green"),
            ("walking", "blue", "pants", "black"), ("standing", "red", "skirt", "black"),
            ("walking", "green", "shorts", "white"),
        )
    ]  # fmt: skip
    known = [shirts[0], shirts[2], shirts[3], motions[0], motions[1], *moving, worn[1]]
    new = [
        Description(motion="dancing", shirt="brown", garment="shorts", garment_color="green"),
        Description(motion="walking", shirt="white", garment="pants", garment_color="black"),
        Description(motion="standing", shirt="blue", garment="shorts", garment_color="black"),
        Description(motion="dancing", shirt="black"),
        Description(motion="walking", shirt="red"),
        Description(motion="standing", shirt="white"),
        Description(garment="pants", garment_color="white"),
        Description(garment="shorts", garment_color="blue"),
        Description(hat="blue"),
    ]
    return tuple(shirts + motions + moving + sides + hats + worn + doing + whole), tuple(known + new)


TRAIN, TEST = _descriptions()


def draw_cast(rng, count, descriptions):
    """The looks of `count` people: some that phrases are about, their look-alikes, strangers.

    Args:
      rng: np.random.Generator, advanced.
      count: number of people.
      descriptions: phrases of the split.

    Returns: list of Look. Colors are drawn by their rank in COLORS, so that few are frequent and many rare.
    """
    looks = []
    about = [d for d in descriptions if d.shirt and d.garment]
    while len(looks) < count:
        if looks and rng.random() < 0.4:
            looks.append(_alike(rng, looks[int(rng.integers(len(looks)))]))
            continue
        look = _draw_look(rng)
        if rng.random() < 0.4:
            subject = about[int(rng.integers(len(about)))]
            look = dataclasses.replace(
                look, shirt=subject.shirt, garment=subject.garment, garment_color=subject.garment_color
            )
        looks.append(look)
    return looks


def _alike(rng, look):
    """The same clothes but for one thing."""
    stranger = _draw_look(rng)
    worn = ({"shirt": stranger.shirt}, {"garment_color": stranger.garment_color}, {"garment": stranger.garment})
    changed = worn[int(rng.integers(len(worn)))]
    return dataclasses.replace(look, hair=stranger.hair, skin=stranger.skin, hat=stranger.hat, **changed)


def _draw_look(rng):
    return Look(
        shirt=_draw_color(rng),
        garment=GARMENTS[int(rng.choice(3, p=(0.5, 0.3, 0.2)))],
        garment_color=_draw_color(rng),
        hair=HAIR[int(rng.integers(len(HAIR)))],
        skin=SKIN[int(rng.integers(len(SKIN)))],
        hat=_draw_color(rng) if rng.random() < 0.4 else None,
    )


def _draw_color(rng):
    weights = [1 / (rank + 2) for rank in range(len(COLORS))]
    return list(COLORS)[int(rng.choice(len(COLORS), p=[w / sum(weights) for w in weights]))]

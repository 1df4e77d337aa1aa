"""What a pair without labels is made of."""

import dataclasses

from data_pipelines import sampling
from trackers.errors import UsageError

# {field: (least, most)}; a video's run of frames is MIN_FRAMES long (sources/footage.py).
_RANGES = {
    "gap": (1, sampling.MIN_FRAMES - 1),
    "candidates": (1, 1000),
    "smallest": (0.001, 1),
    "largest": (0.001, 1),
    "aspect": (0, 2),
    "change": (0, 5),
    "occlusion_probability": (0, 1),
}


@dataclasses.dataclass(frozen=True)
class UnlabelledConfig:
    """The fields of config.data.unlabelled, explained in configs/sections.py."""

    gap: int = 5
    candidates: int = 16
    smallest: float = 0.05
    largest: float = 0.25
    aspect: float = 0.35
    change: float = 1.0
    occlusion_probability: float = 0.2

    def __post_init__(self):
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise UsageError(
                    f"config.data.unlabelled.{name} {getattr(self, name)}: give a number from {least} to {most}"
                )
        if self.smallest > self.largest:
            raise UsageError(
                f"config.data.unlabelled.smallest {self.smallest} is above config.data.unlabelled.largest"
                f" {self.largest}: give a smaller one"
            )

    @classmethod
    def from_section(cls, section):
        """From the section, a mapping; absent fields keep their defaults. Raises: UsageError for an unknown field."""
        names = {field.name for field in dataclasses.fields(cls)}
        for name in section:
            if name not in names:
                raise UsageError(f"config.data.unlabelled.{name}: no such field; there are {', '.join(sorted(names))}")
        return cls(**section)

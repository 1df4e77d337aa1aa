"""How large the synthetic referring set is."""

import dataclasses

from trackers.errors import UsageError


@dataclasses.dataclass(frozen=True)
class ReferringSetConfig:
    """Settings of the procedural referring videos (config.data.synthetic_referring)."""

    # Videos of the two splits; Refer-Dance has 40 and 25.
    train_videos: int = 40
    test_videos: int = 25
    # Frames of a video.
    length: int = 48
    # Pixels of a frame.
    height: int = 240
    width: int = 320
    # Fewest and most people in a video, look-alikes included.
    people: tuple[int, int] = (4, 8)
    # Chance that a pillar stands in front of some of the scene.
    pillar_probability: float = 0.5
    # Standard deviation of the camera's noise in grey levels.
    noise: float = 3.0
    # Frames that each video keeps in memory once they are drawn.
    cached_frames: int = 0

    def __post_init__(self):
        low, high = self.people
        if min(self.train_videos, self.test_videos, self.length, low) < 1 or high < low:
            raise UsageError("config.data.synthetic_referring: videos, length and people must be at least 1")
        if min(self.height, self.width) < 32:
            raise UsageError(f"config.data.synthetic_referring: {self.height}x{self.width} frames; give 32 or more")

    @classmethod
    def from_config(cls, config):
        """From a whole config (configs/*.py); fields that config.data.synthetic_referring lacks keep their defaults.

        Raises: UsageError for a field that does not exist.
        """
        own = config.data.get("synthetic_referring") or {}
        names = {field.name for field in dataclasses.fields(cls)}
        for name in own:
            if name not in names:
                raise UsageError(
                    f"config.data.synthetic_referring.{name}: no such field; there are {', '.join(sorted(names))}"
                )
        return cls(**{name: own[name] for name in own})

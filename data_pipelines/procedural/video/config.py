"""What a procedural pair is made of: sizes, banks, and how much changes between template and search."""

import dataclasses

from trackers.errors import UsageError


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """Settings of the procedural video; lengths in "units" are multiples of the target's sqrt(width * height)."""

    # Side of the template crop in pixels (config.model.template_size).
    template_size: int = 48
    # Side of the search crop in pixels (config.model.search_size).
    search_size: int = 96
    # Template crops in a pair (config.model.templates).
    templates: int = 1
    # Side of the template crop in units (config.tracking.template_factor).
    template_factor: float = 2.0
    # Side of the search crop in units (config.tracking.search_factor).
    search_factor: float = 4.0
    # Share of the aspect of the target's first box that the crops take (config.tracking.crop_aspect).
    crop_aspect: float = 0.0
    # Range of the search crop's center in units of the jittered box (config.data.search_center_jitter).
    search_center_jitter: float = 3.0
    # Standard deviation of the log of the search box's sides before cropping (config.data.search_scale_jitter).
    search_scale_jitter: float = 0.25
    # The same two for the template crop (config.data.template_center_jitter, template_scale_jitter).
    template_center_jitter: float = 0.0
    template_scale_jitter: float = 0.0
    # Share of pairs whose search view shows the target; the others show another scene and its target
    # (config.data.positive_probability).
    positive_probability: float = 1.0
    # From here on the fields of config.data.synthetic, explained in configs/sections.py.
    backgrounds: int = 192
    families: int = 128
    poses: int = 3
    renew_every_steps: int = 500
    detail: float = 1.0
    plainness: float = 0.0
    detail_steps: int = 0
    photographic: bool = False
    cutout_probability: float = 0.0
    clutter: int = 0
    background_scale: float = 1.0
    region_probability: float = 0.3
    region_candidates: int = 1
    distractors: int = 3
    distractor_probability: float = 0.45
    distractor_reach: float = 2.2
    look_alike_probability: float = 0.4
    occlusion_probability: float = 0.25
    border_probability: float = 0.35
    grey_probability: float = 0.12
    jpeg_probability: float = 0.0
    low_resolution_probability: float = 0.0
    sensor_noise: float = 0.04
    haze: float = 0.5
    adjacent_probability: float = 0.0
    change: float = 1.0
    extent_probability: float = 0.0
    companion_probability: float = 0.0
    twin_probability: float = 0.0
    partial_probability: float = 0.0
    motion_blur_probability: float = 0.0
    turn_probability: float = 0.0
    relight_probability: float = 0.0

    def __post_init__(self):
        if self.distractors < 2 and (self.companion_probability or self.twin_probability):
            raise UsageError(
                f"config.data.synthetic.distractors is {self.distractors}, but companion_probability and"
                " twin_probability take two of them: give at least 2"
            )

    @property
    def unit_pixels(self):
        """Pixels of a crop to one unit, the finer of template and search: what the banks are drawn for."""
        return max(self.search_size / self.search_factor, self.template_size / self.template_factor)

    @property
    def background_size(self):
        """Side of a background image in pixels: a power of two (it is a torus), at least twice the search crop."""
        return 1 << (2 * self.search_size - 1).bit_length()

    @property
    def sprite_size(self):
        """Side of a sprite's cell in texels: about one texel for a pixel of the crop, limbs' room included."""
        return 8 * round(self.unit_pixels * 2 / 8)

    @classmethod
    def from_config(cls, config):
        """Collects the fields from an experiment's config (ConfigDict or nested mapping); absent ones keep defaults.

        Own fields are read from config.data.synthetic.

        Raises:
          UsageError: data.synthetic has a field that does not exist.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        model, tracking, data = (_section(config, part) for part in ("model", "tracking", "data"))
        own = _section(data, "synthetic")
        for name in own:
            if name not in names:
                raise UsageError(f"config.data.synthetic.{name}: no such field; there are {', '.join(sorted(names))}")
        taken = {
            **{k: model[k] for k in ("template_size", "search_size", "templates") if k in model},
            **{k: tracking[k] for k in ("template_factor", "search_factor", "crop_aspect") if k in tracking},
            **{k: data[k] for k in data if (k.endswith("_jitter") or k == "positive_probability") and k in names},
            **{k: own[k] for k in own},
        }
        return cls(**taken)


def _section(config, name):
    section = config.get(name)
    return {} if section is None else section

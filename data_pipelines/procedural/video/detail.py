"""From full texture (detail 1) down to flat sprites before faint backgrounds (detail 0), where color alone tells."""

FAINT = 0.25  # contrast of a background without detail


def faded(background, detail):
    """A background (H, W, 3) with less contrast: FAINT of it at detail 0."""
    mean = background.mean((0, 1))
    return mean + (FAINT + (1 - FAINT) * detail) * (background - mean)


def flattened(sprite, color, detail):
    """A sprite (..., 4) RGBA with its colors drawn toward one: `color` throughout at detail 0."""
    return sprite.at[..., :3].set(color + detail * (sprite[..., :3] - color))

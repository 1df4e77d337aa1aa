"""CLIP's published files (RN50.pt, ViT-B-32.pt, ...) as the text encoder alone."""

from trackers.convert import clip

RULES = clip.text()
UNUSED = rf"visual\..*|{clip.UNUSED}"


def start(state_dict):
    """None: a whole CLIP is what this model is read from, not a backbone beside it."""
    del state_dict
    return None

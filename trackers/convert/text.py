"""CLIP's published files (RN50.pt, ViT-B-32.pt, ...) as the text encoder alone."""

from trackers.convert import clip
from trackers.convert.contract import Published

# A whole CLIP is what this model is read from, not a backbone that it starts from.
PUBLISHED = Published(clip.text(), rf"visual\..*|{clip.UNUSED}", start=lambda state_dict: None)

"""Boxes and tracks drawn on frames, and pictures of a tracker's attention."""

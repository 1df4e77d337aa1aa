"""Scores, tables and figures of single-object tracking benchmarks, and the boxes and baselines they come from."""

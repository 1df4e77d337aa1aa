"""Trackers for machines without this house's code, or without JAX: StableHLO, ONNX, TFLite (docs/export.md)."""

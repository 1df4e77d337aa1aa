"""What a tracker's file in this folder says of its published checkpoints: one `PUBLISHED`, the rest is here."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Start:
    """Weights that are a part of a tracker's, such as a pretrained backbone; all else is drawn at random.

    weights: {published key: array}. rules, unused: as of Published.
    covers: function of the path of one of our leaves ("params/encoder/...") -> whether these weights hold it.
    """

    weights: dict
    rules: tuple
    unused: str
    covers: Callable


def _accept(state_dict, model):
    """No check beyond keys and shapes."""


def _grids_of_spans(model):
    """The tables of template and search crop, as OneStreamTracker has them."""
    if model.position in ("sincos", "fixed"):
        return {}
    if model.position == "interpolated":
        return {"template": tuple(model.position_grid), "search": tuple(model.position_grid)}
    return {"template": model.template_grid, "search": model.search_grid}


@dataclass(frozen=True)
class Published:
    """The published checkpoints of a tracker.

    rules: ((pattern, name, layout), ...) of its parameters, see layouts.py.
    unused: regular expression of the published keys that are dropped; by default none is.
    check: function (state_dict, model) that raises InputError where keys and shapes do not tell models apart.
    start: function (state_dict) -> Start, or None where the weights are a whole tracker's own. By default it is asked
      whether they are a pretrained backbone (families.py), with the two fields below.
    position_grids: function (model) -> {name: (rows, columns)} of the position tables among the model's parameters
      (encoder/position_NAME), to which a backbone's table is resized; of PVT the first stage's.
    position_resize: how the tracker's program resizes that table, "bicubic" or "bilinear".
    """

    rules: tuple
    unused: str = r"(?!)"
    check: Callable = _accept
    start: Callable | None = None
    position_grids: Callable = _grids_of_spans
    position_resize: str = "bicubic"

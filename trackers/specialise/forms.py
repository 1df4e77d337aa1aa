"""Which form each layer's division has taken over the frames of a benchmark, and the config that fixes these forms."""

import jax
import numpy as np

import trackers
from trackers.errors import UsageError
from trackers.evaluation import tables
from trackers.nn import relation, stacking

LEARNED, ONE_STREAM, TWO_STREAM = "learned", "one_stream", "two_stream"
# Modes whose divisions are categories: probabilities that scale the attention ("continuous") never become a fixed form.
_MODES = ("learned", "learned_template_search", "learned_three")
_OF_RELATION = {
    "learned": LEARNED,
    relation.ONE_STREAM: ONE_STREAM,
    relation.TWO_STREAM: TWO_STREAM,
    relation.MASKED_TWO_STREAM: TWO_STREAM,
}


def check(model):
    """Raises: UsageError for a model that has no layer whose division could have become constant."""
    relations = model.layer_relations() if model.task == "track" else ()
    if "learned" not in relations or not model.leaving_out:
        raise UsageError(
            "--config: no layer of this model divides its search tokens by a module, so there is nothing to leave out:"
            " name a config such as configs/grm.py:b256"
        )
    if model.division.mode not in _MODES:
        raise UsageError(
            f"--config: model.division.mode {model.division.mode!r} gives no categories that could be constant: only"
            f" {', '.join(_MODES)} do"
        )


def interacting(division):
    """The share of the search tokens that interact with the template in each layer: category A, or T, not S.

    Args: division: (L,Nx) int categories, Prediction.division of one frame.

    Returns: (L,) float64 in 0..1.
    """
    return np.mean(np.asarray(division) != relation.SEARCH, axis=1)


def verdicts(relations, shares, tolerance=0.0):
    """The form of each layer: "one_stream" where all tokens interact, "two_stream" where none does, else "learned".

    A layer whose tokens are all A, all T, or of these two, lets every token look at every other.

    Args:
      relations: (L,) of the model, layer_relations(). A layer that is fixed already keeps its form.
      shares: (F,L) interacting tokens of each frame, F at least 1.
      tolerance: share of all frames' tokens that may be otherwise, at least 0 and below 0.5.

    Returns: tuple of L str.
    """
    found = []
    for rows, share in zip(relations, np.mean(shares, axis=0), strict=True):
        if rows != "learned":
            found.append(_OF_RELATION[rows])
        else:
            found.append(ONE_STREAM if 1.0 - share <= tolerance else TWO_STREAM if share <= tolerance else LEARNED)
    return tuple(found)


def table(shares, found):
    """The table of layers; arguments as of `verdicts`, and its result. Shares in per cent, over frames."""
    heads = ["layer", "interacting, least", "mean", "most", "verdict"]
    columns = zip(*(100 * pick(shares, axis=0) for pick in (np.min, np.mean, np.max)), found, strict=True)
    rows = [[i, *(f"{value:.3f}" for value in values), form] for i, (*values, form) in enumerate(columns, start=1)]
    return tables.markdown(heads, rows)


def fixed(config_model, found, two_stream_form=None):
    """The model section, plain, in which the layers found constant have their form; `layers` stays what was trained.

    Args: config_model: mapping. found: of `verdicts`. two_stream_form: of division.TWO_STREAM_FORMS; None: as it was.
    """
    model = trackers.build(config_model)
    was = [_OF_RELATION[rows] for rows in model.layer_relations()]
    lists = {"one_stream_layers": ONE_STREAM, "two_stream_layers": TWO_STREAM}
    division = {} if two_stream_form is None else {"two_stream_form": two_stream_form}
    for field, form in lists.items():
        new = {i for i, (before, now) in enumerate(zip(was, found, strict=True), start=1) if before != now == form}
        division[field] = tuple(sorted({*getattr(model.division, field), *new}))
    return trackers.merged(trackers.to_plain(config_model), {"division": division})


def taken_over(variables, config_model):
    """Those variables of a whole model that the config's model has, too, stacked as there: NumPy arrays."""
    model = trackers.build(config_model)
    like = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    return stacking.unflatten(stacking.flatten(variables), like)

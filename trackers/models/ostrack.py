"""OSTrack: Joint Feature Learning and Relation Modeling for Tracking (Ye, Chang, Ma, Shan, Chen; ECCV 2022).

One ViT in which all tokens look at all; a center head reads the box off the search tokens. In some layers the search
tokens that the template looks at least leave, as they are background (early candidate elimination, Sec. 3.2).
"""

import dataclasses
import functools
import itertools
import math

import jax.numpy as jnp

from trackers.nn import relation
from trackers.nn.heads import Prediction
from trackers.nn.one_stream import CenterTracker
from trackers.nn.tokens import are_largest, put_back

# Cells of one direction of a template grid whose attention decides, for a grid of n.
WATCHING = {
    "center_point": lambda n: range((n - 1) // 2, (n - 1) // 2 + 1),
    "center_box": lambda n: range((n - 1) // 2, n // 2 + 1),
    "all": range,
}


@dataclasses.dataclass(frozen=True)
class Elimination:
    """layers: 1-based layers between whose attention and MLP search tokens leave; () = none.

    keep: share of the search tokens present that stays each time, rounded up.
    tokens: template tokens whose attention decides: "center_point" (one), "center_box" (2 x 2, one where a side
      of the grid is odd) or "all".
    """

    layers: tuple[int, ...] = (4, 7, 10)
    keep: float = 0.7
    tokens: str = "center_point"

    def __post_init__(self):
        if not 0 < self.keep <= 1:
            raise ValueError(f"model.elimination.keep must be above 0 and at most 1, got {self.keep}")
        if self.tokens not in WATCHING:
            raise ValueError(f"model.elimination.tokens must be one of {tuple(WATCHING)}, got {self.tokens!r}")

    def parts(self, depth):
        """((first, last+1), ...): the layers (0-based) from one elimination to the next."""
        if any(not 1 <= layer <= depth for layer in self.layers):
            raise ValueError(f"model.elimination.layers {self.layers} lie outside 1..{depth}")
        return tuple(itertools.pairwise(sorted({0, *self.layers, depth})))


class Model(CenterTracker):
    """OSTrack. Fields are the config's `model` section; CenterTracker and Elimination say what they mean."""

    elimination: Elimination = Elimination()

    def encoder_fields(self):
        return {"stops": tuple(self.elimination.layers)}

    def locate(self, cache, search, train=False, features=False, branch_scale=None, keep_rate=None):
        """Finds the target in a search crop: see OneStreamTracker.

        Args:
          keep_rate: () float32 in place of elimination.keep, may be traced: tokens that leave then keep their places,
            out of sight. None takes them out.

        Returns: Prediction. Its division says for each layer which search tokens are there (A) and which have left (S);
          its features are {"tokens"} alone, zeros where tokens have left.
        """
        (batch, nz, _), nx = cache["tokens"].shape, self.lengths[1]
        x = jnp.concatenate([cache["tokens"], self.embed_search(search)], axis=1)
        places, present, history = jnp.tile(jnp.arange(nx), (batch, 1)), jnp.ones((batch, nx), bool), []
        cells = (WATCHING[self.elimination.tokens](n) for n in self.template_grid)
        watch = tuple(row * self.template_grid[1] + column for row, column in itertools.product(*cells))
        for first, last in self.elimination.parts(self.depth):
            for _ in range(first, last):
                self.sow("intermediates", "places", places)  # for pictures of the attention
            context = {"layers": (first, last), "train": train, "branch_scale": branch_scale}
            if keep_rate is not None and first:
                context["key_mask"] = jnp.pad(present.astype(jnp.float32), ((0, 0), (nz, 0)), constant_values=1.0)
            if last in self.elimination.layers:
                keep = self.elimination.keep if keep_rate is None else None
                context |= {"watch": watch, "reduce": functools.partial(_eliminate, n_template=nz, keep=keep)}
            encoded = self.encoder(x, (nz, x.shape[1] - nz), **context)
            x, facts, history = encoded.tokens, encoded.layers[-1].facts, history + [present] * (last - first)
            if facts is not None and keep_rate is None:
                places = jnp.take_along_axis(places, facts, axis=1)
                present = put_back(jnp.ones((*places.shape, 1), bool), places, nx)[..., 0]
            elif facts is not None:
                # Less a little: the product may be a whole number that float32 rounds up.
                count = jnp.ceil(keep_rate * present.sum(axis=1, keepdims=True) - 1e-3)
                present &= are_largest(jnp.where(present, facts, -1.0), count)
        whole = put_back(x[:, nz:], places, nx) * present[..., None]
        encoded = encoded.replace(tokens=jnp.concatenate([x[:, :nz], whole], axis=1))
        return Prediction(
            **self.center(cache, encoded, train),
            division=jnp.where(jnp.stack(history, axis=1), relation.ALL, relation.SEARCH),
            features={"tokens": encoded.tokens} if features else None,
        )


def _places_of_largest(values, count):
    """(B,count) int32, the largest first and of equal ones the earlier: as jax.lax.top_k of (B,N), of which, as of
    sorting, TFLite has no translation."""
    place = jnp.arange(values.shape[1], dtype=jnp.int32)
    mine, other = values[:, :, None], values[:, None, :]
    before = (other > mine) | ((other == mine) & (place < place[:, None]))
    rank = jnp.sum(before, axis=-1, dtype=jnp.int32)
    return jnp.sum(jnp.where(rank[:, None] == place[:count, None], place, 0), axis=-1)


def _eliminate(x, weights, n_template, keep):
    """What Encoder.__call__ takes for `reduce`; keep: share of the search tokens that stay, None leaves all there.

    Returns: (x, the places of those that stay (B,n), the most looked at first; or how much each is looked at (B,Nx)).
    """
    watched = jnp.mean(weights[..., n_template:], axis=(1, 2))
    if keep is None:
        return x, watched
    chosen = _places_of_largest(watched, math.ceil(keep * watched.shape[1]))
    stay = jnp.take_along_axis(x[:, n_template:], chosen[..., None], axis=1)
    return jnp.concatenate([x[:, :n_template], stay], axis=1), chosen

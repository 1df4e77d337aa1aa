"""Who divides the search tokens: GRM's learned module (Gao et al., CVPR 2023, Sec. 3.3) and the choices it has.

The box may have a say in two ways, both of appendix C.1. As an *auxiliary loss*, in any learned mode, it supervises
the module that the tracking loss trains through the attention; at inference nothing changes. In the *prototype*, mode
"prototype", it is all that a layer's module learns from: the module is a classifier of foreground and background beside
a one-stream tracker, which it does not touch in training; at inference its scores put the search tokens into groups.
The loss is the same for both (objectives/center.py, division_loss).
"""

import dataclasses
import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from trackers.nn.activations import gelu
from trackers.nn.relation import (
    ALL,
    ASYMMETRIC,
    BOUNDARY,
    GRM_RELATION,
    MASKED_TWO_STREAM,
    ONE_STREAM,
    PROTOTYPE_RELATION,
    SEARCH,
    TEMPLATE,
    TWO_STREAM,
)

# What the division module may choose for a search token, in the order of its outputs (GRM Table 4, rows 3, 4 and 5).
# The prototype's classes are background and foreground.
CHOICES = {
    "learned": (SEARCH, ALL),
    "learned_template_search": (SEARCH, TEMPLATE),
    "learned_three": (SEARCH, TEMPLATE, ALL),
    "continuous": (SEARCH, ALL),
    "prototype": (SEARCH, ALL),
}
FIXED_MODES = ("one_stream", "two_stream", "asymmetric")
# How the layers of two_stream_layers are computed.
TWO_STREAM_FORMS = ("split", "masked")
POOLS = ("max", "average", "box_max", "box_average", "none")


@dataclasses.dataclass(frozen=True)
class Division:
    """How search tokens are divided. Every field is data of the config's `model.division`.

    layers: 1-based layers that divide; None = 2..depth, () = none (Table 5). The others are one-stream.
    mode: "learned" (S or A; Table 4 #5), "learned_template_search" (S or T; #3), "learned_three" (#4), "two_stream"
      (all S, last layer global; #1), "one_stream" (#2), "continuous" (probabilities scale the attention; appendix C.3),
      "prototype" (appendix C.1, below), "asymmetric" (not GRM's, but MixFormerV2's relation: the search tokens look at
      all, the template at itself alone, so that its keys and values are computed once for a target).
    one_stream_layers, two_stream_layers: 1-based layers that have this form without a module, whatever the two above
      say (appendix C.2).
    two_stream_form: how two_stream_layers are computed: "split" (template and search tokens apart, which costs least
      and lets the template's part be kept) or "masked" (as a layer with a module whose search tokens are all S). They
      differ by the eps of relation.masked_softmax, which counts where a token's largest logit is at a forbidden key.
    pool: target representation: "max" or "average" over all template tokens, "box_max" or "box_average" over those
      in the template box (the others count as zeros, as in the program), "none" (search token alone; with late
      fusion only).
    fusion: "early" (concatenation before the MLP) or "late" (both are projected, then added).
    smoothing: standard deviation in cells of a Gaussian over the map of logits, 0 = off. The program's filter also
      adds the two channels up, which makes both categories equally likely everywhere; here each channel is smoothed
      by itself.
    regions: of mode "continuous": the search map is cut into regions x regions of equal size, whose tokens share the
      mean of their logits (appendix C.3 names regions; the mean is our choice); 0 = each token by itself.
    threshold: inference of the learned modes: S if its probability is at least this, else the likeliest other; 0 = the
      likeliest.
    ratio: inference: the share of tokens that is at least taken as A: those with the largest log-probability of A are A
      whatever the rest of the rule says (the program's rule); 0 = off.
    temperature: tau of the Gumbel-softmax.
    hidden: sizes of the MLP's two hidden layers.
    portions: of mode "prototype", inference: the share of the search tokens, above 0 and at most 1, that is joined with
      the template; a number for each dividing layer, or one for all.
    shared_boundary: of mode "prototype", inference: number of search tokens around the boundary of the two groups that
      both share.

    The prototype. In training all tokens look at all, as in "one_stream", and no gradient flows from the module
    into the tokens it reads (our choice): the tracker learns what one_stream learns, the modules learn from the box
    (they meet in train.clip_norm alone, which is of all gradients together). At inference a layer's search tokens
    are sorted by the module's score, of equal ones the earlier token first; the best round(portion * Nx), at least
    one, are A, the others S. Of the shared_boundary tokens that are B, half, rounded down, rank before the
    boundary, the others after it (our choice); where all are A there is no boundary. The best portions are found by
    trying: they belong to inference alone, so that no choice of them needs another training.
    """

    layers: tuple[int, ...] | None = None
    mode: str = "learned"
    one_stream_layers: tuple[int, ...] = ()
    two_stream_layers: tuple[int, ...] = ()
    two_stream_form: str = "split"
    pool: str = "max"
    fusion: str = "early"
    smoothing: float = 0.0
    threshold: float = 0.0
    ratio: float = 0.0
    temperature: float = 1.0
    hidden: tuple[int, int] = (384, 192)
    regions: int = 0
    portions: float | tuple[float, ...] = (0.5,)
    shared_boundary: int = 0

    def __post_init__(self):
        for field in ("layers", "one_stream_layers", "two_stream_layers", "hidden"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, tuple(int(n) for n in getattr(self, field)))
        if not isinstance(self.portions, (tuple, list)):
            object.__setattr__(self, "portions", (self.portions,))
        if self.mode not in (*CHOICES, *FIXED_MODES):
            raise ValueError(f"model.division.mode must be one of {(*CHOICES, *FIXED_MODES)}, got {self.mode!r}")
        if self.pool not in POOLS:
            raise ValueError(f"model.division.pool must be one of {POOLS}, got {self.pool!r}")
        if self.two_stream_form not in TWO_STREAM_FORMS:
            raise ValueError(
                f"model.division.two_stream_form must be one of {TWO_STREAM_FORMS}, got {self.two_stream_form!r}"
            )
        if self.fusion not in ("early", "late"):
            raise ValueError(f"model.division.fusion must be early or late, got {self.fusion!r}")
        if self.pool == "none" and self.fusion == "early":
            raise ValueError("model.division.pool 'none' needs model.division.fusion 'late'")
        if self.ratio and (ALL not in CHOICES.get(self.mode, ()) or self.mode == "prototype"):
            raise ValueError(f"model.division.ratio needs a learned mode that has category A, got {self.mode!r}")
        if not self.portions or not all(isinstance(p, (int, float)) and 0 < p <= 1 for p in self.portions):
            raise ValueError(f"model.division.portions must be numbers above 0 and at most 1, got {self.portions!r}")
        for field in ("shared_boundary", "regions"):
            if not isinstance(getattr(self, field), int) or getattr(self, field) < 0:
                raise ValueError(f"model.division.{field} must be a whole number from 0, got {getattr(self, field)!r}")
        if self.regions and self.mode != "continuous":
            raise ValueError(f"model.division.regions needs model.division.mode 'continuous', got {self.mode!r}")
        if both := {*self.one_stream_layers} & {*self.two_stream_layers}:
            raise ValueError(
                f"model.division.one_stream_layers and two_stream_layers both have {min(both)}: a layer has one form"
            )

    def layer_relations(self, depth):
        """What each of `depth` layers does: "learned", or its fixed relation over (template, search), or
        relation.MASKED_TWO_STREAM."""
        layers = tuple(range(2, depth + 1)) if self.layers is None else self.layers
        fields = ("layers", "one_stream_layers", "two_stream_layers")
        for field, numbers in zip(fields, (layers, self.one_stream_layers, self.two_stream_layers), strict=True):
            if any(not 1 <= layer <= depth for layer in numbers):
                raise ValueError(f"model.division.{field} {numbers} lie outside 1..{depth}")
        if self.mode == "two_stream":
            relations = [TWO_STREAM] * (depth - 1) + [ONE_STREAM]
        elif self.mode == "one_stream":
            relations = [ONE_STREAM] * depth
        elif self.mode == "asymmetric":
            relations = [ASYMMETRIC] * depth
        else:
            relations = ["learned" if i + 1 in layers else ONE_STREAM for i in range(depth)]
        two_stream = TWO_STREAM if self.two_stream_form == "split" else MASKED_TWO_STREAM
        fixed = dict.fromkeys(self.one_stream_layers, ONE_STREAM) | dict.fromkeys(self.two_stream_layers, two_stream)
        return tuple(fixed.get(i, rows) for i, rows in enumerate(relations, start=1))

    @property
    def relation(self):
        """R over the categories of all tokens in a layer that divides."""
        return PROTOTYPE_RELATION if self.mode == "prototype" else GRM_RELATION

    def joined(self, depth, count):
        """How many of `count` search tokens each dividing layer of the prototype joins with the template: (L',) int32,
        NumPy; None of other modes.

        Raises: ValueError where the portions are not one for each of the L' layers, or one for all.
        """
        if self.mode != "prototype":
            return None
        layers = self.layer_relations(depth).count("learned")
        if len(self.portions) not in (1, layers):
            raise ValueError(
                f"model.division.portions are {len(self.portions)}, the layers that divide {layers}: give one for each,"
                " or one for all"
            )
        portions = np.broadcast_to(np.asarray(self.portions, np.float64), layers)
        return np.maximum(1, np.round(portions * count)).astype(np.int32)


@flax.struct.dataclass
class Divided:
    """What a division module says of the search tokens of a layer.

    one_hot: (B,Nx,C') over the categories of Division.relation: hard with straight-through gradients, probabilities
      when continuous; None where the division does not touch the attention (the prototype in training).
    category: (B,Nx) int32, what holds in the attention.
    log_probs: (B,Nx,C) float32 in the order of CHOICES[mode].
    share: (B,) float32, the part of the tokens that interacts with the template (not S), differentiable in training.
    """

    one_hot: jax.Array | None
    category: jax.Array
    log_probs: jax.Array
    share: jax.Array


class DivisionModule(nn.Module):
    """Divides the search tokens of one layer (GRM Sec. 3.3): MLP 2D-384-192-C with exact GELU, then log-softmax.

    __call__ takes template (B,Nz,D) and search (B,Nx,D) tokens after the layer's first LayerNorm, template_mask
    (B,Nz) for the box pools, gumbel noise (B,Nx,C) or None (drawn from the "gumbel" key in training), train, and of the
    prototype joined, () int32, how many search tokens are joined with the template. Returns Divided.
    """

    config: Division
    grid: tuple[int, int]
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, template, search, template_mask, noise=None, train=False, joined=None):
        config, choices = self.config, CHOICES[self.config.mode]
        dense = functools.partial(nn.Dense, dtype=self.dtype)
        if config.mode == "prototype":
            template, search = jax.lax.stop_gradient((template, search))

        target = _pool(template, template_mask, config.pool)
        if config.fusion == "early":
            x = _Joined(config.hidden[0], self.dtype, name="hidden1")(search, target)
        else:
            x = dense(config.hidden[0], name="local")(search)
            x = x if target is None else x + dense(config.hidden[0], name="target")(target)
        x = gelu(dense(config.hidden[1], name="hidden2")(gelu(x)))
        logits = dense(len(choices), name="logits")(x).astype(jnp.float32)
        if config.smoothing:
            logits = _smooth(logits, self.grid, config.smoothing)
        if config.regions:
            logits = _by_region(logits, self.grid, config.regions)
        log_probs = jax.nn.log_softmax(logits, axis=-1)

        if config.mode == "prototype":
            return _one_stream(log_probs) if train else _grouped(log_probs, joined, config.shared_boundary)
        if config.mode == "continuous":
            chosen, soft = jnp.argmax(log_probs, axis=-1), jnp.exp(log_probs)
        elif train:
            if noise is None:
                noise = jax.random.gumbel(self.make_rng("gumbel"), log_probs.shape, jnp.float32)
            y = jax.nn.softmax((log_probs + noise) / config.temperature, axis=-1)
            chosen = jnp.argmax(y, axis=-1)
            hard = jax.nn.one_hot(chosen, len(choices), dtype=jnp.float32)
            soft = hard - jax.lax.stop_gradient(y) + y
        else:
            chosen = _decide(log_probs, config, choices)
            soft = jax.nn.one_hot(chosen, len(choices), dtype=jnp.float32)

        columns = jax.nn.one_hot(jnp.asarray(choices), 3, dtype=jnp.float32)
        return Divided(
            one_hot=soft @ columns,
            category=jnp.asarray(choices, jnp.int32)[chosen],
            log_probs=log_probs,
            share=jnp.mean(jnp.sum(soft[..., 1:], axis=-1), axis=-1),
        )


def _one_stream(log_probs):
    """Divided of log-probabilities (B,Nx,2) that are only learned from."""
    category = jnp.full(log_probs.shape[:2], ALL, jnp.int32)
    return Divided(None, category, log_probs, share=jnp.ones(log_probs.shape[0], jnp.float32))


def _grouped(log_probs, joined, shared):
    """Divided of the prototype at inference: see Division.

    Args:
      log_probs: (B,Nx,2) of background and foreground. joined: () int32, from 1 to Nx. shared: int, tokens that are B.
    """
    count = log_probs.shape[1]
    # The difference of the logits: where the foreground is all but certain, its probability is 1 for many.
    order = jnp.argsort(log_probs[..., 1] - log_probs[..., 0], axis=-1, stable=True, descending=True)
    rank = jnp.argsort(order, axis=-1)
    first = joined - shared // 2
    on_boundary = (rank >= first) & (rank < first + shared) & (joined < count)
    category = jnp.where(on_boundary, BOUNDARY, jnp.where(rank < joined, ALL, SEARCH)).astype(jnp.int32)
    return Divided(
        one_hot=jax.nn.one_hot(category, len(PROTOTYPE_RELATION), dtype=jnp.float32),
        category=category,
        log_probs=log_probs,
        share=jnp.mean((category != SEARCH).astype(jnp.float32), axis=-1),
    )


class _Joined(nn.Module):
    """A linear layer on tokens (B,N,D) joined along their channels with one token (B,1,D), whose part of the product is
    computed once, not N times. Parameters are those of nn.Dense on 2D channels."""

    features: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, tokens, token):
        width = tokens.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (2 * width, self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        tokens, token, kernel, bias = (array.astype(self.dtype) for array in (tokens, token, kernel, bias))
        return tokens @ kernel[:width] + (token @ kernel[width:] + bias)


def _pool(template, template_mask, pool):
    if pool == "none":
        return None
    if pool.startswith("box"):
        template = template * template_mask[..., None].astype(template.dtype)
    if pool.endswith("average"):
        return jnp.mean(template, axis=1, keepdims=True)
    # Taken by index: the gradient of jnp.max divides by the count of elements equal to the maximum, and where the
    # compiler recomputes them with another rounding that count is 0.
    return jnp.take_along_axis(template, jnp.argmax(template, axis=1, keepdims=True), axis=1)


def _decide(log_probs, config, choices):
    if config.threshold:
        others = 1 + jnp.argmax(log_probs[..., 1:], axis=-1)
        chosen = jnp.where(jnp.exp(log_probs[..., 0]) < config.threshold, others, 0)
    else:
        chosen = jnp.argmax(log_probs, axis=-1)
    if config.ratio:
        shared = choices.index(ALL)
        _, forced = jax.lax.top_k(log_probs[..., shared], int(log_probs.shape[1] * config.ratio))
        chosen = chosen.at[jnp.arange(chosen.shape[0])[:, None], forced].set(shared)
    return chosen


def _smooth(logits, grid, sigma):
    """Gaussian over the map of logits (B,Nx,C): a 5x5 kernel at sigma 1, as in the program, wider for more."""
    radius = max(1, round(2 * sigma))
    offset = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offset**2) / (2 * sigma**2))
    kernel = np.outer(kernel, kernel) / (2 * np.pi * sigma)
    channels = logits.shape[-1]
    maps = logits.reshape(logits.shape[0], *grid, channels)
    kernel = jnp.asarray(np.repeat(kernel[:, :, None, None], channels, axis=-1), logits.dtype)
    smoothed = jax.lax.conv_general_dilated(
        maps, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=channels
    )
    return smoothed.reshape(logits.shape)


def _by_region(logits, grid, regions):
    """Logits (B,Nx,C) of which each of regions x regions parts of the grid has its mean everywhere."""
    if any(side % regions for side in grid):
        raise ValueError(
            f"model.division.regions {regions} does not divide the search map of {grid[0]} x {grid[1]} tokens"
        )
    parts = logits.reshape(-1, regions, grid[0] // regions, regions, grid[1] // regions, logits.shape[-1])
    means = jnp.mean(parts, axis=(2, 4), keepdims=True)
    return jnp.broadcast_to(means, parts.shape).reshape(logits.shape)

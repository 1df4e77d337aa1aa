"""What the tokens of a one-stream tracker look at, as numbers; maps.py draws them.

Queries and keys are caught on their way through the tracker's own forward pass, so that the tracker needs no change and
pays nothing.
"""

import jax.numpy as jnp

from trackers.nn import relation
from trackers.nn.tokens import put_back


def layer_count(model):
    """Number of layers of a tracker's backbone, those of all stages of a hierarchical one."""
    return model.depth if model.backbone.kind == "vit" else sum(model.backbone.depths)


def token_attention(model, variables, cache, search, queries, kept_apart=True):
    """The attention of some tokens of the search crop in each layer, averaged over the heads.

    Args:
      model: a OneStreamTracker with a ViT, layers not stacked.
      variables: the model's.
      cache: from encode_template.
      search: (B,H,W,3) float32, normalized.
      queries: slice of the tokens of the tracker's second span (the search image's come first there).
      kept_apart: whether a relation that keeps the spans of a layer apart does so here. Otherwise the layer's queries
        and keys say what its tokens would look at.

    Returns: (weights (B,L,n,M) float32, Prediction). M counts the tokens of both spans, those of all templates first.
      A row sums to 1. It is zero where its token has left the tracker before that layer, and so is the column of such a
      token; a weight is also zero where the layer's division, or its relation, keeps a token from another.
    """
    prediction, caught = model.apply(variables, cache, search, method="locate", mutable=["intermediates"])
    caught = caught["intermediates"]
    memory = [k for k, _ in cache.get("memory", [])]  # of the first layers, those that the template's cache covers
    n_template = memory[0].shape[1] if memory else cache["tokens"].shape[1]
    n_search = model.lengths[1]
    weights = []
    for i, rows in enumerate(model.layer_relations()):
        layer = caught["encoder"][f"block_{i}"]["attention"]
        q, k = layer["queries_and_keys"][0]
        if i < len(memory):
            of_template = memory[i]
        else:
            of_template, q, k = k[:, :n_template], q[:, n_template:], k[:, n_template:]
        there = jnp.ones(q.shape[:2], jnp.float32)
        if "places" in caught:
            q, k, there = (_in_place(x, caught["places"][i], n_search) for x in (q, k, there))
        if "division" in layer:
            mask = relation.attention_mask(layer["division"][0], model.division.relation)[:, n_template:]
        elif kept_apart:
            lengths = (n_template, n_search)
            mask = jnp.asarray(relation.allowed_pairs(rows, lengths, lengths))[None, n_template:]
        else:
            mask = jnp.ones((1, n_search, n_template + n_search), jnp.float32)
        mask = mask * there[..., None] * jnp.pad(there, ((0, 0), (n_template, 0)), constant_values=1.0)[:, None]
        logits = relation.attention_logits(q[:, queries], jnp.concatenate([of_template, k], axis=1))
        weights.append(relation.present_softmax(logits, mask[:, None, queries]).mean(axis=1))
    return jnp.stack(weights, axis=1), prediction


def _in_place(x, places, count):
    """What tokens have, (B,n,...), at their places among `count`; zeros where no token is."""
    flat = put_back(x.reshape(*x.shape[:2], -1), places, count)
    return flat.reshape(x.shape[0], count, *x.shape[2:])


def target_attention(model, variables, cache, search):
    """Target-relevant attention of each layer (SimTrack, Eq. 8): how much a search token looks at an exemplar token.

    A(s) = softmax([a(s,e), a(s,s)]) over all keys of the layer, its part with search queries and exemplar keys,
    averaged over the exemplar's tokens, and over the heads (our choice). Keys of class and foveal tokens count in the
    softmax, not in the average. The exemplar is the first template, whole.

    Where a layer keeps the two apart, as all layers of the two-stream baseline ("Base" of the paper's Fig. 4) do, it is
    computed all the same, from that layer's own queries and keys of both. A Swin search token looks at its window and
    at the pooled exemplar, a PVT search token at the shrunken grids of both: the average is over what it sees of the
    exemplar.

    Args: see token_attention; any backbone, layers not stacked.

    Returns: tuple of L arrays (B,h,w) float32, each on its layer's grid of search tokens. Zero for search tokens that a
      learned division keeps from the template, and for those that have left.
    """
    if model.backbone.kind != "vit":
        _, caught = model.apply(variables, cache, search, method="locate", mutable=["intermediates"])
        stages = caught["intermediates"]["encoder"]
        layers = [(i, j) for i, depth in enumerate(model.backbone.depths) for j in range(depth)]
        return tuple(stages[f"stage_{i}"][f"block_{j}"]["attention"]["on_exemplar"][0] for i, j in layers)
    rows, columns = model.search_grid
    exemplar = model.template_grid[0] * model.template_grid[1]
    weights, _ = token_attention(model, variables, cache, search, slice(rows * columns), kept_apart=False)
    means = weights[..., :exemplar].mean(axis=-1)
    return tuple(means[:, i].reshape(-1, rows, columns) for i in range(means.shape[1]))

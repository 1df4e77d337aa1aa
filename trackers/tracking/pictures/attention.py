"""Where search tokens look at the target: target-relevant attention maps of a tracker's layers (SimTrack, Fig. 4, 5).

For each search token and layer: the attention it spends on the exemplar tokens inside the target's box, a(s,e) of the
paper's Sec. 3.2, summed over those tokens and averaged over the heads. Queries and keys are caught on their way through
the tracker's own forward pass; the tracker is not changed and pays nothing.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import trackers
from trackers.errors import InputError
from trackers.nn import relation, stacking
from trackers.ops import crops


def target_attention(model, variables, cache, template_box, search):
    """The share of each search token's attention that goes to the target.

    Args:
      model: a tracker with a ViT whose last span is the search image (GRM, SimTrack), layers not stacked.
      variables: of the model.
      cache: from encode_template.
      template_box: (B,1,4) x,y,w,h as fractions of the template crop.
      search: (B,H,W,3) float32, normalized.

    Returns: (B,L,h,w) float32 in 0..1; zero where a layer keeps its search tokens from the template.

    Raises: InputError for a model of another kind.
    """
    prediction, caught = model.apply(
        variables,
        cache,
        search,
        method="locate",
        mutable=["intermediates"],
    )
    layers = caught.get("intermediates", {}).get("encoder", {})
    if "block_0" not in layers or not hasattr(model, "template_grid"):
        raise InputError("attention maps need a plain ViT over template and search tokens, as GRM and SimTrack have")
    target = relation.box_token_mask(template_box, model.template_grid)
    maps = []
    for i, looks in enumerate(_lookers(model, prediction)):
        queries, keys = layers[f"block_{i}"]["attention"]["queries_and_keys"][0]
        if "memory" in cache:
            keys = jnp.concatenate([cache["memory"][i][0], keys], axis=1)
        queries = queries[:, -model.lengths[-1] :]
        logits = jnp.einsum("bnhd,bmhd->bhnm", queries, keys, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(logits * queries.shape[-1] ** -0.5, axis=-1)[..., : target.shape[1]]
        maps.append(jnp.einsum("bhnm,bm->bn", weights, target) / weights.shape[1] * looks)
    return jnp.stack(maps, axis=1).reshape(search.shape[0], -1, *model.search_grid)


def _lookers(model, prediction):
    """For each layer which search tokens look at the template and at all others, (B,Nx) or ()."""
    if prediction.division is not None:
        return jnp.moveaxis(prediction.division == relation.ALL, 1, 0)
    return [bool(row[-1][0]) for row in model.layer_relations()]


class Maps:
    """The maps along a track. Call it with a tracker's state and the next frame, before the tracker's step.

    Args:
      tracker: single_object.Tracker.
      variables: of its model.
      box: (4,) x, y, w, h in pixels of the first frame.

    A call returns (crop (S,S,3) uint8 that is searched, maps (L,h,w) float32).
    """

    def __init__(self, tracker, variables, box):
        self._model = tracker.model.clone(scan_layers=False)
        like = jax.eval_shape(lambda key: trackers.init(self._model, key), jax.random.key(0))
        self._variables = jax.device_put(stacking.unflatten(stacking.flatten(variables), like))
        self._tracker = tracker
        box = jnp.asarray(box, jnp.float32)
        side = crops.crop_window(box, tracker.settings.template_factor)[2]
        self._template_box = crops.box_to_crop(box, box, side)[None, None]

    def __call__(self, state, frame):
        crop, maps = self._maps(self._variables, state, frame)
        return np.asarray(crop).astype(np.uint8), np.asarray(maps)

    @functools.partial(jax.jit, static_argnums=0)
    def _maps(self, variables, state, frame):
        factor = self._tracker.settings.search_factor
        crop, _ = crops.sample_target(frame, state.box, factor, self._tracker.search_size)
        search = crops.normalize(crop)[None]
        return crop, target_attention(self._model, variables, state.cache, self._template_box, search)[0]


def shown_layers(depth):
    """The layers (from 1) that a picture shows: every second one as in the paper, six at most, the last among them."""
    step = max(1, -(-depth // 6))
    return tuple(range(depth, 0, -step))[::-1]


def draw(path, rows, layers):
    """Writes the picture: a row a frame, the search crop and over it the maps of some layers.

    Colors go from blue to red between a map's smallest and largest value, which stand above it.

    Args:
      path: of a .png file.
      rows: [(frame number, crop (S,S,3) uint8, maps (L,h,w))].
      layers: which to show, counted from 1.
    """
    import matplotlib.figure

    side = 1.7
    shape = (side * (1 + len(layers)), (side + 0.25) * len(rows))
    figure = matplotlib.figure.Figure(figsize=shape, dpi=150, layout="constrained")
    axes = figure.subplots(len(rows), 1 + len(layers), squeeze=False)
    for (number, crop, maps), (first, *others) in zip(rows, axes, strict=True):
        _show(first, crop, f"frame {number}")
        for axis, layer in zip(others, layers, strict=True):
            found = 100 * maps[layer - 1]
            _show(axis, crop, f"layer {layer}: {found.min():.0f} to {found.max():.0f} %")
            extent = (0, crop.shape[1], crop.shape[0], 0)
            axis.imshow(found, cmap="jet", alpha=0.55, extent=extent, interpolation="bilinear")
    figure.savefig(path)


def _show(axis, crop, title):
    axis.imshow(crop, extent=(0, crop.shape[1], crop.shape[0], 0))
    axis.set_title(title, fontsize=7)
    axis.set_axis_off()

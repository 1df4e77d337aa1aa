"""What MixFormerV2's prediction tokens look at, and the distributions that they say (supplement, Fig. 1 to 3).

Queries and keys are caught on their way through the tracker's own forward pass, as in attention.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import trackers
from trackers.nn import stacking
from trackers.nn.distribution import EDGES
from trackers.ops import crops

_COLORS = {"left": "#3aa6b9", "right": "#b04a8f", "top": "#e07b26", "bottom": "#f2f24b"}


def attention(model, variables, cache, search):
    """Where the prediction tokens look, and the prediction.

    Args:
      model: MixFormerV2 with layers that are not stacked.
      variables: of the model.
      cache: from encode_template.
      search: (B,H,W,3) float32, normalized.

    Returns: (weights (B,L,T,N) float32, averaged over the heads; N counts the tokens of all templates, of the search
      crop and the T prediction tokens, in this order; Prediction).
    """
    prediction, caught = model.apply(
        variables,
        cache,
        search,
        method="locate",
        mutable=["intermediates"],
    )
    layers, maps = caught["intermediates"]["encoder"], []
    for i in range(model.depth):
        queries, keys = layers[f"block_{i}"]["attention"]["queries_and_keys"][0]
        keys = jnp.concatenate([cache["memory"][i][0], keys], axis=1)
        queries = queries[:, -model.head.tokens :]
        logits = jnp.einsum("bnhd,bmhd->bhnm", queries, keys, preferred_element_type=jnp.float32)
        maps.append(jax.nn.softmax(logits * queries.shape[-1] ** -0.5, axis=-1).mean(axis=1))
    return jnp.stack(maps, axis=1), prediction


class Maps:
    """The picture's parts along a track. Call it with a tracker's state and the next frame, before the tracker's step.

    Args:
      tracker: single_object.Tracker.
      variables: of its model.
      box: of the first frame; not needed here (see attention.Maps).

    A call returns (crop (S,S,3) uint8 that is searched, dict of templates (K,S',S',3) uint8, on_templates (L,T,K,h',w')
    and on_search (L,T,h,w) attention, edges {name: (bins,)} and box (4,) cx,cy,w,h as fractions of the crop).
    """

    def __init__(self, tracker, variables, box):
        del box
        self._model = tracker.model.clone(scan_layers=False)
        like = jax.eval_shape(lambda key: trackers.init(self._model, key), jax.random.key(0))
        self._variables = jax.device_put(stacking.unflatten(stacking.flatten(variables), like))
        self._tracker = tracker

    def __call__(self, state, frame):
        crop, found = jax.device_get(self._maps(self._variables, state, frame))
        return crop.astype(np.uint8), found

    @functools.partial(jax.jit, static_argnums=0)
    def _maps(self, variables, state, frame):
        factor = self._tracker.settings.search_factor
        crop, _ = crops.sample_target(frame, state.box, factor, self._tracker.search_size)
        weights, prediction = attention(self._model, variables, state.cache, crops.normalize(crop)[None])
        (layers, tokens), grid = weights.shape[1:3], self._model.template_grid
        count = state.online.templates.shape[0]
        on_templates, on_search = jnp.split(weights[0, ..., :-tokens], [count * grid[0] * grid[1]], axis=-1)
        return crop, {
            "templates": state.online.templates,
            "on_templates": on_templates.reshape(layers, tokens, count, *grid),
            "on_search": on_search.reshape(layers, tokens, *self._model.search_grid),
            "edges": {edge: prediction.maps[edge][0] for edge in EDGES},
            "box": prediction.box[0],
        }


def draw(path, rows, layers):
    """Writes the picture: for each frame a row of the search crop and one of each template.

    First the image, the search crop with its box and along its sides the distributions of the edges; then over it the
    attention of each prediction token in the last of `layers`, reddest at its maximum, with the share of all attention
    that this image gets.

    Args:
      path: of a .png file.
      rows: [(frame number, crop (S,S,3) uint8, dict as of Maps)].
      layers: counted from 1.
    """
    import matplotlib.figure

    layer, side = layers[-1] - 1, 1.7
    count, tokens = len(rows[0][2]["templates"]), rows[0][2]["on_search"].shape[1]
    height = len(rows) * (1 + count)
    shape = (side * (1 + tokens), (side + 0.25) * height)
    figure = matplotlib.figure.Figure(figsize=shape, dpi=150, layout="constrained")
    axes = iter(figure.subplots(height, 1 + tokens, squeeze=False))
    names = EDGES if tokens == len(EDGES) else ("box",)
    for number, crop, found in rows:
        images = [(f"frame {number}, layer {layers[-1]}", crop, found["on_search"][layer])]
        for k, template in enumerate(found["templates"]):
            title = "first template" if k == 0 else f"online template {k}"
            images.append((title, template, found["on_templates"][layer, :, k]))
        for title, image, maps in images:
            first, *others = next(axes)
            _show(first, image, title)
            if image is crop:
                _draw_edges(first, image.shape[0], found)
            for axis, name, values in zip(others, names, maps, strict=True):
                _show(axis, image, f"{name}: {100 * values.sum():.0f} %")
                extent = (0, image.shape[1], image.shape[0], 0)
                axis.imshow(values, cmap="jet", alpha=0.55, extent=extent, interpolation="bilinear", vmin=0)
    figure.savefig(path)


def _show(axis, image, title):
    axis.imshow(image, extent=(0, image.shape[1], image.shape[0], 0))
    axis.set_title(title, fontsize=7)
    axis.set_axis_off()


def _draw_edges(axis, size, found):
    """The box, and each edge's distribution as a curve along the side of the crop that it measures."""
    from matplotlib.patches import Rectangle

    cx, cy, w, h = size * found["box"]
    axis.add_patch(Rectangle((cx - w / 2, cy - h / 2), w, h, fill=False, edgecolor="#ffc400", linewidth=1.2))
    for edge, probabilities in found["edges"].items():
        place = (np.arange(len(probabilities)) + 0.5) * size / len(probabilities)
        reach = 0.3 * size * probabilities / probabilities.max()
        along = (place, size - reach) if edge in ("left", "right") else (reach, place)
        axis.plot(*along, color=_COLORS[edge], linewidth=1.0)
    axis.set(xlim=(0, size), ylim=(size, 0))

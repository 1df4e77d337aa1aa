"""What the tokens of a one-stream tracker look at: attention maps of its layers, and pictures of them.

Queries and keys are caught on their way through the tracker's own forward pass, so that the tracker needs no change and
pays nothing. There are two pictures. Without prediction tokens: where search tokens look at the target, which is the
attention a(s,e) of SimTrack's Sec. 3.2 (its Fig. 4, 5). With them: what each prediction token looks at, and the
distributions of the edges that they say (MixFormerV2's supplement, Fig. 1 to 3).
"""

import functools
import io

import flax
import jax
import jax.numpy as jnp
import numpy as np

import trackers
from trackers.errors import InputError
from trackers.io import outputs
from trackers.nn import relation, stacking
from trackers.nn.distribution import EDGES
from trackers.nn.tokens import put_back
from trackers.ops import crops
from trackers.tracking import canvases

_COLORS = {"left": "#3aa6b9", "right": "#b04a8f", "top": "#e07b26", "bottom": "#f2f24b"}
_NO_MAPS = "attention maps need a plain ViT over template and search tokens, as GRM and SimTrack have"


def check(model):
    """Refuses a tracker without attention maps. Raises: InputError for another backbone than a ViT."""
    if model.backbone.kind != "vit":
        raise InputError(_NO_MAPS)


def token_attention(model, variables, cache, search, queries):
    """The attention of some tokens of the search crop in each layer, averaged over the heads.

    Args:
      model: a OneStreamTracker with a ViT, layers not stacked.
      variables: the model's.
      cache: from encode_template.
      search: (B,H,W,3) float32, normalized.
      queries: slice of the tokens of the tracker's second span (the search image's come first there).

    Returns: (weights (B,L,n,M) float32, Prediction). M counts the tokens of both spans, those of all templates first.
      A row sums to 1. It is zero where its token has left the tracker before that layer, and so is the column of such a
      token; a weight is also zero where the layer's relation or division keeps a token from another.

    Raises: InputError for a tracker with another backbone.
    """
    prediction, caught = model.apply(variables, cache, search, method="locate", mutable=["intermediates"])
    caught = caught.get("intermediates", {})
    layers = caught.get("encoder", {})
    if "block_0" not in layers:
        raise InputError(_NO_MAPS)
    memory = [k for k, _ in cache.get("memory", [])]  # of the first layers, those that the template's cache covers
    n_template = memory[0].shape[1] if memory else cache["tokens"].shape[1]
    n_search = model.lengths[1]
    weights = []
    for i, rows in enumerate(model.layer_relations()):
        q, k = layers[f"block_{i}"]["attention"]["queries_and_keys"][0]
        if i < len(memory):
            of_template = memory[i]
        else:
            of_template, q, k = k[:, :n_template], q[:, n_template:], k[:, n_template:]
        there = jnp.ones(q.shape[:2], jnp.float32)
        if "places" in caught:
            q, k, there = (_in_place(x, caught["places"][i], n_search) for x in (q, k, there))
        lengths = n_template, n_search
        if rows == "learned":
            allowed = _allowed_by_division(lengths, prediction.division[:, i], model.division.relation)
        else:
            allowed = jnp.asarray(relation.allowed_pairs(rows, lengths, lengths))[None]
        mask = allowed[:, n_template:] * there[..., None]
        mask = mask * jnp.pad(there, ((0, 0), (n_template, 0)), constant_values=1.0)[:, None]
        logits = relation.attention_logits(q[:, queries], jnp.concatenate([of_template, k], axis=1))
        weights.append(relation.present_softmax(logits, mask[:, None, queries]).mean(axis=1))
    return jnp.stack(weights, axis=1), prediction


def _in_place(x, places, count):
    """What tokens have, (B,n,...), at their places among `count`; zeros where no token is."""
    flat = put_back(x.reshape(*x.shape[:2], -1), places, count)
    return flat.reshape(x.shape[0], count, *x.shape[2:])


def _allowed_by_division(lengths, division, matrix):
    """Which token looks at which in a layer that divides, (B,N,N) float32.

    Args: lengths: tokens of template and search crop. division: (B,Nx) categories. matrix: R over these.
    """
    categories = jnp.pad(division, ((0, 0), (lengths[0], 0)), constant_values=relation.TEMPLATE)
    return relation.attention_mask(jax.nn.one_hot(categories, len(matrix)), matrix)


def target_attention(model, variables, cache, template_box, search):
    """The share of each search token's attention that goes to the target in the first template.

    Args:
      model, variables, cache, search: see token_attention.
      template_box: (B,1,4) x,y,w,h as fractions of the first template's crop.

    Returns: (B,L,h,w) float32 in 0..1; zero where a layer keeps its search tokens from the template, and where a token
      has left.
    """
    rows, columns = model.search_grid
    weights, _ = token_attention(model, variables, cache, search, slice(rows * columns))
    target = relation.box_token_mask(template_box, model.template_grid)
    shares = jnp.einsum("blnm,bm->bln", weights[..., : target.shape[1]], target)
    return shares.reshape(*shares.shape[:2], rows, columns)


@flax.struct.dataclass
class TargetMaps:
    """shares: (L,h,w) float32, see target_attention."""

    shares: jax.Array

    def strips(self, number, crop, layers):
        """One strip for each frame: the search crop, and over it the maps of some layers.

        Colors go from blue to red between a map's smallest and largest value, which stand above it.
        """
        panels = []
        for layer in layers:
            percent = 100 * self.shares[layer - 1]
            panels.append((f"layer {layer}: {percent.min():.0f} to {percent.max():.0f} %", percent, None))
        return [(f"frame {number}", crop, panels, None)]


@flax.struct.dataclass
class PredictionMaps:
    """templates: (K,S',S',3) uint8. on_templates: (L,T,K,h',w'), on_search: (L,T,h,w) attention of the T prediction
    tokens. edges: {name: (bins,)} probabilities. box: (4,) cx,cy,w,h as fractions of the search crop.
    """

    templates: jax.Array
    on_templates: jax.Array
    on_search: jax.Array
    edges: dict
    box: jax.Array

    def strips(self, number, crop, layers):
        """A strip of the search crop, and one of each template.

        First the image, the search crop with its box and along its sides the distributions of the edges; then over it
        the attention of each prediction token in the last of `layers`, reddest at its maximum, with the share of all
        attention that this image gets.
        """
        layer = layers[-1] - 1
        names = EDGES if self.on_search.shape[1] == len(EDGES) else ("box",)
        images = [(f"frame {number}, layer {layers[-1]}", crop, self.on_search[layer], self._draw_edges)]
        for k, template in enumerate(self.templates):
            title = "first template" if k == 0 else f"online template {k}"
            images.append((title, template, self.on_templates[layer, :, k], None))
        return [
            (title, image, [(f"{n}: {100 * m.sum():.0f} %", m, 0) for n, m in zip(names, maps, strict=True)], mark)
            for title, image, maps, mark in images
        ]

    def _draw_edges(self, axis, size):
        """The box, and each edge's distribution as a curve along the side of the crop that it measures."""
        from matplotlib.patches import Rectangle

        cx, cy, w, h = size * self.box
        axis.add_patch(Rectangle((cx - w / 2, cy - h / 2), w, h, fill=False, edgecolor="#ffc400", linewidth=1.2))
        for edge, probabilities in self.edges.items():
            place = (np.arange(len(probabilities)) + 0.5) * size / len(probabilities)
            reach = 0.3 * size * probabilities / probabilities.max()
            along = (place, size - reach) if edge in ("left", "right") else (reach, place)
            axis.plot(*along, color=_COLORS[edge], linewidth=1.0)
        axis.set(xlim=(0, size), ylim=(size, 0))


class Maps:
    """The maps along a track. Call it with a tracker's state and the next frame, before the tracker's step.

    Args:
      tracker: single_object.Tracker.
      variables: its model's.
      box: (4,) x, y, w, h in pixels of the first frame.

    A call returns (crop (S,S,3) uint8 that is searched, TargetMaps or, of trackers with prediction tokens,
    PredictionMaps, of NumPy arrays).
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
        crop, maps = jax.device_get(self._look(self._variables, state, *canvases.pad(frame)))
        return crop.astype(np.uint8), maps

    @functools.partial(jax.jit, static_argnums=0)
    def _look(self, variables, state, frame, frame_size):
        factor = self._tracker.settings.search_factor
        crop, _ = crops.sample_target(frame, state.box, factor, self._tracker.search_size, frame_size)
        search = crops.normalize(crop)[None]
        if self._model.n_prediction_tokens:
            return crop, self._prediction_maps(variables, state, search)
        shares = target_attention(self._model, variables, state.cache, self._template_box, search)[0]
        return crop, TargetMaps(shares)

    def _prediction_maps(self, variables, state, search):
        model, tokens = self._model, self._model.n_prediction_tokens
        weights, prediction = token_attention(model, variables, state.cache, search, slice(-tokens, None))
        count, (rows, columns) = state.online.templates.shape[0], model.template_grid
        on_templates, on_search = jnp.split(weights[0, ..., :-tokens], [count * rows * columns], axis=-1)
        return PredictionMaps(
            templates=state.online.templates,
            on_templates=on_templates.reshape(model.depth, tokens, count, rows, columns),
            on_search=on_search.reshape(model.depth, tokens, *model.search_grid),
            edges={edge: prediction.maps[edge][0] for edge in EDGES},
            box=prediction.box[0],
        )


def shown_layers(depth):
    """The layers (from 1) that a picture shows: every second one as in the paper, six at most, the last among them."""
    step = max(1, -(-depth // 6))
    return tuple(range(depth, 0, -step))[::-1]


def draw(path, rows, layers):
    """Writes a picture of the maps of some frames; `strips` of the maps says what there is to see.

    Args:
      path: a .png file.
      rows: [(frame number, crop (S,S,3) uint8, maps)], as Maps gives them.
      layers: which to show, counted from 1.
    """
    import matplotlib.figure

    strips = [strip for number, crop, maps in rows for strip in maps.strips(number, crop, layers)]
    side, width = 1.7, 1 + len(strips[0][2])
    size = (side * width, (side + 0.25) * len(strips))
    figure = matplotlib.figure.Figure(figsize=size, dpi=150, layout="constrained")
    axes = figure.subplots(len(strips), width, squeeze=False)
    for (title, image, panels, mark), (first, *others) in zip(strips, axes, strict=True):
        _show(first, image, title)
        if mark is not None:
            mark(first, image.shape[0])
        for axis, (name, values, lowest) in zip(others, panels, strict=True):
            _show(axis, image, name)
            extent = (0, image.shape[1], image.shape[0], 0)
            axis.imshow(values, cmap="jet", alpha=0.55, extent=extent, interpolation="bilinear", vmin=lowest)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    outputs.write_bytes(path, drawn.getvalue())


def _show(axis, image, title):
    axis.imshow(image, extent=(0, image.shape[1], image.shape[0], 0))
    axis.set_title(title, fontsize=7)
    axis.set_axis_off()

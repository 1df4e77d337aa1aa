"""What a tracker does inside, drawn along a track: the figures of the papers, a row or more for each frame.

Attention: without prediction tokens, how much each search token looks at the exemplar (SimTrack, Eq. 8, Fig. 4 and 5);
with them, what each prediction token looks at, and the distributions of the edges that they say (MixFormerV2's
supplement, Fig. 1 to 3). Division: which search tokens each layer keeps from the template (GRM, Fig. 1 to 3).
"""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np

import trackers
from trackers.nn import stacking
from trackers.nn.distribution import EDGES
from trackers.ops import crops
from trackers.tracking import canvases
from trackers.tracking.pictures import attention, drawing
from trackers.tracking.pictures.panels import Legend, Panel, blend, draw_box

_COLORS = {"left": "#3aa6b9", "right": "#b04a8f", "top": "#e07b26", "bottom": "#f2f24b"}
_BAR = Legend(bar=("least of each map", "most"))


@flax.struct.dataclass
class TargetMaps:
    """exemplar: (S',S',3) uint8; box: (4,) x,y,w,h as fractions of it. layers: L arrays (h,w), of target_attention."""

    exemplar: jax.Array
    box: jax.Array
    layers: tuple

    title = "Target-relevant attention: how much a search token looks at a token of the exemplar (SimTrack, Eq. 8)"
    legend = _BAR

    @staticmethod
    def layers_shown(depth):
        return every_second(depth)

    def rows(self, label, crop, layers):
        """One row: the exemplar with its box, the search crop, and over it the map of each layer."""
        sides = np.tile(self.exemplar.shape[1::-1], 2)
        panels = [
            Panel(self.exemplar, "exemplar", mark=functools.partial(draw_box, box=sides * self.box)),
            Panel(crop, "search"),
        ]
        for layer in layers:
            percent = 100 * self.layers[layer - 1]
            least, most = (f"{value:.2g}" for value in (percent.min(), percent.max()))
            span = f"{most} %" if least == most else f"{least} to {most} %"
            panels.append(Panel(blend(crop, percent), f"layer {layer}", span))
        return [(label, panels)]


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

    title = "What each prediction token looks at, and the distributions of the edges (MixFormerV2)"
    legend = Legend(bar=("none", "most of each map"), lines=_COLORS)

    @staticmethod
    def layers_shown(depth):
        return (depth,)

    def rows(self, label, crop, layers):
        """For each layer a row of the search crop, and one of each template.

        First the image, the search crop with its box and along its sides the distributions of the edges; then over it
        the attention of each prediction token, reddest at its maximum, with the share of all its attention that this
        image gets.
        """
        names = EDGES if self.on_search.shape[1] == len(EDGES) else ("box",)
        rows = []
        for layer in layers:
            images = [("search", crop, self.on_search[layer - 1], self._draw_edges)]
            for k, template in enumerate(self.templates):
                title = "first template" if k == 0 else f"online template {k}"
                images.append((title, template, self.on_templates[layer - 1, :, k], None))
            for title, image, values, mark in images:
                maps = [
                    Panel(blend(image, value, 0), f"token of {name}", f"{100 * value.sum():.0f} % of its attention")
                    for name, value in zip(names, values, strict=True)
                ]
                rows.append((f"{label}, layer {layer}\n{title}", [Panel(image, mark=mark), *maps]))
        return rows

    def _draw_edges(self, axis):
        """The box, and each edge's distribution as a curve along the side of the crop that it measures."""
        size = axis.get_xlim()[1] + 0.5
        cx, cy, w, h = size * self.box
        draw_box(axis, (cx - w / 2, cy - h / 2, w, h))
        for edge, probabilities in self.edges.items():
            place = (np.arange(len(probabilities)) + 0.5) * size / len(probabilities) - 0.5
            reach = 0.3 * size * probabilities / probabilities.max()
            along = (place, size - 1 - reach) if edge in ("left", "right") else (reach, place)
            axis.plot(*along, color=_COLORS[edge], linewidth=1.0)


class _Look:
    """What a tracker's tokens look at in a frame: called with its state before the frame, and the search crop."""

    def __init__(self, tracker, variables):
        self._model = tracker.model.clone(scan_layers=False)
        like = jax.eval_shape(lambda key: trackers.init(self._model, key), jax.random.key(0))
        self._variables = jax.device_put(stacking.unflatten(stacking.flatten(variables), like))

    def __call__(self, state, crop):
        """TargetMaps or, of trackers with prediction tokens, PredictionMaps, of NumPy arrays."""
        return jax.device_get(self._look(self._variables, state, crop))

    @functools.partial(jax.jit, static_argnums=0)
    def _look(self, variables, state, crop):
        search, model = crops.normalize(crop.astype(jnp.float32))[None], self._model
        if model.n_prediction_tokens:
            return self._prediction_maps(variables, state, search)
        layers = attention.target_attention(model, variables, state.cache, search)
        return TargetMaps(state.online.templates[0], state.online.boxes[0], tuple(layer[0] for layer in layers))

    def _prediction_maps(self, variables, state, search):
        model, tokens = self._model, self._model.n_prediction_tokens
        weights, prediction = attention.token_attention(model, variables, state.cache, search, slice(-tokens, None))
        count, (rows, columns) = state.online.templates.shape[0], model.template_grid
        on_templates, on_search = jnp.split(weights[0, ..., :-tokens], [count * rows * columns], axis=-1)
        return PredictionMaps(
            templates=state.online.templates,
            on_templates=on_templates.reshape(model.depth, tokens, count, rows, columns),
            on_search=on_search.reshape(model.depth, tokens, *model.search_grid),
            edges={edge: prediction.maps[edge][0] for edge in EDGES},
            box=prediction.box[0],
        )


class Attention:
    """The figure of attention: attention.png of track.py.

    Args:
      tracker: single_object.Tracker.
      variables: its model's.
      layers: to show, from 1; as in the paper when empty.
      base: (Tracker, variables) of another tracker, whose rows stand above the first one's, or None. It looks at the
        place where the first one searches.

    `start` is called with the first frame (H,W,3) uint8 and the box in it, `rows` for each frame to show.
    """

    def __init__(self, tracker, variables, layers=(), base=None):
        self._tracker, self._look = tracker, _Look(tracker, variables)
        self._base, models = base, [tracker.model]
        if base is not None:
            self._base_look, models = _Look(*base), [tracker.model, base[0].model]
        kind = PredictionMaps if tracker.model.n_prediction_tokens else TargetMaps
        self.title, self.legend = kind.title, kind.legend
        self._layers = layers or kind.layers_shown(min(map(attention.layer_count, models)))

    def start(self, frame, box):
        if self._base is not None:
            self._base_state = self._base[0].init(self._base[1], frame, box)

    def rows(self, label, state, frame, output):
        """Rows for panels.draw. state: of before the frame; output: of the tracker's step on it."""
        del output
        if self._base is None:
            return self._rows(label, self._tracker, self._look, state, frame)
        base_state = self._base_state.replace(box=state.box)
        rows = self._rows(f"{label}: Base", self._base[0], self._base_look, base_state, frame)
        return rows + self._rows(f"{label}: Ours", self._tracker, self._look, state, frame)

    def _rows(self, label, tracker, look, state, frame):
        crop = search_crop(tracker, state, frame)
        return look(state, crop).rows(label, crop, self._layers)


class Division:
    """The figure of divisions: division.png of track.py. Its methods and `layers` are as those of Attention.

    layers, when empty: of_thirds of those that divide.

    tracker: one whose model `divides`.
    """

    title = "Search tokens that a layer keeps from the template are dark"
    legend = Legend()

    def __init__(self, tracker, layers=()):
        rows = tracker.model.layer_relations()
        learned = [i for i, row in enumerate(rows, start=1) if row == "learned"]
        self._tracker, self._layers = tracker, layers or of_thirds(learned or range(1, len(rows) + 1))

    def start(self, frame, box):
        """Nothing is kept of the first frame."""

    def rows(self, label, state, frame, output):
        """One row: the search crop with the box that was found, and for each layer the crop, what it keeps in light."""
        crop = search_crop(self._tracker, state, frame)
        x1, y1, *sides = drawing.window_box(output.window)
        box = np.asarray(output.box, np.float32) - np.array([x1, y1, 0, 0], np.float32)
        box *= len(crop) / np.tile(sides, 2)
        panels = [Panel(crop, "search", mark=functools.partial(draw_box, box=box))]
        for layer in self._layers:
            division = np.asarray(output.division[layer - 1]).reshape(self._tracker.model.search_grid)
            share = (division != drawing.SEARCH_ONLY).mean()
            shaded = drawing.shade_search_only(crop, division, (0, 0, len(crop)))
            panels.append(Panel(shaded, f"layer {layer}", f"{100 * share:.0f} % of the tokens are kept"))
        return [(label, panels)]


def divides(model):
    """Whether a tracker's predictions say how its search tokens are divided."""

    def predict():
        return model.apply(trackers.init(model, jax.random.key(0)), *trackers.example_inputs(model))

    return jax.eval_shape(predict).division is not None


def search_crop(tracker, state, frame):
    """(S,S,3) uint8 NumPy: what the tracker searches in a frame (H,W,3) uint8 for the target of a State."""
    return np.asarray(_search_crop(tracker, state, *canvases.pad(frame)))


@functools.partial(jax.jit, static_argnums=0)
def _search_crop(tracker, state, frame, frame_size):
    return tracker.cut_search(state, state.box, frame, frame_size).astype(jnp.uint8)


def every_second(depth):
    """The layers (from 1) of SimTrack's Fig. 4: every second one, six at most, the last among them."""
    step = max(1, -(-depth // 6))
    return tuple(range(depth, 0, -step))[::-1]


def of_thirds(layers):
    """The middle layer of each third of `layers`; of the layers 2 to 12 that is 3, 7 and 11, as in GRM's Fig. 3."""
    places = (round((2 * third + 1) * len(layers) / 6 - 0.5) for third in range(3))
    return tuple(sorted({layers[place] for place in places}))

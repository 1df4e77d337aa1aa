"""The network of a model as graphs of named arrays, which every format writes in its own way.

A tracker of one object has two: `template`, to be run when a template changes, gives the cache; `search`, to be run on
every frame, takes it. iKUN has its encoders and what brings their features together.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

import trackers
from trackers.errors import InputError
from trackers.models import ikun
from trackers.models.text import TextFeatures

# Of a model that is to be computed anywhere, as far as it has such fields: kernels of no device, a layer at a time.
_PORTABLE = {"kernels": "plain", "scan_layers": False, "remat": "none"}


@dataclasses.dataclass(frozen=True)
class Graph:
    """A part of the network.

    name: "template". function: (variables, {name: array}) -> {name: array}, pure; all arrays have a leading batch axis.
    inputs: {name: jax.ShapeDtypeStruct} of one row, with the batch axis, in the order of a call.
    """

    name: str
    function: Callable
    inputs: dict

    def outputs(self, variables):
        """{name: jax.ShapeDtypeStruct} of one row."""
        return jax.eval_shape(self.function, variables, self.inputs)

    def row(self, variables, inputs):
        """The function of arrays without a batch axis, for jax.vmap."""
        found = self.function(variables, {name: array[None] for name, array in inputs.items()})
        return {name: array[0] for name, array in found.items()}


def portable(config_model):
    """A model section, plain, as it is exported: in float32 where its dtype depends on the device ("auto").

    Raises: InputError for a model that tracks neither an object nor what a phrase means.
    """
    section = trackers.to_plain(config_model)
    model = trackers.build(section)
    if model.task not in ("track", "refer"):
        raise InputError(f"model.name {section['name']!r} has no export: only trackers and iKUN do")
    changes = {key: value for key, value in _PORTABLE.items() if hasattr(model, key)}
    return {**section, **changes, "dtype": "float32" if model.dtype == "auto" else model.dtype}


def named(tree):
    """{name: leaf} of a pytree in the order of its leaves; the names are identifiers, as "memory_0_1"."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="_"): leaf for path, leaf in leaves}


def of_tracker(model, window):
    """[template, search] of a tracker of one object.

    Args: model: from trackers.build. window: weight of the Hann window on the score map (tracking.window).
    """
    template, box, search = jax.eval_shape(model.example_inputs)
    shaped = {"template": template, "template_box": box}

    def encode(variables, inputs):
        return model.apply(variables, inputs["template"], inputs["template_box"], method="encode_template")

    variables = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    cache = jax.eval_shape(encode, variables, shaped)
    order = jax.tree.structure(cache)

    def locate(variables, inputs):
        kept = jax.tree.unflatten(order, [inputs[name] for name in named(cache)])
        prediction = model.apply(variables, kept, inputs["search"], method="locate")
        box, score = model.decode(prediction, window)
        return {"box": box} if score is None else {"box": box, "score": score}

    return [
        Graph("template", lambda variables, inputs: named(encode(variables, inputs)), shaped),
        Graph("search", locate, {**named(cache), "search": search}),
    ]


def of_words(model, samples):
    """[encode_local, encode_global, encode_text, fuse] of iKUN.

    Args: model: from trackers.build. samples: frames of a clip that the network sees (tracking.samples).

    The encoders of images take single ones, (B,S,S,3); `fuse` takes the maps of a clip's, (B,samples,h,w,C), and gives
    the clip's feature and its cosine with the sentence.
    """
    local, global_, tokens = jax.eval_shape(model.example_inputs)

    def image_encoder(method):
        def encode(variables, inputs):
            return {"maps": model.apply(variables, inputs["image"][:, None], method=method)[:, 0]}

        return encode

    def encode_text(variables, inputs):
        encoded = model.apply(variables, inputs["ids"], method="encode_text")
        return {"tokens": encoded.tokens, "sentence": encoded.sentence}

    def fuse(variables, inputs):
        text = TextFeatures(inputs["tokens"], inputs["sentence"])
        clip = model.apply(variables, inputs["local_maps"], inputs["global_maps"], text, method="fuse")
        return {"clip": clip, "similarity": ikun.similarity(clip, text.sentence)}

    encoders = [
        Graph(method, image_encoder(method), {"image": jax.ShapeDtypeStruct((1, *image.shape[2:]), jnp.float32)})
        for method, image in (("encode_local", local), ("encode_global", global_))
    ]
    encoders.append(Graph("encode_text", encode_text, {"ids": tokens}))
    variables = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    maps, wide, text = (encoder.outputs(variables) for encoder in encoders)
    clips = {
        name: jax.ShapeDtypeStruct((1, samples, *encoded["maps"].shape[1:]), encoded["maps"].dtype)
        for name, encoded in (("local_maps", maps), ("global_maps", wide))
    }
    return [*encoders, Graph("fuse", fuse, {**clips, **text})]

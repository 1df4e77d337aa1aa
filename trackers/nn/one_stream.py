"""What every one-stream tracker repeats: one ViT over template and search tokens, and the contract around it.

A tracker states its token layout (`embed_template`, `embed_search`), its relations (`layer_relations`) and its head
(`locate`); all else has a default here. docs/new_tracker.md tells how to write one.
"""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import kernels, relation, tokens
from trackers.nn.backbones.stages import Stages
from trackers.nn.encoder import Encoder
from trackers.nn.heads import CenterFields, CenterHead, Prediction, decode_center, decode_windowed

TEMPLATE_POSITIONS = ("box", "grid")


class OneStreamTracker(nn.Module):
    """A tracker of one object. Fields are the config's `model` section; those of the same name are the Encoder's.

    template_size, search_size: pixels of the crops' sides, an int or (height, width).
    template_position: the positions of the templates' tokens: "grid" (the table's alone), or "box" (besides, how much
      of each patch the template's box covers, see tokens.BoxShare).

    Its spans are (template, everything of the search crop). Shapes: template (B,K,Hz,Wz,3) and search (B,Hx,Wx,3)
    float32, normalized; template_box (B,K,4) x,y,w,h as fractions of the template crop.

    A tracker defines `locate(cache, search, train=False, features=False, branch_scale=None)` -> heads.Prediction, which
    finds the target in a search crop (further arguments are its own):
      cache: from encode_template.
      train: drop-path, noise and batch statistics; needs the keys "gumbel", "dropout" and "droppath" as far as the
        tracker has such things.
      features: also return the tokens after every layer.
      branch_scale: as in encode_template.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    patch_size: int = 16
    stem: str = "patches"
    template_size: int | tuple[int, int] = 128
    search_size: int | tuple[int, int] = 256
    position: str = "learned"
    position_grid: tuple[int, int] = (14, 14)
    template_position: str = "grid"
    attention_init: str = "independent"
    drop_path: float = 0.0
    scan_layers: bool | None = False
    remat: str = "none"
    kernels: str = "auto"
    dtype: str = "float32"

    # What the programs do with the model: "track" one object, "refer" by phrases, "smooth" tracks.
    task = "track"
    # The class of the encoder.
    encoder_class = Encoder
    # In place of the ViT, where its kind says so (SimTrack alone).
    backbone = Stages()
    # Whether there is a class token, whose position is the first row of the search crop's table.
    with_class = False
    # Number K of templates.
    templates = 1
    # Tokens that the box is read off, at the end of the search crop's; 0 where a head reads it off the image's own.
    n_prediction_tokens = 0
    # Whether there is a head that says if the target is in the search crop.
    score_head = False
    # Fields of config.model ("section.field") that leave out modules which a checkpoint of the tracker may still hold,
    # and that say how their layers are computed.
    leaving_out = ()
    # Whether `locate` reads the templates' own tokens after the last layer (template_tokens).
    needs_template = False

    def layer_relations(self):
        """For each layer which span looks at which (nn/relation.py), or "learned"."""
        return (relation.ONE_STREAM,) * self.depth

    def encoder_fields(self):
        """{field: value} of the Encoder where neither this tracker's field of that name nor the default is meant."""
        return {}

    @property
    def compute_dtype(self):
        """The jnp.dtype that `dtype` stands for on the device (kernels.compute_dtype)."""
        return kernels.compute_dtype(self.dtype)

    @property
    def template_grid(self):
        """(rows, columns) of the tokens of one template."""
        return tokens.grid_of(self.template_size, self.patch_size)

    @property
    def search_grid(self):
        """(rows, columns) of the tokens of the search crop."""
        return tokens.grid_of(self.search_size, self.patch_size)

    @property
    def lengths(self):
        """Tokens of the spans (all templates, everything of the search crop); the search image's come first there."""
        template, search = (rows * columns for rows, columns in (self.template_grid, self.search_grid))
        return self.templates * template, search

    def setup(self):
        if self.templates < 1:
            raise ValueError(f"model.templates must be at least 1, got {self.templates}")
        if self.template_position not in TEMPLATE_POSITIONS:
            raise ValueError(
                f"model.template_position must be one of {TEMPLATE_POSITIONS}, got {self.template_position!r}"
            )
        self.encoder = self.make_encoder()
        if self.template_position == "box":
            self.box_position = self.make_box_position()

    def make_encoder(self):
        """The Encoder, or a backbone with its methods embed, encode_template and encode_search."""
        own, theirs = ({field.name for field in dataclasses.fields(kind)} for kind in (type(self), self.encoder_class))
        fields = {name: getattr(self, name) for name in (own & theirs) - {"parent", "name"}}
        fields |= {"position_grid": tuple(self.position_grid), "dtype": self.compute_dtype}
        fields["grids"] = (("template", self.template_grid), ("search", self.search_grid))
        return self.encoder_class(**{**fields, "relations": self.layer_relations(), **self.encoder_fields()})

    def make_box_position(self):
        """The module that makes positions out of the template's box, where template_position is "box"."""
        return tokens.BoxShare(self.width)

    def embed_template(self, template, template_box):
        """The tokens of the first span (B,N,D). By default those of all templates, each with the same positions."""
        batch, count = template.shape[:2]
        embedded = self.encoder.embed(template.reshape(batch * count, *template.shape[2:]), "template")
        if self.template_position == "box":
            share = tokens.box_share(template_box.reshape(batch * count, 4), self.template_grid)
            embedded += self.box_position(share.reshape(*embedded.shape[:2])).astype(embedded.dtype)
        return embedded.reshape(batch, -1, self.width)

    def embed_search(self, search):
        """The tokens of the second span (B,N,D), the search image's first. By default these alone."""
        return self.encoder.embed(search, "search")

    def template_facts(self, template, template_box):
        """{name: array (B,...)} of what else goes into the cache; "template_mask" there reaches layers that divide."""
        return {}

    def encode_template(self, template, template_box, train=False, branch_scale=None, joint=False):
        """Everything of the template that does not change from frame to frame; to be called when a template changes.

        Args:
          template, template_box: see the class; any number of templates.
          train: drop-path, which needs the key "droppath".
          branch_scale: (L,) factors of the layers' residual branches, or None.
          joint: leave the layers to `locate`, which then runs all tokens together: the same numbers and multiply-adds
            for one use, but drop-path drops a sample's templates and search together, and features hold all tokens.

        Returns: a cache (pytree) for `locate`: keys and values of the first layers, as many as there are in which no
          template token looks at a search token, and the tokens that the other layers begin with.
        """
        cache = {"tokens": self.embed_template(template, template_box)}
        if not joint:
            context = {"train": train, "branch_scale": branch_scale}
            cache = self.encoder.encode_template(cache["tokens"], self.needs_template, **context)
        return {**cache, **self.template_facts(template, template_box)}

    def encode_search(self, cache, search, **context):
        """The search crop through the layers, given the template's cache; context: arguments of Encoder.__call__.

        Returns: Encoded, see Encoder.encode_search.
        """
        if "template_mask" in cache:
            context["template_mask"] = cache["template_mask"]
        if self.needs_template:
            context["keep_tokens"] = True
        return self.encoder.encode_search(cache, self.embed_search(search), **context)

    def __call__(self, template, template_box, search, train=False, features=False, branch_scale=None, **options):
        """locate(encode_template(template, template_box), search); options: further arguments of this tracker's locate.

        In training, and for features, all tokens run together (encode_template's `joint`).
        """
        shared = {"train": train, "branch_scale": branch_scale}
        cache = self.encode_template(template, template_box, joint=train or features, **shared)
        return self.locate(cache, search, features=features, **shared, **options)

    def decode(self, prediction, window=0.0):
        """The box and score that a tracker goes on with from frame to frame, from a Prediction.

        Args: window: weight, 0..1, of a Hann window where the head has a score map.

        Returns: (box (B,4) cx,cy,w,h as fractions of the search crop, score (B,) a probability, or None).
        """
        return prediction.box, prediction.score

    def search_map(self, encoded):
        """The search image's tokens after the last layer, in the dtype of the computation: (B,h,w,D)."""
        rows, columns = self.search_grid
        searched = encoded.tokens[:, -self.lengths[1] :][:, : rows * columns]
        return searched.astype(self.compute_dtype).reshape(searched.shape[0], rows, columns, -1)

    def template_tokens(self, cache, encoded):
        """The first span's tokens after the last layer (B,N,D), in the dtype of the computation; see needs_template."""
        template = cache["encoded"] if "encoded" in cache else encoded.tokens[:, : -self.lengths[1]]
        return template.astype(self.compute_dtype)

    def features_of(self, encoded):
        """{"layers": (B,L,N,D), "tokens": (B,N,D)} of Prediction.features, or None where no features were asked for.

        N counts the first span too where the cache was joint or held tokens alone; that of "tokens" where it held any.
        """
        layers = [layer.features for layer in encoded.layers if layer.features is not None]
        return {"layers": jnp.stack(layers, axis=1), "tokens": encoded.tokens} if layers else None

    def example_inputs(self, batch=1):
        """Zero inputs of the model's own shapes: (template, template_box, search)."""
        template, search = (tokens.as_pair(size) for size in (self.template_size, self.search_size))
        return (
            jnp.zeros((batch, self.templates, *template, 3), jnp.float32),
            jnp.broadcast_to(jnp.array([0.25, 0.25, 0.5, 0.5], jnp.float32), (batch, self.templates, 4)),
            jnp.zeros((batch, *search, 3), jnp.float32),
        )


class CenterTracker(OneStreamTracker):
    """A one-stream tracker with a center head (OSTrack, Sec. 3.3). head: heads.CenterFields.

    What overrides template_facts adds to what is there.
    """

    head: CenterFields = CenterFields()

    def setup(self):
        super().setup()
        self.center_head = CenterHead(self.head.channels, self.head.score_prior, self.compute_dtype, name="head")
        if self.head.template_sides:
            self.template_sides = nn.Dense(self.width, use_bias=False, kernel_init=nn.initializers.zeros_init())

    def template_facts(self, template, template_box):
        """See OneStreamTracker.template_facts; where the head is told them, the logarithms of the first box's sides."""
        return (
            {"template_sides": jnp.log(jnp.maximum(template_box[:, 0, 2:], 1e-3))} if self.head.template_sides else {}
        )

    def locate(self, cache, search, train=False, features=False, branch_scale=None):
        """Finds the target in a search crop: see OneStreamTracker."""
        encoded = self.encode_search(cache, search, train=train, features=features, branch_scale=branch_scale)
        return Prediction(**self.center(cache, encoded, train), features=self.features_of(encoded))

    def center(self, cache, encoded, train=False):
        """{"box", "score", "maps"} of a Prediction from the template's cache and the Encoded of the search crop."""
        search_map = self.search_map(encoded)
        if self.head.template_sides:
            told = self.template_sides(cache["template_sides"])
            search_map += told[:, None, None].astype(search_map.dtype)
        maps = self.center_head(search_map, train)
        box, score = decode_center(**maps)
        return {"box": box, "score": score, "maps": maps}

    def decode(self, prediction, window=0.0):
        """See OneStreamTracker.decode; the box is that of the best cell under the window."""
        return decode_windowed(prediction.maps, window)

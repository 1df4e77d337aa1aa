"""GRM: Generalized Relation Modeling for Transformer Tracking (Gao, Zhou, Zhang; CVPR 2023).

One ViT over template and search tokens; in the layers that divide, each search token either keeps to its own kind or
interacts with the template (relation.py); a centre head reads the box off the search tokens.
"""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import relation, tokens
from trackers.nn.encoder import Encoder
from trackers.nn.heads import CenterHead, Prediction, decode_center


@dataclasses.dataclass(frozen=True)
class Head:
    """Fields of heads.CenterHead."""

    channels: int = 256
    score_prior: float = 0.5


class Model(nn.Module):
    """GRM. Fields are the config's `model` section; encoder.py, relation.Division and Head say what they mean."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    patch_size: int = 16
    template_size: int = 128
    search_size: int = 256
    division: relation.Division = relation.Division()
    head: Head = Head()
    position: str = "learned"
    position_grid: tuple[int, int] = (14, 14)
    attention_init: str = "independent"
    drop_path: float = 0.0
    scan_layers: bool = False
    remat: str = "none"
    dtype: str = "float32"

    templates = 1

    @property
    def template_grid(self):
        return tokens.grid_of(self.template_size, self.patch_size)

    @property
    def search_grid(self):
        return tokens.grid_of(self.search_size, self.patch_size)

    @property
    def lengths(self):
        """Tokens of the spans (template, search)."""
        return tuple(rows * columns for rows, columns in (self.template_grid, self.search_grid))

    def setup(self):
        dtype = jnp.dtype(self.dtype)
        self.encoder = Encoder(
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            patch_size=self.patch_size,
            grids=(("template", self.template_grid), ("search", self.search_grid)),
            relations=self.division.layer_relations(self.depth),
            mlp_ratio=self.mlp_ratio,
            division=self.division,
            position=self.position,
            position_grid=tuple(self.position_grid),
            attention_init=self.attention_init,
            drop_path=self.drop_path,
            scan_layers=self.scan_layers,
            remat=self.remat,
            dtype=dtype,
        )
        self.center_head = CenterHead(self.head.channels, self.head.score_prior, dtype, name="head")

    def encode_template(self, template, template_box):
        """Everything of the template that does not change from frame to frame.

        Args:
          template: (B,1,Hz,Wz,3) float32, normalised.
          template_box: (B,1,4) x,y,w,h as fractions of the template crop.

        Returns: a cache (pytree) for `locate`.
        """
        embedded = self.encoder.embed(template[:, 0], "template")
        cache = self.encoder.encode_prefix(embedded, self.lengths)
        return {**cache, "template_mask": relation.box_token_mask(template_box, self.template_grid)}

    def locate(self, cache, search, train=False, features=False, gumbel_noise=None):
        """Finds the target in a search crop.

        Args:
          cache: from encode_template.
          search: (B,Hx,Wx,3) float32, normalised.
          train: drop-path, Gumbel noise and batch statistics; needs the keys "gumbel" and "droppath".
          features: also return the tokens after every layer.
          gumbel_noise: (B,L',Nx,C) in place of draws from the "gumbel" key, for the L' layers that divide.

        Returns: Prediction.
        """
        embedded = self.encoder.embed(search, "search")
        encoded = self.encoder.encode_rest(
            cache,
            embedded,
            self.lengths,
            template_mask=cache["template_mask"],
            train=train,
            features=features,
            noise=gumbel_noise,
        )
        found = encoded.tokens[:, -self.lengths[1] :].reshape(search.shape[0], *self.search_grid, self.width)
        maps = self.center_head(found.astype(jnp.dtype(self.dtype)), train)
        box, score = decode_center(**maps)
        divided = [layer.divided for layer in encoded.layers if layer.divided is not None]
        return Prediction(
            box=box,
            score=score,
            maps=maps,
            division=self._division(encoded.layers, search.shape[0]),
            division_log_probs=jnp.stack([d.log_probs for d in divided], axis=1) if divided else None,
            division_share=jnp.stack([d.share for d in divided], axis=1) if divided else None,
            features=_features(encoded) if features else None,
        )

    def __call__(self, template, template_box, search, train=False, features=False, gumbel_noise=None):
        """locate(encode_template(template, template_box), search); see there."""
        return self.locate(self.encode_template(template, template_box), search, train, features, gumbel_noise)

    def _division(self, layers, batch):
        """(B,L,Nx) categories; a layer that does not divide is one-stream (A) or two-stream (S) throughout."""
        fixed = {relation.ONE_STREAM: relation.ALL, relation.TWO_STREAM: relation.SEARCH}
        rows = []
        for layer, kind in zip(layers, self.division.layer_relations(self.depth), strict=True):
            if layer.divided is not None:
                rows.append(layer.divided.category)
            else:
                rows.append(jnp.full((batch, self.lengths[1]), fixed[kind], jnp.int32))
        return jnp.stack(rows, axis=1)


def _features(encoded):
    return {"layers": jnp.stack([layer.features for layer in encoded.layers], axis=1), "tokens": encoded.tokens}

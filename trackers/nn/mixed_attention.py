"""What MixViT and MixFormerV2 share: one ViT over templates and a search crop, under asymmetric mixed attention.

Templates look at templates only; everything else looks at everything (MixFormer, Cui et al., CVPR 2022, Sec. 3.2). So
the templates' keys and values are computed once for each change of a template, and a frame costs its own tokens only.
"""

import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import relation, tokens
from trackers.nn.encoder import Encoder


class MixedTracker(nn.Module):
    """The encoder of a tracker whose spans are (all templates, search and what goes with it).

    template_size, search_size: pixels, an int or (height, width). templates: K that tracking and training use, the
      static one first, then the online ones; encode_template takes any number.
    position: "fixed" (sine-cosine tables that are part of a checkpoint and not trained, as in the program), or another
      kind of tokens.position_table.
    The other fields are the Encoder's. There is no LayerNorm after the last layer.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    patch_size: int = 16
    template_size: int = 128
    search_size: int = 288
    templates: int = 2
    position: str = "fixed"
    position_grid: tuple[int, int] = (14, 14)
    attention_init: str = "independent"
    drop_path: float = 0.0
    scan_layers: bool = False
    remat: str = "none"
    dtype: str = "float32"

    # Whether `locate` reads the templates' own tokens after the last layer, beside their keys and values.
    needs_template = False
    # Prediction.score is before the sigmoid, which the tracking loop applies.
    score_is_logit = True

    @property
    def template_grid(self):
        return tokens.grid_of(self.template_size, self.patch_size)

    @property
    def search_grid(self):
        return tokens.grid_of(self.search_size, self.patch_size)

    def setup(self):
        if self.templates < 1:
            raise ValueError(f"model.templates must be at least 1, got {self.templates}")
        self.encoder = Encoder(
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            patch_size=self.patch_size,
            grids=(("template", self.template_grid), ("search", self.search_grid)),
            relations=(relation.ASYMMETRIC,) * self.depth,
            mlp_ratio=self.mlp_ratio,
            final_norm=False,
            position=self.position,
            position_grid=tuple(self.position_grid),
            attention_init=self.attention_init,
            drop_path=self.drop_path,
            scan_layers=self.scan_layers,
            remat=self.remat,
            dtype=jnp.dtype(self.dtype),
        )

    def encode_template(self, template, template_box, branch_scale=None, joint=False):
        """Everything of the templates that does not change from frame to frame; to be called when one changes.

        Args:
          template: (B,K,Hz,Wz,3) float32, normalised: the static template, then the online ones. All templates have the
            same positions, so that their order does not matter.
          template_box: (B,K,4); the network does not look at it.
          branch_scale: (L,) factors of the layers' residual branches, or None.
          joint: leave the layers to `locate`, which then runs all tokens together: the same numbers and multiply-adds
            for one use, but drop-path drops a sample's templates and search together, and features hold all tokens.

        Returns: a cache (pytree) for `locate`.
        """
        batch, count = template.shape[:2]
        embedded = self.encoder.embed(template.reshape(batch * count, *template.shape[2:]), "template")
        embedded = embedded.reshape(batch, -1, self.width)
        if joint:
            return {"tokens": embedded}
        lengths = (embedded.shape[1], 0)
        return self.encoder.encode_prefix(embedded, lengths, self.needs_template, branch_scale=branch_scale)

    def encode_search(self, cache, embedded, **context):
        """Encodes the tokens (B,N,D) of everything but the templates; context as of Encoder.__call__.

        Returns: (tokens (B,N,D) float32 after the last layer; those of all templates (B,K*Nz,D), or None where nothing
          needs them; features {"layers" (B,L,N',D), "tokens" (B,N',D)} or None, where N' counts the templates' tokens
          too if the cache is joint).
        """
        templates = cache["tokens"] if "tokens" in cache else cache["memory"][0][0]
        split = templates.shape[1]
        encoded = self.encoder.encode_rest(cache, embedded, (split, embedded.shape[1]), **context)
        of_templates = encoded.tokens[:, :split] if "tokens" in cache else cache.get("encoded")
        return encoded.tokens[:, -embedded.shape[1] :], of_templates, _features(encoded)


def _features(encoded):
    if encoded.layers[0].features is None:
        return None
    return {"layers": jnp.stack([layer.features for layer in encoded.layers], axis=1), "tokens": encoded.tokens}

"""CLIP's text transformer (Radford et al., ICML 2021, Sec. 2.4): the house's encoder under the causal relation.

Token ids come from data_pipelines/text.py. The end of a text is the largest id of its row, as CLIP's program finds it.
"""

import dataclasses

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.errors import InputError
from trackers.nn import kernels, relation
from trackers.nn.encoder import Encoder


@flax.struct.dataclass
class TextFeatures:
    """What the text encoder says of B texts.

    tokens: (B,L,E) float32, the first L positions (start token and padding included), projected. sentence: (B,E)
    float32, the feature at the end of the text.
    """

    tokens: jax.Array
    sentence: jax.Array


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Of the text transformer; the defaults are CLIP's for ResNet-50 and for ViT-B/32.

    vocabulary: ids. length: tokens of a text, padding included. width, depth, heads: sizes of the blocks.
    """

    vocabulary: int = 49408
    length: int = 77
    width: int = 512
    depth: int = 12
    heads: int = 8


class Model(nn.Module):
    """The text encoder alone. features: E, width of the space that texts share with images (1024 for ResNet-50, 512
    for ViT-B/32); truncation: L. The others as in the encoder.
    """

    transformer: Transformer = Transformer()
    features: int = 1024
    truncation: int = 10
    scan_layers: bool | None = False
    remat: str = "none"
    dtype: str = "float32"

    # See one_stream.OneStreamTracker; of phrases for calibration.
    task = "encode"

    def setup(self):
        size = self.transformer
        if not 1 <= self.truncation <= size.length:
            raise ValueError(f"model.truncation must lie in 1..{size.length}, got {self.truncation}")
        init = nn.initializers.normal(0.02)
        self.token_embedding = self.param("token_embedding", init, (size.vocabulary, size.width))
        self.encoder = Encoder(
            width=size.width,
            depth=size.depth,
            heads=size.heads,
            patch_size=1,  # there are no patches: tokens come from the table
            grids=(("text", (1, size.length)),),
            relations=(relation.CAUSAL,) * size.depth,
            norm_eps=1e-5,
            activation="quick_gelu",
            scan_layers=self.scan_layers,
            remat=self.remat,
            dtype=kernels.compute_dtype(self.dtype),
        )
        scale = nn.initializers.normal(size.width**-0.5)
        self.projection = self.param("projection", scale, (size.width, self.features))

    def __call__(self, tokens, train=False):
        """tokens (B,N) int32 with N = transformer.length -> TextFeatures; NaN for an id outside the vocabulary.

        Nothing is random, also not with train.
        """
        length = self.transformer.length
        if tokens.shape[1] != length:
            raise InputError(f"tokens have {tokens.shape[1]} columns, model.transformer.length is {length}")
        x = (jnp.take(self.token_embedding, tokens, axis=0) + self.encoder.positions["text"]).astype(
            kernels.compute_dtype(self.dtype)
        )
        x = self.encoder(x, (length,), train=train).tokens
        end = jnp.argmax(tokens, axis=-1)
        kept = jnp.concatenate([x[:, : self.truncation], x[jnp.arange(x.shape[0]), end][:, None]], axis=1)
        projected = kept @ self.projection
        return TextFeatures(projected[:, :-1], projected[:, -1])

    def example_inputs(self, batch=1):
        """Zero inputs of the model's own shapes."""
        return (jnp.zeros((batch, self.transformer.length), jnp.int32),)

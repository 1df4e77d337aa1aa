"""iKUN: Speak to Trackers without Retraining (Du, Lei, Zhao, Su; CVPR 2024).

Which of the tracks that any tracker found does a phrase mean? CLIP's ResNet looks at crops of a track (local) and at
the frames they come from (global), CLIP's text transformer at the phrase; fusion.py brings them together, and the
cosine of the clip's and the phrase's feature is the answer. Each crop, frame and phrase is encoded once; only `fuse`,
or with `relate` only `fuse_related`, is paid for every pair of track and phrase.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.models import text
from trackers.nn import kernels
from trackers.nn.backbones import resnet
from trackers.nn.fusion import Fusion
from trackers.nn.heads import BatchNorm
from trackers.nn.tokens import as_pair

NORMALIZE_TEXT = ("always", "eval", "never")


class Model(nn.Module):
    """iKUN. Fields are the config's `model` section.

    fusion: "none" (baseline), "cascade_attention", "cross_correlation" or "text_first_modulation"; heads, kernel_size,
      dropout, gate, query, residual, fusion_residual: of fusion.Fusion.
    width: D of the features that are compared. visual_width: C of the maps. visual_depths: blocks of the ResNet's
      stages.
    text_width: E of CLIP's text features. transformer: text.Transformer. truncation: L, the text tokens that are kept.
    local_size, global_size: sides of the images in pixels, int or (height, width). local_grid, global_grid: cells of
      their maps (rows, columns); None = what the sizes give.
    normalize_text: when the sentence feature has unit length: "always"; "eval", as the program has it: raw in training,
      so that the two designs that take it in were trained on another scale than they are used with; "never".
    standardize: batch-normalize both features before they are compared; not in the paper, for encoders from scratch.
      Theirs point the same way whatever they are shown, and training stalls where all cosines are equal.
    joint_statistics: in training local and global images, which then need one size, go through the ResNet in one batch.
      The program encodes one after the other, each normalized with statistics of its own, and evaluates both with one
      running mean of the two: small for pretrained weights at a small rate, too much for encoders from scratch.
    """

    fusion: str = "cascade_attention"
    heads: int = 4
    width: int = 1024
    visual_width: int = 2048
    visual_depths: tuple[int, ...] = (3, 4, 6, 3)
    text_width: int = 1024
    transformer: text.Transformer = text.Transformer()
    truncation: int = 10
    local_size: int | tuple[int, int] = 224
    global_size: int | tuple[int, int] = 672
    local_grid: tuple[int, int] | None = None
    global_grid: tuple[int, int] | None = None
    kernel_size: int = 1
    dropout: float = 0.1
    gate: str = "fused"
    query: str = "vis"
    residual: str = "local"
    fusion_residual: str = "vis"
    normalize_text: str = "always"
    standardize: bool = False
    joint_statistics: bool = False
    scan_layers: bool | None = False
    remat: str = "none"
    dtype: str = "float32"

    # See one_stream.OneStreamTracker.
    task = "refer"

    def setup(self):
        if self.normalize_text not in NORMALIZE_TEXT:
            raise ValueError(f"model.normalize_text must be one of {NORMALIZE_TEXT}, got {self.normalize_text!r}")
        if not self.visual_depths:
            raise ValueError("model.visual_depths must name the blocks of one stage or more, got ()")
        one_size = as_pair(self.local_size) == as_pair(self.global_size) and self.local_grid == self.global_grid
        if self.joint_statistics and not one_size:
            raise ValueError(
                f"model.joint_statistics needs images of one size: local_size is {self.local_size}, global_size"
                f" {self.global_size}, local_grid {self.local_grid}, global_grid {self.global_grid}"
            )
        dtype = kernels.compute_dtype(self.dtype)
        self.visual = resnet.ResNet(self.visual_width, tuple(self.visual_depths), self.remat, dtype)
        self.text = text.Model(
            transformer=self.transformer,
            features=self.text_width,
            truncation=self.truncation,
            scan_layers=self.scan_layers,
            remat=self.remat,
            dtype=self.dtype,
        )
        self.knowledge = Fusion(
            kind=self.fusion,
            width=self.visual_width,
            heads=self.heads,
            local_grid=self._grid(self.local_grid, self.local_size),
            global_grid=self._grid(self.global_grid, self.global_size),
            kernel_size=self.kernel_size,
            dropout=self.dropout,
            gate=self.gate,
            query=self.query,
            residual=self.residual,
            fusion_residual=self.fusion_residual,
            dtype=dtype,
        )
        self.visual_head = nn.Dense(self.width)
        self.text_hidden = nn.Dense(self.text_width)
        self.text_head = nn.Dense(self.width)
        if self.standardize:
            self.visual_norm, self.text_norm = BatchNorm(), BatchNorm()

    def encode_local(self, local, train=False):
        """Crops (B,T,Hl,Wl,3) float32, normalized with CLIP's mean and deviation -> maps (B,T,h,w,C)."""
        return self._encode_visual(local, train)

    def encode_global(self, global_, train=False):
        """Whole frames (B,T,Hg,Wg,3) float32, normalized with CLIP's mean and deviation -> maps (B,T,H,W,C)."""
        return self._encode_visual(global_, train)

    def encode_text(self, tokens, train=False):
        """Token ids (B,N) int32 -> TextFeatures: tokens (B,L,E), sentence (B,D), unit length as normalize_text says."""
        encoded = self.text(tokens, train)
        sentence = self.text_head(nn.relu(self.text_hidden(encoded.sentence)))
        if self.standardize:
            sentence = self.text_norm(sentence, train)
        if self.normalize_text == "always" or (self.normalize_text == "eval" and not train):
            sentence = unit(sentence)
        return text.TextFeatures(encoded.tokens, sentence)

    def fuse(self, local, global_, text, train=False):
        """What the clip looks like in the light of the phrase.

        Args:
          local, global_: from encode_local and encode_global.
          text: TextFeatures of as many rows.
          train: dropout (key "dropout") and batch statistics.

        Returns: (B,D) float32, of unit length but in training.
        """
        return self.fuse_related(self.relate(local, global_), text, train)

    def relate(self, local, global_):
        """The part of `fuse` that is the same for all phrases: fusion.Related."""
        return self.knowledge.relate(local, global_)

    def fuse_related(self, related, text, train=False):
        """The part of `fuse` that depends on the phrase: Related and TextFeatures -> (B,D), see `fuse`."""
        pooled = jnp.mean(self.fused_tokens(related, text, train).astype(jnp.float32), axis=(1, 2))
        visual = self.visual_head(pooled)
        if self.standardize:
            visual = self.visual_norm(visual, train)
        return visual if train else unit(visual)

    def fused_tokens(self, related, text, train=False):
        """(B,T,N,C), the cells of every frame before they are averaged over space and time."""
        return self.knowledge.modulate(related, text, train)

    def __call__(self, local, global_, tokens, train=False):
        """Similarity of clips and phrases, row by row.

        Args:
          local: (B,T,Hl,Wl,3), global_: (B,T,Hg,Wg,3), float32, normalized with CLIP's mean and deviation.
          tokens: (B,N) int32, or (B,Q,N), Q phrases for each clip, which is encoded once.
          train: dropout, batch statistics (mutable "batch_stats").

        Returns: (B,) float32 cosines, or (B,Q).
        """
        asked = tokens.shape[:-1]
        features = self.encode_text(tokens.reshape(-1, tokens.shape[-1]), train)
        if self.joint_statistics:
            maps = jnp.split(self._encode_visual(jnp.concatenate([local, global_]), train), 2)
        else:
            maps = self.encode_local(local, train), self.encode_global(global_, train)
        related = self.relate(*maps)
        related = jax.tree.map(lambda x: jnp.repeat(x, len(features.sentence) // len(x), axis=0), related)
        return similarity(self.fuse_related(related, features, train), features.sentence).reshape(asked)

    def example_inputs(self, batch=1):
        """Zero inputs of the model's own shapes, clips of one frame: (local, global_, tokens)."""
        stride = resnet.stride_of(len(self.visual_depths))
        sides = [
            tuple(n * stride for n in grid) if grid else as_pair(size)
            for grid, size in ((self.local_grid, self.local_size), (self.global_grid, self.global_size))
        ]
        images = [jnp.zeros((batch, 1, *side, 3), jnp.float32) for side in sides]
        return *images, jnp.zeros((batch, self.transformer.length), jnp.int32)

    def _grid(self, grid, size):
        stride = resnet.stride_of(len(self.visual_depths))
        return tuple(grid) if grid else tuple(n // stride for n in as_pair(size))

    def _encode_visual(self, images, train):
        maps = self.visual(images.reshape(-1, *images.shape[2:]), train)
        return maps.reshape(*images.shape[:2], *maps.shape[1:])


def unit(x, eps=1e-12):
    """x over its length along the last axis, the length at least eps."""
    return x / jnp.maximum(_length(x), eps)


def similarity(visual, sentence, eps=1e-8):
    """Cosine of (..., D) and (..., D), each length at least eps: (...) float32."""
    product = jnp.sum(visual * sentence, axis=-1, dtype=jnp.float32)
    return product / (jnp.maximum(_length(visual), eps) * jnp.maximum(_length(sentence), eps))[..., 0]


def _length(x):
    """Euclidean length along the last axis, kept; its gradient at zero is zero."""
    squared = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)

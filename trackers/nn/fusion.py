"""iKUN's knowledge unification module: local map, global map and text become one map (CVPR 2024, supplement A).

Shapes: B tracks or pairs, T frames of a clip, N = h*w local and M = H*W global cells, C channels of the maps, E width
of the text features.
"""

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.errors import InputError
from trackers.nn import kernels
from trackers.nn.blocks import Projection
from trackers.nn.heads import BatchNorm

# "none" is the baseline without words; the others are the paper's three designs.
KINDS = ("none", "cascade_attention", "cross_correlation", "text_first_modulation")
GATES = ("fused", "local")
QUERIES = ("vis", "local")
RESIDUALS = ("local", "modulated")
FUSION_RESIDUALS = ("vis", "cross")


@flax.struct.dataclass
class Related:
    """The part of the fusion that does not depend on the text.

    local: (B,T,N,C) f_local, local tokens with positions. other: (B,T,N,C) f_vis, the same after they attended to the
    global ones (the paper's symbols); for text_first_modulation, which modulates before it attends, (B,T,M,C) f_global,
    global tokens with positions.
    """

    local: jax.Array
    other: jax.Array


class CrossAttention(nn.Module):
    """Multi-head attention of queries from one sequence to keys and values from others, as PyTorch's with biases.

    __call__ takes query (B,N,C), key (B,M,C), value (B,M,C); returns (B,N,C).
    """

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, query, key, value):
        width = query.shape[-1]
        features = (3, self.heads, width // self.heads)
        kernel = self.param(
            "qkv_kernel", nn.initializers.lecun_normal(in_axis=0, out_axis=(1, 2, 3)), (width, *features)
        )
        bias = self.param("qkv_bias", nn.initializers.zeros_init(), features)
        # Products of matrices, and the parts of the kernel split at once: otherwise XLA's gradients copy it on a CPU.
        parts = jnp.split(kernel.reshape(width, -1).astype(self.dtype), 3, axis=1)
        q, k, v = (
            (x.reshape(-1, width).astype(self.dtype) @ part).reshape(*x.shape[:2], *features[1:])
            + bias[i].astype(self.dtype)
            for i, (x, part) in enumerate(zip((query, key, value), parts, strict=True))
        )
        attended = kernels.attention(q, k, v)
        flat = attended.reshape(-1, *attended.shape[2:])
        return Projection((width,), dtype=self.dtype, name="out")(flat).reshape(query.shape)


class Fusion(nn.Module):
    """Fuses maps and text. `relate` and `modulate` are its halves: a track meets its scene once for all phrases.

    kind: of KINDS. width: C. heads: both attentions'. local_grid, global_grid: (rows, columns), each with a learned
      scalar a cell that is added to all channels.
    kernel_size: cross correlation's k, odd; 1 in paper and program. Taps of the kernel that the text makes (Eq. 5) and
      of the convolution after it (Eq. 8), both along the row-major cells with zeros beyond the ends. Text-first
      modulation convolves a text of one position (Eq. 10), where further taps would meet zeros alone.
    dropout: rate at which what the text adds or multiplies is dropped, in training.
    gate: cascade attention (Eq. 2) multiplies its output with the "fused" tokens f_vis (the program) or with the
      "local" ones f_local (the paper).
    query: what asks about the words in cascade attention (Eq. 2): f_vis, "vis" (the program), or f_local, "local" (the
      equation as printed, which its prose contradicts).
    residual: text-first modulation adds the attention's output to the "local" tokens as they are (program, Eq. 13) or
      to the "modulated" ones that asked.
    fusion_residual: what cross correlation adds Drop(f_cross) to (Eq. 7): f_vis, "vis" (the program), or f_cross
      itself, "cross" (the paper).
    """

    kind: str
    width: int
    heads: int
    local_grid: tuple[int, int]
    global_grid: tuple[int, int]
    kernel_size: int = 1
    dropout: float = 0.1
    gate: str = "fused"
    query: str = "vis"
    residual: str = "local"
    fusion_residual: str = "vis"
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self._check()
        cells = {name: rows * columns for name, (rows, columns) in self._grids().items()}
        self.position = {
            name: self.param(f"position_{name}", nn.initializers.normal(n**-0.5), (n,)) for name, n in cells.items()
        }
        self.local_global = CrossAttention(self.heads, self.dtype)
        self.drop = nn.Dropout(self.dropout)
        if self.kind == "cascade_attention":
            self.words = nn.Dense(self.width, dtype=self.dtype)
            self.visual_textual = CrossAttention(self.heads, self.dtype)
        elif self.kind != "none":
            self.kernel = nn.DenseGeneral((self.kernel_size, self.width), use_bias=False, dtype=self.dtype)
            self.kernel_norm = BatchNorm()
        if self.kind == "cross_correlation":
            self.mix = nn.Conv(self.width, (self.kernel_size,), use_bias=False, dtype=self.dtype)
            self.mix_norm = BatchNorm()

    def __call__(self, local, global_, text, train=False):
        """modulate(relate(local, global_), text): (B,T,N,C). See there."""
        return self.modulate(self.relate(local, global_), text, train)

    def relate(self, local, global_):
        """The part that needs no text.

        Args: local (B,T,h,w,C), global_ (B,T,H,W,C), maps of the visual encoder. Returns: Related.
        """
        local, global_ = self._positioned(local, "local"), self._positioned(global_, "global")
        if self.kind == "text_first_modulation":
            return Related(local, global_)
        return Related(local, self._attend(self.local_global, local, global_, global_) + local)

    def modulate(self, related, text, train=False):
        """The part that the text changes.

        Args: related from `relate`; text TextFeatures of as many rows; train: dropout (key "dropout") and batch
          statistics.

        Returns: (B,T,N,C) tokens before pooling.
        """
        local, other = related.local, related.other
        if self.kind == "none":
            return other
        if self.kind == "cascade_attention":
            words = self.words(text.tokens.astype(self.dtype))
            words = jnp.broadcast_to(words[:, None], (*local.shape[:2], *words.shape[1:]))
            gated = other if self.gate == "fused" else local
            query = other if self.query == "vis" else local
            return gated * self._attend(self.visual_textual, query, words, words)
        if self.kind == "cross_correlation":
            kernel = self._kernel_of(text.sentence, local.shape[1], train)
            cross = correlate(other, kernel)
            kept = other if self.fusion_residual == "vis" else cross
            return self.mix_norm(self.mix(kept + self.drop(cross, deterministic=not train)), train)
        # Once for each map, as the program does: in training the statistics move twice.
        query, key = (x * self._modulation(text.sentence, x, train) for x in (local, other))
        attended = self._attend(self.local_global, query, key, other)
        return attended + (local if self.residual == "local" else query)

    def _grids(self):
        return {"local": tuple(self.local_grid), "global": tuple(self.global_grid)}

    def _positioned(self, maps, name):
        grid = self._grids()[name]
        if maps.shape[2:4] != grid:
            size = "x".join(map(str, maps.shape[2:4]))
            raise InputError(
                f"the {name} map has {size} cells, model.{name}_grid says {grid[0]}x{grid[1]}: change it or the images"
            )
        if maps.shape[-1] != self.width:
            raise InputError(f"the {name} map has {maps.shape[-1]} channels, model.visual_width is {self.width}")
        tokens = maps.reshape(*maps.shape[:2], -1, self.width).astype(self.dtype)
        return tokens + self.position[name][:, None].astype(self.dtype)

    def _attend(self, attention, query, key, value):
        """Attention within each frame: (B,T,N,C) to (B,T,M,C)."""
        flat = [x.reshape(-1, *x.shape[2:]) for x in (query, key, value)]
        return attention(*flat).reshape(query.shape)

    def _kernel_of(self, sentence, frames, train):
        """(B,T,k,C) from the sentence; repeated for the frames before it is normalized, as the program counts them."""
        kernel = self.kernel(sentence.astype(self.dtype))
        return self.kernel_norm(jnp.broadcast_to(kernel[:, None], (len(kernel), frames, *kernel.shape[1:])), train)

    def _modulation(self, sentence, like, train):
        kernel = self._kernel_of(sentence, like.shape[1], train)
        return self.drop(jnp.broadcast_to(kernel, like.shape), deterministic=not train)

    def _check(self):
        for name, value, allowed in (
            ("fusion", self.kind, KINDS), ("gate", self.gate, GATES), ("query", self.query, QUERIES),
            ("residual", self.residual, RESIDUALS), ("fusion_residual", self.fusion_residual, FUSION_RESIDUALS),
        ):  # fmt: skip
            if value not in allowed:
                raise ValueError(f"model.{name} must be one of {allowed}, got {value!r}")
        if self.width % self.heads:
            raise ValueError(f"model.visual_width {self.width} is not divisible by model.heads {self.heads}")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"model.kernel_size must be odd and positive, got {self.kernel_size}")
        if self.kernel_size > 1 and self.kind != "cross_correlation":
            raise ValueError(f"model.kernel_size {self.kernel_size} needs model.fusion cross_correlation")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout must lie in [0, 1), got {self.dropout}")


def correlate(tokens, kernel):
    """Depthwise correlation along the cells: tokens (B,T,N,C), kernel (B,T,k,C) -> (B,T,N,C), zeros beyond the ends."""
    taps, cells = kernel.shape[2], tokens.shape[2]
    padded = jnp.pad(tokens, ((0, 0), (0, 0), (taps // 2, taps // 2), (0, 0)))
    return sum(padded[:, :, i : i + cells] * kernel[:, :, i : i + 1] for i in range(taps))

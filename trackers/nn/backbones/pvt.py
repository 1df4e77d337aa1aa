"""PVT as SimTrack's backbone (Wang et al., ICCV 2021; SimTrack, Table 7).

Exemplar and search tokens attend to the keys and values of both images. Those come from grids that a strided
convolution shrinks; the exemplar's is shrunk half as far, to keep it from vanishing: the same kernel at half the
stride. The paper doesn't say how it halves; this way published weights fit. Names and numbers follow PVT's program.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import kernels, relation, tokens
from trackers.nn.backbones.stages import PATCH, Blocks, Hierarchical, Shared, drop_rates, layer_norm, residual
from trackers.nn.blocks import Mlp

# What the program gives the LayerNorms of blocks; the others have PyTorch's 1e-5.
BLOCK_EPS = 1e-6
NAMES = ("template", "search")


def _flat(grids):
    """[(B,h,w,D)] -> (B,N,D), one after another."""
    return jnp.concatenate([grid.reshape(grid.shape[0], -1, grid.shape[-1]) for grid in grids], axis=1)


def _unflat(x, grids):
    """The inverse of _flat, for the sides of `grids`."""
    lengths = [grid.shape[1] * grid.shape[2] for grid in grids]
    parts = jnp.split(x, [lengths[0]], axis=1)
    return tuple(part.reshape(grid.shape) for part, grid in zip(parts, grids, strict=True))


class Reduction(nn.Module):
    """Shrinks a grid (B,h,w,D) by a convolution of side `ratio`: at that stride, or at half of it, then padded."""

    ratio: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, halved):
        width = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.ratio, self.ratio, width, width))
        bias = self.param("bias", nn.initializers.zeros_init(), (width,))
        stride = self.ratio // 2 if halved else self.ratio
        extra = self.ratio - stride
        x, kernel, bias = (array.astype(self.dtype) for array in (x, kernel, bias))
        padding = [(extra // 2, extra - extra // 2)] * 2
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        ) + bias  # fmt: skip


class Attention(nn.Module):
    """Attention of all tokens over the shrunken grids. __call__: (exemplar, search) after LayerNorm -> (B,N,D).

    Sows "on_exemplar" (see Hierarchical).
    """

    width: int
    heads: int
    ratio: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, grids):
        size = self.width // self.heads
        q = nn.DenseGeneral((self.heads, size), dtype=self.dtype, name="q")(_flat(grids))
        search = grids[1].shape[:3]
        if self.ratio > 1:
            reduce = Reduction(self.ratio, self.dtype, name="reduction")
            grids = (reduce(grids[0], True), reduce(grids[1], False))
            seen = layer_norm("norm")(_flat(grids)).astype(self.dtype)
        else:
            seen = _flat(grids)
        kv = nn.DenseGeneral((2, self.heads, size), dtype=self.dtype, name="kv")(seen)
        if self.is_mutable_collection("intermediates"):
            logits = relation.attention_logits(q[:, -search[1] * search[2] :], kv[:, :, 0])
            weights = jax.nn.softmax(logits, axis=-1)[..., : grids[0].shape[1] * grids[0].shape[2]]
            self.sow("intermediates", "on_exemplar", weights.mean((1, 3)).reshape(search))
        out = kernels.attention(q, kv[:, :, 0], kv[:, :, 1])
        return nn.DenseGeneral(self.width, axis=(-2, -1), dtype=self.dtype, name="out")(out)


class Block(nn.Module):
    """One PVT block on (exemplar, search) grids. per_layer: drop rate (); shared: Shared."""

    width: int
    heads: int
    mlp_ratio: float
    ratio: int
    drops: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, grids, rate, shared):
        x = _flat(grids)
        y = layer_norm("norm1", BLOCK_EPS)(x).astype(self.dtype)
        y = Attention(self.width, self.heads, self.ratio, self.dtype, name="attention")(_unflat(y, grids))
        x = residual(self, x, y, rate, shared.train, self.drops)
        y = layer_norm("norm2", BLOCK_EPS)(x).astype(self.dtype)
        y = Mlp(int(self.width * self.mlp_ratio), dtype=self.dtype, name="mlp")(y)
        return _unflat(residual(self, x, y, rate, shared.train, self.drops), grids), None


class PatchEmbed(nn.Module):
    """Patches of a grid or image -> LayerNorm -> positions of that image; an odd grid is padded with zeros.

    __call__ takes (B,h,w,C) and the image's name, and returns (B,h/side,w/side,D).
    """

    width: int
    side: int
    grids: tuple
    position: str
    position_grid: tuple
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        side = (self.side, self.side)
        self.conv = nn.Conv(self.width, side, strides=side, padding="VALID", dtype=self.dtype)
        self.norm = layer_norm()
        self.tables = {
            name: tokens.position_table(
                self.param, f"position_{name}", grid, self.width, self.position, self.position_grid, "bilinear"
            )
            for name, grid in self.grids
        }

    def __call__(self, x, name):
        grid = dict(self.grids)[name]
        missing = [max(n * self.side - have, 0) for n, have in zip(grid, x.shape[1:3], strict=True)]
        x = jnp.pad(x, ((0, 0), *((0, n) for n in missing), (0, 0)))
        x = self.norm(self.conv(x.astype(self.dtype)))
        return (x + self.tables[name].reshape(*grid, self.width)).astype(self.dtype)


class Pvt(Hierarchical):
    """PVT over exemplar and search image. Nothing of the exemplar but its tokens is kept: all later ones depend on the
    search image.

    position, position_grid: as in encoder.Encoder, the grid is the first stage's; resizing is bilinear, as in the
    program.
    """

    position: str = "learned"
    position_grid: tuple[int, int] = (56, 56)

    def setup(self):
        sizes = self.stages
        grids = [sizes.grids(size) for size in (self.template_size, self.search_size)]
        for i, (width, depth) in enumerate(zip(sizes.widths, sizes.depths, strict=True)):
            fields = {
                "width": width,
                "heads": sizes.heads[i],
                "mlp_ratio": sizes.mlp_ratios[i],
                "ratio": sizes.reductions[i],
                "drops": self.drop_path > 0,
                "dtype": self.dtype,
            }
            setattr(self, f"stage_{i}", Blocks(Block, fields, depth, self.scan_layers, self.remat))
            named = tuple(zip(NAMES, (grid[i] for grid in grids), strict=True))
            source = tuple(n // 2**i for n in self.position_grid)
            embed = PatchEmbed(width, 2 if i else PATCH, named, self.position, source, self.dtype)
            setattr(self, f"embed_{i}", embed)
        self.norm = layer_norm(eps=BLOCK_EPS)

    def embed(self, images, name):
        """(B,H,W,3) float32, normalized -> (B,N,D) with the positions of that name ("template", "search")."""
        x = self.embed_0(images, name)
        return x.reshape(x.shape[0], -1, x.shape[-1])

    def encode_search(self, cache, tokens, train=False, features=False, branch_scale=None):
        """The search image, given the exemplar's cache.

        Args: train: drop-path on, which needs the key "droppath".

        Returns: Encoded; tokens (B,h*w,D) float32, D the last stage's width.
        """
        grids = self.as_map(cache["tokens"], self.template_size), self.as_map(tokens, self.search_size)
        for i, rates in enumerate(drop_rates(self.stages, self.drop_path)):
            if i:
                embed = getattr(self, f"embed_{i}")
                grids = tuple(embed(grid, name) for grid, name in zip(grids, NAMES, strict=True))
            grids, _ = getattr(self, f"stage_{i}")(grids, rates, Shared(False, train))
        return self.encoded(self.norm(grids[1]))

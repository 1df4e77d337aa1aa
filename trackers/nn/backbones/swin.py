"""Swin as SimTrack's backbone (Liu et al., ICCV 2021; SimTrack, Table 7).

Search tokens attend inside their window and to the exemplar's tokens, pooled to one small grid that every window sees;
the exemplar's tokens never look at the search tokens (the paper takes a(e,s) away). So the exemplar is encoded once:
what a search window sees of it, keys and values of each block, is the cache. Names and numbers follow Swin's program.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from trackers.nn.backbones.stages import PATCH, Blocks, Hierarchical, Shared, drop_rates, layer_norm, residual
from trackers.nn.blocks import Mlp


def pool_matrix(n_from, n_to):
    """(n_to, n_from) weights of an average pooling to n_to cells, as PyTorch's adaptive pooling has them."""
    matrix = np.zeros((n_to, n_from), np.float32)
    for cell in range(n_to):
        first, last = cell * n_from // n_to, -(-(cell + 1) * n_from // n_to)
        matrix[cell, first:last] = 1 / (last - first)
    return matrix


def pool_grid(x, side):
    """(B,h,w,D) -> (B,side,side,D); a side that is not longer than `side` stays as it is."""
    rows, columns = (pool_matrix(n, min(n, side)).astype(x.dtype) for n in x.shape[1:3])
    return jnp.einsum("pi,qj,bijd->bpqd", rows, columns, x)


def _windows(x, side):
    """(B,h,w,...) with sides divisible by the window's -> (B,windows,side*side,...)."""
    batch, rows, columns, *rest = x.shape
    x = x.reshape(batch, rows // side[0], side[0], columns // side[1], side[1], *rest)
    return x.swapaxes(2, 3).reshape(batch, -1, side[0] * side[1], *rest)


def _unwindowed(x, side, grid):
    """The inverse of _windows."""
    batch, _, _, *rest = x.shape
    x = x.reshape(batch, grid[0] // side[0], grid[1] // side[1], *side, *rest)
    return x.swapaxes(2, 3).reshape(batch, *grid, *rest)


def _layout(grid, window):
    """(sides of a window, shift of every second block, padded grid) for a grid; no larger window than the grid."""
    side = tuple(min(window, n) for n in grid)
    shift = tuple(0 if n <= window else window // 2 for n in grid)
    return side, shift, tuple(-(-n // s) * s for n, s in zip(grid, side, strict=True))


def _allowed(grid, window):
    """(2, windows, side*side, side*side) booleans: who may look at whom without and with the shift.

    Cells that the shift brings together from opposite ends do not see one another, nor does any cell see padding.
    """
    side, shift, padded = _layout(grid, window)
    masks = []
    for shifted in (False, True):
        names = []
        for n, full, s, window_side in zip(grid, padded, shift, side, strict=True):
            index = np.arange(full)
            name = np.where(index < n, 0, -1)
            if shifted and s:
                index = np.roll(index, -s)
                name = np.where(index < s, 2, 1) * (index < n) - (index >= n)
                name[: full - window_side] = np.where(name[: full - window_side] < 0, -1, 0)
            names.append(name)
        # A cell's region is its row's and its column's name; padding is one region of its own.
        rows, columns = np.meshgrid(*names, indexing="ij")
        region = np.where((rows < 0) | (columns < 0), -1, 3 * rows + columns)
        region = _windows(region[None], side)[0]
        masks.append(region[:, :, None] == region[:, None, :])
    return np.stack(masks)


def _bias_index(side, window):
    """(side*side, side*side) rows of the table of relative positions, which is made for the full window."""
    rows, columns = (axis.reshape(-1) for axis in np.meshgrid(*(np.arange(s) for s in side), indexing="ij"))
    offset = [axis[:, None] - axis[None, :] + window - 1 for axis in (rows, columns)]
    return offset[0] * (2 * window - 1) + offset[1]


class WindowAttention(nn.Module):
    """Attention of each window over itself, with a bias for relative positions, and over pooled exemplar tokens.

    __call__ takes x (B,h,w,D) after LayerNorm, shift () int (0, or 1 for windows moved by half their side), memory
    (k, v) of the exemplar, each (B,p,p,H,d), or None, and keep: whether to pool x. Returns ((B,h,w,D), (k, v) or None).
    With a memory it sows "on_exemplar" (see Hierarchical).
    """

    width: int
    heads: int
    window: int
    pooled: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, shift, memory, keep):
        grid = x.shape[1:3]
        side, move, padded = _layout(grid, self.window)
        project = nn.DenseGeneral((3, self.heads, self.width // self.heads), dtype=self.dtype, name="qkv")
        table = self.param(
            "position_bias", nn.initializers.truncated_normal(0.02), ((2 * self.window - 1) ** 2, self.heads)
        )
        bias = jnp.moveaxis(table[_bias_index(side, self.window)], -1, 0).astype(jnp.float32)

        y = jnp.pad(x, ((0, 0), *((0, full - n) for full, n in zip(padded, grid, strict=True)), (0, 0)))
        back = shift * np.asarray(move)
        y = jnp.roll(y, -back, (1, 2))
        q, k, v = jnp.moveaxis(project(_windows(y, side)), 3, 0)
        logits = jnp.einsum("bwqhd,bwkhd->bwhqk", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
        allowed = jnp.asarray(_allowed(grid, self.window))[shift][:, None]
        logits = jnp.where(allowed, logits + bias, -jnp.inf)
        if memory is not None:
            keys, values = (m.reshape(m.shape[0], -1, *m.shape[3:]) for m in memory)
            seen = jnp.einsum("bwqhd,bkhd->bwhqk", q, keys, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
            logits = jnp.concatenate([logits, seen], axis=-1)
        own, weights = k.shape[2], jax.nn.softmax(logits, axis=-1)

        def on_grid(windows):
            """(B,windows,side*side,...) -> (B,h,w,...) of x."""
            return jnp.roll(_unwindowed(windows, side, padded), back, (1, 2))[:, : grid[0], : grid[1]]

        if memory is not None:
            self.sow("intermediates", "on_exemplar", on_grid(weights[..., own:].mean((2, 4))))
        weights = weights.astype(v.dtype)
        out = jnp.einsum("bwhqk,bwkhd->bwqhd", weights[..., :own], v)
        if memory is not None:
            out += jnp.einsum("bwhqk,bkhd->bwqhd", weights[..., own:], values)
        out = nn.DenseGeneral(self.width, axis=(-2, -1), dtype=self.dtype, name="out")(on_grid(out))
        kept = tuple(jnp.moveaxis(project(pool_grid(x, self.pooled)), 3, 0)[1:]) if keep else None
        return out, kept


class Block(nn.Module):
    """One Swin block on a grid (B,h,w,D). per_layer: (drop rate, shift, memory); shared: Shared."""

    width: int
    heads: int
    mlp_ratio: float
    window: int
    pooled: int
    drops: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, per_layer, shared):
        rate, shift, memory = per_layer
        y = layer_norm("norm1")(x).astype(self.dtype)
        attention = WindowAttention(self.width, self.heads, self.window, self.pooled, self.dtype, name="attention")
        y, kept = attention(y, shift, memory, shared.keep)
        x = residual(self, x, y, rate, shared.train, self.drops)
        y = layer_norm("norm2")(x).astype(self.dtype)
        y = Mlp(int(self.width * self.mlp_ratio), dtype=self.dtype, name="mlp")(y)
        return residual(self, x, y, rate, shared.train, self.drops), kept


class Merge(nn.Module):
    """Four neighbors become one token of the next stage's width; an odd grid is padded with zeros."""

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
        parts = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = layer_norm("norm")(jnp.concatenate(parts, axis=-1)).astype(self.dtype)
        return nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="reduction")(x)


class Swin(Hierarchical):
    """Swin over exemplar and search image; the exemplar's keys and values of each block are kept."""

    def setup(self):
        sizes = self.stages
        patch = (PATCH, PATCH)
        self.patch_embed = nn.Conv(sizes.widths[0], patch, strides=patch, padding="VALID", dtype=self.dtype)
        self.patch_norm = layer_norm()
        for i, (width, depth) in enumerate(zip(sizes.widths, sizes.depths, strict=True)):
            fields = {
                "width": width,
                "heads": sizes.heads[i],
                "mlp_ratio": sizes.mlp_ratios[i],
                "window": sizes.window,
                "pooled": sizes.pooled,
                "drops": self.drop_path > 0,
                "dtype": self.dtype,
            }
            setattr(self, f"stage_{i}", Blocks(Block, fields, depth, self.scan_layers, self.remat))
            if i + 1 < len(sizes.widths):
                setattr(self, f"merge_{i}", Merge(sizes.widths[i + 1], self.dtype))
        self.norm = layer_norm()

    def embed(self, images, name):
        """(B,H,W,3) float32, normalized -> (B,N,D); without positions, whichever image it is."""
        del name
        x = self.patch_norm(self.patch_embed(images.astype(self.dtype))).astype(self.dtype)
        return x.reshape(x.shape[0], -1, x.shape[-1])

    def encode_template(self, tokens, keep_tokens=False, train=False, branch_scale=None):
        """The cache {"memory": for each stage a list of (k, v) of its blocks, each (B,p,p,H,d)}.

        Args: as Hierarchical.encode_template; train: drop-path on, which needs the key "droppath".
        """
        super().encode_template(tokens, keep_tokens, train, branch_scale)
        return {"memory": self._run(self.as_map(tokens, self.template_size), None, True, train)[1]}

    def encode_search(self, cache, tokens, train=False, features=False, branch_scale=None):
        """The search image, given the exemplar's cache, or {"tokens": (B,N,D)} of it.

        Returns: Encoded; tokens (B,h*w,D) float32, D the last stage's width.
        """
        if "memory" not in cache:
            cache = self.encode_template(cache["tokens"], False, train, branch_scale)
        x, _ = self._run(self.as_map(tokens, self.search_size), cache["memory"], False, train)
        return self.encoded(self.norm(x))

    def _run(self, x, memory, keep, train):
        kept = []
        for i, rates in enumerate(drop_rates(self.stages, self.drop_path)):
            seen = None if memory is None else jax.tree.map(lambda *m: jnp.stack(m), *memory[i])
            per_layer = (rates, np.arange(rates.size) % 2, seen)
            x, outs = getattr(self, f"stage_{i}")(x, per_layer, Shared(keep, train))
            kept.append(outs)
            if i + 1 < len(self.stages.widths):
                x = getattr(self, f"merge_{i}")(x)
        return x, kept

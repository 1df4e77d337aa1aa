"""What hierarchical backbones (swin.py, pvt.py) share: their sizes, and stages of equal blocks."""

import dataclasses

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import kernels, placement, tokens
from trackers.nn.blocks import REMAT_POLICIES, drop_path
from trackers.nn.encoder import Encoded

# Side of a patch of the first stage; each further stage halves the grid.
PATCH = 4


@dataclasses.dataclass(frozen=True)
class Stages:
    """A hierarchical backbone in place of the ViT. Every field is data of the config's `model.backbone`.

    kind: "vit" (the other fields are not looked at), "swin" or "pvt".
    widths, depths, heads, mlp_ratios: one number for each stage. Three stages end at a stride of 16 pixels.
    window: side of Swin's windows, in tokens.
    pooled: side of the grid that Swin's exemplar tokens are pooled to for each search window to look at.
    reductions: how far PVT shrinks the sides of the grid of keys and values in each stage; half as far the exemplar's.
    """

    kind: str = "vit"
    widths: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    mlp_ratios: tuple[float, ...] = ()
    window: int = 7
    pooled: int = 7
    reductions: tuple[int, ...] = ()

    def __post_init__(self):
        if self.kind not in ("vit", "swin", "pvt"):
            raise ValueError(f"model.backbone.kind must be vit, swin or pvt, got {self.kind!r}")
        if self.kind == "vit":
            return
        needed = ("depths", "heads", "mlp_ratios", *(("reductions",) if self.kind == "pvt" else ()))
        for field in needed:
            if len(getattr(self, field)) != len(self.widths) or not self.widths:
                raise ValueError(f"model.backbone.{field} must have one number for each of model.backbone.widths")
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise ValueError(f"model.backbone.widths: {width} is not divisible by its {heads} heads")

    @property
    def stride(self):
        """Pixels of a cell of the last stage's grid."""
        return PATCH * 2 ** (len(self.widths) - 1)

    def grids(self, image_size):
        """((rows, columns), ...) of each stage; an odd side loses nothing: the next one is rounded up."""
        grids = [tokens.grid_of(image_size, PATCH)]
        for _ in self.widths[1:]:
            grids.append(tuple(-(-side // 2) for side in grids[-1]))
        return tuple(grids)


def layer_norm(name=None, eps=1e-5, dtype=jnp.float32):
    """LayerNorm with float32 statistics; its output is float32 unless said."""
    return nn.LayerNorm(epsilon=eps, dtype=dtype, use_fast_variance=False, name=name)


def drop_rates(stages, rate):
    """For each stage its blocks' drop-path rates, rising linearly from 0 over all blocks."""
    rates = jnp.linspace(0.0, rate, sum(stages.depths))
    starts = [sum(stages.depths[:i]) for i in range(len(stages.depths) + 1)]
    return [rates[first:last] for first, last in zip(starts, starts[1:], strict=False)]


def residual(module, x, branch, rate, train, drops):
    """x + branch, the branch dropped for some samples in training."""
    branch = drop_path(branch, rate, module.make_rng("droppath")) if train and drops else branch
    return placement.split_batch(x + branch)


@flax.struct.dataclass
class Shared:
    """What is the same for a stage's blocks. keep: also return what a later image looks at; train: drop-path on."""

    keep: bool = flax.struct.field(pytree_node=False)
    train: bool = flax.struct.field(pytree_node=False)


class Blocks(nn.Module):
    """A stage's blocks, one after another or stacked with nn.scan.

    block, fields: class and fields of a block, which is called as block(carry, per_layer, shared) -> (carry, out).
    __call__ takes carry, per_layer (pytree of arrays with leading axis L) and shared (Shared).
    Returns (carry, [out of each layer]).
    """

    block: type
    fields: dict
    depth: int
    scan_layers: bool | None = False
    remat: str = "none"

    @nn.compact
    def __call__(self, carry, per_layer, shared):
        block, stacked = self.block, kernels.stacks_layers(self.scan_layers)
        if self.remat not in REMAT_POLICIES:
            raise ValueError(f"model.remat must be one of {tuple(REMAT_POLICIES)}, got {self.remat!r}")
        if self.remat != "none":
            block = nn.remat(block, policy=REMAT_POLICIES[self.remat], prevent_cse=not stacked)
        if stacked and self.depth > 1:
            scanned = nn.scan(
                block,
                variable_axes={"params": 0},
                split_rngs={"params": True, "droppath": True},
                in_axes=(0, nn.broadcast),
                length=self.depth,
            )
            carry, outs = scanned(**self.fields, name=f"blocks_0_{self.depth - 1}")(carry, per_layer, shared)
            return carry, [jax.tree.map(lambda a, i=i: a[i], outs) for i in range(self.depth)]
        outs = []
        for i in range(self.depth):
            inputs = jax.tree.map(lambda a, i=i: a[i], per_layer)
            carry, out = block(**self.fields, name=f"block_{i}")(carry, inputs, shared)
            outs.append(out)
        return carry, outs


class Hierarchical(nn.Module):
    """A hierarchical backbone over exemplar and search image, with the methods that the Encoder has.

    stages: its sizes. template_size, search_size: pixels. The others as in encoder.Encoder. A subclass has `embed`, and
    `encode_template` and `encode_search` as below. For pictures of the attention each block's attention sows, as
    "intermediates", "on_exemplar": (B,h,w) float32, the mean attention of each search token, over the heads, to a token
    of what it sees of the exemplar.
    """

    stages: Stages
    template_size: int
    search_size: int
    drop_path: float = 0.0
    scan_layers: bool | None = False
    remat: str = "none"
    dtype: jnp.dtype = jnp.float32

    @property
    def exemplar_grid(self):
        """(rows, columns) of the tokens that `embed_exemplar` gives."""
        return self.stages.grids(self.template_size)[0]

    @property
    def exemplar_width(self):
        """Width of these tokens."""
        return self.stages.widths[0]

    def embed_exemplar(self, image, positions=None):
        """(B,H,W,3) float32, normalized -> the first stage's tokens (B,N,D), and positions (B,N,D) added if given."""
        x = self.embed(image, "template")
        return x if positions is None else x + positions.astype(x.dtype)

    def encode_template(self, tokens, keep_tokens=False, train=False, branch_scale=None):
        """What of the exemplar can be kept while search images change: by default its embedded tokens (B,N,D).

        Raises ValueError for a branch_scale, and for keep_tokens: these are for the Encoder.
        """
        if keep_tokens or branch_scale is not None:
            raise ValueError("model.backbone.kind swin and pvt have neither kept template tokens nor a branch_scale")
        return {"tokens": tokens}

    def as_map(self, tokens, size):
        """Tokens (B,N,D) of the first stage of an image of `size` pixels -> (B,h,w,D)."""
        return tokens.reshape(tokens.shape[0], *self.stages.grids(size)[0], -1)

    @staticmethod
    def encoded(x):
        """The last stage's (B,h,w,D) as Encoded; there are no features of layers."""
        return Encoded(x.reshape(x.shape[0], -1, x.shape[-1]), [])

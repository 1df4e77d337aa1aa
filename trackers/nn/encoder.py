"""The one vision transformer of the house: pre-norm ViT blocks over spans of tokens, under a relation for each layer.

A tracker says which spans there are (template, search, ...), and for each layer which span may look at which, or that
the layer divides its search tokens itself (relation.py). Contiguous runs of equal layers can be stacked with nn.scan.
"""

import functools

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import placement
from trackers.nn import relation as relations_of
from trackers.nn import tokens as token_grids

# width, depth, heads (ViT, Table 1; DeiT, Table 1), and a size for tests.
SIZES = {"test": (96, 3, 3), "Ti": (192, 12, 3), "S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16)}

REMAT_POLICIES = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def _matched_init(key, shape, dtype=jnp.float32):
    """Kernel (D,3D) of queries, keys and values; keys start equal to queries: a token first attends to its like."""
    kernel = nn.initializers.lecun_normal()(key, shape, dtype)
    third = shape[1] // 3
    return kernel.at[:, third : 2 * third].set(kernel[:, :third])


# How the kernel of queries, keys and values starts (for "matched" see Trockman and Kolter, ICML 2023).
ATTENTION_INITS = {"independent": nn.initializers.lecun_normal(), "matched": _matched_init}


def _quick_gelu(x):
    return x * nn.sigmoid(1.702 * x)


# Between the MLP's two layers: the exact (erf) GELU, or CLIP's approximation of it.
ACTIVATIONS = {"gelu": functools.partial(nn.gelu, approximate=False), "quick_gelu": _quick_gelu}


@flax.struct.dataclass
class LayerInputs:
    """What differs from layer to layer; leading axis L where layers are stacked.

    drop_rate: () float32, probability that a residual branch is dropped.
    noise: (B,Nx,C) Gumbel noise or None. memory: (k, v) of the spans before the ones present, each (B,Nm,H,d), or None.
    branch_scale: () factor of both residual branches, or None for 1.
    """

    drop_rate: jax.Array
    noise: jax.Array | None = None
    memory: tuple | None = None
    branch_scale: jax.Array | None = None


@flax.struct.dataclass
class Context:
    """What is the same for a run of layers.

    lengths: of all spans; present: (first, last+1) of the spans whose tokens are given, the earlier ones are in memory.
    relation: over all spans, or "learned" (spans: template, search), or CAUSAL (one span).
    template_mask: (B,Nz) or None.
    """

    template_mask: jax.Array | None
    lengths: tuple = flax.struct.field(pytree_node=False)
    present: tuple = flax.struct.field(pytree_node=False)
    relation: tuple | str = flax.struct.field(pytree_node=False)
    train: bool = flax.struct.field(pytree_node=False)
    features: bool = flax.struct.field(pytree_node=False)
    keep_memory: bool = flax.struct.field(pytree_node=False)


@flax.struct.dataclass
class LayerOutputs:
    """divided: Divided or None. features: (B,N,D) after the layer or None. memory: (k, v) or None."""

    divided: relations_of.Divided | None
    features: jax.Array | None
    memory: tuple | None


@flax.struct.dataclass
class Encoded:
    """tokens: (B,N,D) float32 after the last LayerNorm, where there is one; layers: a LayerOutputs for each layer."""

    tokens: jax.Array
    layers: list


class Attention(nn.Module):
    """Multi-head self-attention: masked where a mask is given, else split by the relation of the context.

    Sows (queries, keys), each (B,N,H,d), as "intermediates" "queries_and_keys", for pictures of the attention.
    """

    width: int
    heads: int
    qkv_bias: bool = True
    init: str = "independent"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, mask, memory, context):
        features = (3, self.heads, self.width // self.heads)
        init = ATTENTION_INITS[self.init]
        # As one matrix of tokens, here and below: with a batch axis XLA's gradients take longer on a CPU.
        flat = x.reshape(-1, x.shape[-1])
        qkv = nn.DenseGeneral(features, use_bias=self.qkv_bias, kernel_init=init, dtype=self.dtype, name="qkv")(flat)
        q, k, v = jnp.moveaxis(qkv.reshape(*x.shape[:2], *features), 2, 0)
        self.sow("intermediates", "queries_and_keys", (q, k))
        if mask is not None:
            out = relations_of.masked_attention(q, k, v, mask)
        else:
            first, last = context.present
            keys, values, seen = k, v, first
            if memory is not None:
                keys, values = (jnp.concatenate(pair, axis=1) for pair in zip(memory, (k, v), strict=True))
                seen = 0
            relation = context.relation
            if relation != relations_of.CAUSAL:
                relation = tuple(row[seen:last] for row in relation[first:last])
            out = relations_of.split_attention(
                q, keys, values, context.lengths[first:last], context.lengths[seen:last], relation
            )
        flat = out.reshape(-1, *out.shape[2:])
        out = nn.DenseGeneral(self.width, axis=(-2, -1), dtype=self.dtype, name="out")(flat).reshape(x.shape)
        return out, (k, v) if context.keep_memory else None


class Mlp(nn.Module):
    """Linear, activation (ACTIVATIONS), linear."""

    hidden: int
    activation: str = "gelu"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        # As one matrix of tokens (see Attention).
        flat = x.reshape(-1, x.shape[-1])
        hidden = ACTIVATIONS[self.activation](nn.Dense(self.hidden, dtype=self.dtype, name="fc1")(flat))
        return nn.Dense(x.shape[-1], dtype=self.dtype, name="fc2")(hidden).reshape(x.shape)


def drop_path(branch, rate, key):
    """Leaves a residual branch (B,...) out for a sample with probability `rate` (), and scales the others up."""
    keep = 1.0 - rate
    kept = jax.random.bernoulli(key, keep, (branch.shape[0],) + (1,) * (branch.ndim - 1))
    return jnp.where(kept, branch / keep.astype(branch.dtype), 0)


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); each branch of a sample is dropped with inputs.drop_rate."""

    width: int
    heads: int
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    activation: str = "gelu"
    attention_init: str = "independent"
    drops: bool = False
    division: relations_of.Division | None = None
    grid: tuple[int, int] = (1, 1)
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, inputs, context):
        norm = functools.partial(nn.LayerNorm, epsilon=self.norm_eps, dtype=jnp.float32, use_fast_variance=False)
        y = norm(name="norm1")(x).astype(self.dtype)
        divided, mask = None, None
        if context.relation == "learned":
            n_template = context.lengths[0]
            divided = relations_of.DivisionModule(self.division, self.grid, self.dtype, name="division")(
                y[:, :n_template], y[:, n_template:], context.template_mask, inputs.noise, context.train
            )
            template = jax.nn.one_hot(jnp.zeros((x.shape[0], n_template), int), 3)
            mask = relations_of.attention_mask(jnp.concatenate([template, divided.one_hot], axis=1))
        y, memory = Attention(self.width, self.heads, self.qkv_bias, self.attention_init, self.dtype, name="attention")(
            y, mask, inputs.memory, context
        )
        x = x + self._dropped(y, inputs, context)
        y = norm(name="norm2")(x).astype(self.dtype)
        y = Mlp(int(self.width * self.mlp_ratio), self.activation, self.dtype, name="mlp")(y)
        x = placement.split_batch(x + self._dropped(y, inputs, context))
        return x, LayerOutputs(divided, x if context.features else None, memory)

    def _dropped(self, branch, inputs, context):
        if inputs.branch_scale is not None:
            branch = (branch * inputs.branch_scale).astype(branch.dtype)
        if not (context.train and self.drops):
            return branch
        return drop_path(branch, inputs.drop_rate, self.make_rng("droppath"))


class Encoder(nn.Module):
    """Patch embedding, positions, blocks and the last LayerNorm.

    width, depth, heads, mlp_ratio, patch_size, qkv_bias, norm_eps: of the ViT. patch_bias: of the patch embedding.
    activation: "gelu" or "quick_gelu" (ACTIVATIONS). pre_norm: LayerNorm also before the blocks (CLIP).
    final_norm: LayerNorm after the blocks.
    grids: ((name, (rows, columns)), ...), the images that `embed` takes, each with its own positions.
    relations: for each layer "learned", its fixed relation over the spans, or relation.CAUSAL for one span of text.
    division: of the layers that divide; the last of `grids` is the search grid.
    position: "learned", "sincos", "fixed" or "interpolated" from `position_grid` by `position_resize`
      (tokens.position_table, tokens.resize_grid).
    with_class: there is a class token; its position is the first row of the last grid's table.
    attention_init: "independent", or "matched" (keys start equal to queries), which finds matching sooner from scratch.
    drop_path: rate of the last layer; it rises linearly from 0 at the first.
    scan_layers: stack runs of equal layers with nn.scan. remat: "none", "full" or "dots" (REMAT_POLICIES).
    dtype: of the computation; parameters, LayerNorm, softmax and residual stream's statistics are float32.
    """

    width: int
    depth: int
    heads: int
    patch_size: int
    grids: tuple
    relations: tuple
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    patch_bias: bool = True
    norm_eps: float = 1e-6
    activation: str = "gelu"
    pre_norm: bool = False
    final_norm: bool = True
    division: relations_of.Division | None = None
    position: str = "learned"
    position_grid: tuple[int, int] = (14, 14)
    position_resize: str = "bicubic"
    with_class: bool = False
    attention_init: str = "independent"
    drop_path: float = 0.0
    scan_layers: bool = False
    remat: str = "none"
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        if self.width % self.heads:
            raise ValueError(f"model.width {self.width} is not divisible by model.heads {self.heads}")
        if self.attention_init not in ATTENTION_INITS:
            raise ValueError(
                f"model.attention_init must be one of {tuple(ATTENTION_INITS)}, got {self.attention_init!r}"
            )
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"model.activation must be one of {tuple(ACTIVATIONS)}, got {self.activation!r}")
        if self.remat not in REMAT_POLICIES:
            raise ValueError(f"model.remat must be one of {tuple(REMAT_POLICIES)}, got {self.remat!r}")
        patch = (self.patch_size, self.patch_size)
        self.patch_embed = nn.Conv(
            self.width, patch, strides=patch, padding="VALID", use_bias=self.patch_bias, dtype=self.dtype
        )
        self._make_positions()
        for first, last, _ in self._runs():
            if first == last:
                setattr(self, f"block_{first}", self._block_class()(**self._block_fields()))
            else:
                setattr(self, f"blocks_{first}_{last}", self._stacked_class(last - first + 1)(**self._block_fields()))
        if self.final_norm:
            self.norm = nn.LayerNorm(epsilon=self.norm_eps, dtype=jnp.float32, use_fast_variance=False)
        if self.pre_norm:
            self.norm_pre = nn.LayerNorm(epsilon=self.norm_eps, dtype=jnp.float32, use_fast_variance=False)

    def _make_positions(self):
        positions = {}
        for i, (name, grid) in enumerate(self.grids):
            extra = int(self.with_class and i == len(self.grids) - 1)
            positions[name] = token_grids.position_table(
                self._kept if self.position == "fixed" else self.param,
                f"position_{name}",
                grid,
                self.width,
                self.position,
                self.position_grid,
                self.position_resize,
                extra,
            )
            if extra:
                self.class_token = self.param("class_token", nn.initializers.truncated_normal(0.02), (self.width,))
                self.class_position, positions[name] = positions[name][0], positions[name][1:]
        self.positions = positions

    def _kept(self, name, init, shape):
        # Beside the running statistics: part of a checkpoint, carried along in training, never seen by the optimizer.
        return self.variable("batch_stats", name, init, None, shape).value

    def _runs(self):
        """[(first, last, relation)]: each layer alone, or contiguous equal layers together when stacked."""
        runs = []
        for i, relation in enumerate(self.relations):
            if self.scan_layers and runs and runs[-1][2] == relation:
                runs[-1][1] = i
            else:
                runs.append([i, i, relation])
        return [tuple(run) for run in runs]

    def _block_fields(self):
        return {
            "width": self.width,
            "heads": self.heads,
            "mlp_ratio": self.mlp_ratio,
            "qkv_bias": self.qkv_bias,
            "norm_eps": self.norm_eps,
            "activation": self.activation,
            "attention_init": self.attention_init,
            "drops": self.drop_path > 0,
            "division": self.division,
            "grid": tuple(self.grids[-1][1]),
            "dtype": self.dtype,
        }

    def _block_class(self):
        if self.remat == "none":
            return Block
        return nn.remat(Block, policy=REMAT_POLICIES[self.remat], prevent_cse=not self.scan_layers)

    def _stacked_class(self, length):
        return nn.scan(
            self._block_class(),
            variable_axes={"params": 0},
            split_rngs={"params": True, "gumbel": True, "droppath": True, "dropout": True},
            in_axes=(0, nn.broadcast),
            length=length,
        )

    def embed(self, images, name):
        """(B,H,W,3) float32, normalised -> (B,N,D) tokens with the positions of that name."""
        return self.patches(images) + self.positions[name].astype(self.dtype)

    def patches(self, images):
        """(B,H,W,3) float32, normalised -> (B,N,D) tokens without positions."""
        x = self.patch_embed(images.astype(self.dtype))
        return x.reshape(x.shape[0], -1, self.width)

    def embed_class(self, batch):
        """The class token with its position, (batch,1,D)."""
        token = (self.class_token + self.class_position).astype(self.dtype)
        return jnp.broadcast_to(token, (batch, 1, self.width))

    def __call__(
        self,
        tokens,
        lengths,
        present=None,
        *,
        template_mask=None,
        noise=None,
        memory=None,
        branch_scale=None,
        train=False,
        features=False,
        keep_memory=False,
    ):
        """Runs the blocks on the spans given.

        Args:
          tokens: (B,N,D), the spans `present`, one after another.
          lengths: of all spans of the tracker, tuple of int.
          present: (first, last+1) of the spans in `tokens`; all when None.
          template_mask: (B,Nz) for divisions that pool over the template box.
          noise: (B,L',Nx,C) Gumbel noise for the dividing layers, in place of the "gumbel" key.
          memory: for each layer (k, v) of the spans before `present`, from keep_memory.
          branch_scale: (L,) factors of the layers' residual branches; a layer with 0 passes its tokens on unchanged.
          train: drop-path and Gumbel noise on; needs the keys "droppath" and "gumbel".
          features: also return the tokens after every layer.
          keep_memory: also return each layer's keys and values.

        Returns: Encoded.
        """
        present = (0, len(lengths)) if present is None else present
        if branch_scale is not None and jnp.shape(branch_scale) != (self.depth,):
            raise ValueError(f"branch_scale must be ({self.depth},), one for each layer: {jnp.shape(branch_scale)}")
        rates = jnp.linspace(0.0, self.drop_path, self.depth)
        x = placement.split_batch(self.norm_pre(tokens).astype(self.dtype) if self.pre_norm else tokens)
        layers, dividing = [], 0
        for first, last, relation in self._runs():
            n = last - first + 1
            run_noise = None
            if relation == "learned" and noise is not None:
                run_noise = jnp.moveaxis(noise[:, dividing : dividing + n], 1, 0)
                dividing += n
            run_memory = None
            if memory is not None:
                run_memory = jax.tree.map(lambda *m: jnp.stack(m), *memory[first : last + 1])
            run_scale = None if branch_scale is None else jnp.asarray(branch_scale)[first : last + 1]
            inputs = LayerInputs(rates[first : last + 1], run_noise, run_memory, run_scale)
            context = Context(template_mask, tuple(lengths), tuple(present), relation, train, features, keep_memory)
            if first == last:
                x, outputs = getattr(self, f"block_{first}")(x, jax.tree.map(lambda a: a[0], inputs), context)
                layers.append(outputs)
            else:
                x, outputs = getattr(self, f"blocks_{first}_{last}")(x, inputs, context)
                layers.extend(jax.tree.map(lambda a, i=i: a[i], outputs) for i in range(n))
        return Encoded(self.norm(x) if self.final_norm else x.astype(jnp.float32), layers)

    def encode_prefix(self, tokens, lengths, keep_tokens=False, **context):
        """What of the first span can be kept while the others change: keys and values where it never looks at them,
        else its embedded tokens.

        Args:
          tokens: (B,N,D) of span 0; lengths: of all spans.
          keep_tokens: where keys and values are kept, also the span's tokens after the last layer, as "encoded".

        Returns: a cache for `encode_rest`.
        """
        if not relations_of.prefix_is_independent(self.relations):
            return {"tokens": tokens}
        encoded = self(tokens, lengths, (0, 1), keep_memory=True, **context)
        cache = {"memory": [layer.memory for layer in encoded.layers]}
        return {**cache, "encoded": encoded.tokens} if keep_tokens else cache

    def encode_rest(self, cache, tokens, lengths, **context):
        """Encodes the spans after the first one, given its cache.

        Returns: Encoded; its tokens and features hold the first span too only where the cache held embedded tokens.
        """
        if "memory" in cache:
            return self(tokens, lengths, (1, len(lengths)), memory=cache["memory"], **context)
        return self(jnp.concatenate([cache["tokens"], tokens], axis=1), lengths, **context)

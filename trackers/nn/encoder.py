"""The one vision transformer of the house: pre-norm ViT blocks over spans of tokens, under a relation for each layer.

A tracker says which spans there are (template, search, ...), and for each layer which span may look at which
(relation.py), or that the layer divides its search tokens itself (division.py). Contiguous runs of equal layers can be
stacked with nn.scan. Tokens may leave on the way: see `Encoder.__call__`.
"""

import math

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import activations, blocks, kernels, placement, relation, stems
from trackers.nn import tokens as token_grids
from trackers.nn.division import Division


@flax.struct.dataclass
class Encoded:
    """tokens: (B,N,D) float32 after the last LayerNorm, where there is one; layers: a LayerOutputs for each layer.

    Of a part of the layers that is not the last one: the tokens as they are, in the dtype of the computation.
    """

    tokens: jax.Array
    layers: list


class Encoder(nn.Module):
    """Patch embedding, positions, blocks and the last LayerNorm.

    width, depth, heads, mlp_ratio, patch_size, qkv_bias, norm_eps: the ViT's. patch_bias: the patch embedding's.
    stem: what embeds a patch, one convolution of its size or several of 3x3 (stems.STEMS).
    activation: "gelu" or "quick_gelu" (activations.ACTIVATIONS). pre_norm: LayerNorm also before the blocks (CLIP).
    final_norm: LayerNorm after the blocks.
    grids: ((name, (rows, columns)), ...), the images that `embed` takes, each with its own positions.
    relations: for each layer "learned", its fixed relation over the spans, or relation.CAUSAL for one span of text.
    division: how the layers that divide do it; the last of `grids` is the search grid.
    position: "learned", "sincos", "fixed" or "interpolated" from `position_grid` by `position_resize`
      (tokens.position_table, tokens.resize_grid).
    with_class: there is a class token; its position is the first row of the last grid's table.
    attention_init: "independent", or "matched" (keys start equal to queries), which finds matching sooner from scratch.
    drop_path: the last layer's rate; it rises linearly from 0 at the first.
    stops: numbers of layers (1-based) after which the tracker may stop a call of some of the layers and change the
      tokens; such a layer is never stacked with others.
    block_class: what the layers are: Block, or a module with its fields and arguments, e.g. with adapters.
    scan_layers: stack runs of equal layers with nn.scan; True, False or None (kernels.stacks_layers).
    remat: "none", "full" or "dots" (blocks.REMAT_POLICIES).
    kernels: how attention is executed (kernels.KERNELS).
    dtype: what is computed in; parameters, LayerNorm, softmax and residual stream's statistics are float32.
    """

    width: int
    depth: int
    heads: int
    patch_size: int
    grids: tuple
    relations: tuple
    mlp_ratio: float = 4.0
    stem: str = "patches"
    qkv_bias: bool = True
    patch_bias: bool = True
    norm_eps: float = 1e-6
    activation: str = "gelu"
    pre_norm: bool = False
    final_norm: bool = True
    division: Division | None = None
    position: str = "learned"
    position_grid: tuple[int, int] = (14, 14)
    position_resize: str = "bicubic"
    with_class: bool = False
    attention_init: str = "independent"
    drop_path: float = 0.0
    stops: tuple[int, ...] = ()
    block_class: type = blocks.Block
    scan_layers: bool | None = False
    remat: str = "none"
    kernels: str = "auto"
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        if self.width % self.heads:
            raise ValueError(f"model.width {self.width} is not divisible by model.heads {self.heads}")
        if self.attention_init not in blocks.ATTENTION_INITS:
            raise ValueError(
                f"model.attention_init must be one of {tuple(blocks.ATTENTION_INITS)}, got {self.attention_init!r}"
            )
        if self.activation not in activations.ACTIVATIONS:
            known = tuple(activations.ACTIVATIONS)
            raise ValueError(f"model.activation must be one of {known}, got {self.activation!r}")
        kernels.check(self.kernels)
        if self.remat not in blocks.REMAT_POLICIES:
            raise ValueError(f"model.remat must be one of {tuple(blocks.REMAT_POLICIES)}, got {self.remat!r}")
        self.patch_embed = stems.make(self.stem, self.width, self.patch_size, self.patch_bias, self.dtype)
        self._make_positions()
        for first, last, _ in self._runs():
            if first == last:
                setattr(self, f"block_{first}", self._recomputed_class()(**self._block_fields()))
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
        runs, stacked = [], kernels.stacks_layers(self.scan_layers)
        for i, rows in enumerate(self.relations):
            if stacked and runs and runs[-1][2] == rows and not {i, i + 1} & {*self.stops}:
                runs[-1][1] = i
            else:
                runs.append([i, i, rows])
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
            "kernels": self.kernels,
            "drops": self.drop_path > 0,
            "division": self.division,
            "grid": tuple(self.grids[-1][1]),
            "dtype": self.dtype,
        }

    def _recomputed_class(self):
        if self.remat == "none":
            return self.block_class
        stacked, policy = kernels.stacks_layers(self.scan_layers), blocks.REMAT_POLICIES[self.remat]
        return nn.remat(self.block_class, policy=policy, prevent_cse=not stacked)

    def _stacked_class(self, length):
        return nn.scan(
            self._recomputed_class(),
            variable_axes={"params": 0},
            split_rngs={"params": True, "gumbel": True, "droppath": True, "dropout": True},
            in_axes=(0, nn.broadcast),
            length=length,
        )

    def embed(self, images, name):
        """(B,H,W,3) float32, normalized -> (B,N,D) tokens with the positions of that name."""
        return self.patches(images) + self.positions[name].astype(self.dtype)

    def patches(self, images):
        """(B,H,W,3) float32, normalized -> (B,N,D) tokens without positions."""
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
        layers=None,
        key_mask=None,
        watch=(),
        reduce=None,
        template_mask=None,
        noise=None,
        memory=None,
        branch_scale=None,
        train=False,
        features=False,
        keep_memory=False,
    ):
        """Runs the blocks, or some of them, on the spans given.

        A tracker whose tokens leave on the way calls this for one part of the layers after the other. In training
        tokens usually stay where they are and `key_mask` keeps them out of sight, so that shapes do not change; at
        inference `reduce` returns fewer, and `lengths` of the next call are the new ones.

        Args:
          tokens: (B,N,D), the spans `present`, one after another.
          lengths: tokens of each of the tracker's spans, tuple of int.
          present: (first, last+1) of the spans in `tokens`; all when None.
          layers: (first, last+1) of the layers to run, 0-based; all when None. Both ends have to be 0, the depth or
            among `stops` where layers are stacked.
          key_mask: (B,N) float32 in 0..1, how much the tokens given are looked at (0 = as if they were not there); all
            are when None. Gradients flow into it, also where it is 0.
          watch: indices in `tokens`, tuple of int; `reduce` is given their attention.
          reduce: function (x (B,N,D), weights (B,H,Nw,Nk) float32) -> (x (B,N',D), facts), called in the last of the
            layers between attention and MLP. weights: softmax of the watched tokens over the keys, those in memory
            first; None without `watch`. The facts, any pytree, are that layer's `facts`. Needs that layer in `stops`.
          template_mask: (B,Nz) for divisions that pool over the template box.
          noise: (B,L',Nx,C) Gumbel noise for the dividing layers of the encoder, in place of the "gumbel" key.
          memory: for each layer (k, v) of the spans before `present`, from keep_memory.
          branch_scale: (L,) factors of the layers' residual branches; a layer with 0 passes its tokens on unchanged.
          train: drop-path and Gumbel noise on; needs the keys "droppath" and "gumbel".
          features: also return the tokens after every layer.
          keep_memory: also return each layer's keys and values.

        Returns: Encoded, with a LayerOutputs for each layer that was run.
        """
        present = (0, len(lengths)) if present is None else present
        begin, end = (0, self.depth) if layers is None else layers
        if branch_scale is not None and jnp.shape(branch_scale) != (self.depth,):
            raise ValueError(f"branch_scale must be ({self.depth},), one for each layer: {jnp.shape(branch_scale)}")
        self._check_part(begin, end, reduce)
        rates = jnp.linspace(0.0, self.drop_path, self.depth)
        joined = self.division and self.division.joined(self.depth, math.prod(self.grids[-1][1]))
        x = placement.split_batch(self.norm_pre(tokens).astype(self.dtype) if self.pre_norm and not begin else tokens)
        outputs, dividing = [], 0
        for first, last, rows in self._runs():
            n = last - first + 1
            run_noise, run_joined = None, None
            if rows == "learned":
                if noise is not None:
                    run_noise = jnp.moveaxis(noise[:, dividing : dividing + n], 1, 0)
                if joined is not None:
                    run_joined = jnp.asarray(joined[dividing : dividing + n])
                dividing += n
            if not begin <= first < end:
                continue
            run_memory = None
            if memory is not None:
                run_memory = jax.tree.map(lambda *m: jnp.stack(m), *memory[first : last + 1])
            run_scale = None if branch_scale is None else jnp.asarray(branch_scale)[first : last + 1]
            inputs = blocks.LayerInputs(rates[first : last + 1], run_noise, run_memory, run_scale, run_joined)
            reduces = reduce is not None and last + 1 == end
            context = blocks.Context(
                lengths=tuple(lengths),
                present=tuple(present),
                relation=rows,
                template_mask=template_mask,
                key_mask=key_mask,
                watch=tuple(watch) if reduces else (),
                reduce=reduce if reduces else None,
                train=train,
                features=features,
                keep_memory=keep_memory,
            )
            if first == last:
                x, output = getattr(self, f"block_{first}")(x, jax.tree.map(lambda a: a[0], inputs), context)
                outputs.append(output)
            else:
                x, stacked = getattr(self, f"blocks_{first}_{last}")(x, inputs, context)
                outputs.extend(jax.tree.map(lambda a, i=i: a[i], stacked) for i in range(n))
        if end < self.depth:
            return Encoded(x, outputs)
        return Encoded(self.norm(x) if self.final_norm else x.astype(jnp.float32), outputs)

    def _check_part(self, begin, end, reduce):
        """Raises ValueError where a part of the layers cannot be run by itself."""
        starts = {first for first, _, _ in self._runs()} | {self.depth}
        if not 0 <= begin < end <= self.depth and self.depth:
            raise ValueError(f"layers ({begin}, {end}) of an encoder of depth {self.depth}")
        if {begin, end} - starts:
            raise ValueError(f"layers ({begin}, {end}): name where a part ends in the encoder's stops, {self.stops}")
        if reduce is not None and kernels.stacks_layers(self.scan_layers) and end not in self.stops:
            raise ValueError(f"reduce acts in layer {end}, which is not among the encoder's stops, {self.stops}")

    def encode_template(self, tokens, keep_tokens=False, **context):
        """What of the first span can be kept while the others change: its embedded tokens, or, of the first layers
        where it never looks at the other spans, keys and values, and its tokens after these layers.

        Args:
          tokens: (B,N,D) of the first span.
          keep_tokens: where keys and values of all layers are kept, also the span's tokens after the last one, as
            "encoded".
          context: further arguments of `__call__`.

        Returns: a cache for `encode_search`: "memory", a list of the (k, v) of these layers, where there are any, and
          "tokens" (B,N,D), what the other layers begin with, where there are any.
        """
        count = relation.independent_layers(self.relations)
        if not count:
            return {"tokens": tokens}
        lengths = (tokens.shape[1], *(0 for _ in self.relations[0][1:]))
        encoded = self(tokens, lengths, (0, 1), layers=(0, count), keep_memory=True, **context)
        cache = {"memory": [layer.memory for layer in encoded.layers]}
        if count < self.depth:
            return {**cache, "tokens": encoded.tokens}
        return {**cache, "encoded": encoded.tokens} if keep_tokens else cache

    def encode_search(self, cache, tokens, lengths=None, keep_tokens=False, **context):
        """Encodes the spans after the first one, given its cache.

        At inference the last layers in which they do not look at the first span are run without it.

        Args:
          cache: from encode_template, or {"tokens": (B,N,D)} of the first span.
          tokens: (B,N,D) of the other spans.
          lengths: of these, tuple of int; one span when None.
          keep_tokens: the first span is taken to the last layer all the same.
          context: further arguments of `__call__`.

        Returns: Encoded; its tokens hold the first span too where the cache held tokens and no last layers went without
          it, its features where the cache held nothing else.
        """
        lengths = (tokens.shape[1],) if lengths is None else tuple(lengths)
        memory = cache.get("memory", [])
        n_first = memory[0][0].shape[1] if memory else cache["tokens"].shape[1]
        lengths, layers = (n_first, *lengths), []
        if memory:
            part = (0, len(memory))
            encoded = self(tokens, lengths, (1, len(lengths)), layers=part, memory=memory, **context)
            if "tokens" not in cache:
                return encoded
            tokens, layers = encoded.tokens, encoded.layers
        tokens = jnp.concatenate([cache["tokens"], tokens], axis=1)
        alone = self.depth
        # What is sown is for pictures, which show both spans in every layer.
        whole = keep_tokens or self.is_mutable_collection("intermediates")
        if not (whole or context.get("train") or context.get("features")):
            alone -= relation.layers_without_first(self.relations[len(layers) :])
        begin = len(layers)
        if begin < alone or not self.depth:
            encoded = self(tokens, lengths, layers=(begin, alone), **context)
            later, tokens = encoded.layers, encoded.tokens
            if layers and context.get("features"):
                later = [layer.replace(features=layer.features[:, n_first:]) for layer in later]
            layers = layers + later
        if alone < self.depth:
            encoded = self(tokens[:, n_first:], lengths, (1, len(lengths)), layers=(alone, self.depth), **context)
            layers = layers + encoded.layers
        return Encoded(encoded.tokens, layers)

"""Attention of the trackers on TPUs that are not here, by what their compiler says of each way to compute it.

A layer's attention with its projections, of one chip: XLA's, JAX's two kernels for TPUs (no learned division) and ours
(trackers/nn/tpu_attention.py). Of benchmarks/attention.py.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable

import jax
import jax.numpy as jnp

import trackers
from configs import variants
from trackers.evaluation import tables
from trackers.nn import relation
from trackers.planning import bundles, prediction, topologies
from trackers.planning import program as programs

HEADS = ["config", "tokens", "attention", "pass", "temporaries MiB", "traffic MB", "predicted ms", "compiler ms"]


@dataclasses.dataclass(frozen=True)
class Layer:
    """lengths: tokens of the spans. rows: relation of the spans, or "learned". heads, size: of the attention."""

    lengths: tuple
    rows: tuple | str
    heads: int
    size: int

    @property
    def tokens(self):
        return sum(self.lengths)

    @property
    def parts(self):
        """[(queries, keys)] that attend, as slices of the tokens."""
        first = self.lengths[0]
        whole, before, after = slice(None), slice(0, first), slice(first, None)
        if self.rows == relation.ASYMMETRIC:
            return [(before, before), (after, whole)]
        return [(whole, whole)]


def layer_of(config):
    """The Layer that a config's tracker has most of."""
    model = trackers.build(config.model)
    rows = max(model.layer_relations(), key=model.layer_relations().count)
    return Layer(model.lengths, rows, model.heads, model.width // model.heads)


def ways(layer):
    """{name: function of (qkv (B,N,3,H,d), division (B,N,3)) -> (B,N,H,d)}."""
    from trackers.nn import tpu_attention

    if layer.rows == "learned":

        def masked(qkv, division):
            return relation.masked_attention(*jnp.moveaxis(qkv, 2, 0), relation.attention_mask(division))

        def divided(qkv, division):
            return tpu_attention.attention((qkv,), (relation.looks(division), division), eps=1e-6)

        return {"XLA's": masked, "ours": divided}
    kernels = {
        "XLA's": functools.partial(jax.nn.dot_product_attention, implementation="xla"),
        "JAX's flash": functools.partial(_padded, attend=_flash),
        "JAX's splash": functools.partial(_padded, attend=_splash),
        "ours": lambda q, k, v: tpu_attention.attention((q, k, v)),
    }
    found = {name: functools.partial(_in_parts, layer=layer, attend=attend) for name, attend in kernels.items()}
    if layer.rows != relation.ASYMMETRIC:
        found["ours"] = lambda qkv, _: tpu_attention.attention((qkv,))
    return found


def _in_parts(qkv, division, layer, attend):
    del division
    q, k, v = jnp.moveaxis(qkv, 2, 0)
    return jnp.concatenate([attend(q[:, rows], k[:, keys], v[:, keys]) for rows, keys in layer.parts], axis=1)


def _padded(q, k, v, attend):
    """JAX's kernels want heads before tokens, and multiples of 128 tokens: those added are told apart by a number."""

    def whole(x):
        missing = -x.shape[1] % 128
        added = jnp.broadcast_to(jnp.arange(x.shape[1] + missing) >= x.shape[1], (len(x), x.shape[1] + missing))
        return jnp.pad(jnp.swapaxes(x, 1, 2), ((0, 0), (0, 0), (0, missing), (0, 0))), added.astype(jnp.int32)

    (padded, rows), (keys, columns), (values, _) = whole(q), whole(k), whole(v)
    return jnp.swapaxes(attend(padded, keys, values, rows, columns)[:, :, : q.shape[1]], 1, 2)


def _flash(q, k, v, rows, keys):
    from jax.experimental.pallas.ops.tpu import flash_attention as flash

    (n, m), sides = (q.shape[2], k.shape[2]), ("_dkv", "_dq")
    sizes = {"block_q": n, "block_k_major": m, "block_k": m, "block_b": 1, "block_q_major_dkv": n}
    sizes |= {f"block_{name}{side}": size for side in sides for name, size in (("q", n), ("k_major", m), ("k", m))}
    segments = flash.SegmentIds(rows, keys)
    return flash.flash_attention(
        q, k, v, segment_ids=segments, sm_scale=q.shape[-1] ** -0.5, block_sizes=flash.BlockSizes(**sizes)
    )


def _splash(q, k, v, rows, keys):
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    n, m = q.shape[2], k.shape[2]
    sizes = {f"block_{name}": size for name, size in (("q", n), ("kv", m), ("kv_compute", m))}
    sizes |= {"block_q_dkv": n, "block_kv_dkv": m, "block_kv_dkv_compute": m, "block_q_dq": n, "block_kv_dq": m}
    attend = splash.make_splash_mha(
        mask=masks.MultiHeadMask([masks.FullMask((n, m))] * q.shape[1]),
        block_sizes=splash.BlockSizes(**sizes),
        head_shards=1,
        q_seq_shards=1,
    )
    return jax.vmap(attend)(q * q.shape[-1] ** -0.5, k, v, segment_ids=splash.SegmentIds(rows, keys))


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one execution on one chip. temporaries, traffic: bytes. predicted: seconds at the chip's peaks. compiler:
    seconds by the compiler's cycles and the kernels' bundles, 0 where the chip's clock is not known."""

    temporaries: float
    traffic: float
    predicted: float
    compiler: float


def cost(layer, attend, batch, gradients, topology, folder):
    """The Cost of a way of ways(layer), between the projections; folder: that of bundles.write_to."""
    width, place = layer.heads * layer.size, jax.sharding.SingleDeviceSharding(topology.devices[0])

    def shape(*sizes, dtype=jnp.bfloat16):
        return jax.ShapeDtypeStruct(sizes, dtype, sharding=place)

    def projected(x, into, out, division):
        qkv = (x @ into).reshape(batch, -1, 3, layer.heads, layer.size)
        return attend(qkv, division).reshape(-1, width) @ out

    def both(*inputs):
        return jax.vjp(projected, *inputs[:-1])[1](inputs[-1])

    rows = batch * layer.tokens
    inputs = [shape(rows, width), shape(width, 3 * width), shape(width, width)]
    inputs += [shape(batch, layer.tokens, 3, dtype=jnp.float32), *([shape(rows, width)] * gradients)]
    run: Callable = both if gradients else projected
    compiled = jax.jit(run).lower(*inputs).compile()
    text = compiled.as_text()
    read = programs.read(text)
    times = prediction.times(read, topology, list(topology.devices[:1]))
    cycles = read.cycles + sum(bundles.take(folder, text).values())
    clock = topology.chip.clock
    return Cost(compiled.memory_analysis().temp_size_in_bytes, read.bytes, times.step, cycles / clock if clock else 0.0)


def rows(name, batch, topology, folder, say=print):
    """Cells under HEADS, one list for each way and pass. name: of a config, "grm.py:b256". Others as of `cost`.

    say: called with the cells of each, as compiling takes long.
    """
    layer, lines = layer_of(variants.load(f"configs/{name}")), []
    for way, attend in ways(layer).items():
        for gradients in (False, True):
            found = cost(layer, attend, batch, gradients, topology, folder)
            cells = [name.replace(".py", ""), "+".join(map(str, layer.lengths)), way]
            cells += ["with gradients" if gradients else "forward", f"{found.temporaries / 2**20:.0f}"]
            cells += [f"{found.traffic / 1e6:.0f}", f"{1e3 * found.predicted:.2f}"]
            lines.append([*cells, f"{1e3 * found.compiler:.2f}" if found.compiler else "-"])
            say(*lines[-1])
    return lines


def table(topology_name, names, batch, say=print):
    """The markdown table of configs' attention on a TPU; must come before jax is used otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        bundles.write_to(folder)
        topology = topologies.find(topology_name)
        lines = [line for name in names for line in rows(name, batch, topology, folder, say)]
    head = f"{topology.chip.kind}, {batch} samples, bfloat16; predictions, nothing was run"
    return f"{head}\n\n{tables.markdown(HEADS, lines)}"

"""Texts as TPU's compiler writes them, shortened, and programs compiled for the CPU."""

import jax
import jax.numpy as jnp
import pytest

from trackers.planning import program, reports

LOOP = """HloModule jit_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%slice_one (stack: bf16[7,64,32], i: s32[]) -> bf16[1,64,32] {
  %stack = bf16[7,64,32]{2,1,0:T(8,128)(2,1)} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %one = bf16[1,64,32]{2,1,0:T(8,128)(2,1)} dynamic-slice(%stack, %i, %zero, %zero), dynamic_slice_sizes={1,64,32}
}

%store (stack.1: f32[7,8,32], value: f32[8,32], j: s32[]) -> f32[7,8,32] {
  %stack.1 = f32[7,8,32]{2,1,0} parameter(0)
  %value = f32[8,32]{1,0:S(1)} parameter(1)
  %j = s32[] parameter(2)
  %row = f32[1,8,32]{2,1,0} bitcast(%value)
  %zero.1 = s32[] constant(0)
  ROOT %stored = f32[7,8,32]{2,1,0} dynamic-update-slice(%stack.1, %row, %j, %zero.1, %zero.1)
}

%body (state: (s32[], bf16[8,64], bf16[7,64,32], f32[7,8,32])) -> (s32[], bf16[8,64], bf16[7,64,32], f32[7,8,32]) {
  %state = (s32[], bf16[8,64]{1,0:S(1)}, bf16[7,64,32]{2,1,0}, /*index=3*/f32[7,8,32]{2,1,0}) parameter(0)
  %n = s32[] get-tuple-element(%state), index=0
  %x = bf16[8,64]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%state), index=1
  %weights = bf16[7,64,32]{2,1,0} get-tuple-element(%state), index=2
  %kept = f32[7,8,32]{2,1,0} get-tuple-element(%state), index=3
  %weight = bf16[1,64,32]{2,1,0} fusion(%weights, %n), kind=kLoop, calls=%slice_one
  %matrix = bf16[64,32]{1,0} bitcast(%weight)
  %y = f32[8,32]{1,0:S(1)} convolution(%x, %matrix), dim_labels=bf_io->bf, backend_config={"estimated_cycles":"100"}
  %all = f32[8,32]{1,0:S(1)} all-reduce(%y), channel_id=1, replica_groups=[2,4]<=[8], to_apply=%add
  %next = f32[7,8,32]{2,1,0} fusion(%kept, %all, %n), kind=kLoop, calls=%store
  %unit = s32[] constant(1)
  %n.1 = s32[] add(%n, %unit)
  ROOT %after = (s32[], bf16[8,64]{1,0}, bf16[7,64,32]{2,1,0}, f32[7,8,32]{2,1,0}) tuple(%n.1, %x, %weights, %next)
}

%until (state.1: (s32[], bf16[8,64], bf16[7,64,32], f32[7,8,32])) -> pred[] {
  %limit = s32[]{:T(128)} constant(7)
  %state.1 = (s32[], bf16[8,64]{1,0}, bf16[7,64,32]{2,1,0}, f32[7,8,32]{2,1,0}) parameter(0)
  %n.2 = s32[] get-tuple-element(%state.1), index=0
  ROOT %less = pred[] compare(%n.2, %limit), direction=LT
}

ENTRY %main (given: (s32[], bf16[8,64], bf16[7,64,32], f32[7,8,32])) -> f32[7,8,32] {
  %given = (s32[], bf16[8,64]{1,0}, bf16[7,64,32]{2,1,0}, f32[7,8,32]{2,1,0}) parameter(0)
  %loop = (s32[], bf16[8,64]{1,0}, bf16[7,64,32]{2,1,0}, f32[7,8,32]{2,1,0}) while(%given), condition=%until, body=%body
  ROOT %result = f32[7,8,32]{2,1,0} get-tuple-element(%loop), index=3
}
"""


def test_the_body_of_a_loop_counts_as_often_as_it_runs():
    read = program.read(LOOP)
    assert read.flops == 7 * 2 * 8 * 64 * 32
    assert read.cycles == 7 * 100
    (reduce,) = read.collectives
    assert (reduce.kind, reduce.times, reduce.bytes, reduce.group) == ("all-reduce", 7, 8 * 32 * 4, (0, 1, 2, 3))
    assert not reduce.overlaps
    along = reports.collectives(read, {"data": 2, "fsdp": 2, "tensor": 2})
    assert along == {("all-reduce", "fsdp+tensor"): (7, 7 * 8 * 32 * 4, False)}


CHAIN = """HloModule jit_step

%begin (own: bf16[2,8]) -> (bf16[2,8], bf16[16,8], u32[]) {
  %own = bf16[2,8]{1,0} parameter(0)
  %gather = bf16[16,8]{1,0} all-gather(%own), channel_id=4, replica_groups=[1,8]<=[8], dimensions={0}
  ROOT %begun = (bf16[2,8]{1,0}, bf16[16,8]{1,0}, u32[]) custom-call(%gather), custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion (mine: bf16[2,8], whole: bf16[16,8], x: f32[4,4]) -> (f32[4,4], bf16[2,8], bf16[16,8]) {
  %mine = bf16[2,8]{1,0} parameter(0)
  %whole = bf16[16,8]{1,0} parameter(1)
  %x = f32[4,4]{1,0} parameter(2)
  %gather.1 = bf16[16,8]{1,0} all-gather(%mine), channel_id=4, replica_groups=[1,8]<=[8], dimensions={0}
  %negated = f32[4,4]{1,0} negate(%x)
  ROOT %both = (f32[4,4]{1,0}, bf16[2,8]{1,0}, bf16[16,8]{1,0}) tuple(%negated, %mine, %whole)
}

%end (mine.1: bf16[2,8], whole.1: bf16[16,8]) -> bf16[16,8] {
  %mine.1 = bf16[2,8]{1,0} parameter(0)
  %whole.1 = bf16[16,8]{1,0} parameter(1)
  %gather.2 = bf16[16,8]{1,0} all-gather(%mine.1), channel_id=4, replica_groups=[1,8]<=[8], dimensions={0}
  ROOT %ended = bf16[16,8]{1,0} custom-call(%whole.1, %gather.2), custom_call_target="AsyncCollectiveDone"
}

ENTRY %main (p: bf16[2,8], q: f32[4,4]) -> bf16[16,8] {
  %p = bf16[2,8]{1,0} parameter(0)
  %q = f32[4,4]{1,0} parameter(1)
  %start = (bf16[2,8]{1,0}, bf16[16,8]{1,0}, u32[]) fusion(%p), kind=kCustom, calls=%begin
  %a = bf16[2,8]{1,0} get-tuple-element(%start), index=0
  %b = bf16[16,8]{1,0} get-tuple-element(%start), index=1
  %step = (f32[4,4]{1,0}, bf16[2,8]{1,0}, bf16[16,8]{1,0}) fusion(%a, %b, %q), calls=%async_collective_fusion
  %c = bf16[2,8]{1,0} get-tuple-element(%step), index=1
  %d = bf16[16,8]{1,0} get-tuple-element(%step), index=2
  ROOT %done = bf16[16,8]{1,0} fusion(%c, %d), kind=kCustom, calls=%end
}
"""


def test_a_collective_in_pieces_beside_other_work_counts_once():
    read = program.read(CHAIN)
    (gather,) = read.collectives
    assert (gather.kind, gather.times, gather.bytes, gather.overlaps) == ("all-gather", 1, 16 * 8 * 2, True)
    assert {op.name: op.bytes for op in read.operations}["step"] == 2 * 4 * 4 * 4


def test_memory_traffic_is_that_of_slices_and_leaves_out_what_stays_on_the_chip():
    by_name = {op.name: op.bytes for op in program.read(LOOP).operations}
    assert by_name["weight"] == 2 * 64 * 32 * 2 + 4  # a slice in, a slice out, its index
    assert by_name["y"] == 64 * 32 * 2  # activations are on the chip
    assert by_name["next"] == 8 * 32 * 4 + 4  # the row that is stored, not the stack


def test_a_kernel_counts_with_the_flops_that_it_states():
    kernel = LOOP.replace(
        "convolution(%x, %matrix), dim_labels=bf_io->bf, backend_config={",
        'custom-call(%x, %matrix), custom_call_target="tpu_custom_call", backend_config={"config":{"body":"",'
        '"cost_estimate":{"flops":"5000","transcendentals":"7"}},',
    )
    assert program.read(kernel).flops == 7 * 5000


def test_products_of_float32_are_told_apart():
    assert {op.wide for op in program.read(LOOP).operations} == {0.0}
    by_name = {op.name: op for op in program.read(LOOP.replace("bf16", "f32")).operations}
    assert by_name["y"].wide == by_name["y"].flops == 2 * 8 * 64 * 32 and by_name["weight"].wide == 0


def test_a_noted_trip_count_goes_first_and_a_loop_without_any_is_refused():
    noted = LOOP.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"3"}}')
    assert program.read(noted).flops == 3 * 2 * 8 * 64 * 32
    with pytest.raises(ValueError, match="how often the loop loop runs"):
        program.read(LOOP.replace("direction=LT", "direction=NE"))


def _scanned(x, weights):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]


def test_a_compiled_loop_with_gradients_where_xlas_own_count_sees_one_round():
    rounds, rows, width = 9, 8, 32
    shapes = (
        jax.ShapeDtypeStruct((rows, width), jnp.float32),
        jax.ShapeDtypeStruct((rounds, width, width), jnp.float32),
    )
    compiled = jax.jit(jax.grad(lambda x, w: _scanned(x, w).sum(), argnums=(0, 1))).lower(*shapes).compile()
    expected = 3 * rounds * 2 * rows * width**2
    assert program.read(compiled.as_text()).flops == expected
    assert compiled.cost_analysis()["flops"] < expected / 2

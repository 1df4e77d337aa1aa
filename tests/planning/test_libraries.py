"""Calls of libraries and of our own kernels, as XLA's compiler for NVIDIA cards writes them (shortened)."""

import pytest

from trackers.planning import libraries, program

B, N, H, D = 2, 5, 3, 8
LOGITS = B * H * N * N
CUDNN = (
    f'custom_call_target="__cudnn$fmhaSoftmax{{}}", backend_config={{{{"cudnn_fmha_backend_config": {{{{'
    f'"intermediate_tensor_shape": {{{{"element_type": "BF16", "dimensions": ["{B}", "{H}", "{N}", "{N}"]}}}}}}}}}}}}'
)
TRITON = 'custom_call_target="__gpu$xla.gpu.triton", metadata={{op_name="jit(f)/block_0/{}/pallas_call"}}'


def leaf(*dims):
    return program.Leaf(16, dims, True)


def call(attrs, *leaves):
    return program.Instruction("c", "custom-call", leaves, ("x", "w"), "", attrs, False)


@pytest.mark.parametrize(
    ("instruction", "products", "exponentials"),
    [
        (call(CUDNN.format(""), leaf(B, H, N, D)), 2, 1),
        (call(CUDNN.format("Backward"), leaf(B, H, N, D)), 5, 1),
        (call(TRITON.format("divided_attention"), leaf(B, N, H, D)), 2, 1),
        (call(TRITON.format("divided_attention_backward"), leaf(B, N, 3, H, D)), 7, 2),
    ],
)
def test_attention(instruction, products, exponentials):
    assert libraries.flops(instruction, []) == 2 * products * LOGITS * D
    vector, special = libraries.elementwise(instruction)
    assert special == exponentials * LOGITS and vector > special


@pytest.mark.parametrize("attrs", [TRITON.format("norm"), 'custom_call_target="other"', ""])
def test_what_is_not_known_counts_by_its_traffic_alone(attrs):
    instruction = call(attrs, leaf(4, 4))
    assert libraries.flops(instruction, [leaf(4, 4)]) == 0 and libraries.elementwise(instruction) == (0, 0)


@pytest.mark.parametrize("target", ["__cublas$gemm", "__cublas$lt$matmul", "__cublas$lt$matmul$f8"])
def test_a_product_counts_what_it_sums(target):
    numbers = (
        '{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1","3"],"rhs_contracting_dimensions":["0","2"]}}'
    )
    attrs = f'custom_call_target="{target}", backend_config={{"gemm_backend_config":{numbers}}}'
    instruction = call(attrs, leaf(4, 6, 9), leaf(4194304))  # a work space after the result
    assert libraries.flops(instruction, [leaf(4, 5, 6, 7), leaf(5, 9, 7)]) == 2 * 4 * 6 * 9 * 5 * 7


IMAGE, KERNEL, RESULT = leaf(2, 8, 8, 5), leaf(6, 3, 3, 5), leaf(2, 8, 8, 6)
# 3x3 over 8x8 with zeros around: 22 of 24 places an axis are inside.
FLOPS = 2 * 2 * 22 * 22 * 5 * 6


@pytest.mark.parametrize(
    ("kind", "result", "operands"),
    [
        ("Forward", RESULT, [IMAGE, KERNEL]),
        ("BiasActivationForward", RESULT, [IMAGE, KERNEL, leaf(6)]),
        ("BackwardFilter", KERNEL, [IMAGE, RESULT]),
        ("BackwardInput", IMAGE, [RESULT, KERNEL]),
    ],
)
def test_a_convolution_and_its_gradients_take_as_many(kind, result, operands):
    attrs = f'window={{size=3x3 pad=1_1x1_1}}, dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$conv{kind}"'
    assert libraries.flops(call(attrs, result), operands) == FLOPS

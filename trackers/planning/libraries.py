"""What a program for NVIDIA cards gives to cuDNN, cuBLAS and our own kernels (Triton): their text says no more of these
than shapes and names."""

import math
import re

from trackers.planning import convolutions

_TARGET = re.compile(r'custom_call_target="([^"]+)"')
# Of attention: the logits' shape, as cuDNN is told it.
_LOGITS = re.compile(r'"intermediate_tensor_shape":\s*\{[^{}]*"dimensions":\s*\[([^\]]*)\]')
# Products of (N,N) by d that a kernel takes: cuDNN's backward pass five (FlashAttention-2), that of
# nn/fused_attention.py seven, as it computes logits and their gradients twice.
_CUDNN = {"__cudnn$fmhaSoftmax": 2, "__cudnn$fmhaSoftmaxBackward": 5}
_OURS = {"divided_attention": 2, "divided_attention_backward": 7}
_KERNEL = re.compile(r"/(\w+)/pallas_call")
# Of a product: the axes of its first operand that are summed.
_SUMMED = re.compile(r'"lhs_contracting_dimensions":\[([^\]]*)\]')
# For each logit that is computed: exponentials, and other operations (scale, shift, largest and sum; extents by the
# division; their gradients).
_SPECIAL = {"__cudnn$fmhaSoftmax": 1, "__cudnn$fmhaSoftmaxBackward": 1}
_SPECIAL |= {"divided_attention": 1, "divided_attention_backward": 2}
_VECTOR = {"__cudnn$fmhaSoftmax": 6, "__cudnn$fmhaSoftmaxBackward": 8}
_VECTOR |= {"divided_attention": 12, "divided_attention_backward": 40}


def flops(instruction, operands):
    """FLOPs of one execution of a custom call, 0 where it is unknown.

    Args: instruction: program.Instruction. operands: program.Leaf of each.
    """
    target = _TARGET.search(instruction.attrs)
    if target is None:
        return 0.0
    if target[1].startswith("__cudnn$conv") and len(operands) > 1:
        return _convolution(target[1], instruction, operands)
    if target[1].startswith("__cublas") and operands:
        return _product(instruction, operands[0])
    name, logits, d = _attention(instruction, target[1])
    return 2.0 * (_CUDNN | _OURS)[name] * logits * d if name else 0.0


def elementwise(instruction):
    """(vector, special) operations of one execution of a custom call."""
    target = _TARGET.search(instruction.attrs)
    name, logits, _ = _attention(instruction, target[1]) if target else (None, 0, 0)
    return (logits * _VECTOR[name], logits * _SPECIAL[name]) if name else (0.0, 0.0)


def _attention(instruction, target):
    """(what _VECTOR calls it, number of logits, size of a head), name None where it is not attention."""
    shape = instruction.leaves[0].dims if instruction.leaves else ()
    if target in _CUDNN:
        logits = _LOGITS.search(instruction.attrs)
        return target, math.prod(int(size) for size in re.findall(r"\d+", logits[1])) if logits else 0, shape[-1]
    named = _KERNEL.search(instruction.attrs) if target == "__gpu$xla.gpu.triton" else None
    if named and named[1] in _OURS:
        # (B,N,H,d), of its gradient (B,N,3,H,d).
        return named[1], shape[0] * shape[1] ** 2 * shape[-2], shape[-1]
    return None, 0, 0


def _product(instruction, first):
    """Of a matrix product, whose result comes first (a work space after it)."""
    summed = _SUMMED.search(instruction.attrs)
    sizes = [first.dims[int(axis)] for axis in re.findall(r"\d+", summed[1])] if summed else [0]
    return 2.0 * math.prod(instruction.leaves[0].dims) * math.prod(sizes)


def _convolution(target, instruction, operands):
    result, (first, second) = instruction.leaves[0], operands[:2]
    if target.endswith("BackwardFilter"):
        image, kernel, made = first, result, second
    elif target.endswith("BackwardInput"):
        image, kernel, made = result, second, first
    else:
        image, kernel, made = first, second, result
    return convolutions.flops(instruction.attrs, image, kernel, made)

"""Multiply-adds against closed formulas: exact, so compared as integers."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import trackers
from trackers.nn import encoder
from trackers.training import flops

N, D, HEADS = 20, 24, 3
KEY = jax.random.key(0)
BLOCK = 12 * N * D**2 + 2 * N**2 * D


def shaped(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def vit(scan_layers=False, remat="none", depth=4, relation=((1,),)):
    """(encoder, abstract variables, abstract tokens) of `depth` blocks over N tokens."""
    model = encoder.Encoder(
        width=D,
        depth=depth,
        heads=HEADS,
        patch_size=4,
        grids=(("search", (4, 5)),),
        relations=(relation,) * depth,
        scan_layers=scan_layers,
        remat=remat,
    )
    lengths = (N,) if len(relation) == 1 else (N // 2, N // 2)
    tokens = shaped(1, N, D)
    variables = jax.eval_shape(lambda x: model.init(KEY, x, lengths), tokens)
    return lambda v, x: model.apply(v, x, lengths).tokens, variables, tokens


@pytest.mark.parametrize("scan_layers, remat", [(False, "none"), (True, "none"), (True, "full")])
def test_vit_blocks_follow_the_formula(scan_layers, remat):
    run, variables, tokens = vit(scan_layers, remat)
    assert flops.multiply_adds(run, variables, tokens) == 4 * BLOCK


def test_split_attention_saves_the_forbidden_products():
    run, variables, tokens = vit(depth=1, relation=((1, 0), (1, 1)))
    seen = N * N - (N // 2) ** 2
    assert flops.multiply_adds(run, variables, tokens) == 12 * N * D**2 + 2 * seen * D


@pytest.mark.parametrize("groups, stride", [(1, 1), (1, 2), (4, 1)])
def test_convolutions(groups, stride):
    def convolve(image, kernel):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            image, kernel, (stride, stride), "SAME", dimension_numbers=dimensions, feature_group_count=groups
        )

    count = flops.multiply_adds(convolve, shaped(2, 10, 8, 8), shaped(3, 3, 8 // groups, 16))
    assert count == 2 * (10 // stride) * (8 // stride) * 16 * 9 * 8 // groups


def test_a_patch_embedding_costs_its_matrix_product_forward_and_back():
    def embed(image, kernel):
        return lax.conv_general_dilated(image, kernel, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    image, kernel = shaped(2, 16, 12, 3), shaped(4, 4, 3, 8)
    forward = 2 * 12 * (4 * 4 * 3) * 8
    assert flops.multiply_adds(embed, image, kernel) == forward
    gradients = jax.grad(lambda image, kernel: jnp.sum(embed(image, kernel) ** 2), argnums=(0, 1))
    assert flops.multiply_adds(gradients, image, kernel) == 3 * forward


def test_control_flow_and_transformations():
    a, b = shaped(3, 4), shaped(4, 5)
    product = 3 * 4 * 5
    assert flops.multiply_adds(jnp.matmul, a, b) == product
    assert flops.multiply_adds(jax.jit(jnp.matmul), a, b) == product
    assert flops.multiply_adds(jax.checkpoint(jnp.matmul), a, b) == product
    assert flops.multiply_adds(jax.vmap(jnp.matmul, (0, None)), shaped(7, 3, 4), b) == 7 * product
    scanned = lambda a, b: lax.scan(lambda carry, _: (carry, a @ b), 0, None, length=6)[1]  # noqa: E731
    assert flops.multiply_adds(scanned, a, b) == 6 * product
    branches = lambda a, b: lax.cond(a[0, 0] > 0, lambda: 2.0 * (a @ (b @ b.T @ b)), lambda: a @ b)  # noqa: E731
    assert flops.multiply_adds(branches, a, b) == 4 * 5 * 4 + 4 * 4 * 5 + product
    assert flops.multiply_adds(jax.grad(lambda a, b: jnp.sum((a @ b) ** 2)), a, b) == 2 * product

    @jax.custom_vjp
    def custom(a, b):
        return a @ b

    custom.defvjp(lambda a, b: (a @ b, b), lambda b, g: (g @ b.T, jnp.zeros_like(b)))
    assert flops.multiply_adds(custom, a, b) == product


def test_what_no_result_depends_on_is_free():
    a, b = shaped(3, 4), shaped(4, 5)
    both = jax.jit(lambda a, b: (a @ b, b.T @ b))
    assert flops.multiply_adds(both, a, b) == 3 * 4 * 5 + 5 * 4 * 5
    assert flops.multiply_adds(lambda a, b: both(a, b)[0], a, b) == 3 * 4 * 5


def test_a_loop_of_unknown_length_is_refused():
    square = shaped(3, 3)
    with pytest.raises(ValueError, match="number of rounds"):
        flops.multiply_adds(lambda x: lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ x, x), square)
    assert flops.multiply_adds(lambda x: lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x + 1, x), square) == 0


def test_template_and_search_add_up_to_the_whole():
    model = trackers.build({"name": "grm", "width": 24, "depth": 2, "heads": 3, "patch_size": 8,
                            "template_size": 32, "search_size": 64, "head": {"channels": 8}})  # fmt: skip
    variables = jax.eval_shape(lambda key: trackers.init(model, key), KEY)
    count = flops.of_tracker(model)
    assert count["template"] + count["search"] == count["whole"]
    assert count["template"] == 16 * (8 * 8 * 3) * 24, "only the patch embedding: template tokens look at search tokens"
    assert count["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_two_streams_cost_less_than_one():
    fields = {"name": "grm", "width": 24, "depth": 3, "heads": 3, "patch_size": 8, "template_size": 32}
    fields |= {"search_size": 64, "head": {"channels": 8}}
    one, two = (
        flops.of_tracker(trackers.build({**fields, "division": {"mode": mode}}))
        for mode in ("one_stream", "two_stream")
    )
    # In all layers but the last neither span looks at the other: 2 layers, 2 * 16 * 64 pairs, 2 products of width 24.
    assert one["whole"] - two["whole"] == 2 * (2 * 16 * 64) * 2 * 24

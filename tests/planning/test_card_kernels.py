"""Which kernels a function should be on a card, and what each moves and computes: small cases counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from trackers.planning import card_kernels

X, W = jnp.zeros((6, 8)), jnp.zeros((8, 4))


def kernels(function, *args):
    return card_kernels.of_function(function, *args)


def test_what_is_connected_is_one_kernel():
    (one,) = kernels(lambda x, y: jnp.exp(x + y) * x, X, X)
    assert one.bytes == 3 * 6 * 8 * 4  # x once, although it is read twice
    # An addition and a multiplication; an exponential, which is four steps and one of the special units.
    assert one.vector == (1 + 1 + 4) * 48 and one.special == 48 and one.products == [] and one.times == 1


def test_what_is_not_connected_is_not():
    assert len(kernels(lambda x, w: (x * 2, w * 2), X, W)) == 2


def test_a_product_is_a_kernel_of_its_own():
    product, rest = kernels(lambda x, w, b: jnp.maximum(x @ w + b, 0.0), X, W, jnp.zeros(4))
    assert product.bytes == 4 * (48 + 32 + 24) and len(product.products) == 1 and product.vector == 0
    assert rest.bytes == 4 * (24 + 4 + 24) and rest.vector == 2 * 24  # the bias as it is in memory, not repeated


def test_a_sum_along_the_last_axis_goes_on_and_another_ends_the_kernel():
    (norm,) = kernels(lambda x: x - x.sum(-1, keepdims=True), X)
    assert norm.bytes == 2 * 192
    first, second = kernels(lambda x: x - x.sum(0), X)
    assert sorted((first.bytes, second.bytes)) == [192 + 32, 192 + 32 + 192]


def test_views_and_wider_numbers_cost_nothing():
    half = X.astype(jnp.bfloat16)
    (one,) = kernels(lambda x: (x.T.astype(jnp.float32)[:4] * 2).reshape(-1), half)
    assert one.bytes == 4 * 6 * 2 + 4 * 6 * 4 and one.vector == 24
    converted, product = kernels(lambda x, w: x @ w.astype(jnp.bfloat16), half, W)
    assert converted.bytes == 32 * 4 + 32 * 2 and product.bytes == 2 * (48 + 32 + 24)


def test_what_is_read_later_is_computed_later():
    def late(x, w):
        slope = jnp.exp(x @ w)
        return ((x @ w) @ w.T @ w) * slope

    found = kernels(late, X, W)
    (last,) = (each for each in found if not each.products)
    assert len(found) == 5
    assert last.bytes == 4 * 3 * 24 and last.special == 24  # both products are read, the slope is never written


def test_numbers_alone_are_no_kernels():
    reduced, scaled = kernels(lambda x: x / (jnp.sqrt(x.sum()) + 1.0), X)
    assert reduced.vector == 48 and scaled.vector == 8 * 48


def test_what_nothing_depends_on_is_left_out_and_loops_count_with_their_length():
    def looped(x):
        unused = jnp.exp(x)
        return jax.lax.scan(lambda carry, _: (jnp.sin(carry) + 0 * unused, None), x, length=5)[0]

    assert sum(each.times * each.special for each in kernels(looped, X)) == 48 + 5 * 48
    (one,) = kernels(lambda x: (jnp.exp(x), x + 1)[1], X)
    assert one.special == 0


def attend(q, k, v):
    weights = jax.nn.softmax(jnp.einsum("bnhd,bmhd->bhnm", q, k), axis=-1)
    return jnp.einsum("bhnm,bmhd->bnhd", weights, v)


def test_attention_keeps_its_logits():
    q = jnp.zeros((2, 16, 3, 4))
    (one,) = kernels(attend, q, q + 1, q + 2)
    assert one.attention and len(one.products) == 2 and one.bytes == 4 * q.nbytes
    assert one.special == 2 * 2 * 3 * 16 * 16  # exponentials and quotients

    def loss(*args):
        return (attend(*args) ** 2).sum()

    found = kernels(jax.grad(loss, argnums=(0, 1, 2)), q, q + 1, q + 2)
    attention = [each for each in found if each.attention]
    assert [each for each in found if each.products] == attention
    # Forward q, k, v and the output. Back the output's gradient and that of v, which nothing ties to the rest in the
    # plain form: q, k, v, the output's gradient and those of q and k.
    assert sorted((len(each.products), each.bytes / q.nbytes) for each in attention) == [(1, 2), (2, 4), (3, 6)]


@pytest.mark.parametrize("axes", [("bnd,bmd->bnm", (2, 6, 4)), ("nd,md->nm", (6, 4))])
def test_other_products_are_not_attention(axes):
    equation, shape = axes
    (one,) = kernels(lambda x, y: jnp.einsum(equation, x, y), jnp.zeros(shape), jnp.zeros(shape))
    assert not one.attention and one.products

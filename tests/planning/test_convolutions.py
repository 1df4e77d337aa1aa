import pytest

from trackers.planning import convolutions, program


@pytest.mark.parametrize(
    ("attrs", "image", "kernel", "result", "products"),
    [
        # 3x3 over 4x4 with zeros around: 10 of 12 places an axis are inside.
        ("window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f", (2, 4, 4, 5), (3, 3, 5, 6), (2, 4, 4, 6),
         2 * 10 * 10 * 5 * 6),
        ("window={size=2 stride=2}, dim_labels=b0f_0io->b0f", (2, 8, 5), (2, 5, 6), (2, 4, 6), 2 * 8 * 5 * 6),
        # A batch of 3 matrix products: the batch is an axis of which each output meets one entry.
        ("window={size=3 stride=2 lhs_dilate=3}, dim_labels=0bf_0oi->0bf", (3, 7, 5), (3, 6, 5), (3, 7, 6),
         3 * 7 * 5 * 6),
        # A sum over heads (2) written as an axis that is padded and turned around.
        ("window={size=2 pad=1_1 rhs_reversal=1}, dim_labels=bf0_i0o->b0f", (4, 5, 1), (5, 2, 6), (4, 2, 6),
         4 * 2 * 5 * 6),
    ],
)  # fmt: skip
def test_convolutions_count_products_that_enter_a_sum(attrs, image, kernel, result, products):
    leaf = lambda dims: program.Leaf(16, dims, True)  # noqa: E731
    assert convolutions.flops(attrs, leaf(image), leaf(kernel), leaf(result)) == 2 * products

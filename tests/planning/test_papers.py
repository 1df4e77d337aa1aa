"""Multiply-adds that the papers print, beside what the programs do."""

import collections

import jax
import jax.numpy as jnp
import pytest

import trackers
from configs import simtrack
from trackers.nn import corner
from trackers.training import flops


@pytest.mark.parametrize(
    ("variant", "printed", "within"),
    [("b16", 25.0, 0.04), ("b16_star", 14.7, 0.11), ("b32", 11.5, 0.04), ("l14", 95.4, 0.02)],
)
def test_simtrack_table_1(variant, printed, within):
    """Matrix products and convolutions of backbone and head, template and search crop: 24.11, 16.27, 11.05 and 96.46 G.

    The paper does not say what it counts, prints 23.4 for the first in Table 4, and its 14.7 for eight of twelve layers
    is less than two thirds of its 25.0, which leaves nothing for the head.
    """
    count = flops.of_tracker(trackers.build(simtrack.get_config(variant).model))["whole"]
    assert count / 1e9 == pytest.approx(printed, rel=within)


# Of MixFormerV2's supplement, the load of a pyramid corner head, all with kernel 3: channels in and out, side of the
# map, how often.
PRINTED = [
    (768, 384, 18, 1), (384, 192, 18, 2), (192, 96, 36, 2), (384, 96, 18, 1), (96, 48, 72, 1), (48, 1, 72, 1),
    (192, 96, 18, 1), (96, 48, 18, 3), (96, 48, 36, 2), (48, 1, 36, 1),
]  # fmt: skip


def test_pyramid_corner_head():
    """The printed terms add up to 4,493,532,672, the printed result is 3,902,587,776; the program's convolutions, whose
    weights are published, make 4,543,579,008. Of a branch: side of the map, kernel, channels in and out."""
    convolutions = [
        (18, 3, 768, 384), (18, 3, 384, 192),  # low
        (18, 3, 768, 192), (36, 3, 192, 96),  # adjust1, middle
        (18, 3, 768, 96), (72, 3, 96, 48), (72, 1, 48, 1),  # adjust2, high, conv5
        (18, 3, 192, 96), (18, 3, 96, 48), (18, 3, 48, 1),  # adjust3
        (36, 3, 96, 48), (36, 3, 48, 1),  # adjust4
    ]  # fmt: skip
    head = corner.PyramidCornerHead()
    features = jax.ShapeDtypeStruct((1, 18, 18, 768), jnp.float32)
    variables = jax.eval_shape(lambda x: head.init(jax.random.key(0), x), features)
    logits = lambda v, x: {k: m for k, m in head.apply(v, x).items() if k.endswith("logits")}  # noqa: E731
    count = flops.multiply_adds(logits, variables, features)
    assert count == 2 * sum(side**2 * kernel**2 * into * out for side, kernel, into, out in convolutions)
    assert count == 4_543_579_008
    printed = [(side, 3, into, out) for into, out, side, often in PRINTED for _ in range(often)]
    assert 2 * sum(side**2 * kernel**2 * into * out for side, kernel, into, out in printed) == 4_493_532_672
    # Terms of the one that the other does not have, as docs/distillation.md lists them.
    ours, theirs = collections.Counter(convolutions), collections.Counter(printed)
    assert set(ours - theirs) == {(18, 3, 768, 192), (18, 3, 768, 96), (72, 1, 48, 1), (18, 3, 48, 1)}
    left = {
        (18, 3, 384, 192): 1, (36, 3, 192, 96): 1, (18, 3, 384, 96): 1, (72, 3, 48, 1): 1, (18, 3, 96, 48): 2,
        (36, 3, 96, 48): 1,
    }  # fmt: skip
    assert theirs - ours == left

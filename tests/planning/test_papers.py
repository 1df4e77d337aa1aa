"""Multiply-adds that the papers print, beside what the programs do."""

import collections
import types

import jax
import jax.numpy as jnp
import pytest

import trackers
from benchmarks import multiply_adds
from configs import simtrack
from trackers.nn import corner
from trackers.training import flops

# Multiply-adds of one full forward without the corner head (G), as SimTrack counts, and of what comes closest to the
# printed number, where something does.
COUNTED = {
    ("b32", 11.5): (10.86, 11.53),
    ("b16_star", 14.7): (15.89, 14.75),
    ("b16", 25.0): (23.73, None),
    ("b16", 23.4): (23.73, 23.42),
    ("l14", 95.4): (95.96, 95.35),
    ("stark_sv_b32", 13.3): (11.48, None),
    ("stark_sv", 25.6): (24.16, None),
    ("stark_sv_l14", 95.6): (94.83, None),
    ("pvt_m", 8.9): (8.48, 8.87),
    ("swin_b", 15.0): (18.50, None),
}


@pytest.mark.parametrize("printed", multiply_adds.PRINTED, ids=lambda printed: f"{printed.config}-{printed.number}")
def test_simtracks_tables_1_4_and_7(printed):
    cells = multiply_adds.papers_row(printed)
    ours, closest = COUNTED[printed.config, printed.number]
    assert cells[2] == f"{ours:.2f}" and cells[5] == (f"{closest:.2f}" if closest else "")
    assert cells[3] == f"{printed.number:.1f}" and float(cells[4]) == pytest.approx(ours - printed.number, abs=0.006)
    assert closest is None or closest == pytest.approx(printed.number, abs=0.06)
    assert (closest is None) == (printed.which == "not found")


def test_the_command_prints_a_row_for_each(monkeypatch, capsys):
    monkeypatch.setattr(multiply_adds, "FLAGS", types.SimpleNamespace(papers=True))
    monkeypatch.setattr(multiply_adds, "PRINTED", multiply_adds.PRINTED[2:3])
    multiply_adds.main(["multiply_adds"])
    assert capsys.readouterr().out.splitlines()[2].split() == (
        ["|", "Table", "1", "|", "b16", "|", "23.73", "|", "25.0", "|", "-1.27", "|", "|", "not", "found", "|"]
    )


def test_every_printed_number_is_in_the_table_and_in_the_run_cards():
    assert COUNTED.keys() == {(printed.config, printed.number) for printed in multiply_adds.PRINTED}
    assert all(f"{number} G" in simtrack.__doc__ or f"Table 4: {number}" in simtrack.__doc__ for _, number in COUNTED)


def test_what_is_counted_before_the_head_is_backbone_projection_and_transformer():
    """Of STARK-SV of B/16, by hand: two streams of 50 and 196 tokens, their embedding and projection, six encoder
    layers over 245 tokens, six decoder layers of one query, and the similarity to it; resized positions come on top."""
    layer = lambda n, width: 12 * n * width**2 + 2 * n**2 * width  # noqa: E731
    vit = 12 * (layer(50, 768) + layer(196, 768)) + 245 * 768 * 768
    projected, hidden = 245 * 768 * 256, 2 * 256 * 2048
    encoder = 6 * (245 * (4 * 256**2 + hidden) + 2 * 245**2 * 256)
    own, other = 4 * 256**2 + 2 * 256, 2 * 256**2 + 2 * 245 * 256**2 + 2 * 245 * 256
    decoder = 6 * (own + other + hidden)
    count = multiply_adds.before_the_head(trackers.build(simtrack.get_config("stark_sv").model))
    assert count == pytest.approx(vit + projected + encoder + decoder + 196 * 256, rel=2e-3)


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

"""Multiply-adds and parameters of trackers, template and search counted apart, read off the program itself.

    python -m benchmarks.multiply_adds configs/grm.py:b256 configs/grm.py:l320 [...]
    python -m benchmarks.multiply_adds --papers                    # beside what SimTrack's Tables 1, 4 and 7 print

template: once a target. search: every frame, with the template's keys and values cached where no template token looks
at a search token. whole: one full forward, what papers call FLOPs. Counted are matrix products and convolutions, one
for each product that enters a sum; element-wise work is not. Nothing is computed, so any size takes seconds.

With --papers "ours" is SimTrack's convention: one full forward of backbone (patch embedding, all layers) and
transformer head, exemplar and search crop, without the corner head (Table 1). "closest" is the count nearest to the
printed one that we know of, and `PRINTED` says what is in it.
"""

import dataclasses

import jax
from absl import flags

import trackers
from configs import variants
from trackers import errors
from trackers.evaluation import tables
from trackers.training import flops

FLAGS = flags.FLAGS
flags.DEFINE_bool("papers", False, "What the papers print beside what is counted here, and what explains it.")

HEADS = ["config", "template G", "search G", "whole G", "parameters M"]
PAPERS_HEADS = ["SimTrack", "config", "ours G", "paper G", "difference G", "closest G", "which is"]


@dataclasses.dataclass(frozen=True)
class Printed:
    """A number that SimTrack's paper prints: of which config, in which table, in 1e9.

    closest: function (model) -> multiply-adds that come near it, None where nothing was found. which: what it counts.
    """

    table: str
    config: str
    number: float
    closest: object = None
    which: str = "not found"


def layers_alone(tokens, embedded=False):
    """The multiply-adds, as a function of a model, of its ViT's layers over so many tokens of one stream.

    A layer of N tokens of width D has 12 N D^2 (four projections, an MLP of ratio 4) + 2 N^2 D (attention).
    embedded: with the patch embedding of these tokens.
    """

    def count(model):
        width, pixels = model.width, 3 * model.patch_size**2
        layer = 12 * tokens * width**2 + 2 * tokens**2 * width
        return model.depth * layer + (tokens * pixels * width if embedded else 0)

    return count


def whole(model):
    """The multiply-adds of one full forward, the corner head with it."""
    return flops.of_tracker(model)["whole"]


def before_the_head(model):
    """The multiply-adds of one full forward up to what the corner head reads."""
    inputs = jax.eval_shape(lambda: trackers.example_inputs(model))
    variables = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))
    run = lambda variables, *inputs: model.apply(variables, *inputs, features=True).features["head"]  # noqa: E731
    return flops.multiply_adds(run, variables, *inputs)


# Exemplar, foveal window, search crop and class token have 49 + 16 + 196 + 1 tokens (B/16), 16 + 4 + 100 + 1 (B/32) and
# 36 + 9 + 256 + 1 (L/14). The paper says nothing of STARK-SV's head. Sums of its parts (class token in no, one or both
# streams, embedding, projection, encoder layers, a decoder of one query or of all search tokens, 256 or 512 channels,
# corner head, the products of attention) were tried: none comes nearer than 0.58 G to all three numbers.
PRINTED = (
    Printed("Tables 1, 4", "b32", 11.5, layers_alone(132), "layers alone, no class token, 16 foveal ones (64 / 16)^2"),
    Printed("Table 1", "b16_star", 14.7, layers_alone(245, True), "8 layers and embedding, no class or foveal tokens"),
    Printed("Table 1", "b16", 25.0),
    Printed("Table 4", "b16", 23.4, layers_alone(261), "layers alone, no class token"),
    Printed("Tables 1, 4", "l14", 95.4, layers_alone(301), "layers alone, no class token"),
    Printed("Table 4", "stark_sv_b32", 13.3),
    Printed("Table 4", "stark_sv", 25.6),
    Printed("Table 4", "stark_sv_l14", 95.6),
    Printed("Table 7", "pvt_m", 8.9, whole, "with the corner head"),
    Printed("Table 7", "swin_b", 15.0),
)


def row(name):
    """A table row of a config FILE.py:VARIANT, in units of 1e9 multiply-adds and 1e6 parameters."""
    count = flops.of_tracker(trackers.build(variants.load(name).model))
    numbers = [f"{count[part] / 1e9:.2f}" for part in ("template", "search", "whole")]
    return [name.removeprefix("configs/"), *numbers, f"{count['parameters'] / 1e6:.1f}"]


def papers_row(printed):
    """A table row of a Printed, in units of 1e9 multiply-adds."""
    model = trackers.build(variants.load(f"configs/simtrack.py:{printed.config}").model)
    ours = before_the_head(model) / 1e9
    closest = f"{printed.closest(model) / 1e9:.2f}" if printed.closest else ""
    numbers = [f"{ours:.2f}", f"{printed.number:.1f}", f"{ours - printed.number:+.2f}", closest]
    return [printed.table, printed.config, *numbers, printed.which]


def main(argv):
    if FLAGS.papers == (len(argv) > 1):
        raise errors.UsageError("name the configs, e.g. configs/grm.py:b256 configs/simtrack.py:b16, or give --papers")
    if FLAGS.papers:
        print(tables.markdown(PAPERS_HEADS, [papers_row(printed) for printed in PRINTED]))
    else:
        print(tables.markdown(HEADS, [row(name) for name in argv[1:]]))


if __name__ == "__main__":
    errors.run(main, positional=True)

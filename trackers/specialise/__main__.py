"""Leaves out the division modules of layers whose division is constant over a benchmark (GRM, appendix C.2).

    python -m trackers.specialise --benchmark frames:DIR --out OUT                     # the shipped GRM
    python -m trackers.specialise --config configs/grm.py:b256 --checkpoint DIR_OR_PTH --benchmark got10k:DIR --out OUT

Tracks the sequences and prints for each layer which share of the search tokens interacts with the template. A layer in
which all do becomes one-stream, one in which none does two-stream; neither has a module any more. --tolerance lets
that share of a layer's tokens be otherwise. --out, new or empty, gets the config, the weights and the tables; eval.py
and track.py take it as --checkpoint. Both networks track side by side, and what differs is printed.

A two-stream layer can be computed split, template and search tokens apart, or masked, as the learned layer computes it
(model.division.two_stream_form). --two_stream auto takes split where no box of one step differs by more than 1e-3
pixels, else the form that differs less: masked, as a rule, which costs more.

What config.tracking.benchmarks sets for the benchmark (a division threshold) holds while divisions are counted.
"""

import jax
import numpy as np
from absl import flags

import trackers
from data_pipelines import sources
from trackers import errors, weights
from trackers.evaluation import benchmark, tables
from trackers.io import image_files, outputs, ownership
from trackers.io.numbers import counted
from trackers.nn import division
from trackers.specialise import forms, tracks
from trackers.tracking import single_object
from trackers.training import flops

FLAGS = flags.FLAGS
weights.define_flags()
flags.DEFINE_string(
    "benchmark", None, f"NAME:PATH, NAME one of {', '.join(sorted(sources.LAYOUTS))}, PATH the folder of its sequences."
)
flags.DEFINE_string("out", None, "Folder to write, new or empty; eval.py and track.py take it as --checkpoint.")
flags.DEFINE_float(
    "tolerance",
    0.0,
    "Share of a layer's tokens, over all frames, that may be otherwise; 0: none.",
    lower_bound=0.0,
    upper_bound=0.49,
)
flags.DEFINE_enum(
    "two_stream", "auto", ["auto", *division.TWO_STREAM_FORMS], "How the two-stream layers are computed; see above."
)
flags.DEFINE_integer("frames", 0, "So many frames of each sequence at most; 0: all.", lower_bound=0)
flags.DEFINE_list("sequences", [], "Only these sequences, by name; empty: all.")
flags.mark_flags_as_required(["benchmark", "out"])

# Pixels above which two boxes count as different.
_NOTABLE = 0.01
# Pixels up to which --two_stream auto counts the boxes of one step as equal.
_EQUAL = 1e-3


def main(argv):
    del argv
    config = weights.chosen_config()
    forms.check(trackers.build(config.model))
    ownership.check_new(FLAGS.out)
    name, sequences = sources.open_sequences(FLAGS.benchmark)
    sequences = [tracks.shortened(one, FLAGS.frames) for one in sources.chosen(sequences, FLAGS.sequences)]
    sequences = [one for one in sequences if len(one) > 1]
    if not sequences:
        raise errors.InputError(f"--benchmark {FLAGS.benchmark} has no frame after a first one: nothing can be counted")
    benchmark.check_starts(sequences, image_files.read_image)
    tracker, settings = _tracker(config, name)
    for key, value in settings.items():
        print(f"{key}={value} for {name} (config.tracking.benchmarks.{name})", flush=True)
    variables = jax.device_put(weights.load(FLAGS.checkpoint, config.model))
    out = outputs.claim_folder(FLAGS.out)

    # What the layers do.
    shares = tracks.shares(tracker, variables, sequences)
    found = forms.verdicts(tracker.model.layer_relations(), shares, FLAGS.tolerance)
    verdicts = forms.table(shares, found)
    print(
        f"{counted(len(shares), 'frame')} of {counted(len(sequences), 'sequence')}, tolerance"
        f" {FLAGS.tolerance:g}; per cent of the tokens"
    )
    print(verdicts, flush=True)
    if not weights.differing_models(config.model, forms.fixed(config.model, found)):
        print("no layer's division is constant: nothing was written; --tolerance lets a share of its tokens differ")
        return

    # What is left of the model, and what that changes.
    two_stream = forms.TWO_STREAM in found
    candidates = (FLAGS.two_stream,) if FLAGS.two_stream != "auto" else division.TWO_STREAM_FORMS
    results = {}
    for form in candidates if two_stream else (None,):
        smaller = _with_model(config, forms.fixed(config.model, found, form))
        held = forms.taken_over(variables, smaller.model)
        runs = (tracker, variables), (_tracker(smaller, name)[0], jax.device_put(held))
        both = tracks.side_by_side(runs, sequences)
        results[form] = smaller, held, runs, both
        if both.largest_step() <= _EQUAL:
            break
    form = min(results, key=lambda form: results[form][-1].largest_step())
    smaller, held, runs, both = results[form]
    lines = [verdicts, "", _costs(runs, both, sequences), ""]
    if two_stream:
        lines.append(_choice(form, {tried: result[-1].largest_step() for tried, result in results.items()}))
    lines.append(_difference(both))
    with ownership.hold_new(out), outputs.unfinished(out):
        weights.save(out, held, smaller.model, smaller)
        outputs.write_text(out / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines[1:]))
    print(f"wrote {out}")


def _with_model(config, model_section):
    changed = config.copy_and_resolve_references()
    with changed.unlocked(), changed.ignore_type():
        changed.model = model_section
    return changed


def _choice(form, largest):
    """Which form the two-stream layers got, and why; largest: {form: pixels} of a step with each that was tried."""
    if FLAGS.two_stream != "auto":
        return f"two-stream layers: {form}, as --two_stream says"
    apart = ", ".join(f"{tried} {pixels:.2g}" for tried, pixels in largest.items())
    return f"two-stream layers: {form}; largest difference in one step, pixels: {apart} (equal: up to {_EQUAL:g})"


def _tracker(config, name):
    """(Tracker, {key: value that the benchmark sets})."""
    model_section, tracking, settings = single_object.for_benchmark(config, name)
    return single_object.Tracker(trackers.build(model_section), tracking), settings


def _costs(runs, both, sequences):
    """The table of the two networks: what they hold, count, take and find."""
    overlaps = both.average_overlaps(sequences)
    rows = []
    for i, (label, (tracker, _)) in enumerate(zip(("as given", "specialised"), runs, strict=True)):
        count = flops.of_tracker(tracker.model)
        times = [f"{1e3 * np.median(seconds[:, i]):.1f}" for seconds in (both.seconds, both.cpu)]
        overlap = "-" if overlaps is None else f"{100 * overlaps[i]:.2f}"
        sizes = [count["parameters"] / 1e6, count["search"] / 1e6, count["template"] / 1e6]
        rows.append([label, *(f"{size:.2f}" for size in sizes), *times, overlap])
    heads = ["network", "parameters M", "multiply-adds M a frame", "a target", "median ms", "CPU ms", "AO %"]
    return tables.markdown(heads, rows)


def _difference(both):
    pixels, sequence, frame = both.largest_difference()
    steps = np.abs(both.steps).max(axis=1)
    clock, cpu = (np.divide(*np.median(seconds, axis=0)) for seconds in (both.seconds, both.cpu))
    return (
        f"boxes, one step from the same box: {np.median(steps):.2g} pixels apart (median), {steps.max():.2g} at most,"
        f" above {_NOTABLE:g} in {np.sum(steps > _NOTABLE)} of {counted(len(steps), 'frame')}\n"
        f"boxes, each network on its own way: {pixels:.2g} pixels apart at most ({sequence}, frame {frame}), mean IoU"
        f" {both.overlap():.4f}\n"
        f"faster by {clock:.2f} x on the clock, {cpu:.2f} x in CPU time (medians, the networks took turns)"
    )


if __name__ == "__main__":
    errors.run(main)

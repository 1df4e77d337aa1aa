"""Does a tracker find its way back once its box is too large or too small? One step from boxes of wrong scales.

    python -m experiments.wrong_scale --sequences DIR [--config configs/grm.py:t128 --checkpoint DIR_OR_PTH]

DIR holds folders of frames with a groundtruth.txt. In some frames of each sequence the tracker, started in the first,
is given a last box that lies on the truth but is `--scales` times as wide and as high, and says at once what size it
sees (size_update 1). A cell is that size over the true one (geometric mean of the square roots of the areas where the
box's center lies in the target; in brackets the share of these): 1 throughout for a tracker that sees the size, the
column's own scale for one that believes its last box. Where a cell exceeds its column, the box will go on growing.
"""

import sys

import jax
import numpy as np
from absl import flags

import trackers
from data_pipelines import sources
from trackers import errors, weights
from trackers.evaluation import starts, tables
from trackers.io import image_files, numbers
from trackers.tracking import single_object

FLAGS = flags.FLAGS
weights.define_flags()
flags.DEFINE_string("sequences", None, "Folder of sequence folders.", required=True)
flags.DEFINE_list("scales", ["0.5", "0.7", "1", "1.4", "2"], "Sides of the last box over the true ones.")
flags.DEFINE_integer("frames", 8, "Frames of each sequence, evenly spread.", lower_bound=1)


def main(argv):
    del argv
    scales = [_scale(text) for text in FLAGS.scales]
    sequences = sources.open_sequences(f"frames:{FLAGS.sequences}")[1]
    variables = jax.device_put(weights.load(FLAGS.checkpoint, FLAGS.config.model))
    settings = {**dict(FLAGS.config.tracking.items()), "size_update": 1.0}
    tracker = single_object.Tracker(trackers.build(FLAGS.config.model), settings)
    rows = []
    for sequence in sequences:
        ratios, hits = _sizes_seen(tracker, variables, sequence, scales)
        rows.append([sequence.name, *_cells(ratios, hits)])
        print(sequence.name, file=sys.stderr)
    print(tables.markdown(["last box / true box", *(f"{scale:g}" for scale in scales)], rows))


def _scale(text):
    try:
        scale = numbers.number(text)
    except ValueError:
        scale = 0.0
    if scale <= 0:
        raise errors.UsageError(f"--scales {text}: numbers above 0, as 0.5,1,2")
    return scale


def _sizes_seen(tracker, variables, sequence, scales):
    """(size seen over true size, whether the box's center lies in the target), both (frames, scales)."""
    state = tracker.init(variables, image_files.read_image(sequence.frames[0]), sequence.boxes[0])
    usable = np.flatnonzero(sequence.visible[1:]) + 1
    chosen = starts.spread(usable, FLAGS.frames) if len(usable) else []
    ratios, hits = [], []
    for index in chosen:
        image, truth = image_files.read_image(sequence.frames[index]), sequence.boxes[index]
        center = truth[:2] + 0.5 * truth[2:]
        for scale in scales:
            last = np.concatenate([center - 0.5 * scale * truth[2:], scale * truth[2:]]).astype(np.float32)
            box = np.asarray(tracker.step(variables, state.replace(box=last), image)[1].box)
            ratios.append(np.sqrt(box[2:].prod() / truth[2:].prod()))
            hits.append(np.all(np.abs(box[:2] + 0.5 * box[2:] - center) < 0.5 * truth[2:]))
    return np.reshape(ratios, (-1, len(scales))), np.reshape(hits, (-1, len(scales)))


def _cells(ratios, hits):
    cells = []
    for ratio, inside in zip(ratios.T, hits.T, strict=True):
        mean = f"{np.exp(np.log(ratio[inside]).mean()):.2f}" if inside.any() else "-"
        cells.append(f"{mean} ({inside.mean():.2f})" if len(inside) else "-")
    return cells


if __name__ == "__main__":
    errors.run(main)

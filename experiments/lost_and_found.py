"""Does a lost target come back? The tracker with and without recovery (trackers/tracking/recovery.py) on videos in
which the target is away for a while.

    python -m experiments.lost_and_found [--videos 12] [--sequences DIR] [--config ... --checkpoint DIR_OR_PTH]

Three kinds of videos, in which the target is away for 10 to 60 frames: procedural ones in which it comes back on its
path, or on the other side of the frame; and, with --sequences (folders of frames with a groundtruth.txt), real ones
with a cut to another of them in the middle, while the target moves on. For each kind, with recovery and without:

    returns     share of the videos in which, within 30 frames of the return, the box has an IoU above 0.5 and is not
                called lost
    noticed     share in which the target is called lost while it is away
    false       times a video that it is called found where it is not (away, or an IoU below 0.1)
    false loss  share of the frames that show it, up to where it leaves, in which it is called lost
    AO          mean IoU of all frames that show it; "after": of those after the return
"""

import sys

import jax
import numpy as np
from absl import flags

import trackers
from data_pipelines import sources
from data_pipelines.procedural import video
from trackers import errors, weights
from trackers.evaluation import returns, tables
from trackers.io import image_files
from trackers.tracking import recovery, single_object

FLAGS = flags.FLAGS
weights.define_flags()
flags.DEFINE_integer("videos", 12, "Procedural videos of each kind.", lower_bound=1)
flags.DEFINE_integer("seed", 40, "Number of the first of them.", lower_bound=0)
flags.DEFINE_string("sequences", None, "Folder of sequence folders.")
flags.DEFINE_float("lost_below", recovery.LOST_BELOW, "As in config.tracking.", lower_bound=0, upper_bound=1)
flags.DEFINE_float("found_above", recovery.FOUND_ABOVE, "As in config.tracking.", lower_bound=0, upper_bound=1)

# Frames before the target leaves, the fewest and most that it is away, and those after its return.
BEFORE, AWAY, AFTER = 30, (10, 60), 40


def main(argv):
    del argv
    variables = jax.device_put(weights.load(FLAGS.checkpoint, FLAGS.config.model))
    model, section = trackers.build(FLAGS.config.model), dict(FLAGS.config.tracking.items())
    chosen = recovery.switched_on(section, FLAGS.lost_below, FLAGS.found_above)
    ways = {"without": {**section, "lost_below": 0.0}, "with": chosen}
    ways = {name: single_object.Tracker(model, settings) for name, settings in ways.items()}
    kinds = {"procedural, on its path": _procedural(False), "procedural, elsewhere": _procedural(True)}
    if FLAGS.sequences:
        kinds["real, with a cut"] = _cut(sources.open_sequences(f"frames:{FLAGS.sequences}")[1])
    rows = []
    for kind, cases in kinds.items():
        measured = {name: [] for name in ways}
        for number, case in enumerate(cases):
            for name, tracker in ways.items():
                measured[name].append(returns.outcome(case, *_follow(tracker, variables, case)))
            print(f"{kind}: {number + 1}", file=sys.stderr)
        rows += [_row(kind, name, results) for name, results in measured.items() if results]
    heads = ["", "recovery", "videos", "returns", "noticed", "false", "false loss", "AO", "after"]
    print(tables.markdown(heads, rows))


def _gap(rng, length):
    """(first, last) of the frames without the target, of a video of this length; as many as it has room for."""
    away = int(rng.integers(AWAY[0], AWAY[1] + 1))
    first = BEFORE if length > 2 * BEFORE else length // 3
    return first, min(first + away, length - first // 2)


def _procedural(elsewhere):
    for number in range(FLAGS.videos):
        seed = 1000 * FLAGS.seed + number
        first, last = _gap(np.random.default_rng(seed), BEFORE + AWAY[1] + AFTER)
        frames, boxes = video.sequence(seed, last + AFTER, absent=(first, last, elsewhere))
        yield returns.Case(list(frames), boxes, first, last)


def _cut(sequences):
    """Each sequence with frames of the next one in its gap, enlarged or shrunk to its size."""
    import cv2

    for number, (sequence, other) in enumerate(zip(sequences, sequences[1:] + sequences[:1], strict=True)):
        frames = [image_files.read_image(path) for path in sequence.frames[: BEFORE + AWAY[1] + AFTER]]
        first, last = _gap(np.random.default_rng(number), len(frames))
        size = frames[0].shape[1::-1]
        for k in range(first, last):
            foreign = image_files.read_image(other.frames[(k - first) % len(other.frames)])
            frames[k] = cv2.resize(foreign, size, interpolation=cv2.INTER_AREA)
        yield returns.Case(frames, np.asarray(sequence.boxes[: len(frames)]), first, last)


def _follow(tracker, variables, case):
    """(boxes (T, 4), lost (T,)) of a tracker that starts in the first frame."""
    state = tracker.init(variables, case.frames[0], np.float32(case.boxes[0]))
    found, lost = [np.float64(case.boxes[0])], [False]
    for frame in case.frames[1:]:
        state, output = tracker.step(variables, state, frame)
        found.append(np.asarray(output.box, np.float64))
        lost.append(output.lost is not None and bool(output.lost))
    return np.array(found), np.array(lost)


def _row(kind, name, results):
    mean = {key: np.mean([result[key] for result in results]) for key in results[0]}
    judged = name == "with"
    cells = [f"{mean['returns']:.2f}", *(f"{mean[key]:.2f}" if judged else "-" for key in ("noticed", "false"))]
    cells += [f"{mean['false loss']:.3f}" if judged else "-", *(f"{100 * mean[key]:.1f}" for key in ("AO", "after"))]
    return [kind, name, str(len(results)), *cells]


if __name__ == "__main__":
    errors.run(main)

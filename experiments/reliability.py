"""What does a score mean? The IoU that boxes of a score have, on video that no weights were trained on.

    python -m experiments.reliability [--videos 8] [--sequences DIR] [--out FILE.png] [--config ... --checkpoint ...]

The tracker follows procedural videos and, with --sequences, real ones (folders of frames with a groundtruth.txt) from
their first frames. For scores in steps of a tenth the table says how many frames have them, and the mean IoU and the
share of IoUs above 0.5 of these. "off" is the mean distance between a frame's score and the mean IoU of its step,
weighted by frames (the expected calibration error of score as a guess of the IoU). --out draws the steps that ten
frames or more have.
"""

import sys

import jax
import numpy as np
from absl import flags

import trackers
from data_pipelines import sources
from data_pipelines.procedural import video
from trackers import errors, weights
from trackers.evaluation import score_meaning, scores, tables
from trackers.io import figures, image_files, outputs
from trackers.io.numbers import counted
from trackers.tracking import single_object

FLAGS = flags.FLAGS
weights.define_flags()
flags.DEFINE_integer("videos", 8, "Procedural videos.", lower_bound=1)
flags.DEFINE_integer("length", 60, "Frames of each.", lower_bound=2)
flags.DEFINE_integer("seed", 7001, "Number of the first of them.", lower_bound=0)
flags.DEFINE_string("sequences", None, "Folder of sequence folders.")
flags.DEFINE_string("out", None, "PNG file of the diagram.")

# Frames without which a step is not drawn: its mean would be luck.
_DRAWN = 10


def main(argv):
    del argv
    if FLAGS.out:
        errors.require("matplotlib")
        outputs.claim_file(FLAGS.out)
    found = sources.open_sequences(f"frames:{FLAGS.sequences}")[1] if FLAGS.sequences else []
    variables = jax.device_put(weights.load(FLAGS.checkpoint, FLAGS.config.model))
    tracker = single_object.Tracker(trackers.build(FLAGS.config.model), FLAGS.config.tracking)
    made = (video.sequence(FLAGS.seed + number, FLAGS.length) for number in range(FLAGS.videos))
    kinds = {"procedural": [_followed(tracker, variables, *each) for each in made]}
    if FLAGS.sequences:
        reals = (([*map(image_files.read_image, each.frames)], each.boxes) for each in found)
        kinds["real"] = [_followed(tracker, variables, *each) for each in reals]
    rows, curves = [], {}
    for kind, parts in kinds.items():
        curves[kind] = table = score_meaning.reliability(
            *(np.concatenate(column) for column in zip(*parts, strict=True))
        )
        name = f"{kind} ({counted(len(parts), 'video')})"
        rows += [[name, f"{low:.1f}", *_cells(*bucket)] for low, *bucket in table]
        rows.append([name, "off", str(sum(bucket[1] for bucket in table)), f"{score_meaning.off(table):.3f}", "", ""])
    print(tables.markdown(["", "score from", "frames", "mean score", "mean IoU", "IoU above 0.5"], rows))
    if FLAGS.out:
        _draw(curves, FLAGS.out)
        print(f"wrote {FLAGS.out}")


def _followed(tracker, variables, frames, boxes):
    """(scores (T - 1,), IoUs (T - 1,)) of a tracker that starts in the first frame."""
    state = tracker.init(variables, frames[0], np.float32(boxes[0]))
    found, said = [], []
    for frame in frames[1:]:
        state, output = tracker.step(variables, state, frame)
        found.append(np.asarray(output.box, np.float64))
        said.append(float(output.score))
    if not np.isfinite(said).all():
        raise errors.InputError("--config: this model gives no score")
    print(counted(len(frames), "frame"), file=sys.stderr)
    return np.array(said), scores.overlap(np.array(found), np.asarray(boxes[1:]))


def _cells(frames, score, iou, share):
    return [str(frames), f"{score:.2f}", f"{iou:.2f}", f"{share:.2f}"]


def _draw(curves, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 6.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="score = IoU")
    for kind, table in curves.items():
        _, frames, score, iou, share = np.array(table).T
        iou, share = np.where(frames < _DRAWN, np.nan, (iou, share))
        (line,) = upper.plot(score, iou, "o-", label=f"mean IoU, {kind}")
        upper.plot(score, share, "o:", color=line.get_color(), markersize=4, label=f"share above 0.5, {kind}")
        lower.plot(score, frames / frames.sum(), "o-", color=line.get_color())
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="IoU, share")
    lower.set(xlabel="score", ylabel="share of frames", ylim=(0, None))
    upper.legend(loc="lower right", fontsize=8)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    outputs.write_bytes(path, figures.png(figure, 130))


if __name__ == "__main__":
    errors.run(main)

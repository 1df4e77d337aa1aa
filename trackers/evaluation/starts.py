"""Trackers judged by how far they come from several starts: the field's four numbers and speed in one table or curve.

Where a tracker starts once, in the first frame, one early loss costs the whole sequence, and which tracker suffers it
is mostly luck. From several frames of every sequence, forwards and backwards, the means depend less on it.
"""

import dataclasses
import functools
import json

import jax
import numpy as np
from etils import epath

import trackers
from trackers import errors, progress, weights
from trackers.evaluation import benchmark, plots, tables
from trackers.io import image_files, outputs
from trackers.io.numbers import counted

HEADS = ["AO", "SR0.5", "AUC", "P"]
_VALUES = (("got10k", "AO"), ("got10k", "SR0.5"), ("pytracking", "AUC"), ("pytracking", "Precision"))
# A baseline beside those of trackers.evaluation.baselines: the same network with random weights.
UNTRAINED = "untrained"
# Frames that are kept decoded for the next start or tracker: 1.4 GB of 640 x 480.
_FRAMES_KEPT = 1500


@dataclasses.dataclass(frozen=True)
class Starts:
    """From how many frames of each sequence trackers start, and how many frames they track from each.

    count: 1: from the first frame, to the sequence's end. More: evenly spread over the frames that show the target,
      forwards and backwards; a sequence's numbers are then means of these tracks.
    length: frames of a track at most, where there are several.
    """

    count: int = 1
    length: int = 80


ONCE = Starts()


def judge(runner, sequences, label, starts=ONCE, name="frames"):
    """One tracker over all sequences.

    Args:
      runner: benchmark.Runner.
      sequences: list of S data_pipelines.sources.Sequence.
      label: names the tracker in the progress bar and in errors.
      starts: Starts.
      name: the benchmark's, whose rules for hidden targets hold.

    Returns: (numbers (S, 4) as HEADS, fractions; frames per second inside the tracker).
    Raises: InputError where a sequence cannot be scored.
    """
    owners, pieces = _pieces(sequences, starts)
    tracks = {}
    with progress.bar(total=sum(map(len, pieces)), desc=label) as bar:
        for piece in pieces:
            tracks[piece.name] = runner.track(piece, bar.update)
    boxes = {piece: track.boxes for piece, track in tracks.items()}
    sizes = {piece: track.image_size for piece, track in tracks.items()}
    scored = benchmark.score(name, pieces, boxes, sizes)
    for toolkit, value in _VALUES:
        if "error" in scored[toolkit]:
            raise errors.InputError(f"{label}: no {value}: {scored[toolkit]['error']}")
    numbers = [[scored[t]["sequences"][piece.name].values[value] for t, value in _VALUES] for piece in pieces]
    numbers = np.stack([np.array(numbers)[owners == owner].mean(axis=0) for owner in np.unique(owners)])
    return numbers, benchmark.speed([(track.seconds, track.elapsed) for track in tracks.values()])["tracker_fps"]


def spread(values, count):
    """So many of the values, evenly spread from the first to the last, none twice: sorted array of at most `count`."""
    return np.unique(values[np.linspace(0, len(values) - 1, count).astype(int)])


def _pieces(sequences, starts):
    """(number of the sequence that each piece belongs to (P,), P sequences)."""
    for sequence in sequences:
        if sequence.truth_withheld or not sequence.visible.any():
            raise errors.InputError(f"sequence {sequence.name}: --starts needs a benchmark whose true boxes are public")
    if starts.count == 1:
        return np.arange(len(sequences)), sequences
    owners, pieces = [], []
    for owner, sequence in enumerate(sequences):
        for first in spread(np.flatnonzero(sequence.visible), starts.count):
            for step in (1, -1):
                frames = np.arange(first, len(sequence) if step == 1 else -1, step)[: starts.length]
                # Little is learned from the few frames that remain near an end.
                if len(frames) > min(starts.length, len(sequence)) // 3:
                    owners.append(owner)
                    pieces.append(_piece(sequence, frames, f"{sequence.name} from {first} by {step}"))
    return np.array(owners), pieces


def _piece(sequence, frames, name):
    """The sequence of the given frames (numbers from 0), in their order."""
    paths = [sequence.frames[index] for index in frames]
    values = {"boxes": sequence.boxes[frames], "visible": sequence.visible[frames]}
    return dataclasses.replace(sequence, name=name, frames=paths, **values)


class Comparison:
    """A tracker beside baselines on the same frames, which are decoded once where memory allows.

    Args:
      tracker: single_object.Tracker. config: the whole config, of which `model` and `seed` are read.
      name: the benchmark's. sequences: list of data_pipelines.sources.Sequence.
      others: {label: tracker of trackers.evaluation.baselines, or None for UNTRAINED}. starts: Starts.

    Raises: InputError where a tracker cannot start in a sequence.
    """

    def __init__(self, tracker, config, name, sequences, others, starts):
        self._tracker, self._config, self._name, self._sequences = tracker, config, name, sequences
        self._starts, self._read = starts, functools.lru_cache(_FRAMES_KEPT)(image_files.read_image)
        benchmark.check_starts(_pieces(sequences, starts)[1], self._read)
        self._others = {label: self._baseline(other) for label, other in others.items()}

    def table(self, checkpoint, out):
        """A row a tracker in per cent, then AO sequence by sequence; also in OUT/starts.md. Returns the text.

        checkpoint: as weights.load takes it. out: folder.
        """
        variables = jax.device_put(weights.load(checkpoint, self._config.model))
        rows, overlap = [], {}
        for name, runner in {self._config.model.name: self._runner(variables), **self._others}.items():
            numbers, speed = self._judge(runner, name)
            rows.append([name, *_percent(numbers.mean(axis=0)), f"{speed:.0f}"])
            overlap[name] = numbers[:, 0]
        columns = zip(self._sequences, np.stack(list(overlap.values()), axis=1), strict=True)
        each = [[sequence.name, *_percent(row)] for sequence, row in columns]
        parts = [tables.markdown(["", *HEADS, "fps"], rows), tables.markdown(["AO of each", *overlap], each)]
        return _written(out, "starts.md", "\n\n".join(parts))

    def curve(self, workdir, out):
        """A row a checkpoint that a run keeps, with its averaged weights where there are some. Returns the text.

        A run's own validation is procedural and does not foretell real video. Writes OUT/curve.md, curve.json
        (fractions) and, unless it is left out (plots.left_out), curve.png, with the AO of the baselines as lines.

        workdir: the run's. out: folder.
        Raises: InputError where there are no checkpoints.
        """
        workdir = epath.Path(workdir).resolve()
        if not workdir.exists():
            raise errors.InputError(f"--workdir {workdir} does not exist: give the workdir of a run of train.py")
        folders = weights.step_folders(workdir)[::-1]
        levels = {f"AO of {name}": self._judge(other, name)[0][:, 0].mean() for name, other in self._others.items()}
        points = []
        for folder in folders:
            variables = jax.device_put(weights.load(folder, self._config.model))
            mean = self._judge(self._runner(variables), f"step {folder.name}")[0].mean(axis=0)
            points.append({"step": int(folder.name), **dict(zip(HEADS, mean.tolist(), strict=True))})
        rows = [[str(point["step"]), *_percent(point[head] for head in HEADS)] for point in points]
        text = _written(out, "curve.md", tables.markdown(["step", *HEADS], rows))
        _written(out, "curve.json", json.dumps(points, indent=1))
        if not plots.left_out():
            title = f"{self._name}, {counted(len(self._sequences), 'sequence')}"
            plots.curve(epath.Path(out) / "curve.png", points, "step", HEADS[:2], levels, title)
        return text

    def _baseline(self, other):
        if other is None:
            model = trackers.build(self._config.model)
            return self._runner(trackers.init(model, jax.random.key(self._config.seed)))
        return benchmark.Runner(other, None, self._read, compiled=False)

    def _runner(self, variables):
        return benchmark.Runner(self._tracker, variables, self._read)

    def _judge(self, runner, label):
        return judge(runner, self._sequences, label, self._starts, self._name)


def _percent(values):
    return [f"{100 * value:.1f}" for value in values]


def _written(out, name, text):
    """The text, also written to OUT/NAME."""
    out = epath.Path(out)
    outputs.write_text(out / name, text + "\n")
    return text

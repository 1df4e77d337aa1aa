"""What a benchmark amounts to: results.json, tables, plots and videos of tracks that are recorded.

`tracks` here is {tracker: {sequence: (boxes (T,4), seconds (T,), facts)}}, as records.Records.finished gives them.
"""

import numpy as np

from data_pipelines import attributes
from trackers import progress
from trackers.errors import InputError
from trackers.evaluation import benchmark, exports, html_report, plots, records, result_folders, servers, tables
from trackers.io import image_files, outputs, video_files
from trackers.io.numbers import counted
from trackers.tracking.pictures import drawing

# Strips in overlap.png; more are not readable.
_STRIPS = 12
# Sequences and frames of each in filmstrip.png.
_STRIP_ROWS, _STRIP_FRAMES = 4, 5


def scored(facts, tracks, name, sequences, out):
    """Scores, prints and writes everything: OUT/results.json, curves.json, table.md, sequences.csv, report.html and,
    where they can be drawn (plots.left_out), success.png, precision.png and overlap.png.

    Args:
      facts: dict that results.json begins with; "benchmark" heads the table.
      tracks: see above. name: the benchmark's. sequences: list of data_pipelines.sources.Sequence.
      out: folder (etils.epath).
    """
    scores, speeds = {}, {tracker: _speed(finished) for tracker, finished in tracks.items()}
    for tracker, finished in tracks.items():
        boxes = {sequence: track[0] for sequence, track in finished.items()}
        sizes = {sequence: track[2]["image_size"] for sequence, track in finished.items()}
        scores[tracker] = benchmark.score(name, sequences, boxes, sizes)
        for toolkit, score in scores[tracker].items():
            if "error" in score:
                print(f"{tracker}: {toolkit} gives no scores: {score['error']}", flush=True)
    plain = {tracker: {"speed": speeds[tracker], "scores": _plain(score)} for tracker, score in scores.items()}
    _write(facts, plain, out)

    heading = f"{facts['benchmark']}: {counted(len(sequences), 'sequence')}, in per cent"
    parts = [heading, tables.overall(scores, speeds), tables.sequences(scores), tables.LEGEND]
    text = "\n\n".join(parts)
    outputs.write_text(out / "table.md", text + "\n")
    print(text)

    result_folders.write_curves(out, scores)
    result_folders.write_attributes(out, _attributes(facts["benchmark"], sequences))
    outputs.write_text(out / "sequences.csv", exports.sequences_csv(scores))
    drawn = "" if plots.left_out() else " success.png, precision.png, overlap.png"
    if drawn:
        _plot(scores, tracks, name, sequences, out)
    html_report.write(out, facts, scores, speeds, tracks, name, sequences)
    files = f"report.html, results.json, curves.json, table.md, sequences.csv{drawn and ','}{drawn}"
    print(f"wrote {out}/{files} and the boxes in {out}/{name}")
    _for_servers(facts, tracks, name, sequences, out)


def withheld(facts, tracks, name, sequences, out):
    """Where only the first boxes are public: the files are the result. Arguments as of `scored`."""
    _write(facts, {tracker: {"speed": _speed(finished)} for tracker, finished in tracks.items()}, out)
    print(f"{name}: only the first box of a sequence is published, so its server scores the boxes in {out}/{name}")
    _for_servers(facts, tracks, name, sequences, out)


def _attributes(spec, sequences):
    """{attribute: [sequence, ...]} of a benchmark; {} where a file of them is damaged, which ends no evaluation."""
    try:
        return attributes.read(spec, [sequence.name for sequence in sequences])
    except InputError as error:
        print(f"no comparison by attribute: {error}", flush=True)
        return {}


def _for_servers(facts, tracks, name, sequences, out):
    for tracker in tracks:
        path = servers.of_evaluation(facts["benchmark"], name, tracker, sequences, out)
        if path is not None:
            print(f"for the server or toolkit: {path}")


def draw(finished, sequences, out):
    """OUT/videos/NAME.mp4: boxes and ground truth on the frames; OUT/filmstrip.png: a few of these.

    Args: finished: {sequence: (boxes, seconds, facts)} of one tracker.
    """
    folder = outputs.claim_folder(out / "videos")
    strips = []
    with progress.bar(total=sum(len(sequence.frames) for sequence in sequences), desc="drawing") as bar:
        for sequence in sequences:
            boxes, _, facts = finished[sequence.name]
            numbers = np.linspace(0, len(sequence.frames) - 1, _STRIP_FRAMES).astype(int).tolist()
            strip = {}
            with video_files.VideoWriter(folder / f"{sequence.name}.mp4") as video:
                for number, path in enumerate(sequence.frames):
                    truth = sequence.boxes[number] if number < len(sequence.boxes) else None
                    score = facts["scores"][number - 1] if number else None
                    shown = drawing.annotate(image_files.read_image(path), boxes[number], score, number, truth)
                    video.write(shown)
                    if number in numbers:
                        strip[number] = shown
                    bar.update()
            strips.append([strip[number] for number in numbers])
    drawing.write_filmstrip(out / "filmstrip.png", strips[:_STRIP_ROWS])
    print(f"wrote {counted(len(sequences), 'video')} in {folder}, and {out / 'filmstrip.png'}")


def _speed(finished):
    return benchmark.speed([(seconds, facts["elapsed"]) for _, seconds, facts in finished.values()])


def _write(facts, trackers, out):
    units = "scores are fractions; frames per second; a score that is null is not a number in the toolkit either"
    meaning = {"units": units, "speed_means": benchmark.SPEED}
    records.write_json(out / "results.json", {**facts, **meaning, "trackers": trackers})


def _plain(scores):
    """What JSON can hold of the scores of one tracker by toolkit."""

    def numbers(score):
        return {"frames": score.frames, **score.values}

    return {
        toolkit: score
        if "error" in score
        else {"overall": numbers(score["overall"]), "sequences": {k: numbers(v) for k, v in score["sequences"].items()}}
        for toolkit, score in scores.items()
    }


def _plot(scores, tracks, name, sequences, out):
    analyzed = {tracker: score["pytracking"] for tracker, score in scores.items()}
    curves = {tracker: score["overall"] for tracker, score in analyzed.items() if "overall" in score}
    if curves:
        title = f"{name}, {counted(len(sequences), 'sequence')}"
        plots.success(out / "success.png", curves, title)
        plots.precision(out / "precision.png", curves, title)
    shown = sequences[:_STRIPS]
    strips = {
        sequence.name: {
            tracker: benchmark.overlaps(sequence, finished[sequence.name][0]) for tracker, finished in tracks.items()
        }
        for sequence in shown
    }
    title = (
        name
        if len(shown) == len(sequences)
        else f"{name}, the first {len(shown)} of {counted(len(sequences), 'sequence')}"
    )
    plots.overlaps(out / "overlap.png", strips, title)

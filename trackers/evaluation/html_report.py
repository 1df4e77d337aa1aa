"""report.html of an evaluation: numbers, plots, a table of the sequences, and the ten worst of them in pictures."""

import base64
import math

import numpy as np

from trackers.evaluation import benchmark, charts, pages, tables
from trackers.io import image_files, outputs
from trackers.io.numbers import counted

FILE = "report.html"
# Sequences that are shown, and frames of each.
_WORST, _FRAMES = 10, 6
# Pixels of a thumbnail's longer side. It shows this share of the frame's width at least, and the boxes with as much of
# their surroundings.
_SIDE, _QUALITY = 360, 78
_SMALLEST_SHARE, _MARGIN = 0.25, 1.6
_SPEEDS = {"tracker_fps": "tracker alone", "end_to_end_fps": "end to end"}


def write(out, facts, scored, speeds, tracks, name, sequences):
    """Writes OUT/report.html.

    Args: as of reports.scored, and
      scored: {tracker: what benchmark.score gives}; the first tracker is the one whose worst sequences are shown.
      speeds: {tracker: {"tracker_fps", "end_to_end_fps"}}.

    Raises: InputError where one of the frames that are shown cannot be read.
    """
    first = next(iter(scored))
    frames = sum(len(sequence) for sequence in sequences)
    worst = sorted(sequences, key=lambda sequence: _order(tables.number(scored[first], "got10k", "AO", sequence.name)))
    worst = worst[:_WORST]
    heading = f"The {len(worst)} worst of {counted(len(sequences), 'sequence')}"
    page = pages.page(
        f"{first} on {name}",
        pages.element("h1", f"{first} on {name}"),
        pages.paragraph(
            f"{facts['benchmark']}: {counted(len(sequences), 'sequence')},"
            f" {counted(frames, 'frame', ',')}; weights: {facts['checkpoint']}",
            "muted",
        ),
        pages.section("All sequences together", overall(scored, speeds), *notes(tables.LEGEND)),
        curves(scored),
        pages.section("Sequence by sequence", _sequences(scored, {s.name: f"#{_anchor(s, worst)}" for s in worst})),
        pages.section(
            heading if len(worst) < len(sequences) else "Sequences, the worst first",
            pages.paragraph(
                f"By AO of {first}. The pictures are cut to the surroundings of the boxes. IoU over the frames: 1 is a"
                " perfect box, a gap a hidden target; dotted lines mark the frames in the pictures.",
                "muted small",
            ),
            _boxes_legend(first, tracks),
            *(_card(number, sequence, scored, tracks, worst) for number, sequence in enumerate(worst, 1)),
        ),
        pages.section("How it was made", pages.facts(_made(facts))),
    )
    outputs.write_text(out / FILE, page)


def overall(scored, speeds):
    """The table of all sequences, a row a tracker, the best number of each column bold."""
    columns = [pages.Column("tracker"), *(pages.percent(head) for head, _, _ in tables.COLUMNS)]
    columns += [pages.Column(head, "frames/s", 0) for head in _SPEEDS.values()]
    rows = []
    for order, (tracker, toolkits) in enumerate(scored.items()):
        values = [100 * tables.number(toolkits, toolkit, value) for _, toolkit, value in tables.COLUMNS]
        speed = [speeds[tracker][key] or math.nan for key in _SPEEDS]
        rows.append([pages.tracker(tracker, order), *values, *speed])
    return pages.table(columns, rows, label="scores of all sequences", best="column")


def curves(scored):
    """The section with success, precision and normalized precision; None where no tracker has curves."""
    analyzed = {tracker: toolkits["pytracking"].get("overall") for tracker, toolkits in scored.items()}
    if None in analyzed.values():
        refused = ", ".join(tracker for tracker, score in analyzed.items() if score is None)
        return pages.paragraph(f"No plots: pytracking's analysis takes no boxes of {refused}.", "notice")
    figures = []
    for kind in charts.CURVES:
        entries = [(name, order, charts.percent(value)) for name, order, value in charts.best_first(kind, analyzed)]
        figures.append(pages.figure(kind.title, charts.curves(kind, analyzed), f"{kind.label} [%]", entries))
    return pages.section("Over all thresholds", pages.element("div", *figures, class_="panels"))


def notes(text):
    """What the columns of a table are, a paragraph a line."""
    return [pages.paragraph(line, "muted small") for line in text.splitlines()]


def _order(value):
    return -1.0 if math.isnan(value) else value


def _anchor(sequence, worst):
    return f"worst-{worst.index(sequence) + 1}"


def _sequences(scored, links):
    """All numbers of the first tracker and AO of the others. links: {sequence: where it is shown}."""
    first, *others = scored
    columns = [pages.Column("sequence"), pages.Column("frames", "that count", 0)]
    columns += [pages.percent(head, bar=number == 0) for number, (head, _, _) in enumerate(tables.COLUMNS)]
    columns += [pages.percent(f"AO {tracker}") for tracker in others]
    rows, foot = [], []
    for name, part in scored[first]["got10k"]["sequences"].items():
        values = [tables.number(scored[first], toolkit, value, name) for _, toolkit, value in tables.COLUMNS]
        values += [tables.number(scored[tracker], "got10k", "AO", name) for tracker in others]
        shown = pages.element("a", name, href=links[name]) if name in links else name
        rows.append([shown, part.frames, *(100 * value for value in values)])
    if len(rows) > 1:
        numbers = np.array([row[1:] for row in rows], float)
        foot.append(["mean of sequences", numbers[:, 0].sum(), *numbers[:, 1:].mean(axis=0)])
    return pages.table(columns, rows, foot, label="scores of each sequence")


def _boxes_legend(first, tracks):
    boxes = [
        pages.element("li", pages.element("span", class_="swatch frame", style="--c:var(--truth)"), "true box"),
        pages.element("li", pages.element("span", class_="swatch frame", style="--c:var(--box)"), f"box of {first}"),
    ]
    lines = [
        pages.element("li", pages.swatch(order), pages.element("span", f"IoU of {tracker}", class_="label"))
        for order, tracker in enumerate(tracks)
    ]
    return pages.element("ul", *boxes, *lines, class_="legend row")


def _card(number, sequence, scored, tracks, worst):
    """One sequence: its numbers, thumbnails, and the overlap of every tracker over time."""
    first = next(iter(scored))
    boxes = tracks[first][sequence.name][0]
    overlaps = {
        tracker: benchmark.overlaps(sequence, finished[sequence.name][0]) for tracker, finished in tracks.items()
    }
    shown = sorted(set(np.linspace(0, len(sequence) - 1, _FRAMES).astype(int).tolist()))
    scores = "; ".join(
        f"{tracker} {charts.percent(tables.number(toolkits, 'got10k', 'AO', sequence.name))}"
        for tracker, toolkits in scored.items()
    )
    title = pages.element("h3", f"{number}. {sequence.name}")
    facts = pages.element("span", f"{counted(len(sequence), 'frame', ',')}; AO [%]: {scores}", class_="muted")
    thumbnails = (_thumbnail(sequence, boxes, frame, overlaps[first][frame]) for frame in shown)
    return pages.element(
        "article",
        pages.element("header", title, facts),
        pages.element("div", *thumbnails, class_="thumbs"),
        _strip(overlaps, shown, len(sequence)),
        class_="card",
        id=_anchor(sequence, worst),
    )


def _strip(overlaps, shown, frames):
    levels = (
        pages.element("span", text, style=f"top:{100 * (1 - level):.0f}%")
        for text, level in (("1", 1), ("IoU", 0.5), ("0", 0))
    )
    ends = ("frame 1", f"frame {frames:,}") if frames > 1 else ("frame 1",)
    return pages.element(
        "div",
        pages.element("div", *levels, class_="y"),
        charts.strip(overlaps, shown),
        pages.element("div", *(pages.element("span", end) for end in ends), class_="x"),
        class_="strip",
    )


def _thumbnail(sequence, boxes, frame, overlap):
    """A frame cut to the surroundings of both boxes, which are drawn over it, with its number and overlap below."""
    image = image_files.read_image(sequence.frames[frame])
    truth = sequence.boxes[frame] if sequence.visible[frame] else None
    pair = [(kind, box) for kind, box in (("truth", truth), ("found", boxes[frame])) if drawable(box)]
    x, y, width, height = window([box for _, box in pair], image.shape[1], image.shape[0])
    rectangles = [
        pages.element(
            "rect", **dict(zip(("x", "y", "width", "height"), (f"{v:.1f}" for v in box), strict=True)), class_=k
        )
        for kind, box in pair
        for k in ("halo", kind)
    ]
    place = {"x": x, "y": y, "width": width, "height": height}
    picture = pages.element("image", href=_jpeg(image[y : y + height, x : x + width]), **place)
    said = "hidden" if math.isnan(overlap) else f"IoU {overlap:.2f}"
    label = f"frame {frame + 1}, {said}"
    view = {"viewBox": f"{x} {y} {width} {height}", "role": "img", "aria_label": label}
    return pages.element(
        "figure",
        pages.element("svg", picture, *rectangles, **view),
        pages.element("figcaption", label),
    )


def drawable(box):
    """Whether a box (4,) or None can be drawn: finite, with area."""
    return box is not None and bool(np.all(np.isfinite(box)) and box[2] > 0 and box[3] > 0)


def window(boxes, width, height):
    """The part of a frame that shows boxes and their surroundings, in the frame's shape: (x, y, width, height), int.

    Args: boxes: list of (4,) x, y, w, h in pixels; the whole frame where it is empty. width, height: of the frame.
    """
    if not boxes:
        return 0, 0, width, height
    boxes = np.clip(np.array([[x, y, x + w, y + h] for x, y, w, h in boxes]), 0, [width, height] * 2)
    near, far = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    size = np.array([width, height])
    share = np.clip(((far - near) * _MARGIN / size).max(), _SMALLEST_SHARE, 1.0)
    extent = np.maximum(1, np.round(size * share)).astype(int)
    corner = np.clip(np.round((near + far - extent) / 2), 0, size - extent).astype(int)
    return (*corner.tolist(), *extent.tolist())


def _jpeg(image):
    """An image (H, W, 3) uint8 RGB as the address of a JPEG that stands in the page itself."""
    import cv2

    scale = _SIDE / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _made(facts):
    settings = ", ".join(f"{key} = {value}" for key, value in facts["benchmark_settings"].items())
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version)
    return {
        "Benchmark": facts["benchmark"],
        "Weights": f"{facts['checkpoint']} (digest {facts['weights_digest']})",
        "Configuration": f"digest {facts['config_digest']}; written out in results.json",
        "Set by benchmark": settings,
        "Versions": versions,
    }

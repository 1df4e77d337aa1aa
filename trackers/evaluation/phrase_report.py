"""report.html of tracking with words: HOTA of all phrases, by threshold, by video and by phrase."""

import math

import numpy as np
from etils import epath

from trackers.evaluation import charts, hota, html_report, mot, pages, phrase_results, scores
from trackers.io import outputs
from trackers.io.numbers import counted

# What is drawn over the thresholds: {heading: fields of hota.FIELDS}.
_DRAWN = {
    "HOTA and its parts": ("HOTA", "DetA", "AssA", "LocA"),
    "Recall and precision": ("DetRe", "DetPr", "AssRe", "AssPr"),
}
_FIELDS = (*hota.FIELDS, *phrase_results.FURTHER)
_TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)


def write(out, name, scored):
    """Writes OUT/report.html.

    Args: out: folder. name: the method's. scored: phrase_results.Scores.
    """
    parts = {phrase: metrics[0] for phrase, metrics in scored.parts.items()}  # mot.METRICS, HOTA first
    videos = _by_video(scored.parts)
    combined = hota.combine(list(parts.values()))
    overall = [["COMBINED", *_values(scored.combined)], ["mean over phrases", *_values(scored.mean)]]
    found = [[video, len(these), *_values(mot.values(mot.combined(these)))] for video, these in videos.items()]
    phrases = [
        [folder, video, int(part.tp[0] + part.fn[0]), int(part.tp[0] + part.fp[0]), *_values(values)]
        for ((video, folder), part), values in zip(parts.items(), scored.phrases.values(), strict=True)
    ]
    boxes = [pages.Column("meant", "boxes", 0), pages.Column("found", "boxes", 0)]
    heads = [pages.percent(field, bar=field == "HOTA") for field in _FIELDS]
    page = pages.page(
        name,
        pages.element("h1", name),
        pages.paragraph(f"{counted(len(phrases), 'phrase')} in {counted(len(videos), 'video')}", "muted"),
        pages.section(
            "All phrases together",
            pages.table(
                [pages.Column("phrases"), *map(pages.percent, _FIELDS)], overall, label="scores of all phrases"
            ),
            *html_report.notes(phrase_results.LEGEND),
        ),
        _curves(combined, parts.values()),
        pages.section(
            "Video by video",
            pages.paragraph("The phrases of a video pooled.", "muted"),
            pages.table([pages.Column("video"), pages.Column("phrases", "", 0), *heads], found, label="by video"),
        ),
        pages.section(
            "Phrase by phrase",
            pages.table([pages.Column("phrase"), pages.Column("video"), *boxes, *heads], phrases, label="by phrase"),
        ),
    )
    outputs.write_text(epath.Path(out) / html_report.FILE, page)


def _by_video(parts):
    """{video: [what the metrics gave for its phrases]}, in order."""
    found = {}
    for (video, _), part in parts.items():
        found.setdefault(video, []).append(part)
    return found


def _values(values):
    return [100 * values.get(field, math.nan) for field in _FIELDS]


def _curves(combined, parts):
    values, shapes = combined.values(), combined.curves()
    figures = []
    for heading, fields in _DRAWN.items():
        series = {field: shapes[field] for field in fields}
        chart = charts.lines(hota.THRESHOLDS, _TICKS, "Overlap that makes a match [IoU]", "COMBINED [%]", series)
        entries = [(field, order, charts.percent(values[field])) for order, field in enumerate(fields)]
        figures.append(pages.figure(heading, chart, "Mean over the thresholds [%]", entries))
    reached = np.array([part.values()["HOTA"] for part in parts])
    shares = (reached[:, None] > scores.OVERLAP_STEPS).mean(axis=0)
    chart = charts.lines(scores.OVERLAP_STEPS, _TICKS, "HOTA [1]", "Phrases above it [%]", {"HOTA": shares})
    entries = [("HOTA", 0, charts.percent(reached.mean()))]
    figures.append(pages.figure("Phrases by HOTA", chart, "Mean over phrases [%]", entries))
    return pages.section("Over all thresholds", pages.element("div", *figures, class_="panels"))

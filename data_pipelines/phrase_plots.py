"""The phrases of a referring data set: how many boxes each means, the long tail of descriptions, and examples."""

import numpy as np

from data_pipelines import phrase_annotations
from trackers import errors
from trackers.io import figures
from trackers.io.numbers import counted
from trackers.tracking.pictures import drawing

# Phrases named on the figure's axis, at most; more cannot be read.
_NAMED = 80
_TRAIN_COLOR, _KNOWN_COLOR, _NEW_COLOR = "#4c72b0", "#dd8452", "#c44e52"


def counts(source):
    """{phrase: boxes that it means, over all videos} of a Source of phrase_annotations.Video, most first.

    Phrases are taken as the network gets them (phrase_annotations.convert); one that means nothing counts 0.
    """
    boxes_meant = {}
    for video in source:
        boxes = set(zip(video.tracks.frames.tolist(), video.tracks.ids.tolist(), strict=True))
        for text in {phrase.text for phrase in video.phrases}:
            meant = [map(tuple, p.meant.tolist()) for p in video.phrases if p.text == text]
            boxes_meant[text] = boxes_meant.get(text, 0) + len(boxes.intersection(*[set().union(*meant)]))
    return dict(sorted(boxes_meant.items(), key=lambda item: (-item[1], item[0])))


def examples(source, count, shown=3):
    """Phrases with the boxes that they mean, from frequent to rare ones (iKUN, Fig. 2).

    Args:
      source: Source of phrase_annotations.Video.
      count: of phrases, spread evenly over those that mean a box, the most frequent first; all where there are fewer.
      shown: frames of each, spread evenly over those that it means something in, of the video where these are most.

    Returns: [[(H,W,3) uint8 RGB]], for drawing.write_filmstrip; `shown` frames with boxes, number and phrase in each.

    Raises: InputError where no phrase means a box.
    """
    ranked = [text for text, boxes in counts(source).items() if boxes]
    if not ranked:
        raise errors.InputError("no phrase means a box: there is nothing to draw")
    truth, video_of = {}, {}
    for video in source:
        for phrase in video.phrases:
            tracks = phrase_annotations.ground_truth(video, phrase)
            if len(tracks) > len(truth.get(phrase.text, ())):
                truth[phrase.text], video_of[phrase.text] = tracks, video
    rows = []
    for text in _spread(ranked, min(count, len(ranked))):
        tracks, video, row = truth[text], video_of[text], []
        for number in _spread(np.unique(tracks.frames), shown):
            image = video.load(video.frames[number - 1])
            row.append(drawing.annotate_tracks(image, tracks.boxes[tracks.frames == number], None, text, number))
        rows.append(row)
    return rows


def _spread(things, count):
    """`count` of some things in their order, the first and the last among them; repeated where there are fewer."""
    return [things[place] for place in np.linspace(0, len(things) - 1, count).round().astype(int)]


def draw_tail(train, test, title):
    """The long tail of descriptions (iKUN, Fig. 1) as the bytes of a PNG.

    Args: train, test: from `counts`. title: name of the data set. Test phrases that are not trained on have a color of
    their own: the open set.
    """
    import matplotlib.figure

    parts = ((train, "training"), (test, "test"))
    figure = matplotlib.figure.Figure(figsize=(max(8.0, 0.17 * min(_NAMED, len(train))), 9.0), layout="constrained")
    axes = figure.subplots(2, 1)
    for panel, (boxes, split) in zip(axes, parts, strict=True):
        colors = [
            _TRAIN_COLOR if split == "training" else _NEW_COLOR if t not in train else _KNOWN_COLOR for t in boxes
        ]
        panel.bar(range(len(boxes)), [max(n, 0.5) for n in boxes.values()], color=colors)
        panel.set_yscale("log")
        panel.set_ylim(bottom=0.5)
        panel.set_ylabel("boxes that the phrase means")
        panel.set_title(f"{title}: {counted(len(boxes), f'{split} phrase')}, {counted(sum(boxes.values()), 'box')}")
        named = list(boxes)[:_NAMED]
        panel.set_xticks(range(len(named)), named, rotation=90, fontsize=6)
        panel.margins(x=0.01)
    new = sum(t not in train for t in test)
    handles = [axes[1].bar(0, 0, color=color) for color in (_KNOWN_COLOR, _NEW_COLOR)]
    axes[1].legend(handles, [f"also trained on ({len(test) - new})", f"new ({new})"])
    return figures.png(figure)

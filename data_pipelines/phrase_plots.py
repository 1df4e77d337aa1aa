"""How many boxes each phrase of a referring data set means, counted and drawn: the long tail of descriptions."""

import io

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
        panel.set_title(f"{title}: {len(boxes)} {split} phrases, {sum(boxes.values())} boxes")
        named = list(boxes)[:_NAMED]
        panel.set_xticks(range(len(named)), named, rotation=90, fontsize=6)
        panel.margins(x=0.01)
    new = sum(t not in train for t in test)
    handles = [axes[1].bar(0, 0, color=color) for color in (_KNOWN_COLOR, _NEW_COLOR)]
    axes[1].legend(handles, [f"also trained on ({len(test) - new})", f"new ({new})"])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()

"""Looking at phrases: how often each one holds, and clips with theirs."""

import io

import numpy as np

# Phrases named on the figure's axis, at most; more cannot be read.
_NAMED = 80
_TRAIN_COLOR, _KNOWN_COLOR, _NEW_COLOR = "#4c72b0", "#dd8452", "#c44e52"
# Pixels of the sheet's gaps and of its line of text.
_GAP, _LINE = 4, 14
_MEANT_COLOR, _OTHER_COLOR = (0, 130, 0), (190, 0, 0)


def counts(source):
    """{phrase: boxes that it means, over all videos} of a Source of referring.Video, most first.

    Phrases are taken as the network gets them (referring.convert); one that means nothing counts 0.
    """
    found = {}
    for video in source:
        boxes = set(zip(video.tracks.frames.tolist(), video.tracks.ids.tolist(), strict=True))
        for text in {phrase.text for phrase in video.phrases}:
            meant = [map(tuple, p.meant.tolist()) for p in video.phrases if p.text == text]
            found[text] = found.get(text, 0) + len(boxes.intersection(*[set().union(*meant)]))
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def draw_tail(train, test, title):
    """The long tail of descriptions (iKUN, Fig. 1) as the bytes of a PNG.

    Args: train, test: from `counts`. title: name of the data set. Test phrases that are not trained on have a color of
    their own: the open set.
    """
    import matplotlib.figure

    parts = ((train, "training"), (test, "test"))
    figure = matplotlib.figure.Figure(figsize=(max(8.0, 0.17 * min(_NAMED, len(train))), 9.0), layout="constrained")
    axes = figure.subplots(2, 1)
    for panel, (found, split) in zip(axes, parts, strict=True):
        colors = [
            _TRAIN_COLOR if split == "training" else _NEW_COLOR if t not in train else _KNOWN_COLOR for t in found
        ]
        panel.bar(range(len(found)), [max(n, 0.5) for n in found.values()], color=colors)
        panel.set_yscale("log")
        panel.set_ylim(bottom=0.5)
        panel.set_ylabel("boxes that the phrase means")
        panel.set_title(f"{title}: {len(found)} {split} phrases, {sum(found.values())} boxes")
        named = list(found)[:_NAMED]
        panel.set_xticks(range(len(named)), named, rotation=90, fontsize=6)
        panel.margins(x=0.01)
    new = sum(t not in train for t in test)
    handles = [axes[1].bar(0, 0, color=color) for color in (_KNOWN_COLOR, _NEW_COLOR)]
    axes[1].legend(handles, [f"also trained on ({len(test) - new})", f"new ({new})"])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def draw_clips(batch, texts):
    """A batch of clips as one (H, W, 3) uint8 RGB picture.

    Args:
      batch: of clips (see loader.batches).
      texts: {token ids as a tuple: phrase}.
    """
    import cv2

    b, t, small = batch["local"].shape[:3]
    large = batch["global"].shape[2]
    length = batch["tokens"].shape[-1]
    tokens, targets = batch["tokens"].reshape(b, -1, length), batch["target"].reshape(b, -1)
    head = _LINE * tokens.shape[1]
    width, height = t * (large + _GAP), head + small + large + 3 * _GAP
    columns = max(1, min(b, 1600 // width))
    picture = np.full((-(-b // columns) * height + _GAP, columns * width + _GAP, 3), 255, np.uint8)
    for i in range(b):
        top, left = i // columns * height + _GAP, i % columns * width + _GAP
        strip = np.full((head, width - _GAP, 3), 255, np.uint8)
        for k, (ids, target) in enumerate(zip(tokens[i].tolist(), targets[i], strict=True), 1):
            color = _MEANT_COLOR if target > 0 else _OTHER_COLOR
            cv2.putText(
                strip, texts[tuple(ids)], (0, k * _LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.33, color, 1, cv2.LINE_AA
            )
        picture[top : top + head, left : left + width - _GAP] = strip
        for j in range(t):
            x, y = left + j * (large + _GAP), top + head
            picture[y : y + small, x : x + small] = batch["local"][i, j]
            y += small + _GAP
            picture[y : y + large, x : x + large] = batch["global"][i, j]
    return picture

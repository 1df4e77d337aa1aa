"""A small byte-pair vocabulary for the synthetic phrases, in the format of CLIP's merges file.

It is for networks trained from scratch, which need no CLIP vocabulary. Every word of the phrases is one
token of it; other words fall apart into letters.

    python -m data_pipelines.procedural.people.learn_merges    writes merges.txt anew, after a change of the phrases
"""

import collections

from data_pipelines.procedural.people import cast

# CLIP's first line.
_HEADER = "#version: 0.2"
_END = "</w>"


def learn_merges(words):
    """Byte-pair merges that make each word one token (Sennrich et al., ACL 2016).

    Args: words: ASCII words with their counts, a mapping. Returns: list of (left, right), in the order they apply.
    """
    pieces = {word: (*word[:-1], word[-1] + _END) for word in words}
    merges = []
    while True:
        pairs = collections.Counter()
        for word, parts in pieces.items():
            for pair in zip(parts[:-1], parts[1:], strict=True):
                pairs[pair] += words[word]
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {word: _apply(parts, best) for word, parts in pieces.items()}


def _apply(parts, pair):
    merged = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return tuple(merged)


def merges_text():
    """What merges.txt holds: CLIP's header line, then one merge a line."""
    sentences = [description.sentence for description in (*cast.TRAIN, *cast.TEST)]
    words = collections.Counter(word for sentence in sentences for word in sentence.split())
    return "\n".join([_HEADER, *(" ".join(pair) for pair in learn_merges(words))]) + "\n"


if __name__ == "__main__":
    cast.VOCABULARY.write_text(merges_text())

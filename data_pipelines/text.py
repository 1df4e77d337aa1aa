"""Phrases -> token ids as CLIP's tokenizer makes them (Radford et al., ICML 2021), through the `tokenizers` library.

The byte-pair encoding (Sennrich et al., ACL 2016) is that of a merges file in CLIP's format.

Ids: 256 bytes, the same 256 at the end of a word, one for each merge, start, end. The end has the largest id, by which
the text encoder finds it. Padding is 0, which is also the id of "!", as in CLIP.
"""

import gzip
import html
import io
import re
import unicodedata

import numpy as np
from etils import epath

from data_pipelines import sources
from trackers.errors import InputError
from trackers.io import limits, plain_text

# CLIP's file holds more merges than its 49408 ids have room for.
LARGEST_VOCABULARY = 49408
# What CLIP takes for one word before it merges: contractions (ignoring case, by which ſ is an s), letters, single
# digits, runs of other signs. U+0345 (iota below), whose capital is a letter, is none of these.
_WORD = r"'[sſ]|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}\x{345}]+"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_MARKS = re.compile(f"({re.escape(_START)}|{re.escape(_END)})")


def open_tokenizer(config):
    """The Tokenizer of config.data.vocabulary; where that is empty, of the vocabulary that all sources in use share.

    Raises: InputError where there is neither, and as Tokenizer.
    """
    if config.data.vocabulary:
        return Tokenizer(config.data.vocabulary)
    vocabularies = {sources.find(name).FACTS.vocabulary for name in sources.shares(config, "clips")}
    if len(vocabularies) > 1 or None in vocabularies:
        raise InputError(
            "config.data.vocabulary is not set: give CLIP's merges file,"
            " --config.data.vocabulary=bpe_simple_vocab_16e6.txt.gz"
        )
    return Tokenizer(vocabularies.pop())


class Tokenizer:
    """Token ids of phrases.

    Args:
      path: merges file, plain or gzip: a header line, then two symbols a line. CLIP's own is
        bpe_simple_vocab_16e6.txt.gz in its repository.

    Raises: InputError for a file that is missing or of another format, or where `tokenizers` is not installed.
    """

    def __init__(self, path):
        merges = read_merges(path)
        symbols = list(_byte_symbols())
        symbols += [symbol + "</w>" for symbol in symbols]
        symbols += [first + second for first, second in merges]
        ids = {symbol: i for i, symbol in enumerate(symbols)}
        for first, second in merges:
            for part in (first, second):
                if part not in ids:
                    raise InputError(
                        f"vocabulary {path}: the merge {first[:60]!r} {second[:60]!r} uses {part[:60]!r}, which no line"
                        " makes"
                    )
        self.start, self.end = len(symbols), len(symbols) + 1
        self._marks = {_START: self.start, _END: self.end}
        self._encode = _library_tokenizer(ids, merges).encode_batch

    @property
    def size(self):
        """Number of ids, config.model.transformer.vocabulary."""
        return self.end + 1

    def __call__(self, phrases, length=77, truncate=False):
        """Ids of phrases, padded with 0.

        Args:
          phrases: list of str.
          length: ids of a row, start and end included.
          truncate: cut a phrase that is too long; its row then ends with the end token.

        Returns: (n, length) int32.

        Raises: InputError naming the phrase that is too long, or where `ftfy` is not installed.
        """
        rows = np.zeros((len(phrases), length), np.int32)
        for row, phrase, inner in zip(rows, phrases, self._ids([clean(phrase) for phrase in phrases]), strict=True):
            ids = [self.start, *inner, self.end]
            if len(ids) > length:
                if not truncate:
                    shown = phrase if len(phrase) <= 60 else phrase[:57] + "..."
                    raise InputError(
                        f"the phrase {shown!r} has {len(ids)} tokens, the model takes {length}: shorten it"
                    )
                ids = [*ids[: length - 1], self.end]
            row[: len(ids)] = ids
        return rows

    def _ids(self, texts):
        """Lists of the ids of cleaned texts, start and end only where the text names them."""
        parts = [_split_at_marks(text) for text in texts]
        words = [part for some in parts for part in some if part not in self._marks]
        encoded = iter(self._encode(words))
        for some in parts:
            ids = []
            for part in some:
                ids += [self._marks[part]] if part in self._marks else next(encoded).ids
            yield ids


def _split_at_marks(text):
    """The parts of a text, start and end tokens named in it each a part of its own.

    As in CLIP's program, a run of other signs that such a name ends in swallows its "<|", and it is no token.
    """
    parts = [""]
    for place, piece in enumerate(_MARKS.split(text)):
        before = parts[-1][-1:]
        if place % 2 and (not before.strip() or unicodedata.category(before)[0] in "LN"):
            parts += [piece, ""]
        else:
            parts[-1] += piece
    return parts


def clean(phrase):
    """Text as CLIP's program cleans it: wrongly decoded text, ligatures, full-width forms and quotes mended (ftfy),
    HTML entities, single spaces, lower case.

    Raises: InputError where `ftfy` is not installed.
    """
    try:
        import ftfy
    except ImportError:
        raise InputError("phrases need the package ftfy: pip install ftfy") from None
    text = html.unescape(html.unescape(ftfy.fix_text(phrase)))
    return " ".join(text.split()).lower()


def read_merges(path):
    """[(first, second)] of a merges file, best first, at most as many as CLIP has ids for. Raises: InputError."""
    path = epath.Path(path)
    if not path.exists() or path.is_dir():
        raise InputError(
            f"vocabulary {path} does not exist: give bpe_simple_vocab_16e6.txt.gz of CLIP's repository, folder clip"
        )
    data = plain_text.read_bytes(path, "a merges file", limits.VOCABULARY)
    if data[:2] == b"\x1f\x8b":
        with plain_text.naming(f"vocabulary {path}", "download it again"):
            data = limits.read(gzip.GzipFile(fileobj=io.BytesIO(data)), limits.VOCABULARY, f"vocabulary {path}")
    try:
        text = plain_text.decode(data, path, "a header line, then two symbols a line")
    except InputError as error:
        raise InputError(f"vocabulary {path} is damaged: {error}") from None
    count = LARGEST_VOCABULARY - 2 * 256 - 2
    lines = text.split("\n", 1 + count)
    lines = (lines if lines[-1] else lines[:-1])[1 : 1 + count]
    merges = [tuple(line.split(maxsplit=2)) for line in lines]
    wrong = next((i for i, merge in enumerate(merges) if len(merge) != 2), None)
    if wrong is not None or not merges:
        where = "no merges" if wrong is None else f"line {wrong + 2} is {lines[wrong][:60]!r}, not two symbols"
        raise InputError(f"vocabulary {path} is not a merges file: {where}")
    return merges


def _byte_symbols():
    """The 256 printable characters that stand for bytes, in the order of their ids (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(code) for code in (*printable, *range(256, 256 + others))]


def _library_tokenizer(ids, merges):
    try:
        import tokenizers
    except ImportError:
        raise InputError("phrases need the package tokenizers: pip install tokenizers") from None
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>"))
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(_WORD), behavior="removed", invert=True)
    to_bytes = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, to_bytes])
    return made

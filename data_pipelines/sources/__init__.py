"""What training samples are drawn from: one module for each layout of a data set on disk, its path is its name.

Every module offers `open(root, split="train", **options) -> Source` and states FACTS; its docstring draws the layout.
Nothing is read but the list of sequences until a sequence is asked for; then its annotations are parsed once and kept
(about 32 bytes a frame). Procedural sources live in data_pipelines/procedural and need no folder; MODULES finds both.

A folder is given as text, options after it: /data/LaSOT,origin=zero.
"""

import collections.abc
import dataclasses
import importlib
import pathlib
import re
import sys
from collections.abc import Callable
from collections.abc import Sequence as ListLike

import numpy as np

from trackers import errors
from trackers.io import numbers
from trackers.io.numbers import counted

# Name in config.data.ratio -> its module. Samples are drawn in this order: add new ones at the end.
MODULES = {
    "lasot": "data_pipelines.sources.lasot",
    "got10k": "data_pipelines.sources.got10k",
    "trackingnet": "data_pipelines.sources.trackingnet",
    "coco": "data_pipelines.sources.coco",
    "frames": "data_pipelines.sources.frames",
    "shards": "data_pipelines.sources.shards",
    "synthetic": "data_pipelines.procedural.video",
    "refer_kitti": "data_pipelines.sources.refer_kitti",
    "refer_dance": "data_pipelines.sources.refer_dance",
    "synthetic_referring": "data_pipelines.procedural.people",
    "lasot_ext": "data_pipelines.sources.lasot_ext",
    "tnl2k": "data_pipelines.sources.tnl2k",
    "uav123": "data_pipelines.sources.uav123",
    "uav20l": "data_pipelines.sources.uav20l",
    "nfs": "data_pipelines.sources.nfs",
    "otb": "data_pipelines.sources.otb",
    "avist": "data_pipelines.sources.avist",
    "vasttrack": "data_pipelines.sources.vasttrack",
    "trek150": "data_pipelines.sources.trek150",
    "vot": "data_pipelines.sources.vot",
    "videos": "data_pipelines.sources.videos",
    "mot17": "data_pipelines.sources.mot17",
    "dancetrack": "data_pipelines.sources.dancetrack",
    "footage": "data_pipelines.sources.footage",
    "photos": "data_pipelines.sources.photos",
}
# Benchmark name in a specification -> the module that knows the layout.
LAYOUTS = {
    "got10k": "got10k",
    "lasot": "lasot",
    "lasot_ext": "lasot_ext",
    "trackingnet": "trackingnet",
    "tnl2k": "tnl2k",
    "otb": "otb",
    "uav": "uav123",
    "uav123": "uav123",
    "uav20l": "uav20l",
    "nfs": "nfs",
    "avist": "avist",
    "vasttrack": "vasttrack",
    "trek150": "trek150",
    "vot": "vot",
    "vots": "vot",
    "vot20": "vot",
    "vot20lt": "vot",
    "vot22stb": "vot",
    "frames": "frames",
    "videos": "videos",
}
# Benchmarks that are also taken as plain folders of frames.
_ALSO_FRAMES = ("uav", "nfs", "avist")
# What stands between a folder and an option after it.
_OPTION = re.compile(r",(?=[a-z_0-9]+=)")


@dataclasses.dataclass(frozen=True)
class Sequence:
    """One video with one target (or one image, for image data sets).

    Attributes:
      name: unique within its source.
      frames: list-like of T paths (`etils.epath.Path`), in order.
      boxes: (T, 4) float64 x, y, w, h in pixels exactly as published (OTB's are 1-based), NaN or without area where the
        data set says so; (1, 4) where only the first frame's box is published (test splits scored by a server).
      visible: (T,) bool, True where the target can be used: annotated, not absent or fully occluded; (1,) as boxes.
    """

    name: str
    frames: ListLike
    boxes: np.ndarray
    visible: np.ndarray

    def __len__(self):
        return len(self.frames)

    @property
    def truth_withheld(self):
        """True where only the first of several frames is annotated."""
        return len(self.boxes) < len(self.frames)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a source's module states about it, as FACTS.

    Attributes:
      kind: the data kind whose samples are drawn from it (config.data.name): "pairs", or "clips", which have phrases.
      validation: split that is held out for validation; "train" where nothing else has published labels.
      procedural: whether it is made on the spot, without a folder. Instead of `open` such a module then has, for pairs,
        `batches` and `on_device` with the arguments of a data kind's, for clips `open_from(config, split) -> Source`.
      vocabulary: byte-pair vocabulary of its phrases where it has its own.
      options: {name: values} of the keywords of `open`, the default first; None where a value is a file of one's own,
        int where it is a whole number.
      sizes: {split: number of sequences as published}.
    """

    kind: str = "pairs"
    validation: str = "train"
    procedural: bool = False
    vocabulary: pathlib.Path | None = None
    options: dict = dataclasses.field(default_factory=dict)
    sizes: dict = dataclasses.field(default_factory=dict)


class Source(collections.abc.Sequence):
    """The sequences of one split of a data set, parsed when first asked for.

    Args:
      name: the data set's, for messages.
      names: the sequences' names.
      load: index -> Sequence; raises InputError naming the file.
      is_video: False for image data sets, whose template and search image are the same.
      keep: whether parsed sequences are kept; False where parsing costs nothing.
      published: {release: {what: number}}, what a paper counts in it (phrase_annotations.compare); None = nothing.
      context: side over sqrt(area) of what its images show around the targets (packed shards); None = all of them.
      labelled: False where there are no boxes (they are zeros) and regions stand in (data_pipelines/unlabelled).
    """

    def __init__(
        self, name: str, names: ListLike, load: Callable, is_video=True, keep=True, published=None, context=None,
        labelled=True,
    ):  # fmt: skip
        self.name, self.names, self.is_video, self.published = name, names, is_video, published
        self.context, self.labelled = context, labelled
        self._load, self._parsed = load, {} if keep else None

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {counted(len(self), 'sequence')}, no number {index}")
        if self._parsed is None:
            return self.read(index)
        if index not in self._parsed:
            self._parsed[index] = self.read(index)
        return self._parsed[index]

    def loading(self, load):
        """The same source whose sequences come from another `load`; videos are kept once parsed."""
        facts = {"published": self.published, "context": self.context, "labelled": self.labelled}
        return Source(self.name, self.names, load, self.is_video, keep=self.is_video, **facts)

    def read(self, index):
        """Sequence number `index`, parsed anew and not kept."""
        try:
            return self._load(index)
        except OSError as error:
            raise errors.InputError(f"{self.name}: sequence {self.names[index]} cannot be read ({error})") from None


def open_source(name, root, split="train", indexed=False):
    """Opens split `split` of the data set in layout `name` (a module of this package) -> Source.

    Args:
      root: its folder, with options after it where wanted: "/data/LaSOT,origin=zero"; or that of the TFDS data set
        which was made of it (data_pipelines/tfds_sets.py).
      indexed: whether what was parsed once is kept for other runs (data_pipelines/index.py).

    Raises: InputError where the folder, its layout or the split is not there, UsageError for an option that is none.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    folder, *given = _OPTION.split(str(root))
    options = dict(option.split("=", 1) for option in given)
    for option, value in options.items():
        known = module.FACTS.options
        if option not in known or not _takes(known[option], value):
            listed = ", ".join(f"{key}={'|'.join(_OWN.get(values, values))}" for key, values in known.items())
            raise errors.UsageError(f"{name}: {option}={value} is no option of it; it has {listed or 'none'}")
    from data_pipelines import tfds_sets

    try:
        # What `python -m data_pipelines tfds` made of the folder is taken in its place.
        stored = tfds_sets.find(name, folder, ",".join(given)) if module.FACTS.kind == "pairs" else None
        if stored is not None:
            return tfds_sets.open_split(name, stored, split)
        source = module.open(folder, split, **options)
    except OSError as error:
        raise errors.InputError(f"{name}: {folder} cannot be read ({error})") from None
    if not indexed or module.FACTS.kind != "pairs":
        return source
    from data_pipelines import index

    return index.indexed(source, name, str(root), split)


def folder_of(root):
    """The folder in a text that may have options after it."""
    return _OPTION.split(str(root))[0]


# What stands for an option's value in a message, where there is no list of values.
_OWN = {None: ("FILE",), int: ("N",)}


def _takes(values, value):
    if values is int:
        return numbers.is_digits(value)
    return values is None or value in values


def find(name):
    """The module of a source in config.data.ratio. Raises: InputError where there is no such source."""
    return importlib.import_module(_path(name))


def _path(name):
    if name not in MODULES:
        raise errors.InputError(f"config.data.ratio.{name}: no such source; use one of {', '.join(MODULES)}")
    return MODULES[name]


def on_disk(kind=None):
    """Names of the sources on disk that samples of a data kind are drawn from; None = of any."""
    facts = {name: find(name).FACTS for name in MODULES}
    return [name for name, fact in facts.items() if fact.kind == (kind or fact.kind) and not fact.procedural]


def tree(name):
    """The layout of a source on disk as its module's docstring draws it, without indentation."""
    lines = importlib.import_module(f"{__name__}.{name}").__doc__.split("\n")
    return "\n".join(line.removeprefix("    ") for line in lines if line.startswith("    "))


def shares(config, kind):
    """{name: share} of the sources that samples of the data kind `kind` are drawn from, in the order of MODULES.

    Raises: InputError where config.data.ratio names something else, or gives nothing a share.
    """
    ratio = config.data.ratio
    for name in ratio:
        _path(name)
    used = {name: float(ratio[name]) for name in MODULES if ratio.get(name, 0)}
    if not used or min(used.values()) < 0:
        raise errors.InputError("config.data.ratio: give at least one source a share above 0, none one below")
    for name in used:
        if find(name).FACTS.kind != kind:
            known = [other for other in MODULES if find(other).FACTS.kind == kind]
            known.sort(key=lambda other: find(other).FACTS.procedural)
            raise errors.InputError(
                f"config.data.ratio.{name}: no source of {kind}; {', '.join(known)} mix with each other only"
            )
    return used


def open_from(config, name, split="train"):
    """The Source that `name` in config.data.ratio stands for.

    Args:
      config: whole config; the data set lies in the folder config.data[name].
      name: key of MODULES.
      split: "train" or "validation"; where nothing is held out for validation it is the training split, and a line on
        stderr says so.

    Raises: InputError for an unset folder, naming its flag, and for whatever is wrong in it.
    """
    module = find(name)
    published = module.FACTS.validation if split == "validation" else "train"
    if module.FACTS.procedural:
        return module.open_from(config, published)
    path = config.data[name]
    if not path:
        raise errors.InputError(
            f"config.data.ratio.{name} is {config.data.ratio[name]} but its folder is not set: give"
            f" --config.data.{name}=FOLDER, or --config.data.ratio.{name}=0"
        )
    if split == "validation" and published == "train":
        print(f"{name}: no validation split, so its validation pairs come from training videos", file=sys.stderr)
    return open_source(name, path, published, indexed=True)


def say_unused(config, kind):
    """Says on stderr, in a line each, which data sets have a folder in the config but no share of the samples."""
    from data_pipelines import annotations

    for name in on_disk(kind):
        if config.data.get(name) and not config.data.ratio.get(name, 0):
            annotations.say_once(
                f"{name}: nothing is drawn from {config.data[name]}, as config.data.ratio.{name} is 0:"
                f" give --config.data.ratio.{name}=1 to train on it"
            )


def open_sequences(spec):
    """The sequences of a benchmark for tracking and scoring.

    Args:
      spec: "BENCHMARK:PATH", BENCHMARK a key of LAYOUTS, PATH its folder as its module draws it, with options after it
        where wanted; opened is its test split. got10k and trackingnet also take a split's folder (".../test",
        ".../val", ".../TEST"); uav, nfs and avist plain folders of frames, too.

    Returns: (benchmark name, list of Sequence).
    Raises: UsageError for an unknown benchmark, InputError for anything wrong on disk.
    """
    benchmark, separator, path = spec.partition(":")
    if not separator or benchmark not in LAYOUTS or not path:
        raise errors.UsageError(f"benchmark {spec!r}: write NAME:PATH with NAME one of {', '.join(sorted(LAYOUTS))}")
    layout = LAYOUTS[benchmark]
    if benchmark in _ALSO_FRAMES and find("frames").holds_sequences(folder_of(path)):
        layout = "frames"
    return benchmark, list(open_source(layout, path, "test", indexed=True))


def chosen(sequences, names):
    """Those of the sequences or videos that bear one of the names; all where there are no names.

    Raises: UsageError for a name that none bears.
    """
    known = [sequence.name for sequence in sequences]
    for name in names:
        if name not in known:
            some = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
            raise errors.UsageError(f"--sequences: the benchmark has no {name!r}; it has {some}")
    return [sequence for sequence in sequences if not names or sequence.name in names]

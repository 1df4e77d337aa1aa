"""Registered TFDS builders of the single-object sources: importing this module makes `sot_got10k` etc. known to TFDS.

    import tensorflow_datasets as tfds
    import data_pipelines.builders.datasets

    config = tfds.download.DownloadConfig(manual_dir="/data/got10k")
    source = tfds.data_source("sot_got10k", split="val", download_and_prepare_kwargs={"download_config": config})

There is one for each name in NAMES, made of the source's module: its docstring describes the data set, and the layout
that it draws is what `manual_dir` has to hold. Records are in the published order, one for each sequence, in files that
TFDS reads by `tfds.data_source` (ArrayRecord). `tfds.load` gives a tf.data.Dataset, and that takes TFRecord files only:
builder_kwargs={"file_format": "tfrecord"}. A split that was written whole is kept in DATA_DIR/sot_NAME/VERSION.splits
until all splits are; after a kill only the others are written.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import io
import itertools
import json
import re
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines import sources
from data_pipelines.builders import unpublished
from data_pipelines.builders.sequences import KEYS
from trackers import errors, progress
from trackers.io import outputs, plain_text

# Not files of images of a video (videos), written by this package (shards), of several objects (mot17, dancetrack),
# without labels (footage, photos).
_LEFT_OUT = ("videos", "shards", "mot17", "dancetrack", "footage", "photos")
NAMES = tuple(name for name in sources.on_disk("pairs") if name not in _LEFT_OUT)
# Splits of the sources whose FACTS do not count them; where train and test are one, it is written once.
_SPLITS = {"coco": ("train", "val"), "frames": ("train",), "vot": ("test",)}
# A protocol buffer, which a record is, holds 2 GiB; more than this of one sequence becomes several records.
RECORD_BYTES = 512 << 20
_THREADS, _FILES_AHEAD = 16, 64
_DONE = "done.json"
_FEATURES = {
    "name": tfds.features.Text(doc="The sequence's, unique within the split."),
    "first": tfds.features.Scalar(
        np.int64, doc="The frame that the record begins with: 0, except where a sequence is too large for one record."
    ),
    # As numbers TFDS would round them to float32.
    "boxes": tfds.features.Tensor(
        shape=(None, 4), dtype=np.float64, encoding="bytes",
        doc="(T, 4) x, y, w, h in pixels as published; (1, 4) where only the first frame's box is.",
    ),
    "visible": tfds.features.Tensor(
        shape=(None,), dtype=np.bool_, doc="(T,) whether the target can be used: annotated, neither absent nor hidden."
    ),
    "frames": tfds.features.Sequence(
        tfds.features.Tensor(shape=(), dtype=np.object_), doc="(T,) bytes of the image files, as they are."
    ),
}  # fmt: skip


@dataclasses.dataclass(eq=False)
class Choice(tfds.core.BuilderConfig):
    """A part of a data set, which lies in a folder of its own, sot_NAME/CHOICE/VERSION. Made by `choice`.

    options: of the source, as they stand after its folder ("exclude=vot"). splits: those written; () = all published.
    max_sequences: the most of a split that are written; None = all.
    """

    options: str = ""
    splits: tuple[str, ...] = ()
    max_sequences: int | None = None


def choice(options="", splits=(), max_sequences=None):
    """The Choice (builder_kwargs={"config": ...}), named by what it chooses; None where that is everything."""
    parts = [options, *splits, f"first_{max_sequences}" if max_sequences else ""]
    name = re.sub(r"[^\w.-]", "_", "-".join(filter(None, parts)))
    return Choice(name=name, options=options, splits=tuple(splits), max_sequences=max_sequences) if name else None


class _SingleObject:
    """What the builders share; LAYOUT is the name of the source."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, file_format="array_record", **settings):
        super().__init__(file_format=file_format, **settings)
        self._chosen = self.builder_config or Choice(name="all")
        self._kept = epath.Path(f"{self.data_dir}.splits")
        self._split = self._source = None

    def _info(self):
        return unpublished.Info(
            builder=self,
            description=sources.find(self.LAYOUT).__doc__,
            features=tfds.features.FeaturesDict(_FEATURES),
            disable_shuffling=True,
        )

    def open(self, folder):
        """{split: Source} of what is to be written of the data set in a folder. Raises: as sources.open_source."""
        root = f"{folder},{self._chosen.options}" if self._chosen.options else folder
        splits = self._chosen.splits or _SPLITS.get(self.LAYOUT) or sources.find(self.LAYOUT).FACTS.sizes
        return {split: sources.open_source(self.LAYOUT, root, split) for split in splits}

    def _download_and_prepare(self, dl_manager, download_config):
        opened, infos = self.open(dl_manager.manual_dir), []
        settings = {"format": self.info.file_format.value, "max_examples": download_config.max_examples_per_split}
        for split, source in opened.items():
            # What a kept split has to be made of.
            of = {"folder": str(dl_manager.manual_dir), "sequences": self._count(source), **settings}
            if not (known := self._done(split, of)):
                self._split, self._source = split, source
                known = self._write(split, of, dl_manager, download_config)
            template = self._get_filename_template(split_name=split)
            infos.append(tfds.core.SplitInfo(name=split, filename_template=template, **known["written"]))
        for file in (file for split in opened for file in self._files(split)):
            file.replace(self.data_path / file.name)
        self._kept.rmtree()
        self.info.set_splits(tfds.core.splits.SplitDict(infos))

    def _files(self, split):
        return [file for file in (self._kept / split).iterdir() if file.name.startswith(f"{self.name}-{split}.")]

    def _done(self, split, of):
        """What is known of a split that was kept; None where it has to be written."""
        try:
            known = json.loads((self._kept / split / _DONE).read_text())
        except (OSError, ValueError):
            return None
        # Files are lacking where a kill came while they were moved.
        whole = len(self._files(split)) == len(known["written"]["shard_lengths"])
        return known if whole and known["of"] == of else None

    def _write(self, split, of, dl_manager, download_config):
        folder, final = self._kept / split, self._data_dir
        if folder.exists():
            folder.rmtree()
        folder.mkdir(parents=True)
        # TFDS writes where _data_dir says, as it does itself while a data set is unfinished.
        self._data_dir = str(folder)
        try:
            [info] = self._generate_splits(dl_manager, download_config)
        finally:
            self._data_dir = final
        known = {"of": of, "written": {"shard_lengths": info.shard_lengths, "num_bytes": info.num_bytes}}
        outputs.write_text(folder / _DONE, json.dumps(known))
        return known

    def _split_generators(self, dl_manager):
        return {self._split: self._generate_examples(self._source, self._split)}

    def _count(self, source):
        return min(len(source), self._chosen.max_sequences or len(source))

    def _generate_examples(self, source, split):
        count = self._count(source)
        bar = progress.bar(total=count, desc=f"{source.name} {split}", unit="sequence", disable=None)
        with bar, concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            sequences = enumerate(map(source.read, range(count)))
            frames = (((index, sequence), path) for index, sequence in sequences for path in sequence.frames)
            for index, group in itertools.groupby(_read_ahead(pool, frames), key=lambda item: item[0][0]):
                for part, record in enumerate(_records((of[1], data) for of, data in group)):
                    yield index * (KEYS // count) + part, record
                bar.update(1)


def _read_ahead(pool, frames):
    """(whose, path) of frames -> (whose, bytes) in the same order, files being read ahead."""
    waiting = collections.deque()
    for whose, path in frames:
        waiting.append((whose, pool.submit(_read, path)))
        if len(waiting) == _FILES_AHEAD:
            whose, data = waiting.popleft()
            yield whose, data.result()
    for whose, data in waiting:
        yield whose, data.result()


def _read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise errors.InputError(f"image {path} cannot be read: {errors.os_reason(error)}") from None


def _records(images):
    """The records of one sequence. images: iterable of (sequence, an image's bytes)."""
    first, held, size = 0, [], 0
    for sequence, data in images:
        if held and size + len(data) > RECORD_BYTES:
            yield _record(sequence, first, held)
            first, held, size = first + len(held), [], 0
        held.append(data)
        size += len(data)
    yield _record(sequence, first, held)


def _record(sequence, first, images):
    part = slice(first, first + len(images))
    labels = {"boxes": sequence.boxes[part], "visible": sequence.visible[part]}
    return {"name": sequence.name, "first": first, "frames": images, **labels}


def _builder(layout):
    camel = "".join(word.capitalize() for word in layout.split("_"))
    known = {
        "__doc__": f"{sources.find(layout).__doc__.splitlines()[0]} Written by {__name__}.",
        "__module__": __name__,
        "name": f"sot_{layout}",
        "LAYOUT": layout,
        "MANUAL_DOWNLOAD_INSTRUCTIONS": f"Unpack it so that manual_dir is ROOT of:\n\n{sources.tree(layout)}",
    }
    return type(f"Sot{camel}", (_SingleObject, tfds.core.GeneratorBasedBuilder), known)


BUILDERS = {layout: _builder(layout) for layout in NAMES}
# By these names pickle finds them.
globals().update({builder.__name__: builder for builder in BUILDERS.values()})


def write(layout, root, out, splits=(), max_sequences=None):
    """Writes a source as the TFDS data set `sot_LAYOUT` in the folder `out`, or finds it there.

    Args: root: folder with options, as of sources.open_source. splits, max_sequences: as of Choice.

    Returns: (its builder, whether it was there already).

    Raises: InputError, UsageError for what is wrong with the source, InputError for a disk that takes no more.
    """
    folder = sources.folder_of(root)
    chosen = choice(str(root)[len(folder) + 1 :], splits, max_sequences)
    builder = BUILDERS[layout](data_dir=out, config=chosen)
    if builder.data_path.exists():
        return builder, True
    builder.open(folder)
    tfds.disable_progress_bar()
    # TFDS wants a folder for downloads, of which there are none, and tells at length of them.
    with tempfile.TemporaryDirectory() as downloads, contextlib.redirect_stdout(io.StringIO()):
        config = tfds.download.DownloadConfig(manual_dir=folder)
        try:
            builder.download_and_prepare(download_dir=downloads, download_config=config)
        except (OSError, RuntimeError, tf.errors.OpError) as error:  # the last two: ArrayRecord, TensorFlow
            reason = plain_text.reason(error)
            raise errors.InputError(f"{builder.data_path} cannot be written ({reason}): free some space") from None
    return builder, False

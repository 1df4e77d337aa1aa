"""Registered TFDS builders of the single-object sources: importing this module makes `sot_got10k` etc. known to TFDS.

    import tensorflow_datasets as tfds
    import data_pipelines.builders.datasets

    config = tfds.download.DownloadConfig(manual_dir="/data/got10k")
    source = tfds.data_source("sot_got10k", split="val", download_and_prepare_kwargs={"download_config": config})

There is one for each name in NAMES, made of the source's module: its docstring describes the data set, and the layout
that it draws is what `manual_dir` has to hold. Records are in the published order, one for each sequence, in files that
TFDS reads by `tfds.data_source` (ArrayRecord). `tfds.load` gives a tf.data.Dataset, and that takes TFRecord files only:
builder_kwargs={"file_format": "tfrecord"}, or both kinds beside each other (FORMATS). A split that was written whole is
kept in DATA_DIR/sot_NAME/VERSION.splits until all splits are; after a kill only the others are written. Beside the
records of a split lies what its sequences are (record_files), by which data_pipelines/tfds_sets.py reads it.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import io
import itertools
import json
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from array_record.python import array_record_data_source
from etils import epath

from data_pipelines import record_files, sources, tfds_sets
from data_pipelines.builders import unpublished
from data_pipelines.builders.sequences import KEYS
from trackers import errors, progress
from trackers.io import outputs, ownership, plain_text

# Not files of images of a video (videos), written by this package (shards), of several objects (mot17, dancetrack),
# without labels (footage, photos).
_LEFT_OUT = ("videos", "shards", "mot17", "dancetrack", "footage", "photos")
NAMES = tuple(name for name in sources.on_disk("pairs") if name not in _LEFT_OUT)
# A protocol buffer, which a record is, holds 2 GiB; more than this of one sequence becomes several records.
RECORD_BYTES = 512 << 20
# What records are written as: for tfds.data_source and training, for tfds.load, or for all of them, in twice the space.
FORMATS = ("array_record", "tfrecord", "both")
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
    max_sequences: the most of a split that are written; None = all. record_mib: the most MiB of images in a record;
    None = RECORD_BYTES.
    """

    options: str = ""
    splits: tuple[str, ...] = ()
    max_sequences: int | None = None
    record_mib: int | None = None


def choice(options="", splits=(), max_sequences=None, record_mib=None):
    """The Choice (builder_kwargs={"config": ...}), named by what it chooses; None where that is everything."""
    chosen = {"options": options, "splits": tuple(splits), "max_sequences": max_sequences, "record_mib": record_mib}
    name = tfds_sets.choice_name(**chosen)
    return Choice(name=name, **chosen) if name else None


class _SingleObject:
    """What the builders share; LAYOUT is the name of the source."""

    VERSION = tfds.core.Version(tfds_sets.VERSION)

    def __init__(self, *, file_format="array_record", **settings):
        super().__init__(file_format=file_format, **settings)
        self._chosen = self.builder_config or Choice(name="all")
        self._kept = epath.Path(f"{self.data_dir}.splits")
        self._split = self._source = None
        # Of the split that is written: each sequence with the numbers of frames in its records.
        self._shown = []

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
        splits = self._chosen.splits or tfds_sets.splits(self.LAYOUT)
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
        starts = f"{self.name}-{split}.", tfds_sets.annotations_name(split)
        return [file for file in (self._kept / split).iterdir() if file.name.startswith(starts)]

    def _done(self, split, of):
        """What is known of a split that was kept; None where it has to be written."""
        try:
            known = json.loads((self._kept / split / _DONE).read_text())
        except (OSError, ValueError):
            return None
        # Files are lacking where a kill came while they were moved.
        whole = len(self._files(split)) == known["files"]
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
        self._annotate(folder / tfds_sets.annotations_name(split), info.num_examples)
        known = {"of": of, "written": {"shard_lengths": info.shard_lengths, "num_bytes": info.num_bytes}}
        outputs.write_text(folder / _DONE, json.dumps(known | {"files": len(self._files(split))}))
        return known

    def _annotate(self, file, count):
        """Writes what the sequences of the split are; not where TFDS was asked for the first `count` records alone."""
        if count == sum(len(parts) for _, parts in self._shown):
            records = np.repeat(np.arange(count), [frames for _, parts in self._shown for frames in parts])
            record_files.write(file, self._source, [sequence for sequence, _ in self._shown], records)

    def _split_generators(self, dl_manager):
        return {self._split: self._generate_examples(self._source, self._split)}

    def _count(self, source):
        return min(len(source), self._chosen.max_sequences or len(source))

    def _generate_examples(self, source, split):
        count, self._shown = self._count(source), []
        most = (self._chosen.record_mib << 20) if self._chosen.record_mib else RECORD_BYTES
        bar = progress.bar(total=count, desc=f"{source.name} {split}", unit="sequence", disable=None)
        with bar, concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            sequences = enumerate(map(source.read, range(count)))
            frames = (((index, sequence), path) for index, sequence in sequences for path in sequence.frames)
            for index, group in itertools.groupby(_read_ahead(pool, frames), key=lambda item: item[0][0]):
                for part, (sequence, record) in enumerate(_records(((of[1], data) for of, data in group), most)):
                    if not part:
                        self._shown.append((sequence, []))
                    self._shown[-1][1].append(len(record["frames"]))
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


def _records(images, most):
    """(sequence, record) of one sequence. images: iterable of (sequence, an image's bytes). most: bytes of a record."""
    first, held, size = 0, [], 0
    for sequence, data in images:
        if held and size + len(data) > most:
            yield sequence, _record(sequence, first, held)
            first, held, size = first + len(held), [], 0
        held.append(data)
        size += len(data)
    yield sequence, _record(sequence, first, held)


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


def write(layout, root, out, splits=(), max_sequences=None, record_mib=None, file_format="array_record"):
    """Writes a source as the TFDS data set `sot_LAYOUT` in the folder `out`, or finds it there.

    Args:
      root: folder with options, as of sources.open_source.
      splits, max_sequences, record_mib: as of Choice.
      file_format: of FORMATS; with "both" what is there as ArrayRecord gets TFRecord files beside it.

    Returns: (its builder, whether it was there already).

    Raises: InputError, UsageError for what is wrong with the source, InputError where it is there in another format or
      the disk takes no more.
    """
    folder = sources.folder_of(root)
    chosen = choice(str(root)[len(folder) + 1 :], splits, max_sequences, record_mib)
    home = epath.Path(out) / f"sot_{layout}" / (chosen.name if chosen else "") / tfds_sets.VERSION
    wanted = {"array_record", "tfrecord"} if file_format == "both" else {file_format}
    there = tfds_sets.formats(home) if home.exists() else []
    if there and not (wanted <= set(there) or "array_record" in there and file_format == "both"):
        raise errors.InputError(f"{home} is there as {', '.join(there)}: remove it, or name another --out")
    # Where both are wanted ArrayRecord comes first, of which a killed run keeps what it had.
    builder = BUILDERS[layout](data_dir=out, config=chosen, file_format=(there or sorted(wanted))[0])
    if known := wanted <= set(there):
        return builder, known
    if not there:
        builder.open(folder)  # what is wrong with it leaves no folder
    with ownership.hold(home.parent):
        if not there:
            _prepare(builder, folder)
        if not wanted <= {builder.info.file_format.value}:
            with _full_disk(home):
                _add_tfrecord(builder)
    return builder, known


@contextlib.contextmanager
def _full_disk(folder):
    """What writing raises, as one line."""
    try:
        yield
    except (OSError, RuntimeError, tf.errors.OpError) as error:  # the last two: ArrayRecord, TensorFlow
        raise errors.InputError(f"{folder} cannot be written ({plain_text.reason(error)}): free some space") from None


def _prepare(builder, folder):
    tfds.disable_progress_bar()
    # TFDS wants a folder for downloads, of which there are none, and tells at length of them.
    with tempfile.TemporaryDirectory() as downloads, contextlib.redirect_stdout(io.StringIO()):
        config = tfds.download.DownloadConfig(manual_dir=folder)
        with _full_disk(builder.data_path):
            builder.download_and_prepare(download_dir=downloads, download_config=config)


def _add_tfrecord(builder):
    """The records of a data set as TFRecord files beside its ArrayRecord ones; tfds.load takes those then."""
    info = builder.info
    pairs = []
    for split in info.splits.values():
        names = split.filename_template.replace(filetype_suffix="tfrecord")
        pairs += zip(split.filepaths, names.sharded_filepaths(len(split.shard_lengths)), strict=True)
    for source, target in progress.bar(pairs, desc=f"{info.name} as tfrecord", unit="file", disable=None):
        part = outputs.part_of(target)
        with tf.io.TFRecordWriter(str(part)) as writer:
            for record in array_record_data_source.ArrayRecordDataSource([str(source)]):
                writer.write(record)
        part.replace(target)
    # Last: the data set has the format that its information names.
    info.set_file_format("tfrecord", override=True, override_if_initialized=True)
    info.add_alternative_file_format("array_record")
    info.write_to_directory(builder.data_path)

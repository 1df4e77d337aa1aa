"""Looks at data before it is trained on, and writes synthetic video.

    python -m data_pipelines check --source lasot:/data/LaSOT [--split train] [--decode none|first|all]
    python -m data_pipelines check --config configs/grm.py:b256 [--config.data.lasot=/data/LaSOT ...]
    python -m data_pipelines sheet --config configs/grm.py:tiny --out sheet.png [--pairs 16] [--split validation]
    python -m data_pipelines synthetic --out DIR [--sequences 8] [--length 60] [--seed 1] [--config configs/grm.py:demo]
    python -m data_pipelines phrases --source refer_kitti:/data/Refer-KITTI --out phrases.png
    python -m data_pipelines examples --source refer_kitti:/data/Refer-KITTI --out examples.png [--pairs 16]
    python -m data_pipelines shards --source lasot:/data/LaSOT --out gs://BUCKET/lasot [--split train]
                                    [--packed [--config configs/grm.py:b256] [--context 9] [--largest 512]]
    python -m data_pipelines tfds --source got10k:/data/got10k --out DIR [--split val] [--max_sequences 100]
                                  [--record_mib 16] [--file_format array_record|tfrecord|both]
    python -m data_pipelines referring --out DIR [--train_videos 40] [--test_videos 25] [--length 60] [--seed 1]
                                       [--config configs/ikun.py:tiny]

check  parses every sequence of the sources and decodes frames: how many sequences, frames, and of these usable for
       training, beside how many were published; the layout that is expected; the first problem with its file. Of
       referring sets also how their videos and descriptions differ from the published ones. Exit code 1 where there is
       a problem.
sheet  a PNG of training examples as the network gets them: template above search crop, with their boxes; or, for words,
       the phrase, the object's images and below them the frames, in green where the phrase means the object.
synthetic  sequences in the GOT-10k layout, with the detail of the config's training pairs where one is given.
phrases  a PNG of how many boxes each phrase of a referring data set means (the long tail of iKUN's Fig. 1).
examples  a PNG of phrases of a referring data set, from frequent to rare ones, in frames with the boxes that they mean.
shards  a data set as a few large files (TFDS, ArrayRecord) for --config.data.shards; every image is checked.
       --packed keeps of each frame only what the crops of training pairs need: a square around the target, as wide as
       nearly all search windows of the config reach, at most 512 pixels. Pairs are drawn as from whole frames.
tfds  a data set as the TFDS data set sot_LAYOUT, a record for each sequence (data_pipelines/builders/datasets.py): all
       its published splits, or those of --split=A,B. After a kill the same command goes on with the next split. Where
       a folder of the data set is asked for, DIR can be given in its place.
referring  procedural people with phrases, in Refer-Dance's layout, with a vocabulary for their tokenizer; as
       data.synthetic_referring of the config says where one is given.
"""

import dataclasses
import functools
import sys
import textwrap
from pathlib import Path

from absl import flags

from data_pipelines import loader, phrase_annotations, phrase_plots, sheets, sources
from trackers import errors, progress
from trackers.io import outputs
from trackers.io.numbers import counted
from trackers.tracking.pictures import drawing
from trackers.training import ranges

FLAGS = flags.FLAGS
errors.define_config("Whose data is meant: configs/FILE.py:VARIANT.")
flags.DEFINE_string("source", None, "LAYOUT:FOLDER, as lasot:/data/LaSOT; check: or --config.")
flags.DEFINE_string(
    "split", "train", "check, examples: split of the source; with --config and for a sheet train or validation."
)
flags.DEFINE_enum("decode", "first", ["none", "first", "all"], "check: which frames of each sequence are decoded.")
flags.DEFINE_string(
    "out", None, "sheet, phrases, examples: PNG file to write; synthetic, referring, shards, tfds: folder to write to."
)
flags.DEFINE_integer("pairs", 16, "sheet, examples: number of examples.", lower_bound=1)
flags.DEFINE_boolean("packed", False, "shards: keep what lies around the targets, not whole images.")
flags.DEFINE_float(
    "context",
    None,
    "shards --packed: side of what is kept over sqrt(area) of the target; else what 99 % of the search windows of"
    " --config (GRM's) need.",
    lower_bound=1,
    upper_bound=1000,
)
flags.DEFINE_integer(
    "largest", 512, "shards --packed: pixels to which what is kept is scaled down.", lower_bound=64, upper_bound=8192
)
flags.DEFINE_integer("quality", 95, "shards --packed: of the JPEG files.", lower_bound=1, upper_bound=100)
flags.DEFINE_integer("sequences", 8, "synthetic: number of sequences.", lower_bound=1)
flags.DEFINE_integer("length", 60, "synthetic, referring: frames in a sequence.", lower_bound=1)
flags.DEFINE_integer("train_videos", 40, "referring: videos to train on.", lower_bound=1)
flags.DEFINE_integer("test_videos", 25, "referring: videos to test on.", lower_bound=1)
flags.DEFINE_integer(
    "max_sequences", None, "shards, tfds: the most sequences of a split that are written.", lower_bound=1
)
flags.DEFINE_integer("record_mib", None, "tfds: the most MiB of images in a record; else 512.", lower_bound=1)
flags.DEFINE_enum(
    "file_format",
    "array_record",
    ["array_record", "tfrecord", "both"],
    "tfds: array_record for training and tfds.data_source, tfrecord for tfds.load, or both, in twice the space.",
)
flags.DEFINE_integer("seed", 1, "synthetic, referring, sheet: seed.", lower_bound=0)
# Of each command.
_FLAGS = {
    "check": ("config", "source", "split", "decode"),
    "sheet": ("config", "split", "out", "pairs", "seed"),
    "synthetic": ("config", "out", "sequences", "length", "seed"),
    "phrases": ("source", "out"),
    "examples": ("source", "split", "out", "pairs"),
    "shards": ("source", "split", "out", "max_sequences", "packed", "config", "context", "largest", "quality"),
    "tfds": ("source", "split", "out", "max_sequences", "record_mib", "file_format"),
    "referring": ("config", "out", "train_videos", "test_videos", "length", "seed"),
}


def main(command, argv):
    """Runs one of the commands; `argv` is what the flags left over."""
    del argv
    commands = {
        "check": check, "sheet": sheet, "synthetic": synthetic, "phrases": draw_phrases, "examples": draw_examples,
        "referring": write_referring, "shards": write_shards, "tfds": write_tfds,
    }  # fmt: skip
    if command in ("help", "--help", "-h"):
        print(__doc__)
        return 0
    if command not in commands:
        raise errors.UsageError(f"command {command!r}: use {', '.join(commands)} (python -m data_pipelines --help)")
    errors.leave_out(sorted({*sum(_FLAGS.values(), ())} - {*_FLAGS[command]}), f"has no use with {command}")
    return commands[command]()


def check():
    """Prints what is in the sources; 1 where something is wrong with them."""
    if bool(FLAGS.source) == (FLAGS.config is not None):
        raise errors.UsageError("check: give either --source=LAYOUT:FOLDER or --config=FILE")
    if FLAGS.source:
        layout, root = _split_source(sources.on_disk())
        opening = {layout: functools.partial(sources.open_source, layout, root, FLAGS.split)}
        split = FLAGS.split
    else:
        if FLAGS.split not in loader.SPLITS:
            raise errors.UsageError(f"--split={FLAGS.split}: with --config it is {' or '.join(loader.SPLITS)}")
        ratio = FLAGS.config.data.get("ratio") or {}
        used = [name for name in sources.on_disk() if ratio.get(name, 0)]
        if not used:
            print("nothing to check: no data set has a share in config.data.ratio")
        opening = {name: functools.partial(sources.open_from, FLAGS.config, name, FLAGS.split) for name in used}
        split = None
    return int(any([_check_source(name, opener, split) for name, opener in opening.items()]))


def _split_source(layouts):
    """(layout, folder) of --source."""
    layout, _, root = (FLAGS.source or "").partition(":")
    layout = sources.LAYOUTS.get(layout, layout)
    if layout not in layouts or not root:
        raise errors.UsageError(f"--source={FLAGS.source}: write LAYOUT:FOLDER, LAYOUT one of {', '.join(layouts)}")
    return layout, root


def _check_source(name, opener, split):
    """Reports on one source; whether there was a problem.

    Args: name: its layout. opener: () -> Source. split: as published; None: what --split stands for in the layout.
    """
    facts = sources.find(name).FACTS
    if split is None:
        split = facts.validation if FLAGS.split == "validation" else "train"
    kind, layout = loader.kind(facts.kind), f"expected layout:\n{textwrap.indent(sources.tree(name), '    ')}"
    try:
        source = opener()
    except errors.InputError as error:
        print(f"problem: {error}\n{layout}")
        return True
    frames = usable = broken = images = 0
    first, decoded = None, {}
    for index in progress.bar(range(len(source)), desc=source.name, unit="sequence", disable=None):
        try:
            sequence = source[index]
        except errors.InputError as error:
            first, broken = first or error, broken + 1
            continue
        if wrong := _decode(sequence, decoded):
            first, broken, images = first or wrong[0], broken + 1, images + len(wrong)
            continue
        frames += len(sequence)
        usable += kind.usable(source, sequence)
    parts = counted(len(source), "sequence" if source.is_video else "object")
    print(
        f"{source.name}: {parts}, {counted(frames, 'frame')}, {counted(usable, kind.usable_noun(source))} usable for"
        f" training, {broken} broken" + (f" ({counted(images, 'image')})" if images else "")
    )
    if facts.sizes:
        published = ", ".join(f"{part} {size}" for part, size in facts.sizes.items())
        print(f"{split} split: {parts} here; published: {published}")
    print(layout)
    if first:
        print(f"problem: {first}")
    elif source.published:
        print(phrase_annotations.compare(source))
    return first is not None


def _decode(sequence, decoded):
    """Reads the frames that --decode asks for -> the errors of those that cannot be read.

    decoded: {path: its error or None}, by which each file is read once (COCO's objects share images).
    """
    from trackers.io.image_files import read_image

    count = {"none": 0, "first": 1, "all": len(sequence)}[FLAGS.decode]
    paths = sequence.frames[:count]
    for path in paths:
        if path not in decoded:
            decoded[path] = None
            try:
                read_image(path)
            except errors.InputError as error:
                decoded[path] = error
    return [decoded[path] for path in paths if decoded[path]]


def sheet():
    """Writes the contact sheet."""
    import cv2

    if FLAGS.config is None or not FLAGS.out:
        raise errors.UsageError("sheet: give --config=FILE and --out=PNG")
    if FLAGS.split not in loader.SPLITS:
        raise errors.UsageError(f"--split={FLAGS.split}: for a sheet it is {' or '.join(loader.SPLITS)}")
    name = FLAGS.config.data.name
    if name not in sheets.DRAWN:
        raise errors.UsageError(f"sheet: there are no pictures of {name}, only of {', '.join(sheets.DRAWN)}")
    ranges.check(FLAGS.config)
    _claim_png()
    batch = next(loader.batches(FLAGS.config, 0, range(FLAGS.pairs), FLAGS.seed, FLAGS.split))
    picture = sheets.DRAWN[name](batch, FLAGS.config, FLAGS.split)
    encoded = cv2.imencode(".png", picture[:, :, ::-1])[1]
    outputs.write_bytes(FLAGS.out, encoded.tobytes())
    print(f"{counted(FLAGS.pairs, 'example')} in {FLAGS.out}")


def synthetic():
    """Writes synthetic sequences."""
    from data_pipelines.procedural import video

    if not FLAGS.out:
        raise errors.UsageError("synthetic: give --out=FOLDER")
    outputs.claim_folder(FLAGS.out)
    settings = video.SyntheticConfig()
    if FLAGS.config is not None:
        settings = video.SyntheticConfig.from_config(FLAGS.config)
    video.write_sequences(
        FLAGS.out, FLAGS.sequences, FLAGS.length, FLAGS.seed, detail=settings.detail, plainness=settings.plainness
    )
    print(f"{counted(FLAGS.sequences, 'sequence')} of {counted(FLAGS.length, 'frame')} in {FLAGS.out}")


def write_shards():
    """Writes a data set as a TFDS data set."""
    from data_pipelines.builders import sequences

    if not FLAGS.out:
        raise errors.UsageError("shards: give --out=FOLDER")
    layout, root = _split_source(sources.on_disk("pairs"))
    packing = _packing()
    outputs.claim_folder(FLAGS.out)
    source = sources.open_source(layout, root, FLAGS.split)
    done = sequences.write(source, FLAGS.out, FLAGS.split, packing, FLAGS.max_sequences)
    print(
        f"{counted(done.sequences, 'sequence')}, {counted(done.records, 'image')} of"
        f" {done.bytes / max(done.records, 1):.0f} bytes each in"
        f" {FLAGS.out}/{FLAGS.split}"
    )
    if packing is not None:
        print(
            f"packed: {packing.context:g} sqrt(area) around the target; {done.beyond:.2%} of search windows reach"
            f" beyond it inside the image, with {done.area_beyond:.3%} of all area, where its edge is repeated"
        )


def _packing():
    """The Packing of --packed and the flags with it, None without --packed."""
    from data_pipelines import pairs
    from data_pipelines.builders import packing

    if not FLAGS.packed:
        if given := [name for name in ("context", "largest", "quality", "config") if FLAGS[name].present]:
            raise errors.UsageError(f"shards: --{given[0]} is of --packed shards: give that too")
        return None
    given = {name: FLAGS[name].value for name in ("context", "largest", "quality")}
    if FLAGS.config is None:
        return packing.Packing(**given)
    if FLAGS.config.data.name != "pairs":
        raise errors.UsageError(f"shards: --config has {FLAGS.config.data.name}, and what is packed serves pairs only")
    ranges.check(FLAGS.config)
    return packing.Packing(pairs.PairConfig.from_config(FLAGS.config), **given)


def write_tfds():
    """Writes a data set as one of TFDS's."""
    from data_pipelines.builders import datasets

    if not FLAGS.out:
        raise errors.UsageError("tfds: give --out=FOLDER")
    layout, root = _split_source(datasets.NAMES)
    splits = tuple(FLAGS.split.split(",")) if FLAGS["split"].present else ()
    outputs.claim_folder(FLAGS.out)
    chosen = FLAGS.max_sequences, FLAGS.record_mib, FLAGS.file_format
    builder, known = datasets.write(layout, root, FLAGS.out, splits, *chosen)
    records = ", ".join(f"{info.num_examples} {split}" for split, info in builder.info.splits.items())
    print(
        f"{builder.name}: {counted(records, 'record')} in {builder.data_dir}"
        + (", where it was already" if known else "")
    )


def draw_phrases():
    """Draws the long tail of a data set's phrases."""
    errors.require("matplotlib")
    layout, root = _referring("phrases")
    counts = {split: phrase_plots.counts(sources.open_source(layout, root, split)) for split in ("train", "test")}
    outputs.write_bytes(FLAGS.out, phrase_plots.draw_tail(counts["train"], counts["test"], layout))
    new = len(set(counts["test"]) - set(counts["train"]))
    print(
        f"{layout}: {counted(len(counts['train']), 'phrase')} to train, {len(counts['test'])} to test,"
        f" {new} of them new"
    )


def draw_examples():
    """Draws phrases of a data set with the boxes that they mean."""
    layout, root = _referring("examples")
    rows = phrase_plots.examples(sources.open_source(layout, root, FLAGS.split), FLAGS.pairs)
    drawing.write_filmstrip(FLAGS.out, rows, side=480)
    print(f"{counted(len(rows), 'phrase')} in {FLAGS.out}")


def _referring(command):
    """(layout, folder) of the referring data set that --source names, --out being a file that can be written."""
    if not FLAGS.source or not FLAGS.out:
        raise errors.UsageError(f"{command}: give --source=LAYOUT:FOLDER and --out=PNG")
    layout, root = _split_source(sources.on_disk("clips"))
    _claim_png()
    return layout, root


def _claim_png():
    """Claims --out for a PNG; a name that says another kind of file is refused."""
    if Path(FLAGS.out).suffix.lower() not in ("", ".png"):
        raise errors.UsageError(f"--out={FLAGS.out}: the picture is a PNG: give a name that ends in .png")
    outputs.claim_file(FLAGS.out)


def write_referring():
    """Writes the synthetic referring set."""
    from data_pipelines.procedural import people

    if not FLAGS.out:
        raise errors.UsageError("referring: give --out=FOLDER")
    outputs.claim_folder(FLAGS.out)
    settings = people.ReferringSetConfig()
    if FLAGS.config is not None:
        settings = settings.from_config(FLAGS.config)
    names = ("train_videos", "test_videos", "length")
    given = {name: FLAGS[name].value for name in names if FLAGS.config is None or FLAGS[name].present}
    settings = dataclasses.replace(settings, **given)
    people.write_set(FLAGS.out, settings, FLAGS.seed)
    frames = counted(settings.length, "frame")
    print(f"{settings.train_videos} + {settings.test_videos} videos of {frames} in {FLAGS.out}")


if __name__ == "__main__":
    # The command is the one word that is not a flag; what follows it is absl's.
    errors.run(functools.partial(main, sys.argv[1] if len(sys.argv) > 1 else ""), [sys.argv[0], *sys.argv[2:]])

"""One result under the rules of every toolkit, side by side: why one tracker has several AUCs (docs/metrics.md).

    python -m trackers.evaluation.rules --results DIR --benchmark NAME:PATH [--out DIR]

--results holds the boxes of every sequence, ours (OUT/BENCHMARK/TRACKER) or another program's: SEQUENCE.txt, or
SEQUENCE/SEQUENCE_001.txt as GOT-10k has it; lines x,y,w,h separated by commas, tabs or spaces. Prints a row a toolkit,
and where the set has attributes (data_pipelines/attributes.py) a row an attribute; --out gets rules.md and rules.json.
"""

import numpy as np
from absl import flags
from etils import epath

from data_pipelines import annotations, attributes, sources
from trackers import errors
from trackers.evaluation import benchmark, records, scores, tables
from trackers.io import image_headers, outputs
from trackers.io.numbers import counted

FLAGS = flags.FLAGS

# Column -> the names that toolkits have for it.
COLUMNS = {
    "AUC": ("AUC", "success"),
    "P": ("Precision", "precision20", "precision"),
    "NP": ("NormPrecision", "norm_precision"),
    "SR0.5": ("SR0.5", "OP50"),
    "SR0.75": ("SR0.75", "OP75"),
    "AO": ("AO",),
}
LEGEND = """\
to: largest difference of a fraction from what that program gives. frames: those that count.
AUC: mean of the success curve, or the area under it (trackingnet). P: within 20 pixels. NP: within 0.20 of the box.
got10k_lasot's NP, trackingnet's P and NP: over all thresholds. truth: AUC (got10k: AO) of the ground truth itself.
What is counted how: docs/metrics.md."""
_HEADER_BYTES = 2**20


def read_results(folder, sequences):
    """{sequence: boxes (T, 4), NaN allowed} of a folder of results, in one of the layouts above.

    Raises: InputError naming the folder, or the file and line, that is missing or not boxes.
    """
    folder = epath.Path(folder)
    if not folder.is_dir():
        raise errors.InputError(f"results {folder}: no such folder; expected SEQUENCE.txt or SEQUENCE/SEQUENCE_001.txt")
    boxes = {}
    for sequence in sequences:
        flat = folder / f"{sequence.name}.txt"
        nested = folder / sequence.name / f"{sequence.name}_001.txt"
        if not (flat.exists() or nested.exists()):
            raise errors.InputError(f"{flat} is missing, and so is {nested}: expected the boxes of every sequence")
        boxes[sequence.name] = annotations.read_boxes(flat if flat.exists() else nested)
    return boxes


def image_size(sequence):
    """(width, height) of a sequence's first frame, by the header of its file. Raises: InputError naming the file."""
    path = sequence.frames[0]
    with path.open("rb") as stream:
        size = image_headers.image_size(stream.read(_HEADER_BYTES), path)
    if size is None:
        raise errors.InputError(f"image {path} has no readable header")
    return size


def table(scored, perfect):
    """Text: a row a toolkit. scored, perfect: {toolkit: ...} of the result and of the ground truth itself, as
    `benchmark.score` gives them."""
    rows = []
    for toolkit, score in scored.items():
        known = scores.TOOLKITS[toolkit]
        agrees = "-" if known.agrees is None else f"{known.agrees:g}"
        if "error" in score:
            rows.append([toolkit, known.program, agrees, "-", *["-"] * len(COLUMNS), "-"])
            continue
        overall = score["overall"]
        cells = [_cell(_named(overall.values, names)) for names in COLUMNS.values()]
        truth = perfect[toolkit]
        truth = "-" if "error" in truth else _cell(headline(truth["overall"].values))
        rows.append([toolkit, known.program, agrees, str(overall.frames), *cells, truth])
    return tables.markdown(["rule", "equals", "to", "frames", *COLUMNS, "truth"], rows)


def attribute_table(scored, members):
    """Text: a row an attribute, its sequences and the AUC (got10k: AO) of each toolkit over them; "" without any.

    members: {code: [sequence, ...]} as attributes.read gives it; codes that no sequence has are left out.
    """
    members = {code: names for code, names in members.items() if names}
    used = {toolkit: score["sequences"] for toolkit, score in scored.items() if "error" not in score}
    if not members or not used:
        return ""
    rows = []
    for code, names in members.items():
        overall = [scores.combine([parts[name] for name in names]).values for parts in used.values()]
        rows.append(
            [
                f"{code} {attributes.NAMES.get(code, '')}".rstrip(),
                str(len(names)),
                *(_cell(headline(v)) for v in overall),
            ]
        )
    return tables.markdown(["attribute", "sequences", *used], rows)


def headline(values):
    """The number that a toolkit ranks by: AUC, or AO where there is none. values: of a Score."""
    return _named(values, COLUMNS["AUC"] + COLUMNS["AO"])


def report(spec, name, sequences, boxes):
    """(text, {toolkit: result as benchmark.score gives it}) of one tracker's boxes {sequence: (T, 4)}.

    Args: spec: the benchmark as given, NAME:PATH. name: the benchmark's. sequences: list of data_pipelines Sequence.

    Raises: InputError where the ground truth is withheld, or a first frame cannot be read.
    """
    withheld = next((sequence.name for sequence in sequences if sequence.truth_withheld), None)
    if withheld:
        raise errors.InputError(
            f"{spec}: of {withheld} only the first box is published, so only the server can score it"
        )
    sizes = {sequence.name: image_size(sequence) for sequence in sequences}
    scored = benchmark.score(name, sequences, boxes, sizes, scores.TOOLKITS)
    # Where there is no box a tracker that is right elsewhere would leave the one before.
    truth = {one.name: scores.repeated(one.boxes, ~annotations.has_area(one.boxes)) for one in sequences}
    perfect = benchmark.score(name, sequences, truth, sizes, scores.TOOLKITS)
    refused = [f"{toolkit} gives no scores: {score['error']}" for toolkit, score in scored.items() if "error" in score]
    members = attributes.read(spec, [sequence.name for sequence in sequences])
    heading = f"{spec}: {counted(len(sequences), 'sequence')}, in per cent"
    parts = [heading, table(scored, perfect), "\n".join(refused), LEGEND, attribute_table(scored, members)]
    return "\n\n".join(part for part in parts if part), scored


def _named(values, names):
    return next((values[name] for name in names if name in values), None)


def _cell(value):
    return "-" if value is None or np.isnan(value) else f"{100 * value:.2f}"


def main(argv):
    del argv
    name, sequences = sources.open_sequences(FLAGS.benchmark)
    sequences = sources.chosen(sequences, FLAGS.sequences)
    if FLAGS.out:
        outputs.claim_folder(FLAGS.out)
    text, scored = report(FLAGS.benchmark, name, sequences, read_results(FLAGS.results, sequences))
    if FLAGS.out:
        out = epath.Path(FLAGS.out)
        plain = {
            toolkit: score if "error" in score else {"frames": score["overall"].frames, **score["overall"].values}
            for toolkit, score in scored.items()
        }
        outputs.write_text(out / "rules.md", text + "\n")
        records.write_json(out / "rules.json", {"units": "fractions", "results": FLAGS.results, "rules": plain})
    print(text)


if __name__ == "__main__":
    flags.DEFINE_string("results", None, "Folder of SEQUENCE.txt or SEQUENCE/SEQUENCE_001.txt.", required=True)
    flags.DEFINE_string(
        "benchmark", None, f"NAME:PATH, NAME one of {', '.join(sorted(sources.LAYOUTS))}.", required=True
    )
    flags.DEFINE_list("sequences", [], "Only these sequences, by name; empty: all.")
    flags.DEFINE_string("out", None, "Folder for rules.md and rules.json; none: printed only.")
    errors.run(main)

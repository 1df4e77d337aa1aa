"""Scores results of tracking with words that lie on disk, ours or others':

    python -m trackers.evaluation --results FOLDER [--seqmap FILE] [--out FOLDER] [--first_frame 0]

FOLDER holds VIDEO/PHRASE/{gt,predict}.txt. Prints the paper's row and a row a phrase; --out gets results.json, table.md
and report.html.
"""

from absl import flags
from etils import epath

from trackers import errors
from trackers.evaluation import phrase_report, phrase_results
from trackers.io import outputs

FLAGS = flags.FLAGS


def main(argv):
    del argv
    if FLAGS.out:
        outputs.claim_folder(FLAGS.out)
    scores = phrase_results.score(FLAGS.results, FLAGS.seqmap, FLAGS.first_frame)
    name = epath.Path(FLAGS.results).name
    if FLAGS.out:
        print(phrase_results.write_report(FLAGS.out, name, scores))
        phrase_report.write(FLAGS.out, name, scores)
    else:
        print(phrase_results.report(name, scores))


if __name__ == "__main__":
    flags.DEFINE_string("results", None, "Folder of VIDEO/PHRASE/{gt,predict}.txt.")
    flags.DEFINE_string("seqmap", None, "File of lines VIDEO+PHRASE to score; default FOLDER/seqmap.txt, else all.")
    flags.DEFINE_integer("first_frame", 1, "Number that the files give to a video's first frame.", 0)
    flags.DEFINE_string("out", None, "Folder for results.json, table.md and report.html; none: printed only.")
    flags.mark_flags_as_required(["results"])
    errors.run(main)

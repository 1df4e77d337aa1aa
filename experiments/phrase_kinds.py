"""What a tracker with words has learned of the synthetic referring set, by kind of phrase, on held-out videos.

    python -m experiments.phrase_kinds --checkpoint DIR [--fusion text_first_modulation] [--clips 2048] [--seed 0]

For all phrases, for those about clothes, about motions and about both, for those that were trained on and the new ones:
share of right answers (a score at or above 0 is a yes), F1, area under the ROC curve, and the first two once more with
every clip exchanged for its neighbor's.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import trackers
from configs import ikun
from data_pipelines import clips as clip_data
from data_pipelines import loader
from data_pipelines.procedural.people import cast
from trackers import errors, weights
from trackers.ops import crops

FLAGS = flags.FLAGS
flags.DEFINE_string("checkpoint", None, "Workdir of a run of configs/ikun.py:tiny.", required=True)
flags.DEFINE_string("fusion", "cascade_attention", "How its model joins words and images (config.model.fusion).")
flags.DEFINE_integer("clips", 2048, "Clips that are judged.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the test videos; the settings were chosen on 0.", lower_bound=0)


def ranked(scores, target):
    """Area under the ROC curve of scores (n,) against target (n,) of zeros and ones; equal scores count half."""
    positive, negative = (np.sort(scores[target == value]) for value in (1, 0))
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(below.mean() / 2 / len(negative)) if len(positive) and len(negative) else float("nan")


def answers(scores, target):
    """(share of right answers, F1) of scores (n,) against target (n,) of zeros and ones."""
    yes = scores >= 0
    return float((yes == (target > 0)).mean()), float(2 * (yes * target).sum() / max(yes.sum() + target.sum(), 1))


def groups():
    """{name: sentences of the test videos}."""
    new = {description.sentence for description in cast.TEST} - {description.sentence for description in cast.TRAIN}
    named = {"all": [], "clothes": [], "motions": [], "both": [], "trained on": [], "new": []}
    for description in cast.TEST:
        moves = bool(description.motion or description.moving)
        wears = bool(description.shirt or description.garment or description.hat)
        for name in (
            "all",
            "both" if moves and wears else "motions" if moves else "clothes",
            "new" if description.sentence in new else "trained on",
        ):
            named[name].append(description.sentence)
    return named


def scores_of(model, variables, config, clips):
    """(scores, scores with the wrong clips, target, phrases), each (pairs,), of validation clips."""
    texts = clip_data.phrases_by_tokens(config, "validation")
    size = config.train.batch_size

    @jax.jit
    def run(local, global_, tokens):
        images = (crops.normalize(image, crops.CLIP_MEAN, crops.CLIP_STD) for image in (local, global_))
        return model.apply(variables, *images, tokens)

    rows = []
    batches = loader.batches(config, 0, range(size), split="validation")
    for _ in range(max(1, clips // size)):
        batch = next(batches)
        images = [batch[name] for name in ("local", "global")]
        right = run(*images, batch["tokens"])
        wrong = run(*(jnp.roll(image, 1, axis=0) for image in images), batch["tokens"])
        phrases = [texts[tuple(ids)] for ids in batch["tokens"].reshape(-1, batch["tokens"].shape[-1]).tolist()]
        rows.append([np.ravel(x) for x in (right, wrong, batch["target"], phrases)])
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def main(argv):
    del argv
    config = ikun.get_config("tiny").copy_and_resolve_references()
    config.model.fusion, config.seed = FLAGS.fusion, FLAGS.seed
    model = trackers.build(config.model)
    variables = weights.load(FLAGS.checkpoint, config.model)
    scores, wrong, target, phrases = scores_of(model, variables, config, FLAGS.clips)
    print(f"{'':12s} pairs  accuracy   F1    AUC   wrong clip: accuracy   F1")
    for name, sentences in groups().items():
        rows = np.isin(phrases, sentences)
        (accuracy, f1), (other, other_f1) = (answers(x[rows], target[rows]) for x in (scores, wrong))
        area = ranked(scores[rows], target[rows])
        print(f"{name:12s} {rows.sum():5d}  {accuracy:8.3f} {f1:5.3f} {area:5.3f}  {other:20.3f} {other_f1:5.3f}")


if __name__ == "__main__":
    errors.run(main)

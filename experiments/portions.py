"""Which portion of the search tokens should each layer of GRM's prototype join with the template (appendix C.1)?

    python -m experiments.portions --config configs/grm.py:b256_prototype --checkpoint DIR [--grid 0.25,0.5,0.75,1]

The portions belong to inference alone, so a trained prototype is measured with many: first with one portion for all
layers, then layer by layer, from the first, with the others held. What counts is the IoU on validation pairs of another
seed than the run's, so that the run's own remain for the judgment. The last line can be given to eval.py and track.py.
"""

import functools
import itertools

import jax
from absl import flags

import trackers
import train
from data_pipelines import loader
from trackers import errors, objectives, weights
from trackers.evaluation import tables
from trackers.training import metrics

FLAGS = flags.FLAGS
GRID = (0.25, 0.5, 0.75, 1.0)


def main(argv):
    del argv
    grid = [_portion(text) for text in FLAGS.grid]
    if FLAGS.config.model.name != "grm" or FLAGS.config.model.division.mode != "prototype":
        raise errors.UsageError("--config: only a prototype has portions: give e.g. configs/grm.py:b256_prototype")
    variables = jax.device_put(weights.load(FLAGS.checkpoint, FLAGS.config.model))
    chosen = batches(FLAGS.config, FLAGS.pairs, FLAGS.config.seed + 1)
    best, tried = tune(FLAGS.config, variables, chosen, grid)
    rows = [[" ".join(f"{portion:g}" for portion in portions), f"{iou:.4f}"] for portions, iou in tried.items()]
    print(tables.markdown(["portions, first dividing layer first", "validation IoU"], rows))
    print(f'"--config.model.division.portions=({",".join(f"{portion:g}" for portion in best)},)"')


def batches(config, pairs, seed):
    """Validation pairs of a seed, a list of whole batches, as train.py's validation has them for the config's seed."""
    size = config.train.batch_size
    endless = loader.batches(config, 0, range(size), seed, split="validation")
    return list(itertools.islice(endless, max(1, pairs // size)))


def tune(config, variables, chosen, grid=GRID):
    """The best portions found for a trained prototype.

    Args:
      config: the run's whole config.
      variables: the model's.
      chosen: list of batches that decide.
      grid: portions that are tried.

    Returns: (portions, {portions: IoU} of all that were tried); portions are tuples, a number for each dividing layer.
    """
    model = trackers.build(config.model)
    layers, tried = model.division.layer_relations(model.depth).count("learned"), {}

    def iou(portions):
        if portions not in tried:
            tried[portions] = validate(config, variables, chosen, portions)["iou"]
        return tried[portions]

    best = max([(portion,) * layers for portion in grid], key=iou)
    for layer in range(layers):
        best = max([best, *((*best[:layer], portion, *best[layer + 1 :]) for portion in grid)], key=iou)
    return best, tried


def validate(config, variables, chosen, portions):
    """{metric: value} of a list of batches under those portions, as train.py's validation has them."""
    model = trackers.build(trackers.merged(trackers.to_plain(config.model), {"division": {"portions": portions}}))
    evaluate = jax.jit(functools.partial(train.eval_step, objective=objectives.build(config.objective, model)))
    return metrics.means(evaluate(variables, batch) for batch in chosen)


def _portion(text):
    try:
        portion = float(text)
    except ValueError:
        portion = 0.0
    if not 0 < portion <= 1:
        raise errors.UsageError(f"--grid {text}: numbers above 0 and at most 1, as 0.25,0.5,1")
    return portion


if __name__ == "__main__":
    weights.define_flags()
    flags.DEFINE_list("grid", [f"{portion:g}" for portion in GRID], "Portions that are tried.")
    flags.DEFINE_integer("pairs", 1024, "Validation pairs that decide.", lower_bound=1)
    errors.run(main)

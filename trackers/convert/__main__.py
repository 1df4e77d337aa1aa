"""python -m trackers.convert --config configs/grm.py:b256 --checkpoint GRM.pth.tar --out DIR: published -> Flax.

Of a workdir of train.py it takes what evaluation takes, the newest averaged weights, without the optimizer's state.
--mean_with DIR writes the mean with other weights of the same model: of fine-tuned ones and those they started from it
often keeps what both can do (Wortsman et al., CVPR 2022).
"""

import jax
from absl import flags
from etils import epath

from trackers import errors, weights
from trackers.io import ownership
from trackers.nn import stacking

errors.define_config("Model's config, e.g. configs/grm.py:b256.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Published file: .pth, .pt, .tar, .safetensors or .npz; or a workdir."
)
_OUT = flags.DEFINE_string("out", None, "Folder to write, new or empty; eval.py, track.py and train.py take it.")
_MEAN_WITH = flags.DEFINE_string("mean_with", None, "Other weights of the same model, as --checkpoint.")
_HALF = flags.DEFINE_bool("half", False, "Parameters are rounded to float16: half the size on disk.")
flags.mark_flags_as_required(["config", "checkpoint", "out"])


def main(_):
    """Reads, converts, writes, and says how many numbers went where."""

    out = epath.Path(_OUT.value)
    ownership.check_new(out)
    config_model = flags.FLAGS.config.model
    variables = weights.load(_CHECKPOINT.value, config_model)
    if _MEAN_WITH.value is not None:
        other = weights.load(_MEAN_WITH.value, config_model)
        variables = jax.tree.map(lambda one, two: (one + two) / 2, variables, other)
    with ownership.hold_new(out):  # only now: a checkpoint that does not fit leaves nothing behind
        weights.save(out, variables, config_model, half=_HALF.value)
    for part, count in _counts(variables).items():
        print(f"{part:24}{count:>14,}")
    print(f"wrote {out}")


def _counts(variables):
    """{part of the model: numbers in it}, e.g. encoder, encoder/division, head; statistics apart."""
    counts = {}
    for path, leaf in stacking.flatten(variables).items():
        collection, part = path.split("/")[:2]
        if "/division/" in path:
            part += "/division"
        part = part if collection == "params" else f"{collection} of {part}"
        counts[part] = counts.get(part, 0) + leaf.size
    return counts


if __name__ == "__main__":
    errors.run(main)

"""SimTrack's Tables 8, 9 and 10 at the size of the demo, on procedural video: what each part is worth there.

    python -m experiments.simtrack_tables --workdir DIR [--seeds 3] [--steps 2000] [--rows full,interaction_half,...]

Per seed, on the same pairs, for as many steps, configs/simtrack.py:demo and what the rows change in it: where exemplar
and search tokens meet (Table 10; of four blocks all, the second and fourth, the fourth), layers of the decoder after
the backbone (Table 9), and two streams with STARK's head, then without box positions and foveal window (Table 8). All
runs of a seed have the same validation pairs; "wrong template" is the IoU when every search crop is shown with its
neighbor's template. A run in DIR that was stopped goes on where it stood, and what is finished is not trained again.
"""

from absl import flags

from configs import simtrack
from experiments import short_runs
from trackers import errors

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
flags.DEFINE_integer("seeds", 1, "How often everything is trained.", lower_bound=1)
flags.DEFINE_integer("steps", 2000, "Steps of each run.", lower_bound=40)

# The sizes of the small heads, as many heads as the backbone has.
_SMALL = {"heads": 4, "hidden": 128}
# Label, and what is set in config.model.
_ROWS = {
    "full": ("all blocks, no decoder", {}),
    "interaction_half": ("Table 10: blocks 2, 4", {"interaction": (2, 4)}),
    "interaction_quarter": ("Table 10: block 4", {"interaction": (4,)}),
    "decoder1": ("Table 9: 1 decoder layer", {"head": {"decoder": {"layers": 1, **_SMALL}}}),
    "decoder3": ("Table 9: 3 decoder layers", {"head": {"decoder": {"layers": 3, **_SMALL}}}),
    "base": (
        "Table 8: two streams and STARK's head",
        {
            **{"interaction": (), "template_position": "grid", "foveal_size": 0},
            "head": {"transformer": {"encoder_layers": 1, "decoder_layers": 1, **_SMALL}},
        },
    ),
    "one_stream": ("Table 8: one stream alone", {"template_position": "grid", "foveal_size": 0}),
    "position": ("Table 8: and box positions", {"foveal_size": 0}),
}
flags.DEFINE_list("rows", list(_ROWS), f"What is trained, of {', '.join(_ROWS)}.")


def main(argv):
    del argv
    short_runs.compare(FLAGS.workdir, _ROWS, FLAGS.rows, FLAGS.seeds, FLAGS.steps, _config)


def _config(name):
    config = simtrack.get_config("demo")
    with config.unlocked():
        config.model.update(_ROWS[name][1])
        config.data.synthetic.detail_steps = FLAGS.steps // 2
        config.train.ema_decay = 1 - 20 / FLAGS.steps
    return config


if __name__ == "__main__":
    errors.run(main)

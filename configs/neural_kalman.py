"""Neural Kalman filter (iKUN, CVPR 2024, main paper; our reading, its code was never released):
configs/neural_kalman.py:VARIANT. All numbers are our choice.

mot    trained on ground-truth tracks, e.g. MOT17/train or DanceTrack/train: VIDEO/gt/gt.txt.
       Aims at no figure of the paper. Hardware: one CPU is enough.
       python train.py --config configs/neural_kalman.py:mot --workdir DIR --config.data.trajectories.mot=/data/train
       Result here, with --config.train.total_epochs=6 (6 minutes on a busy CPU) on the tracks of two SportsMOT clips
       and TUD-Stadtmitte: on 1280 windows of two other videos (a SportsMOT clip, TUD-Campus) IoU of the filtered box
       0.877, of the predicted one 0.805; the plain filter 0.822 and 0.760, the simulated detections themselves 0.880.
tiny   trained on made tracks, no data needed; a minute on two shared CPU cores.
       python train.py --config configs/neural_kalman.py:tiny --workdir DIR
       Result here: on 512 held-out windows IoU of the filtered box 0.909, of the predicted one 0.875; the plain filter
       0.873 and 0.841, the simulated detections themselves 0.883.
"""

import ml_collections

from configs import sections, variants


def mot():
    c = sections.run()

    c.model = ml_collections.ConfigDict()
    # Module of trackers.models.
    c.model.name = "neural_kalman"
    # Units of the recurrent network.
    c.model.hidden = 32
    # Largest factor between the learned and the plain filter's variances, either way.
    c.model.largest_factor = 100.0

    c.tracking = ml_collections.ConfigDict()
    # Gaps of up to so many frames are filled with predicted boxes.
    c.tracking.largest_gap = 0

    c.objective = ml_collections.ConfigDict()
    # Module of trackers.objectives.
    c.objective.name = "kalman"
    # Weight of the squared errors (in heights) after a frame's observation.
    c.objective.filtered_weight = 1.0
    # Weight of those before it.
    c.objective.predicted_weight = 1.0
    # Weight of the surprise of the innovations.
    c.objective.surprise_weight = 0.001

    c.data = ml_collections.ConfigDict()
    # Module of data_pipelines that makes the batches.
    c.data.name = "trajectories"
    c.data.trajectories = ml_collections.ConfigDict()
    # Folder of VIDEO/gt/gt.txt; empty = made tracks.
    c.data.trajectories.mot = ""
    # Frames of a window.
    c.data.trajectories.length = 48
    # Least and largest deviation of simulated detections, in parts of the box.
    c.data.trajectories.noise = (0.01, 0.1)
    # Probability that a miss begins at a frame.
    c.data.trajectories.miss_probability = 0.03
    # Its largest length in frames.
    c.data.trajectories.longest_miss = 8
    # Windows that count as an epoch.
    c.data.trajectories_per_epoch = 6400
    # Windows of a validation.
    c.data.validation_trajectories = 512

    c.train.update({"batch_size": 64, "total_epochs": 20, "learning_rate": 3e-3, "encoder_multiplier": 1.0})
    c.train.update({"clip_norm": 1.0, "schedule": "cosine", "drop_epoch": 0, "drop_factor": 1.0, "warmup_epochs": 0.2})
    c.train.update({"checkpoint_every_steps": 500, "keep_checkpoints": 1, "validate_every_epochs": 2})
    # The network is too small to be split.
    c.mesh.max_unsharded = 1.0
    return c


def tiny(c):
    c.train.update({"batch_size": 32, "total_epochs": 2, "checkpoint_every_steps": 400, "validate_every_epochs": 1})


get_config = variants.chooser(mot, tiny)

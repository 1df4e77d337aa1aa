"""Neural Kalman filter (iKUN, CVPR 2024, main paper; our reading, its code was never released).

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

VARIANTS = ("mot", "tiny")


def get_config(variant="mot"):
    """The whole configuration of a variant.

    Args:
      variant: one of VARIANTS.

    Returns: a locked ml_collections.ConfigDict.
    """
    if variant not in VARIANTS:
        raise ValueError(f"configs/neural_kalman.py has no variant {variant!r}: use one of {', '.join(VARIANTS)}")
    c = ml_collections.ConfigDict()
    # Everything random derives from this.
    c.seed = 0
    # Parts that a step's batch is taken in, one after another, to save memory (docs/training.md).
    c.accumulate = 1
    # FIRST:LAST = trace these steps for XProf or TensorBoard; empty = none.
    c.profile = ""

    c.model = ml_collections.ConfigDict()
    # Module of trackers.models.
    c.model.name = "neural_kalman"
    # Units of the recurrent network.
    c.model.hidden = 32
    # Largest factor between the learned and the plain filter's variances, either way.
    c.model.largest_factor = 100.0

    c.init = ml_collections.ConfigDict()
    # A workdir to start from; "" for the plain filter.
    c.init.checkpoint = ""

    c.tracking = ml_collections.ConfigDict()
    # Gaps of up to so many frames are filled with predicted boxes.
    c.tracking.largest_gap = 0

    c.objective = ml_collections.ConfigDict()
    # Module of trackers.objectives.
    c.objective.name = "kalman"
    # Weights of the squared errors (heights) after and before a frame's observation, and of the innovations' surprise.
    c.objective.filtered_weight = 1.0
    c.objective.predicted_weight = 1.0
    c.objective.surprise_weight = 0.001

    c.data = ml_collections.ConfigDict()
    c.data.trajectories = ml_collections.ConfigDict()
    # Folder of VIDEO/gt/gt.txt; "" makes tracks.
    c.data.trajectories.mot = ""
    # Frames of a window.
    c.data.trajectories.length = 48
    # Least and largest deviation of simulated detections, in parts of the box.
    c.data.trajectories.noise = (0.01, 0.1)
    # Probability that a miss begins at a frame, and its largest length in frames.
    c.data.trajectories.miss_probability = 0.03
    c.data.trajectories.longest_miss = 8
    # Windows that count as an epoch, and windows of a validation.
    c.data.pairs_per_epoch = 6400
    c.data.validation_pairs = 512

    c.train = ml_collections.ConfigDict()
    # Windows in a step, over all devices.
    c.train.batch_size = 64
    c.train.total_epochs = 20
    # The rate is for this many windows in a step and in proportion for others; 0 = as it stands.
    c.train.learning_rate_batch = 0
    c.train.learning_rate = 3e-3
    # There is no encoder; the key belongs to every config.
    c.train.encoder_multiplier = 1.0
    c.train.weight_decay = 1e-4
    # Largest norm of the gradient of all parameters.
    c.train.clip_norm = 1.0
    # step (x drop_factor at drop_epoch) or cosine, after warmup_epochs.
    c.train.schedule = "cosine"
    c.train.drop_epoch = 0
    c.train.drop_factor = 1.0
    c.train.warmup_epochs = 0.2
    # Dtype of Adam's first moment: float32, or bfloat16 in half the memory.
    c.train.moment_dtype = "float32"
    # Decay of the exponential moving average of the parameters; 0 = none.
    c.train.ema_decay = 0.0
    c.train.log_every_steps = 50
    c.train.checkpoint_every_steps = 500
    c.train.keep_checkpoints = 1
    c.train.validate_every_epochs = 2
    # Log a hash of every global batch (to compare resumed runs).
    c.train.debug_batch_hash = False

    c.mesh = ml_collections.ConfigDict()
    # Devices along each axis of the mesh; -1 = the rest.
    c.mesh.data = -1
    c.mesh.fsdp = 1
    c.mesh.tensor = 1
    # Largest share of the parameter bytes that may stay unsharded when fsdp > 1; the network is too small to be split.
    c.mesh.max_unsharded = 1.0
    if variant == "tiny":
        c.train.batch_size = 32
        c.train.total_epochs = 2
        c.train.checkpoint_every_steps = 400
        c.train.validate_every_epochs = 1
    return c.lock()

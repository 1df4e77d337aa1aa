"""Parts that the configs have in common, each field explained once; a config sets what is its own."""

import ml_collections


def run():
    """What every run has: a seed, how it is trained, and the mesh. Sections train and mesh; values as GRM's."""
    c = ml_collections.ConfigDict()
    # The only seed: weights, data and noise all derive from it.
    c.seed = 0
    # Parts that a step's batch is taken in, one after another, to save memory (docs/training.md).
    c.accumulate = 1
    # FIRST:LAST = trace these steps for XProf or TensorBoard; empty = none.
    c.profile = ""

    c.init = ml_collections.ConfigDict()
    # Weights to start from: a published checkpoint or a workdir; empty = random.
    c.init.checkpoint = ""

    c.train = ml_collections.ConfigDict()
    # Samples (pairs, clips, windows) in a step, over all devices.
    c.train.batch_size = 128
    c.train.total_epochs = 300
    # The rate is for this many samples in a step and in proportion for others; 0 = as it stands.
    c.train.learning_rate_batch = 0
    c.train.learning_rate = 4e-4
    # The encoder learns at this multiple of the rate, but for what the tracker adds to it (schedules.py).
    c.train.encoder_multiplier = 0.1
    c.train.weight_decay = 1e-4
    # Largest norm of the gradient of all parameters; 0 = unlimited.
    c.train.clip_norm = 0.1
    # step (x drop_factor at drop_epoch) or cosine, after warmup_epochs.
    c.train.schedule = "step"
    c.train.drop_epoch = 240
    c.train.drop_factor = 0.1
    c.train.warmup_epochs = 0.0
    # Patterns of the parameters that are not trained.
    c.train.frozen = ()
    # Dtype of Adam's first moment: float32, or bfloat16 in half the memory.
    c.train.moment_dtype = "float32"
    # Decay of the exponential moving average of the parameters; 0 = none.
    c.train.ema_decay = 0.0
    c.train.log_every_steps = 50
    c.train.checkpoint_every_steps = 1000
    c.train.keep_checkpoints = 3
    c.train.validate_every_epochs = 20
    # Log a hash of every global batch (to compare resumed runs).
    c.train.debug_batch_hash = False

    c.mesh = ml_collections.ConfigDict()
    # Devices along each axis of the mesh; -1 = the rest.
    c.mesh.data = -1
    c.mesh.fsdp = 1
    c.mesh.tensor = 1
    # Largest share of the parameter bytes that may stay unsharded when fsdp > 1.
    c.mesh.max_unsharded = 0.02
    return c


def pairs():
    """The data section of the trackers of one object: pairs of crops."""
    data = ml_collections.ConfigDict()
    # Module of data_pipelines that makes the batches.
    data.name = "pairs"
    # How often each source is drawn from, relative to the others; 0 = unused.
    data.ratio = ml_collections.ConfigDict(
        {"lasot": 1.0, "got10k": 1.0, "trackingnet": 1.0, "coco": 1.0, "frames": 0.0, "shards": 0.0, "synthetic": 0.0}
    )
    # Folders of the data sets in their published layouts.
    data.lasot = ""
    data.got10k = ""
    data.trackingnet = ""
    data.coco = ""
    data.frames = ""
    # What `python -m data_pipelines shards` wrote of any of them, for pods.
    data.shards = ""
    # Largest distance in frames between template and search frame.
    data.max_gap = 200
    # Jitter of the crops: center (over the square root of the area), scale (log-normal).
    data.search_center_jitter = 3.0
    data.search_scale_jitter = 0.25
    data.template_center_jitter = 0.0
    data.template_scale_jitter = 0.0
    # Augmentation: grey and flip jointly for the pair, brightness for each crop.
    data.grey_probability = 0.05
    data.flip_probability = 0.5
    data.brightness = 0.2
    # Further flip of each crop by itself.
    data.crop_flip_probability = 0.0
    # Pairs that count as an epoch.
    data.pairs_per_epoch = 60000
    # Pairs of a validation.
    data.validation_pairs = 10000
    # Threads that decode and crop; batches made ahead.
    data.threads = 8
    data.prefetch_batches = 2
    # Procedural video: data_pipelines/procedural/video/config.py says what there is to set.
    data.synthetic = ml_collections.ConfigDict()
    return data


def only_synthetic(c):
    """Procedural video instead of the data sets."""
    c.data.ratio.update({"lasot": 0.0, "got10k": 0.0, "trackingnet": 0.0, "coco": 0.0, "synthetic": 1.0})

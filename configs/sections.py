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
    # Procedural video, the source "synthetic".
    data.synthetic = procedural_video()
    return data


def procedural_video():
    """The section data.synthetic: what procedural pairs show; lengths in "units" are multiples of the target's
    sqrt(width * height)."""
    synthetic = ml_collections.ConfigDict()
    # Background images in a bank.
    synthetic.backgrounds = 192
    # Sprite families in a bank; a family is four sprites: two shapes in two textures each.
    synthetic.families = 128
    # Poses drawn of every sprite.
    synthetic.poses = 3
    # Steps for which a bank serves before the next is drawn.
    synthetic.renew_every_steps = 500
    # Strength of textures and backgrounds in training pairs, from 0 (flat colors) to 1 (as in the videos).
    synthetic.detail = 1.0
    # Share of the detail that a background or a family of sprites may lack: each draws its own, up to this.
    synthetic.plainness = 0.0
    # Steps over which the training banks rise from flat colors to `detail`; 0 = that from the start.
    synthetic.detail_steps = 0
    # Colors, contrast and clutter of photographs, instead of paler pictures of fewer hues.
    synthetic.photographic = False
    # Share of the textures that are cut from a background, in whole or in part.
    synthetic.cutout_probability = 0.0
    # Sprites that lie about in every background.
    synthetic.clutter = 0
    # Size of the leaves of a background, relative to the target.
    synthetic.background_scale = 1.0
    # Share of pairs whose target is a region of the background instead of a sprite.
    synthetic.region_probability = 0.3
    # Places looked at for a region target; the one with the most contrast within and around is taken.
    synthetic.region_candidates = 1
    # Other sprites in a view: how many at most, and the chance of each.
    synthetic.distractors = 3
    synthetic.distractor_probability = 0.45
    # How far from the target's border distractors are scattered, in units.
    synthetic.distractor_reach = 2.2
    # Chance that a distractor is of the target's family: its texture on another shape, or its shape in another.
    synthetic.look_alike_probability = 0.4
    # Chance that something covers part of the target in the search view.
    synthetic.occlusion_probability = 0.25
    # Chance that the picture ends, in black, inside a crop.
    synthetic.border_probability = 0.35
    # Chance that both views are grey.
    synthetic.grey_probability = 0.12
    # Share of pairs whose pictures are compressed as JPEG is (their brightness).
    synthetic.jpeg_probability = 0.0
    # Share of pairs whose video has fewer pixels than the crops.
    synthetic.low_resolution_probability = 0.0
    # Largest deviation of the sensor's noise; brightness is 0 to 1.
    synthetic.sensor_noise = 0.04
    # Largest share of the contrast that is lost to haze.
    synthetic.haze = 0.5
    # Share of pairs whose views are as close as neighboring frames; the others are many frames apart.
    synthetic.adjacent_probability = 0.0
    # Strength of every change between template and search: 0 none, 1 as for real video many frames apart.
    synthetic.change = 1.0
    return synthetic


def only_synthetic(c):
    """Procedural video instead of the data sets."""
    c.data.ratio.update({"lasot": 0.0, "got10k": 0.0, "trackingnet": 0.0, "coco": 0.0, "synthetic": 1.0})

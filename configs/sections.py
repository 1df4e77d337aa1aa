"""Sections that the configs have in common, each field explained once; a config sets what is its own.

Where a number is from: docs/papers.md says what the papers give. What they leave open is as in GRM's and OSTrack's
programs, and what those do not have is our choice; comments say which.

run() starts every config. vit(), center_head(), center_objective(), corners_objective(), tracking() and pairs() make
the sections of a tracker of one object; small_run(), tiny_run() and demo_run() turn its config into one for a laptop.
"""

import ml_collections
from ml_collections import config_dict

# Data sets that the published programs don't train on.
_OTHER_SETS = ("lasot_ext", "tnl2k", "uav123", "uav20l", "nfs", "otb", "avist", "vasttrack", "trek150", "vot", "videos")
_OTHER_SETS += ("mot17", "dancetrack", "footage", "photos")
# Sizes of ViT-L beside vit()'s ViT-B, for model.update.
VIT_L = {"width": 1024, "depth": 24, "heads": 16, "remat": "dots"}


def run():
    """What every run has: a seed, first weights, how it is trained (section train), and the mesh.

    Section train is GRM's and OSTrack's: epochs, rates and the drop are in GRM's paper; batch, weight decay and
    clipping are the programs'. The other fields, off or for watching a run, are our choice.
    """
    c = ml_collections.ConfigDict()
    # The only seed: weights, data and noise all derive from it.
    c.seed = 0
    # Parts that a step's batch is split into, one after another, to save memory (docs/training.md).
    c.accumulate = 1
    # FIRST:LAST = trace these steps for XProf or TensorBoard; empty = none.
    c.profile = ""
    # Where compiled programs are kept, so that a resumed run starts faster: workdir (its folder compiled), a folder, or
    # empty = nowhere.
    c.compiled = "workdir"

    c.init = ml_collections.ConfigDict()
    # Weights to start from: a published checkpoint or a workdir; empty = random.
    c.init.checkpoint = ""

    c.train = ml_collections.ConfigDict()
    # Samples (pairs, clips, windows) in a step, over all devices; 128 is the programs'.
    c.train.batch_size = 128
    # Epochs of the whole run; section data says how many samples make one.
    c.train.total_epochs = 300
    # The rate is for this many samples in a step and in proportion for others; 0 = as it stands.
    c.train.learning_rate_batch = 0
    # AdamW's rate, before the schedule.
    c.train.learning_rate = 4e-4
    # The encoder learns at this multiple of the rate, except for what the tracker adds to it (schedules.py).
    c.train.encoder_multiplier = 0.1
    # AdamW's weight decay; SimTrack's appendix has the same.
    c.train.weight_decay = 1e-4
    # Largest norm of the gradient of all parameters (the programs'); 0 = unlimited.
    c.train.clip_norm = 0.1
    # step (x drop_factor at drop_epoch) or cosine, after warmup_epochs.
    c.train.schedule = "step"
    # Epoch after which a step schedule lowers the rate; one that the run does not reach is refused.
    c.train.drop_epoch = 240
    # Factor by which it does; 1 = the rate stays.
    c.train.drop_factor = 0.1
    # Epochs in which the rate rises from zero.
    c.train.warmup_epochs = 0.0
    # Patterns of the parameters that are not trained.
    c.train.frozen = ()
    # Dtype of Adam's first moment: float32, or bfloat16 in half the memory.
    c.train.moment_dtype = "float32"
    # Decay of the exponential moving average of the parameters; 0 = none.
    c.train.ema_decay = 0.0
    # Steps that a device takes at once, making their batches itself; above 1 for procedural pairs alone.
    c.train.steps_per_dispatch = 1
    # Steps between two lines of the log.
    c.train.log_every_steps = 50
    # Steps between two checkpoints.
    c.train.checkpoint_every_steps = 1000
    # Newest checkpoints that are kept.
    c.train.keep_checkpoints = 3
    # Epochs between two validations.
    c.train.validate_every_epochs = 20
    # Log a hash of every global batch (to compare resumed runs).
    c.train.debug_batch_hash = False

    c.mesh = ml_collections.ConfigDict()
    # Devices along the axis that splits the batch; -1 = the rest.
    c.mesh.data = -1
    # Devices along the axis that splits batch and parameters.
    c.mesh.fsdp = 1
    # Devices along the axis that splits each layer's matrices.
    c.mesh.tensor = 1
    # Largest share of the parameter bytes that may stay unsharded when fsdp > 1.
    c.mesh.max_unsharded = 0.02
    return c


def vit(name, *, template_size, search_size, position="learned", drop_path=0.1):
    """The model section of a tracker on a ViT, with the sizes of ViT-B/16; the tracker adds its own fields.

    Args:
      name, template_size, search_size, position, drop_path: the fields of these names.
    """
    model = ml_collections.ConfigDict()
    # Module of trackers.models.
    model.name = name
    # Width of a token.
    model.width = 768
    # Layers.
    model.depth = 12
    # Heads of each layer's attention.
    model.heads = 12
    # Hidden width of a layer's MLP over its width.
    model.mlp_ratio = 4.0
    # Pixels of a patch's side.
    model.patch_size = 16
    # Pixels of the template crop's side.
    model.template_size = template_size
    # Pixels of the search crop's side.
    model.search_size = search_size
    # Position embedding: learned, sincos (computed), fixed (sine-cosine tables kept with the weights), or interpolated.
    model.position = position
    # Rows and columns of the pretrained positions that are interpolated.
    model.position_grid = (14, 14)
    # Positions of the template's tokens: grid (the table's), or box (they also say what of each patch is in the box).
    model.template_position = "grid"
    # Random start of the attention: independent, or matched (keys equal to queries).
    model.attention_init = "independent"
    # Drop-path rate of the last layer; 0.1 is GRM's, OSTrack's and MixFormerV2's programs'.
    model.drop_path = drop_path
    # Stack equal layers with nn.scan, so that compile time does not grow with depth: True, False, or None for what is
    # faster on the device (nn/kernels.py).
    model.scan_layers = config_dict.placeholder(bool)
    # Recomputation of activations in the backward pass: none, full or dots.
    model.remat = "none"
    # How attention is executed: auto, fused or plain (nn/kernels.py).
    model.kernels = "auto"
    # Compute dtype: float32, bfloat16, or auto (float32 on a CPU, bfloat16 elsewhere).
    model.dtype = "auto"
    return model


def center_head():
    """The model's section head for trackers that score the center of the box."""
    head = ml_collections.ConfigDict()
    # Channels of the head's first convolution; 256 is GRM's and OSTrack's programs'.
    head.channels = 256
    # Score that random weights give everywhere; 0.5 in GRM's program.
    head.score_prior = 0.5
    # Tell the head width and height of the template's box.
    head.template_sides = False
    return head


def corners_objective():
    """The objective section of trackers that predict the corners of the box.

    Its weights are in SimTrack's appendix, and in MixViT's program.
    """
    return _of_boxes("corners")


def center_objective():
    """The objective section of trackers with a center head; weights of GRM's and OSTrack's programs."""
    objective = _of_boxes("center")
    # Weight of the focal loss of the score map.
    objective.focal_weight = 1.0
    # The box is learned at the best cell (0, the program), or around the true center with this deviation in cells.
    objective.box_spread = 0.0
    # Overlap down to which a center counts as near in the score's target; the program's is 0.7.
    objective.heatmap_overlap = 0.7
    return objective


def _of_boxes(name):
    objective = ml_collections.ConfigDict()
    # Module of trackers.objectives.
    objective.name = name
    # Weight of the generalized IoU loss of the box.
    objective.giou_weight = 2.0
    # Weight of the L1 loss of the box.
    objective.l1_weight = 5.0
    return objective


def tracking(*, search_factor=4.0, window=None):
    """The tracking section of the trackers of one object.

    Args:
      search_factor: the field of this name.
      window: the field of this name, of trackers with a score map; None = no such field.
    """
    c = ml_collections.ConfigDict()
    # Side of the template crop over the square root of the box's area.
    c.template_factor = 2.0
    # Side of the search crop over the square root of the box's area.
    c.search_factor = search_factor
    if window is not None:
        # Weight of the Hann window on the score map; 1 = the program.
        c.window = window
        # Share of an online filter's response in the score map (ours, GRM alone); 0 = the program. Of which layer's
        # tokens, and the share of a frame in what it has learned.
        c.filter_weight, c.filter_layer, c.filter_update = 0.0, 2, 0.02
        # Cells around the best one whose boxes are averaged (ours); 0 = the best one's, the program.
        c.average_cells = 0
    # Share of the new width and height that the box takes in a frame; 1 = the program.
    c.size_update = 1.0
    # Power of the score that multiplies that share (ours); 0 = the program.
    c.size_score_power = 0.0
    # Share of size_update with which width over height follows; 0 = the first box's (ours), 1 = the program.
    c.aspect_update = 1.0
    # Share of the first box's aspect (as a logarithm) that the crops take; 0 = square crops, the program; 1 = the first
    # box is square in its crop, so that the crop tells its aspect (ours).
    c.crop_aspect = 0.0
    # Standard deviation of the first template's levels (0..255) below which crops are stretched to it (ours); 0 = off.
    c.least_contrast = 0.0
    # The box keeps at least so many pixels inside the image (10 in the programs).
    c.clip_margin = 10.0
    return c


def pairs():
    """The data section of the trackers of one object: pairs of crops, jittered as GRM's and OSTrack's programs do
    at 256 pixels."""
    data = ml_collections.ConfigDict()
    # Module of data_pipelines that makes the batches.
    data.name = "pairs"
    # How often each source is drawn from, relative to the others; 0 = unused.
    data.ratio = ml_collections.ConfigDict(
        {"lasot": 1.0, "got10k": 1.0, "trackingnet": 1.0, "coco": 1.0, "frames": 0.0, "shards": 0.0, "synthetic": 0.0}
    )
    # Folders of the other data sets, each in its published layout (data_pipelines/sources/NAME.py), unused at first.
    for name in _OTHER_SETS:
        data[name], data.ratio[name] = "", 0.0
    # Folder of LaSOT in its published layout; options may follow: /data/lasot,origin=zero (sources/lasot.py).
    data.lasot = ""
    # Folder of GOT-10k in its published layout.
    data.got10k = ""
    # Folder of TrackingNet in its published layout.
    data.trackingnet = ""
    # Folder of COCO in its published layout.
    data.coco = ""
    # Folder of own videos (data_pipelines/sources/frames.py).
    data.frames = ""
    # Folder that `python -m data_pipelines shards` wrote of any of them, for pods.
    data.shards = ""
    # Largest distance in frames between template and search frame.
    data.max_gap = 200
    # Range of the search crop's center, over the square root of the box's area.
    data.search_center_jitter = 3.0
    # Standard deviation of the logarithm of the search crop's scale.
    data.search_scale_jitter = 0.25
    # Range of the template crop's center, over the square root of the box's area.
    data.template_center_jitter = 0.0
    # Standard deviation of the logarithm of the template crop's scale.
    data.template_scale_jitter = 0.0
    # Probability that both crops of a pair turn gray.
    data.grey_probability = 0.05
    # Probability that both are flipped, left to right.
    data.flip_probability = 0.5
    # Largest change of a crop's brightness, up or down, as a share.
    data.brightness = 0.2
    # Probability of a further flip of each crop by itself.
    data.crop_flip_probability = 0.0
    # Pairs that count as an epoch, of the programs and of SimTrack's appendix; gap and chances are the programs', too.
    data.pairs_per_epoch = 60000
    # Pairs of a validation.
    data.validation_pairs = 10000
    # How images are read (ours): "part" decodes of a JPEG what a crop shows, "whole" all of it, the same pixels;
    # "shrunk" lets libjpeg shrink what is going to be shrunk: faster, but other pixels (docs/data.md).
    data.decoding = "part"
    # Where crops of data sets are resized and change their brightness, up to rounding the same: "host", or "device",
    # which takes the wider parts that they are made of (ours; data_pipelines/raw_crops.py).
    data.crops_on = "host"
    # Threads that decode and crop (this and the next two: our choice).
    data.threads = 8
    # Batches made ahead.
    data.prefetch_batches = 2
    # Largest share of a data set's samples, of 1000 at least, that bad images may cost (they are replaced); 0 = none.
    data.max_bad_fraction = 0.05
    # Procedural video, the source "synthetic".
    data.synthetic = procedural_video()
    # Own pictures without labels, the sources "footage" and "photos".
    data.unlabelled = unlabelled_pairs()
    return data


def unlabelled_pairs():
    """The section data.unlabelled: how pairs are made from pictures without labels; all of it is our choice."""
    unlabelled = ml_collections.ConfigDict()
    # Largest distance in frames between template and search frame, below 20; it takes the place of data.max_gap.
    unlabelled.gap = 5
    # Random regions that are looked at; the one with the most texture and contrast to its surround is the target.
    unlabelled.candidates = 16
    # Smallest size of a region, over the picture's (sides' geometric means).
    unlabelled.smallest = 0.05
    # Largest size.
    unlabelled.largest = 0.25
    # Standard deviation of the logarithm of its width over its height.
    unlabelled.aspect = 0.35
    # Strength of turning, stretching, shearing, colors and blur of the search frame: 0 none, 1 as in procedural video.
    unlabelled.change = 1.0
    # Chance that a patch from elsewhere covers part of the target in the search frame.
    unlabelled.occlusion_probability = 0.2
    return unlabelled


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
    # Share of sprites of which the box covers only what the template's box tells: an upper or other half, one part, two
    # neighboring parts, or a window on it.
    synthetic.extent_probability = 0.0
    # Share of pairs in which another sprite moves along at the target's side; the box covers both in half of them.
    synthetic.companion_probability = 0.0
    # Chance that a sprite of the target's family, as large as the target, stands beside its box in the search view.
    synthetic.twin_probability = 0.0
    # Chance that the picture's border cuts the target in the search view; its box ends there.
    synthetic.partial_probability = 0.0
    # Chance that motion blurs the search view along a line.
    synthetic.motion_blur_probability = 0.0
    # Probability that the target has turned by any angle since the template.
    synthetic.turn_probability = 0.0
    # Probability that the light has changed since the template: exposure and color, or a shadow over the target.
    synthetic.relight_probability = 0.0
    return synthetic


def small_run(c):
    """A network that a laptop trains from random weights in float32, on procedural video instead of the data sets."""
    c.model.update({"dtype": "float32", "drop_path": 0.0, "scan_layers": False})
    c.data.ratio.update({"lasot": 0.0, "got10k": 0.0, "trackingnet": 0.0, "coco": 0.0, "synthetic": 1.0})
    c.data.threads = 2
    # Nothing was pretrained.
    c.train.encoder_multiplier = 1.0


def tiny_run(c):
    """Variant tiny: the recorded test networks' sizes, and 16 steps that show that the loop runs."""
    small_run(c)
    c.model.update({"width": 96, "depth": 3, "heads": 3, "template_size": 32, "search_size": 64})
    c.data.synthetic.update({"backgrounds": 8, "families": 4, "poses": 2})
    c.data.update({"pairs_per_epoch": 64, "validation_pairs": 16})
    c.train.update({"batch_size": 8, "total_epochs": 2, "drop_epoch": 1, "learning_rate": 1e-3})
    c.train.update({"log_every_steps": 1, "checkpoint_every_steps": 8, "validate_every_epochs": 1})


def demo_run(c):
    """Variant demo: a small tracker that learns to match on procedural video, 80,000 pairs."""
    small_run(c)
    c.model.update({"width": 96, "depth": 4, "heads": 4, "patch_size": 12, "template_size": 48, "search_size": 96})
    c.model.update({"position": "sincos", "attention_init": "matched"})
    c.model.head.channels = 64
    # Matching is found on flat colors among look-alikes in shape, then carried over to textures.
    c.data.synthetic.update({"background_scale": 1.5, "change": 0.6})
    c.data.synthetic.update({"distractors": 4, "distractor_probability": 0.9, "distractor_reach": 1.4})
    c.data.synthetic.update({"look_alike_probability": 0.1, "occlusion_probability": 0.1, "region_probability": 0.05})
    c.data.update({"pairs_per_epoch": 10000, "validation_pairs": 512})
    c.train.update({"total_epochs": 8, "clip_norm": 1.0, "schedule": "cosine", "warmup_epochs": 0.3})
    c.train.update({"checkpoint_every_steps": 1000, "keep_checkpoints": 1, "validate_every_epochs": 2})

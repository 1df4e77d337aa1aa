"""SimTrack: Backbone is All Your Need (Chen et al., ECCV 2022).

One plain ViT over exemplar, class, foveal and search tokens; a corner head reads the box off the search tokens. The
foveal tokens see the middle of the exemplar again, cut along other lines; the exemplar's positions say how much of each
patch is target.
"""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from trackers.nn import cross_decoder, relation, stark, tokens
from trackers.nn.backbones.pvt import Pvt
from trackers.nn.backbones.stages import Stages
from trackers.nn.backbones.swin import Swin
from trackers.nn.corner import CornerHead, decode_corners
from trackers.nn.encoder import Encoder
from trackers.nn.heads import Prediction
from trackers.nn.one_stream import OneStreamTracker

FOVEAL_CUTS = ("half_patch", "program")


@dataclasses.dataclass(frozen=True)
class Head:
    """channels: output channels of the corner head's first convolution. bottleneck: width of the projection before it,
    None = channels.

    transformer: STARK's encoder and decoder between the two, none by default (the baseline of Table 4).
    decoder: after them the search tokens look at the exemplar's in so many layers, none by default (Table 9).
    """

    channels: int = 256
    bottleneck: int | None = None
    transformer: stark.Transformer = stark.Transformer()
    decoder: cross_decoder.Sizes = cross_decoder.Sizes()


class BoxPosition(nn.Module):
    """Distinguishable position embedding (Sec. 3.2): fully connected layers on (share of target, x, y) of each patch.

    Takes (B,N,3) from `describe_cells`. Returns (B,N,D) in -1..1: the program maps a sigmoid there.
    """

    width: int

    @nn.compact
    def __call__(self, described):
        hidden = nn.relu(nn.Dense(self.width // 2, name="fc1")(described))
        return 2 * nn.sigmoid(nn.Dense(self.width, name="fc2")(hidden)) - 1


class FovealVit(Encoder):
    """The ViT with what SimTrack adds to the exemplar's tokens: the class token, and those of the foveal window.

    foveal_grid, exemplar_grid: (rows, columns) of the window's tokens, (0, 0) without one, and of the exemplar's.
    foveal_cut: one of FOVEAL_CUTS.
    """

    exemplar_grid: tuple[int, int] = (7, 7)
    foveal_grid: tuple[int, int] = (0, 0)
    foveal_cut: str = "half_patch"

    @property
    def exemplar_width(self):
        """Width of the exemplar's tokens."""
        return self.width

    def embed_exemplar(self, image, positions=None):
        """The tokens of exemplar, class and foveal window, (B,N,D).

        Args: image (B,H,W,3) float32, normalized. positions: (B,Nz,D) of the exemplar's tokens; a table when None.
        """
        if positions is None:
            table = self.positions["template"]
            positions = jnp.broadcast_to(table, (image.shape[0], *table.shape))
        spans = [self.patches(image) + positions.astype(self.dtype)]
        if self.with_class:
            spans.append(self.embed_class(image.shape[0]))
        if all(self.foveal_grid):
            window = foveal_window(image, self.exemplar_grid, self.foveal_grid, self.patch_size, self.foveal_cut)
            positions = foveal_positions(positions, self.exemplar_grid, self.foveal_grid)
            spans.append(self.patches(window) + positions.astype(self.dtype))
        return jnp.concatenate(spans, axis=1)


class Model(OneStreamTracker):
    """SimTrack. Fields are the config's `model` section; OneStreamTracker and Head say what those not named here mean.

    foveal_size: pixels of the side of the foveal window in the exemplar, a multiple of patch_size; 0 = no window.
    foveal_cut: "half_patch" or "program": where that window lies (`foveal_window`).
    template_position: "box" (BoxPosition in place of a table) or "grid" (a table as the search tokens have one; Table
      8, first row).
    interaction: 1-based layers in which exemplar and search tokens look at one another; None = all (Table 10).
    template_looks: whether exemplar tokens look at search tokens in those layers. Where they never do, their keys and
      values are computed once for all frames (the paper does so for Swin).
    backbone: a hierarchical backbone in place of the ViT (Table 7). width is then that of its last stage, patch_size
      its stride; depth, heads, mlp_ratio and what is CLIP's own have no effect, and there is no foveal window.
    """

    patch_bias: bool = False
    template_size: int | tuple[int, int] = 112
    search_size: int | tuple[int, int] = 224
    foveal_size: int | tuple[int, int] = 64
    foveal_cut: str = "half_patch"
    template_position: str = "box"
    interaction: tuple[int, ...] | None = None
    template_looks: bool = True
    head: Head = Head()
    backbone: Stages = Stages()
    activation: str = "quick_gelu"
    norm_eps: float = 1e-5
    pre_norm: bool = True
    with_class: bool = True
    position: str = "interpolated"

    @property
    def foveal_grid(self):
        """(rows, columns) of the foveal tokens, (0, 0) without a window. Raises ValueError where it does not fit."""
        sides = tokens.as_pair(self.foveal_size)
        if not any(sides):
            return 0, 0
        grid = tuple(side // self.patch_size for side in sides)
        if any(side % self.patch_size for side in sides) or 0 in grid:
            raise ValueError(f"model.foveal_size {self.foveal_size} is not a multiple of patch_size {self.patch_size}")
        if any(inner >= outer for inner, outer in zip(grid, self.template_grid, strict=True)):
            raise ValueError(
                f"model.foveal_size {self.foveal_size} must be at least a patch smaller than model.template_size"
            )
        return grid

    @property
    def lengths(self):
        """Tokens of the spans (exemplar, class and foveal; search)."""
        exemplar, search = super().lengths
        return exemplar + int(self.with_class) + self.foveal_grid[0] * self.foveal_grid[1], search

    @property
    def needs_template(self):
        return self.head.transformer.present or self.head.decoder.layers > 0

    def layer_relations(self):
        """The relation of each layer over the spans (template, search)."""
        layers = tuple(range(1, self.depth + 1)) if self.interaction is None else tuple(self.interaction)
        if any(not 1 <= layer <= self.depth for layer in layers):
            raise ValueError(f"model.interaction {layers} lie outside 1..{self.depth}")
        joint = relation.ONE_STREAM if self.template_looks else relation.ASYMMETRIC
        return tuple(joint if i + 1 in layers else relation.TWO_STREAM for i in range(self.depth))

    def setup(self):
        if self.foveal_cut not in FOVEAL_CUTS:
            raise ValueError(f"model.foveal_cut must be one of {FOVEAL_CUTS}, got {self.foveal_cut!r}")
        super().setup()
        dtype = self.compute_dtype
        bottleneck = self.head.channels if self.head.bottleneck is None else self.head.bottleneck
        self.bottleneck = nn.Dense(bottleneck, dtype=dtype)
        if self.head.transformer.present:
            self.transformer = stark.EncoderDecoder(self.head.transformer, dtype)
        if self.head.decoder.layers:
            self.decoder = cross_decoder.CrossDecoder(self.head.decoder, dtype)
        self.corner_head = CornerHead(self.head.channels, dtype, name="head")

    encoder_class = FovealVit

    def encoder_fields(self):
        grids = {"search": self.search_grid}
        if self.template_position == "grid":
            grids = {"template": self.template_grid, **grids}
        own = {"exemplar_grid": self.template_grid, "foveal_grid": self.foveal_grid, "foveal_cut": self.foveal_cut}
        return {"grids": tuple(grids.items()), "position_resize": "bilinear", **own}

    def make_encoder(self):
        return BACKBONES[self.backbone.kind](self)

    def make_box_position(self):
        return BoxPosition(self.encoder.exemplar_width)

    def template_positions(self, template_box):
        """Position embedding (B,Nz,D) of the exemplar tokens for template_box (B,1,4), or None where tables serve."""
        if self.template_position == "grid":
            return None
        return self.box_position(describe_cells(template_box[:, 0], self.encoder.exemplar_grid))

    def embed_template(self, template, template_box):
        return self.encoder.embed_exemplar(template[:, 0], self.template_positions(template_box))

    def locate(self, cache, search, train=False, features=False, branch_scale=None):
        """Finds the target in a search crop: see OneStreamTracker.

        Features are in the program's order: exemplar, class, search, foveal (of a ViT); and what the head gets, "head"
        (B,h,w,C).

        Returns: Prediction; its maps are those of corner.corner_maps, its score is None.
        """
        encoded = self.encode_search(cache, search, train=train, features=features, branch_scale=branch_scale)
        search_map = self.bottleneck(self.search_map(encoded))
        if self.needs_template:
            search_map = self.with_exemplar(search_map, self.template_tokens(cache, encoded), train)
        maps = self.corner_head(search_map, train)
        kept = {**(self.features_of(encoded) or {}), "head": search_map} if features else None
        return Prediction(box=decode_corners(maps), score=None, maps=maps, features=kept)

    def with_exemplar(self, search_map, template, train):
        """The projected search map (B,h,w,C) after head.transformer and head.decoder, which also see the exemplar.

        template: (B,N,D) tokens of the first span; those of the class and of the foveal window are left out.
        """
        exemplar = self.bottleneck(template[:, : self.template_grid[0] * self.template_grid[1]])
        found = search_map.reshape(search_map.shape[0], -1, search_map.shape[-1])
        grids = (self.template_grid, self.search_grid)
        if self.head.transformer.present:
            found = self.transformer(exemplar, found, grids, train)
        if self.head.decoder.layers:
            found = self.decoder(exemplar, found, grids, train)
        return found.reshape(search_map.shape)

    def features_of(self, encoded):
        features = super().features_of(encoded)
        first_foveal = self.lengths[0] - self.foveal_grid[0] * self.foveal_grid[1]

        def in_program_order(x):
            if x.shape[-2] != sum(self.lengths):
                return x
            spans = jnp.split(x, (first_foveal, self.lengths[0]), axis=-2)
            return jnp.concatenate([spans[0], spans[2], spans[1]], axis=-2)

        return features and {name: in_program_order(x) for name, x in features.items()}


def _hierarchical(kind, **fields):
    """Function of a Model that makes its hierarchical backbone; fields: what of the Model's the kind takes besides."""

    def make(model):
        stages = model.backbone
        if (model.width, model.patch_size) != (stages.widths[-1], stages.stride):
            raise ValueError(
                f"model.width {model.width} and model.patch_size {model.patch_size} must be the width and stride of the"
                f" last stage of model.backbone, {stages.widths[-1]} and {stages.stride}"
            )
        if any(model.foveal_grid) or model.needs_template:
            raise ValueError(
                "model.backbone.kind swin and pvt need model.foveal_size 0 and no model.head.transformer or decoder"
            )
        if stages.grids(model.search_size)[-1] != model.search_grid:
            raise ValueError(f"model.search_size {model.search_size} must be a multiple of model.patch_size")
        sizes = {"template_size": model.template_size, "search_size": model.search_size}
        shared = {name: getattr(model, name) for name in ("drop_path", "scan_layers", "remat")}
        own = {name: convert(getattr(model, name)) for name, convert in fields.items()}
        return kind(stages=stages, dtype=model.compute_dtype, **sizes, **shared, **own)

    return make


# By model.backbone.kind: function of a Model that makes its backbone.
BACKBONES = {
    "vit": OneStreamTracker.make_encoder,
    "swin": _hierarchical(Swin),
    "pvt": _hierarchical(Pvt, position=str, position_grid=tuple),
}


def describe_cells(box, grid):
    """What the position embedding of the exemplar is computed from (Sec. 3.2).

    Args:
      box: (B,4) x,y,w,h as fractions of the crop; what of it lies outside does not count.
      grid: (rows, columns).

    Returns: (B, rows*columns, 3) float32: (1 + R) / 2 with R the share of the cell that the box covers (the paper has
      R itself), then x and y of the cell's center as fractions.
    """
    batch, (rows, columns) = box.shape[0], grid
    x = jnp.broadcast_to((jnp.arange(columns) + 0.5) / columns, (batch, rows, columns))
    y = jnp.broadcast_to(((jnp.arange(rows) + 0.5) / rows)[:, None], (batch, rows, columns))
    return jnp.stack([(1 + tokens.box_share(box, grid)) / 2, x, y], axis=-1).reshape(batch, -1, 3)


def foveal_window(image, grid, foveal_grid, patch_size, cut="half_patch"):
    """The middle of the exemplar, cut along other lines than the exemplar's patches (Sec. 3.3).

    Args:
      image: (B,H,W,3). grid, foveal_grid: (rows, columns). patch_size: pixels.
      cut: "half_patch", the paper's: the patches' centers are corners of the exemplar's patches; a window that cannot
        lie in the very middle for that lies half a patch to the right and below. "program", as published: it lies so
        only where that offset is a whole number of windows, else in the very middle, and its patches are the
        exemplar's where that is a whole number of patches (B/32).

    Returns: (B,h,w,3) with h, w = foveal_grid * patch_size.
    """
    top, left = (_first_pixel(*cells, patch_size, cut) for cells in zip(grid, foveal_grid, strict=True))
    height, width = (cells * patch_size for cells in foveal_grid)
    return image[:, top : top + height, left : left + width]


def _first_pixel(outer, inner, patch_size, cut):
    """Where the foveal window of `inner` patches begins in an exemplar of `outer`, pixels."""
    if cut == "program" and (outer - inner) % (2 * inner):
        return (outer - inner) * patch_size // 2
    return (2 * ((outer - inner) // 2) + 1) * patch_size // 2


def foveal_positions(positions, grid, foveal_grid):
    """Positions of the foveal tokens, interpolated from those of the exemplar.

    A foveal patch touches four exemplar patches; the program averages the upper left and the lower right one.

    Args: positions (B, rows*columns, D); grid, foveal_grid: (rows, columns). Returns: (B,Nf,D).
    """
    table = positions.reshape(positions.shape[0], *grid, -1)
    top, left = ((outer - inner) // 2 for outer, inner in zip(grid, foveal_grid, strict=True))
    corners = [table[:, top + i : top + i + foveal_grid[0], left + i : left + i + foveal_grid[1]] for i in (0, 1)]
    return (sum(corners) / 2).reshape(positions.shape[0], -1, positions.shape[-1])

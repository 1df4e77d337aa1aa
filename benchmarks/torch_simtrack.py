"""SimTrack in PyTorch, written from the paper as plainly as a user would, to be timed beside ours.

Parameters carry the published names, so that converted weights load into it.
"""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.torch_grm import Branches


class Attention(nn.Module):
    """Self-attention under CLIP's names, which are those of nn.MultiheadAttention."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, causal=False):
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """With CLIP's approximation of GELU."""

    def __init__(self, width, hidden):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        x = self.c_fc(x)
        return self.c_proj(x * (1.702 * x).sigmoid())


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, 4 * width)

    def forward(self, x, causal=False):
        x = x + self.attn(self.ln_1(x), causal)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, depth, heads):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(depth))

    def forward(self, x, causal=False):
        for block in self.resblocks:
            x = block(x, causal)
        return x


class Vit(nn.Module):
    """CLIP's vision transformer over exemplar, class, foveal and search tokens (Sec. 3.1 and 3.3)."""

    def __init__(self, model):
        super().__init__()
        width, patch = model.width, model.patch_size
        cells = model.position_grid[0] * model.position_grid[1]
        self.source, self.grid = tuple(model.position_grid), model.search_size // patch
        self.outer, self.inner, self.patch = model.template_size // patch, model.foveal_size // patch, patch
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + cells, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, model.depth, model.heads)

    def forward(self, template, positions, search):
        """Search tokens (B,N,D) after the last layer; positions (B,Nz,D) of the exemplar's tokens."""
        first = (2 * ((self.outer - self.inner) // 2) + 1) * self.patch // 2
        middle = slice(first, first + self.inner * self.patch)
        spans = [
            self._patches(template) + positions,
            (self.class_embedding + self.positional_embedding[0]).expand(len(search), 1, -1),
            self._patches(template[:, :, middle, middle]) + self._foveal(positions),
            self._patches(search) + self._resized(),
        ]
        x = self.transformer(self.ln_pre(torch.cat(spans, dim=1)))
        return self.ln_post(x)[:, -(self.grid**2) :]

    def _patches(self, images):
        return self.conv1(images).flatten(2).transpose(1, 2)

    def _foveal(self, positions):
        """The mean of the positions at the upper left and the lower right of each foveal patch."""
        table = positions.unflatten(1, (self.outer, self.outer))
        begin = (self.outer - self.inner) // 2
        low, high = slice(begin, begin + self.inner), slice(begin + 1, begin + 1 + self.inner)
        return ((table[:, low, low] + table[:, high, high]) / 2).flatten(1, 2)

    def _resized(self):
        """The search tokens' positions, at the size of their grid."""
        table = self.positional_embedding[1:]
        if self.source == (self.grid, self.grid):
            return table
        image = table.T.unflatten(1, self.source)[None]
        return F.interpolate(image, (self.grid, self.grid), mode="bilinear").flatten(2).transpose(1, 2)


class CornerHead(Branches):
    """Two maps of logits, and the box between the corners that they expect."""

    def __init__(self, width, channels):
        super().__init__(width, channels, {"tl": 1, "br": 1})

    def forward(self, x):
        return between_corners(*(self.branch(x, name)[:, 0] for name in ("tl", "br")))


def between_corners(*maps):
    """(boxes (B,4) xyxy as fractions of the search crop, logits of the corners, twice (B,h,w)) from the logits."""
    corners = []
    for logits in maps:
        rows, columns = logits.shape[1:]
        probabilities = logits.flatten(1).softmax(dim=1).view_as(logits)
        x = (probabilities.sum(dim=1) * torch.arange(columns) / columns).sum(dim=1)
        y = (probabilities.sum(dim=2) * torch.arange(rows) / rows).sum(dim=1)
        corners += [x, y]
    return torch.stack(corners, dim=1), *maps


class SimTrack(nn.Module):
    """model: the `model` section of a config of configs/simtrack.py on a ViT, with a foveal window, without decoder."""

    def __init__(self, model):
        super().__init__()
        width = model.width
        self.backbone = nn.Module()
        self.backbone.visual = Vit(model)
        self.backbone.pos_fc = nn.Sequential(nn.Linear(3, width // 2), nn.ReLU(), nn.Linear(width // 2, width))
        self.bottleneck = nn.Linear(width, model.head.channels)
        self.box_head = CornerHead(model.head.channels, model.head.channels)

    def forward(self, template, template_box, search):
        """What between_corners returns.

        template: (B,1,3,H,W) and search: (B,3,H,W), float32, normalized. template_box: (B,1,4) x,y,w,h as fractions.
        """
        visual = self.backbone.visual
        described = describe_cells(template_box[:, 0], visual.outer)
        positions = 2 * self.backbone.pos_fc(described).sigmoid() - 1
        x = self.bottleneck(visual(template[:, 0], positions, search))
        return self.box_head(x.transpose(1, 2).unflatten(2, (visual.grid, visual.grid)))


def describe_cells(box, side):
    """(1 + share of target) / 2, x and y of each of the exemplar's patches (Eq. 7): boxes (B,4) -> (B,side*side,3)."""
    index = torch.arange(side)
    edges = (torch.cat([box[:, :2], box[:, :2] + box[:, 2:]], dim=1).clamp(0, 1) * side)[:, :, None]
    across = (torch.minimum(edges[:, 2], index + 1) - torch.maximum(edges[:, 0], index)).clamp(min=0)
    down = (torch.minimum(edges[:, 3], index + 1) - torch.maximum(edges[:, 1], index)).clamp(min=0)
    share = (down[:, :, None] * across[:, None, :]).flatten(1)
    centers = (index + 0.5) / side
    y, x = (axis.flatten().expand_as(share) for axis in torch.meshgrid(centers, centers, indexing="ij"))
    return torch.stack([(1 + share) / 2, x, y], dim=-1)

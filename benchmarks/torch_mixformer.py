"""MixFormerV2 in PyTorch, written from the paper as plainly as a user would, to be timed beside ours.

Parameters carry the published names, so that converted weights load into it. Images are (B,3,H,W), templates
(B,K,3,H,W), float32, normalized.
"""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.torch_grm import Mlp


class Attention(nn.Module):
    """Templates (the first `split` tokens) look at templates only, the rest at everything (Sec. 3.1)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, split, memory=None):
        """(attended (B,N,D), (keys, values)); memory: keys and values of the templates, which then are not in x."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if memory is not None:
            attended = _attend(q, torch.cat([memory[0], k], dim=2), torch.cat([memory[1], v], dim=2))
        else:
            attended = _attend(q[:, :, :split], k[:, :, :split], v[:, :, :split])
            if split < x.shape[1]:
                attended = torch.cat([attended, _attend(q[:, :, split:], k, v)], dim=1)
        return self.proj(attended), (k, v)


def _attend(q, k, v):
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Block(nn.Module):
    def __init__(self, width, heads, mlp_ratio):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, int(width * mlp_ratio))

    def forward(self, x, split, memory=None):
        attended, kept = self.attn(self.norm1(x), split, memory)
        x = x + attended
        return x + self.mlp(self.norm2(x)), kept


class Backbone(nn.Module):
    """model: the `model` section of configs/mixformer_v2.py or mixvit.py. n_tokens: prediction tokens."""

    def __init__(self, model, n_tokens):
        super().__init__()
        cells = [(size // model.patch_size) ** 2 for size in (model.template_size, model.search_size)]
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, model.width, model.patch_size, model.patch_size)
        self.register_buffer("pos_embed_t", torch.zeros(1, cells[0], model.width))
        self.register_buffer("pos_embed_s", torch.zeros(1, cells[1], model.width))
        if n_tokens:
            self.reg_tokens = nn.Parameter(torch.zeros(1, n_tokens, model.width))
            self.pos_embed_reg = nn.Parameter(torch.zeros(1, n_tokens, model.width))
        self.n_tokens = n_tokens
        sizes = model.width, model.heads, model.mlp_ratio
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(model.depth))

    def templates(self, template):
        """(B,K,3,H,W) -> tokens of all templates (B,K*N,D)."""
        tokens = self._patches(template.flatten(0, 1)) + self.pos_embed_t
        return tokens.unflatten(0, template.shape[:2]).flatten(1, 2)

    def rest(self, search):
        """(B,3,H,W) -> tokens of the search crop, then the prediction tokens."""
        x = self._patches(search) + self.pos_embed_s
        if not self.n_tokens:
            return x
        extra = (self.reg_tokens + self.pos_embed_reg).expand(len(x), -1, -1)
        return torch.cat([x, extra], dim=1)

    def _patches(self, images):
        return self.patch_embed.proj(images).flatten(2).transpose(1, 2)

    def forward(self, template, search):
        """Tokens after the last layer without the templates'."""
        own = self.templates(template)
        x = torch.cat([own, self.rest(search)], dim=1)
        for block in self.blocks:
            x, _ = block(x, own.shape[1])
        return x[:, own.shape[1] :]

    def encode_template(self, template):
        """[(keys, values)] of every layer, which do not change from frame to frame."""
        x, memory = self.templates(template), []
        for block in self.blocks:
            x, kept = block(x, x.shape[1])
            memory.append(kept)
        return memory

    def encode_search(self, memory, search):
        """The same as forward, given encode_template's."""
        x = self.rest(search)
        for block, kept in zip(self.blocks, memory, strict=True):
            x, _ = block(x, 0, kept)
        return x


class Layers(nn.Module):
    """Layers one after the other, under the published name `layers`."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


class MixFormerV2(nn.Module):
    """model: the `model` section of a config of configs/mixformer_v2.py with 4 prediction tokens, one MLP, a score."""

    def __init__(self, model):
        super().__init__()
        width, bins = model.width, model.head.bins
        self.backbone = Backbone(model, n_tokens=4)
        first = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU())
        self.box_head = Layers(first, nn.Sequential(nn.Linear(width, bins), nn.LayerNorm(bins)))
        self.score_head = Layers(nn.Sequential(nn.Linear(width, width), nn.ReLU()), nn.Linear(width, 1))

    def forward(self, template, template_box, search):
        """(boxes (B,4) xyxy as fractions of the search crop, logits of the scores (B,)); template_box is not used."""
        return self.decode(self.backbone(template, search))

    def locate(self, memory, search):
        """The same, given backbone.encode_template's."""
        return self.decode(self.backbone.encode_search(memory, search))

    def decode(self, tokens):
        """The expectation of each edge's distribution, and the score of the four tokens, their mean."""
        tokens = tokens[:, -4:]
        probabilities = self.box_head(tokens).softmax(dim=-1)
        bins = probabilities.shape[-1]
        edges = (probabilities * torch.arange(bins)).sum(dim=-1) / bins
        left, right, top, bottom = edges.unbind(1)
        return torch.stack([left, top, right, bottom], dim=-1), self.score_head(tokens).mean(dim=(1, 2))

"""iKUN with cascade attention in PyTorch, written from paper and program as plainly as a user would, to be timed.

Parameters carry the published names, so that converted weights load into it. B clips, T frames of each, P phrases.
"""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.torch_simtrack import Attention, Transformer


class CrossAttention(Attention):
    """Of queries from one sequence to keys and values from another."""

    def forward(self, x, memory):
        width = x.shape[-1]
        q = F.linear(x, self.in_proj_weight[:width], self.in_proj_bias[:width])
        kv = F.linear(memory, self.in_proj_weight[width:], self.in_proj_bias[width:])
        k, v = kv.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q.unflatten(-1, (self.heads, -1)).transpose(1, 2), k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class Bottleneck(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        after = 4 * channels
        self.conv1, self.bn1 = nn.Conv2d(before, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, after, 1, bias=False), nn.BatchNorm2d(after)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample = None
        if stride > 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(self.pool(y)))
        return (y + (x if self.downsample is None else self.downsample(self.pool(x)))).relu()


class ResNet(nn.Module):
    """CLIP's: a stem of three convolutions, strides by average pools."""

    def __init__(self, width, depths):
        super().__init__()
        stem = width // (4 * 2 ** (len(depths) - 1))
        sizes = (3, stem // 2, stem // 2, stem)
        for i in (1, 2, 3):
            layer = nn.Conv2d(sizes[i - 1], sizes[i], 3, stride=2 if i == 1 else 1, padding=1, bias=False)
            setattr(self, f"conv{i}", layer)
            setattr(self, f"bn{i}", nn.BatchNorm2d(sizes[i]))
        self.depths, before = depths, stem
        for i, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                blocks.append(Bottleneck(before, stem << i, 2 if i and not j else 1))
                before = 4 * (stem << i)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))

    def forward(self, x):
        for i in (1, 2, 3):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)).relu()
        x = F.avg_pool2d(x, 2)
        for i in range(len(self.depths)):
            x = getattr(self, f"layer{i + 1}")(x)
        return x


class Clip(nn.Module):
    """The image encoder without attention pooling, and the text encoder."""

    def __init__(self, model):
        super().__init__()
        size = model.transformer
        self.visual = ResNet(model.visual_width, model.visual_depths)
        self.token_embedding = nn.Embedding(size.vocabulary, size.width)
        self.positional_embedding = nn.Parameter(torch.zeros(size.length, size.width))
        self.transformer = Transformer(size.width, size.depth, size.heads)
        self.ln_final = nn.LayerNorm(size.width)
        self.text_projection = nn.Parameter(torch.zeros(size.width, model.text_width))

    def text(self, tokens, kept):
        """Token ids (B,N) -> (features of the first `kept` tokens (B,kept,E), feature at the end of the text (B,E))."""
        x = self.token_embedding(tokens) + self.positional_embedding
        x = self.ln_final(self.transformer(x, causal=True))
        end = x[torch.arange(len(x)), tokens.argmax(dim=-1)]
        return x[:, :kept] @ self.text_projection, end @ self.text_projection


class Ikun(nn.Module):
    """model: the `model` section of configs/ikun.py with cascade attention as the program has it, without dropout."""

    def __init__(self, model):
        super().__init__()
        width, words, features = model.visual_width, model.text_width, model.width
        stride = 4 * 2 ** (len(model.visual_depths) - 1)
        self.kept = model.truncation
        self.clip = Clip(model)
        self.pos_emb_local = nn.Parameter(torch.zeros((model.local_size // stride) ** 2))
        self.pos_emb_global = nn.Parameter(torch.zeros((model.global_size // stride) ** 2))
        self.fusion_local_global = CrossAttention(width, model.heads)
        self.fusion_visual_textual = CrossAttention(width, model.heads)
        self.fusion_fc, self.img_fc = nn.Linear(words, width), nn.Linear(width, features)
        self.text_fc = nn.Sequential(nn.Linear(words, words), nn.ReLU(), nn.Linear(words, features))

    def tokens(self, images, positions):
        """(B,T,3,H,W) -> cells of the maps with their positions (B*T,N,C)."""
        return self.clip.visual(images.flatten(0, 1)).flatten(2).transpose(1, 2) + positions[:, None]

    def relate(self, local, global_):
        """The cells of the crops after they looked at those of the frames, the same for all phrases: (B,T,N,C)."""
        own = self.tokens(local, self.pos_emb_local)
        own = self.fusion_local_global(own, self.tokens(global_, self.pos_emb_global)) + own
        return own.unflatten(0, local.shape[:2])

    def fuse(self, related, words):
        """(B,T,N,C) and words (B,L,E) -> (B,D)."""
        frames = related.shape[1]
        related, words = related.flatten(0, 1), self.fusion_fc(words).repeat_interleave(frames, dim=0)
        fused = related * self.fusion_visual_textual(related, words)
        return self.img_fc(fused.unflatten(0, (-1, frames)).mean(dim=(1, 2)))

    def forward(self, local, global_, tokens):
        """Similarities, alone in a tuple: (B,) for tokens (B,N); (B,P) for (B,P,N), each crop being encoded once.

        local: (B,T,3,H,W), global_: (B,T,3,H',W'), float32, normalized.
        """
        words, end = self.clip.text(tokens.flatten(0, -2), self.kept)
        related = self.relate(local, global_).repeat_interleave(len(words) // len(local), dim=0)
        similarity = F.cosine_similarity(self.fuse(related, words), self.text_fc(end), dim=-1)
        return (similarity.view(tokens.shape[:-1]),)

"""GRM in PyTorch, written from the paper as plainly as a user would, to be timed beside ours (torch_step.py).

OSTrack, which it grew out of, is the same network without division modules. Parameters carry the published names, so
that converted weights load into it. Images are (B,3,H,W).
"""

import torch
from torch import nn
from torch.nn import functional as F

# Which category looks at which: template, search only, all (Eq. 2-4).
RELATION = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Attention(nn.Module):
    """Self-attention; where the layer divides its search tokens, under the mask that follows (Sec. 3.2 and 3.3)."""

    def __init__(self, width, heads, divides, hidden):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        if divides:
            layers = nn.Linear(2 * width, hidden[0]), nn.Linear(hidden[0], hidden[1]), nn.Linear(hidden[1], 2)
            self.divide_predict = nn.Sequential(
                layers[0], nn.GELU(), layers[1], nn.GELU(), layers[2], nn.LogSoftmax(dim=-1)
            )

    def mask(self, x, n_template):
        template, search = x[:, :n_template], x[:, n_template:]
        target = template.max(dim=1, keepdim=True).values.expand_as(search)
        log_probs = self.divide_predict(torch.cat([search, target], dim=-1)).float()
        if self.training:
            chosen = F.gumbel_softmax(log_probs, tau=1.0, hard=True)
        else:
            chosen = F.one_hot(log_probs.argmax(dim=-1), 2).float()
        first = F.one_hot(torch.zeros(template.shape[:2], dtype=torch.long, device=x.device), 3).float()
        division = torch.cat([first, F.pad(chosen, (1, 0))], dim=1)
        mask = division @ RELATION.to(x.device) @ division.transpose(1, 2)
        eye = torch.eye(x.shape[1], device=x.device)
        return mask + (1 - mask) * eye

    def forward(self, x, n_template):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if not hasattr(self, "divide_predict"):
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            mask = self.mask(x, n_template)[:, None]
            logits = (q @ k.transpose(-2, -1)).float() * q.shape[-1] ** -0.5
            weights = (logits - logits.amax(dim=-1, keepdim=True).detach()).exp() * mask
            weights = (weights + 1e-6 / x.shape[1]) / (weights.sum(dim=-1, keepdim=True) + 1e-6)
            out = weights.to(v.dtype) @ v
        return self.proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, heads, mlp_ratio, drop_rate, divides, hidden):
        super().__init__()
        self.drop_rate = drop_rate
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, divides, hidden)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def drop(self, branch):
        if not (self.training and self.drop_rate):
            return branch
        kept = torch.rand(branch.shape[0], 1, 1, device=branch.device) >= self.drop_rate
        return branch * kept / (1 - self.drop_rate)

    def forward(self, x, n_template):
        x = x + self.drop(self.attn(self.norm1(x), n_template))
        return x + self.drop(self.mlp(self.norm2(x)))


class Backbone(nn.Module):
    def __init__(self, model):
        super().__init__()
        cells = [(size // model.patch_size) ** 2 for size in (model.template_size, model.search_size)]
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, model.width, model.patch_size, model.patch_size)
        self.pos_embed_z = nn.Parameter(torch.zeros(1, cells[0], model.width))
        self.pos_embed_x = nn.Parameter(torch.zeros(1, cells[1], model.width))
        rates = torch.linspace(0, model.drop_path, model.depth).tolist()
        sizes = model.width, model.heads, model.mlp_ratio
        divides, hidden = (), ()
        if "division" in model:
            divides, hidden = model.division.layers or range(2, model.depth + 1), model.division.hidden
        self.blocks = nn.ModuleList(Block(*sizes, rates[i], i + 1 in divides, hidden) for i in range(model.depth))
        self.norm = nn.LayerNorm(model.width, eps=1e-6)

    def forward(self, template, search):
        embed = self.patch_embed.proj
        z = embed(template).flatten(2).transpose(1, 2) + self.pos_embed_z
        x = torch.cat([z, embed(search).flatten(2).transpose(1, 2) + self.pos_embed_x], dim=1)
        for block in self.blocks:
            x = block(x, z.shape[1])
        return self.norm(x)[:, z.shape[1] :]


class Branches(nn.Module):
    """Four 3x3 convolutions with BatchNorm each and a 1x1 convolution, for each name in outputs, {name: channels}."""

    def __init__(self, width, channels, outputs):
        super().__init__()
        for name, last in outputs.items():
            before = width
            for i in range(4):
                after = channels >> i
                layer = nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()
                setattr(self, f"conv{i + 1}_{name}", nn.Sequential(*layer))
                before = after
            setattr(self, f"conv5_{name}", nn.Conv2d(before, last, 1))

    def branch(self, x, name):
        for i in range(1, 6):
            x = getattr(self, f"conv{i}_{name}")(x)
        return x.float()


class Head(Branches):
    """Maps of score, offset and size."""

    def __init__(self, width, channels):
        super().__init__(width, channels, {"ctr": 1, "offset": 2, "size": 2})

    def forward(self, x):
        score, size = (self.branch(x, name).sigmoid().clamp(1e-4, 1 - 1e-4) for name in ("ctr", "size"))
        return score[:, 0], size, self.branch(x, "offset")


class Grm(nn.Module):
    """model: the `model` section of a config of configs/grm.py, or of configs/ostrack.py without elimination."""

    def __init__(self, model):
        super().__init__()
        self.backbone = Backbone(model)
        self.box_head = Head(model.width, model.head.channels)
        self.side = model.search_size // model.patch_size
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def from_pixels(self, template, search):
        """The same for uint8 images (B,3,H,W), one template."""
        template, search = ((image.float() - self.mean) / self.std for image in (template, search))
        return self(template[:, None], None, search)

    def forward(self, template, template_box, search):
        """(boxes (B,4) xyxy as fractions of the search crop, score maps (B,h,w)).

        template: (B,1,3,H,W) and search: (B,3,H,W), float32, normalized. template_box: not used.
        """
        tokens = self.backbone(template[:, 0], search)
        score, size, offset = self.box_head(tokens.transpose(1, 2).unflatten(2, (self.side, self.side)))
        best = score.flatten(1).argmax(dim=1)
        size, offset = (m.flatten(2).gather(2, best[:, None, None].expand(-1, 2, 1))[..., 0] for m in (size, offset))
        center = (torch.stack([best % self.side, best // self.side], dim=-1) + offset) / self.side
        return torch.cat([center - size / 2, center + size / 2], dim=-1), score


def heatmap(box, side):
    """The score target (B,side,side) of boxes (B,4) x,y,w,h: a Gaussian around the center's cell (CornerNet)."""
    position, extent = box[:, :2] * side, box[:, 2:] * side
    center = (position + extent / 2).round()
    total, product = extent.sum(dim=1), extent.prod(dim=1)
    terms = ((1.0, total, product * 0.3 / 1.7), (4.0, 2 * total, 0.3 * product), (2.8, -1.4 * total, -0.3 * product))
    roots = [(b + (b**2 - 4 * a * c).clamp(min=0).sqrt()) / 2 for a, b, c in terms]
    radius = torch.stack(roots).amin(dim=0).trunc().clamp(min=0)[:, None, None]
    cells = torch.arange(side, device=box.device)
    dx = cells[None, None, :] - center[:, 0, None, None]
    dy = cells[None, :, None] - center[:, 1, None, None]
    value = (-(dx**2 + dy**2) / (2 * ((2 * radius + 1) / 6) ** 2)).exp()
    return value * ((dx.abs() <= radius) & (dy.abs() <= radius))


def loss(predicted, score, box):
    """2 GIoU + 5 L1 + focal loss (Sec. 3.4) of boxes (B,4) xyxy and score maps (B,h,w); box: (B,4) x,y,w,h."""
    truth = torch.cat([box[:, :2], box[:, :2] + box[:, 2:]], dim=1).clamp(0, 1)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (predicted, truth)]
    low, high = torch.maximum(predicted[:, :2], truth[:, :2]), torch.minimum(predicted[:, 2:], truth[:, 2:])
    inside = (high - low).clamp(min=0).prod(dim=1)
    union = areas[0] + areas[1] - inside
    hull = torch.maximum(predicted[:, 2:], truth[:, 2:]) - torch.minimum(predicted[:, :2], truth[:, :2])
    hull = hull.prod(dim=1)
    giou = inside / union - (hull - union) / hull
    target = heatmap(box, score.shape[-1])
    positive = target == 1
    gain = score.log() * (1 - score) ** 2
    penalty = (1 - score).log() * score**2 * (1 - target) ** 4
    focal = -torch.where(positive, gain, penalty).sum() / positive.sum().clamp(min=1)
    return 2 * (1 - giou).mean() + 5 * (predicted - truth).abs().mean() + focal


def optimizer(model, train):
    """AdamW at two rates, the encoder's without its division modules lower. train: the config's section."""
    slow, full = [], []
    for name, parameter in model.named_parameters():
        (slow if name.startswith("backbone.") and "divide" not in name else full).append(parameter)
    groups = [{"params": slow, "lr": train.learning_rate * train.encoder_multiplier}, {"params": full}]
    return torch.optim.AdamW(groups, lr=train.learning_rate, weight_decay=train.weight_decay)

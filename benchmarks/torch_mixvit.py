"""MixViT in PyTorch, written from paper and program as plainly as a user would, to be timed beside ours.

Parameters carry the published names, so that converted weights load into it.
"""

from torch import nn
from torch.nn import functional as F

from benchmarks.torch_mixformer import Backbone
from benchmarks.torch_simtrack import between_corners


class PyramidCornerHead(nn.Module):
    """Convolutions with two upsamplings between them, and maps of the coarser levels added in."""

    def __init__(self, width, channels):
        super().__init__()
        whole, half, quarter, eighth = (channels >> i for i in range(4))
        for corner in ("tl", "br"):
            parts = {
                "conv1": _layer(width, whole),
                "conv2": _layer(whole, half),
                "conv3": _layer(half, quarter),
                "conv4": _layer(quarter, eighth),
                "conv5": nn.Conv2d(eighth, 1, 1),
                "adjust1": _layer(width, half),
                "adjust2": _layer(width, quarter),
                "adjust3": nn.Sequential(_layer(half, quarter), _layer(quarter, eighth), _layer(eighth, 1)),
                "adjust4": nn.Sequential(_layer(quarter, eighth), _layer(eighth, 1)),
            }
            for name, part in parts.items():
                setattr(self, f"{name}_{corner}", part)

    def branch(self, x, corner):
        def layer(name, x):
            return getattr(self, f"{name}_{corner}")(x)

        low = layer("conv2", layer("conv1", x))
        middle = layer("conv3", _up(layer("adjust1", x), 2) + _up(low, 2))
        high = layer("conv4", _up(layer("adjust2", x), 4) + _up(middle, 2))
        total = layer("conv5", high) + _up(layer("adjust3", low), 4) + _up(layer("adjust4", middle), 2)
        return total[:, 0]

    def forward(self, x):
        return between_corners(*(self.branch(x, corner) for corner in ("tl", "br")))


def _layer(before, after):
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())


def _up(x, factor):
    return F.interpolate(x, scale_factor=factor)


class MixVit(nn.Module):
    """model: the `model` section of a config of configs/mixvit.py with the pyramid head, without score module."""

    def __init__(self, model):
        super().__init__()
        self.backbone = Backbone(model, n_tokens=0)
        self.box_head = PyramidCornerHead(model.width, model.head.channels)
        self.side = model.search_size // model.patch_size

    def forward(self, template, template_box, search):
        """What between_corners returns. template: (B,K,3,H,W), search: (B,3,H,W); template_box is not used."""
        tokens = self.backbone(template, search)
        return self.box_head(tokens.transpose(1, 2).unflatten(2, (self.side, self.side)))

"""A network with iKUN's methods and next to no weight, with videos of noise, for tests of tracking with words."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from trackers.io import mot_files
from trackers.models.text import TextFeatures

LENGTH = 77


class Words(nn.Module):
    """Fusion depends on crop, frame and phrase together, so that mixing up any of them shows."""

    local_size: int = 16
    global_size: int = 32
    width: int = 12

    def setup(self):
        self.local_layer, self.global_layer = nn.Dense(self.width), nn.Dense(self.width)
        self.embedding = nn.Embed(64, self.width)
        self.mix = nn.Dense(self.width)

    def encode_local(self, local):
        return self.local_layer(_tiles(local, 4))

    def encode_global(self, global_):
        return self.global_layer(_tiles(global_, 8))

    def encode_text(self, tokens):
        embedded = self.embedding(tokens % 64)
        return TextFeatures(embedded[:, :10], _unit(embedded.mean(axis=1)))

    def fuse(self, local, global_, text):
        return self.fuse_related(self.relate(local, global_), text)

    def relate(self, local, global_):
        return local.mean(axis=(1, 2, 3)) * global_.max(axis=(1, 2, 3)), local[:, 0].mean(axis=(1, 2))

    def fuse_related(self, related, text):
        seen, first = related
        return _unit(self.mix(jnp.tanh(seen + text.tokens.mean(axis=1)) * text.sentence + first))

    def __call__(self, local, global_, tokens):
        text = self.encode_text(tokens)
        fused = self.fuse(self.encode_local(local), self.encode_global(global_), text)
        return jnp.sum(fused * text.sentence, axis=-1)


def _tiles(images, side):
    batch, frames, height, width, channels = images.shape
    tiles = images.reshape(batch, frames, height // side, side, width // side, side, channels)
    return tiles.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, frames, height // side, width // side, -1)


def _unit(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def video(frames=12, height=40, width=60, seed=0):
    """(frames, height, width, 3) uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def tracks(count=3, frames=12, seed=0, height=40, width=60):
    """`count` tracks over all `frames`, numbered from 1, with fractional boxes inside the frame."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(1, frames + 1), count)
    ids = np.tile(np.arange(1, count + 1), frames)
    sizes = rng.uniform(5, 15, (len(ids), 2))
    corners = rng.uniform(0, 1, (len(ids), 2)) * ((width, height) - sizes)
    return mot_files.from_rows(numbers, ids, np.concatenate([corners, sizes], axis=1))


def phrases(count=3, seed=0):
    """(count, 77) int32 tokens."""
    return np.random.default_rng(seed).integers(1, 64, (count, LENGTH), dtype=np.int32)

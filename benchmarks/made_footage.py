"""Videos for timing loaders: JPEG files that cost a decoder what photographs of their size do."""

import numpy as np

# Exponent of the amplitude's fall over frequency. Photographs have about 1, with edges in place of noise; noise of 1.6
# takes as many bytes as a frame of a video does: 1280 x 720 at quality 90 some 150,000.
_FALL = 1.6
# Longest walk of the view over its background in a frame, and of the target, pixels.
_PAN, _WALK = 3, 6


def write(folder, sequences, frames, size, seed=0, quality=90):
    """Writes sequences in the layout of data_pipelines/sources/frames.py: FOLDER/NAME/{0001.jpg, groundtruth.txt}.

    A textured target walks over a textured background; its side, sqrt(w * h), is drawn log-uniformly from 1/36 to 5/12
    of the frame's height, 20 to 300 pixels of 720.

    Args: folder: pathlib.Path. size: (width, height). quality: of the JPEG files.

    Returns: mean bytes of a file.
    """
    import cv2

    rng, sizes = np.random.default_rng(seed), []
    width, height = size
    for number in range(sequences):
        place = folder / f"video_{number:03d}"
        place.mkdir(parents=True)
        side = height * np.exp(rng.uniform(np.log(1 / 36), np.log(5 / 12)))
        aspect = np.exp(0.4 * rng.standard_normal() / 2)
        w, h = (int(np.clip(round(extent), 4, 0.6 * height)) for extent in (side * aspect, side / aspect))
        room = _PAN * frames
        background = _texture(rng, height + room, width + room)
        target = _texture(rng, h, w, contrast=70)
        corner, boxes = rng.uniform(0, 1, 2) * (width - w, height - h), []
        for frame in range(frames):
            pan = _PAN * frame
            image = background[pan : pan + height, pan : pan + width].copy()
            corner = np.clip(corner + rng.uniform(-_WALK, _WALK, 2), 0, (width - w, height - h))
            x, y = corner.astype(int)
            image[y : y + h, x : x + w] = target
            file = place / f"{frame + 1:04d}.jpg"
            file.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
            sizes.append(file.stat().st_size)
            boxes.append(f"{x},{y},{w},{h}\n")
        (place / "groundtruth.txt").write_text("".join(boxes))
    return float(np.mean(sizes))


def _texture(rng, height, width, contrast=50):
    """(height, width, 3) uint8: noise whose amplitude falls with frequency, colors that are mostly common."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    phases = np.exp(2j * np.pi * rng.random((4, *frequency.shape)))
    noise = np.fft.irfft2(phases / frequency**_FALL, (height, width))
    noise /= noise.std(axis=(1, 2), keepdims=True)
    levels = 120 + contrast * noise[0][..., None] + 0.3 * contrast * np.moveaxis(noise[1:], 0, -1)
    return np.clip(levels, 0, 255).astype(np.uint8)

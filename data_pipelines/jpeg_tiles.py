"""The tiles of a JPEG file: what lies between its restart markers, and the file of those tiles alone that show a part.

A coder may write a restart marker after every so many blocks; what follows is decoded without what came before. Where
the markers divide each row of blocks evenly they make tiles, and those of a rectangle, with a header that states its
size, are a JPEG file of their own. So a part costs what its own tiles do, also of the reading of coded bytes (ITU-T
T.81, B.1.1.2 and F.1.1.5.1). Packed shards are written so (`interval`); any file with such markers serves.
"""

import functools

import numpy as np

from trackers.io import image_headers

_RESTART_INTERVAL, _END = 0xDD, 0xD9
_FIRST_RESTART = 0xD0
# Blocks of 16 x 16 pixels in a tile of packed pictures: one would take 5 % more bytes.
_BLOCKS = 2
_BLOCK_SIDE = 16
# Pixels around a part that are decoded with it: chroma is upsampled from its neighbors, two pixels away.
_MARGIN = 4


def interval(width):
    """Blocks between restart markers that a picture `width` pixels wide (chroma at half its resolution) is to have."""
    return _BLOCKS if -(-width // _BLOCK_SIDE) % _BLOCKS == 0 else 1


def part(data, left, top, right, bottom):
    """The JPEG file of the tiles that show [left, right) x [top, bottom).

    Args: data: bytes of a plain JPEG (image_headers.plain_jpeg_size). left, top, right, bottom: whole pixels inside it.

    Returns: (bytearray, x, y), x, y where the part's corner lies in the picture that these bytes are; its pixels there
      are those of the whole picture to the last bit. None where the file has no tiles, or is damaged.
    """
    header = _header(data)
    if header is None:
        return None
    frame, scan, (width, height), (tile_width, tile_height) = header
    columns, rows = -(-width // tile_width), -(-height // tile_height)
    starts = _starts(data, scan, columns * rows)
    if starts is None:
        return None
    first, last = max(left - _MARGIN, 0) // tile_width, min(right + _MARGIN - 1, width - 1) // tile_width
    above, below = max(top - _MARGIN, 0) // tile_height, min(bottom + _MARGIN - 1, height - 1) // tile_height
    begins = starts[above * columns + first : (below + 1) * columns : columns].tolist()
    ends = starts[above * columns + last + 1 : below * columns + last + 2 : columns].tolist()
    made = bytearray().join((data[:scan], *map(data.__getitem__, map(slice, begins, ends))))
    size = min((below + 1) * tile_height, height) - above * tile_height, min((last + 1) * tile_width, width)
    made[frame + 5 : frame + 9] = size[0].to_bytes(2) + (size[1] - first * tile_width).to_bytes(2)
    # Each tile brings the marker behind it, whose number says which one it is in the file.
    lengths = np.diff(starts)[: (below + 1) * columns].reshape(-1, columns)[above:, first : last + 1]
    marks = scan - 1 + np.cumsum(lengths)
    written = np.frombuffer(made, np.uint8)
    written[marks] = np.frombuffer(_numbers(len(marks)), np.uint8)
    written[-1] = _END
    return made, left - first * tile_width, top - above * tile_height


def _header(data):
    """(offset of the frame header, of the coded bytes, (width, height), (width, height) of a tile), None without."""
    frame = blocks = scan = None
    for marker, position in image_headers.jpeg_segments(data):
        if marker == _RESTART_INTERVAL:
            blocks = int.from_bytes(data[position + 4 : position + 6])
        elif marker in image_headers.JPEG_FRAMES:
            frame = position
        elif marker == image_headers.START_OF_SCAN:
            scan = position
    if not blocks or frame is None or scan is None:
        return None
    channels = data[frame + 9]
    # Each channel's blocks in a unit of coding, across and down; a single channel's unit is one block.
    factors = [data[frame + 11 + 3 * channel] for channel in range(channels)]
    across, down = (max(f >> 4 for f in factors), max(f & 15 for f in factors)) if channels > 1 else (1, 1)
    height, width = (int.from_bytes(data[frame + at : frame + at + 2]) for at in (5, 7))
    if data[scan + 4] != channels or not across or not down or -(-width // (8 * across)) % blocks:
        return None
    coded = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4])
    return frame, coded, (width, height), (8 * across * blocks, 8 * down)


def _starts(data, scan, count):
    """(count + 1,) offsets of the tiles, and of what follows the last; None where the file has not `count` tiles."""
    coded = np.frombuffer(data, np.uint8, offset=scan)
    # In coded bytes 0xFF is followed by 0 unless it is a marker.
    behind = (coded[:-1] == 0xFF).nonzero()[0] + 1
    kinds = coded[behind]
    which = kinds.nonzero()[0][:count]
    if kinds[which].tobytes() != _numbers(count - 1) + bytes([_END]):
        return None
    starts = np.empty(count + 1, np.int64)
    starts[0], starts[1:] = scan, behind[which] + (scan + 1)
    return starts


@functools.lru_cache(maxsize=1024)
def _numbers(count):
    """The second bytes of the first `count` restart markers."""
    return bytes(_FIRST_RESTART + number % 8 for number in range(count))

"""FLOPs of the convolutions of a compiled program."""

import math
import re

import numpy as np


def flops(attrs, image, kernel, result):
    """FLOPs of a convolution: products with padding or with the zeros between dilated inputs do not count.

    TPU's compiler writes matrix products as convolutions, batches of them as axes that are mostly such zeros.

    Args: attrs: of its Instruction. image, kernel, result: Leaf of each.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", attrs)
    window = _window(attrs)
    products = 1
    for axis in sorted(set(labels[1]) - {"b", "f"}):
        size, extent = image.dims[labels[1].index(axis)], kernel.dims[labels[2].index(axis)]
        length = result.dims[labels[3].index(axis)]
        along = {name: values[int(axis)] for name, values in window.items()}
        low, stride = along.get("pad", (0, 0))[0], along.get("stride", 1)
        starts = np.arange(length)[:, None] * stride - low + np.arange(extent)[None] * along.get("rhs_dilate", 1)
        dilation = along.get("lhs_dilate", 1)
        valid = (starts >= 0) & (starts <= (size - 1) * dilation) & (starts % dilation == 0)
        products *= int(valid.sum())
    batches = re.search(r"batch_group_count=(\d+)", attrs)
    batch = image.dims[labels[1].index("b")] // (int(batches[1]) if batches else 1)
    return 2.0 * products * batch * math.prod(kernel.dims[labels[2].index(name)] for name in "io")


def _window(attrs):
    """{"size": [...], "pad": [(low, high), ...], ...}, one entry an axis."""
    window = re.search(r"window=\{([^}]*)\}", attrs)
    fields = {}
    for item in window[1].split() if window else ():
        name, values = item.split("=")
        values = values.split("x")
        fields[name] = [tuple(map(int, v.split("_"))) if name == "pad" else int(v) for v in values]
    return fields

"""Names of heads that more than one tracker has."""

from trackers.convert.layouts import CONV, VECTOR


def branch(ours, published):
    """One branch of a center or corner head: four (convolution, BatchNorm) pairs and a bare convolution."""
    return (
        (rf"head/{ours}/conv([1-4])", rf"box_head.conv\1_{published}.0", CONV),
        (rf"head/{ours}/norm([1-4])", rf"box_head.conv\1_{published}.1", VECTOR),
        (rf"head/{ours}/conv5", f"box_head.conv5_{published}", CONV),
    )

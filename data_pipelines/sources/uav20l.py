"""UAV20L (Mueller et al., ECCV 2016), the long sequences in UAV123's download:

    ROOT/data_seq/UAV123/FOLDER/000001.jpg
    ROOT/anno/UAV20L/SEQUENCE.txt                       x,y,w,h a line, NaN where the target is absent

A sequence is the whole of the folder of its name.
"""

from data_pipelines import published
from data_pipelines.sources import Facts, uav123

FACTS = Facts(sizes={"test": 20})


def open(root, split="train"):
    """UAV20L at `root` (the folder of anno and data_seq) -> Source, as uav123.open."""
    return uav123.open_part(root, split, "uav20l", "UAV20L", published.UAV20L)

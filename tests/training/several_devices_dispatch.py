"""Run by test_dispatch.py with eight virtual devices: losses of steps that make their batches on a mesh with two axes
in use, as JSON, first as on a CPU, then with small parameters packed as on a GPU.
python -m tests.training.several_devices_dispatch
"""

import json

from tests.training import test_dispatch
from trackers.training import packing, sharding

if __name__ == "__main__":
    config = test_dispatch.make_config()
    with config.unlocked():
        config.mesh.update({"data": 4, "fsdp": 2, "max_unsharded": 1.0})
    for packing.PLATFORMS in ((), ("cpu",)):
        print(json.dumps(test_dispatch.losses(config, sharding.make_mesh(config.mesh), 7)))

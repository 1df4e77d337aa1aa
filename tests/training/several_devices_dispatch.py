"""Run by test_dispatch.py with eight virtual devices: losses of steps that make their batches on a mesh with two axes
in use, as JSON. python -m tests.training.several_devices_dispatch
"""

import json

from tests.training import test_dispatch
from trackers.training import sharding

if __name__ == "__main__":
    config = test_dispatch.make_config()
    with config.unlocked():
        config.mesh.update({"data": 4, "fsdp": 2, "max_unsharded": 1.0})
    print(json.dumps(test_dispatch.losses(config, sharding.make_mesh(config.mesh), 7)))

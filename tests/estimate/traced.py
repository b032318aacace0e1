"""Run as a script: the peak of one process of a sharded emitted project, on fake tensors, by torch's own tracker.

    python -m tests.estimate.traced PROJECT WORLD_SIZE MICRO_BATCH LENGTH PRECISION

Prints the bytes of the peak and what they are. One process stands for all of them: messages go nowhere, and tensors have no contents.
"""

import importlib
import json
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore


def _outside(name: str) -> None:
    """Meshes compute with real tensors, which a fake mode would take away."""
    function = getattr(DeviceMesh, name)

    def real(*arguments: Any, **named: Any) -> Any:
        with unset_fake_temporarily():
            return function(*arguments, **named)

    setattr(DeviceMesh, name, staticmethod(real))


def main() -> None:
    """Trace one step."""
    project, precision = sys.argv[1], sys.argv[5]
    world_size, micro_batch, length = (int(text) for text in sys.argv[2:5])
    sys.path.insert(0, project)
    for name in ("_compute_coordinates_from_mesh", "_concatenate"):
        _outside(name)
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world_size)
    model_module, config, parallelize, objectives, optim, data = (
        importlib.import_module(name) for name in ("model", "config", "parallelize", "objectives", "optim", "data")
    )
    device = torch.device("cpu")
    mesh = init_device_mesh("cpu", (world_size,), mesh_dim_names=("shard",))
    mesh.get_coordinate()
    parallelize.init_device_mesh = lambda *arguments, **named: mesh
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("meta"):
            model = model_module.Transformer(config.ModelConfig())
        parallelize.parallelize(model, device)
        optimizer = optim.build_optimizer(model, config.OptimizerConfig())
        tokens = torch.zeros(micro_batch, length, dtype=torch.long)
        batch = data.Batch(tokens, tokens)
        num_targets = torch.tensor(float(micro_batch * length * world_size))

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = objectives.loss(model, batch, num_targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        step()
        tracker = FSDPMemTracker(model, optimizer)
        tracker.track_inputs((tokens,))
        with tracker:
            step()
        peak = next(iter(tracker.get_tracker_snapshot("peak").values()))
    sys.stdout.write(json.dumps({str(kind).rpartition(".")[2]: int(size) for kind, size in peak.items()}) + "\n")


if __name__ == "__main__":
    main()

"""Run by torchrun: moves sharded models and whole ones by the same batches, and writes how far apart they end.

torchrun --nproc-per-node 2 -m tests.optimizers.sharded PROJECTS OUTPUT
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from tests.optimizers.emitted import Run, load


def distance(project: Path) -> float:
    """How far a sharded run's weights are from a whole one's, as a share of how far they moved; the worst tensor's."""
    modules = load(project)
    whole = Run(load(project.parents[1] / "whole" / "project"))
    sharded = Run.__new__(Run)
    sharded.modules = modules
    sharded.model = modules.model.Transformer(modules.config.ModelConfig())
    sharded.model.init_weights(torch.Generator().manual_seed(0))  # type: ignore[operator]
    for layer in sharded.model.layers:  # type: ignore[union-attr]
        fully_shard(layer)  # type: ignore[arg-type]
    fully_shard(sharded.model)
    sharded.optimizer = modules.optim.build_optimizer(sharded.model, modules.config.OptimizerConfig())
    if hasattr(sharded.optimizer, "train"):
        sharded.optimizer.train()
    start = whole.weights
    for step in range(6):
        for run in (whole, sharded):
            run.backward(step)
            run.step(1e-2)
    for run in (whole, sharded):
        if hasattr(run.optimizer, "eval"):
            run.optimizer.eval()
    worst = 0.0
    for name, parameter in sharded.model.named_parameters():
        assert isinstance(parameter, DTensor)
        apart = (parameter.full_tensor() - whole.weights[name]).norm() / (whole.weights[name] - start[name]).norm()
        worst = max(worst, apart.item())
    return worst


def main() -> None:
    dist.init_process_group("gloo")
    torch.compiler.set_stance("force_eager")
    found = {project.parents[1].name: distance(project) for project in sorted(Path(sys.argv[1]).glob("*/sharded/project"))}
    if dist.get_rank() == 0:
        Path(sys.argv[2]).write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

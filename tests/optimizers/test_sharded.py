"""Optimizers that are allowed where tensors are spread over devices give the same weights there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from llmspec.check.rules.optimizer import _SHARDED
from tests.optimizers.emitted import write

ROOT = Path(__file__).parents[2]
VARIANTS: dict[str, dict[str, Any]] = {
    "sgd": {"kind": "sgd", "nesterov": True, "weight_decay": 0.01},
    "rmsprop": {"kind": "rmsprop", "momentum": 0.9},
    "adam": {"kind": "adam"},
    "adamw": {"kind": "adamw", "layer_decay": 0.8},
    "lion": {"kind": "lion"},
    "muon": {"kind": "muon"},
    "muon_spectral": {"kind": "muon", "scaling": "spectral", "nesterov": False, "adamw_learning_rate_scale": 0.1},
    "schedule_free_adamw": {"kind": "schedule_free_adamw"},
}


def test_two_processes_move_shards_as_one_moves_the_whole(tmp_path: Path) -> None:
    assert {str(optimizer["kind"]) for optimizer in VARIANTS.values()} == set(_SHARDED)
    hardware = {"hardware": {"accelerator": "cpu", "accelerators_per_node": 2}, "parallelism": {"data": "fsdp"}}
    for name, optimizer in VARIANTS.items():
        for layout, sections in (("whole", {}), ("sharded", hardware)):
            write(optimizer, tmp_path / name / layout, **sections)
    output = tmp_path / "distances.json"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.optimizers.sharded"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *launcher, str(tmp_path), str(output)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    distances = json.loads(output.read_text())
    assert set(distances) == set(VARIANTS)
    assert {name: value for name, value in distances.items() if value > 1e-6} == {}

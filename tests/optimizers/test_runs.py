"""Every optimizer trains an emitted project, and goes on after a stop as if there had been none, to the last bit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.optimizers.emitted import write

ROOT = Path(__file__).parents[2]
KINDS: dict[str, dict[str, Any]] = {
    "adamw": {"groups": [{"pattern": "embed_*", "learning_rate_scale": 0.5}]},
    "adam": {"layer_decay": 0.8},
    "sgd": {"learning_rate": 0.5},
    "rmsprop": {"learning_rate": 3e-3, "momentum": 0.5},
    "adafactor": {"learning_rate": 0.1},
    "lamb": {},
    "lion": {"learning_rate": 1e-3},
    "muon": {"adamw_learning_rate_scale": 0.5},
    "soap": {"precondition_every": 3, "max_precondition_size": 100},
    "schedule_free_adamw": {},
    "adamw_8bit": {"block_size": 64},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All projects, trained."""
    directory = tmp_path_factory.mktemp("runs")
    rows = directory / "rows.txt"
    rows.write_text("".join(" ".join(str(start * 7 + step * 3) for step in range(20)) + "\n" for start in range(300)))
    sections: dict[str, Any] = {
        "architecture": {"hidden_size": 64, "num_layers": 2, "attention": {"kind": "mha", "num_heads": 4}, "tie_embeddings": True},
        "data": {"sources": [{"name": "rows", "kind": "text", "path": str(rows), "document": "line"}], "validation_fraction": 0.1},
        "training": {"sequence_length": 32, "global_batch_size": 8, "micro_batch_size": 4, "max_steps": 20},
        "checkpoint": {"every": 5},
        "evaluation": {"every": 10, "max_tokens": 256},
        "logging": {"every": 1},
    }
    projects = [write({"kind": kind, **numbers}, directory / kind, **sections) for kind, numbers in KINDS.items()]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    data = str(directory / "data")

    def run(*command: str) -> None:
        done = subprocess.run([sys.executable, *command], cwd=projects[0], env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    run("tokenizer.py", "--data-dir", data)
    run("prepare_data.py", "--data-dir", data)
    run("-m", "tests.optimizers.runs", data, *map(str, projects))
    return directory


def metrics(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_loss_goes_down(kind: str, runs: Path) -> None:
    lines = metrics(runs / kind / "project" / "run")
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert lines[-1]["validation_loss"] < 0.9 * lines[0]["loss"]
    assert lines[-1]["skipped"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_goes_on_exactly(kind: str, runs: Path) -> None:
    whole, halves = runs / kind / "project" / "run", runs / kind / "project" / "halves"
    for name in ("loss", "grad_norm", "learning_rate"):
        assert [line[name] for line in metrics(whole)] == [line[name] for line in metrics(halves)], name
    assert metrics(whole)[-1]["validation_loss"] == metrics(halves)[-1]["validation_loss"]
    for file in ("model.safetensors", "optimizer.safetensors"):
        last = Path("checkpoints/step-00000020") / file
        assert (whole / last).read_bytes() == (halves / last).read_bytes(), file

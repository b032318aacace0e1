"""Projects that are compiled from one small spec and its variations, written down and run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from llmspec.compile import compile_spec
from llmspec.diagnostics import Bag

Build = Callable[..., "Project"]

SPEC: dict[str, Any] = {
    "llmspec": 1,
    "name": "small",
    "architecture": {
        "hidden_size": 32,
        "num_layers": 2,
        "attention": {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2},
        "tie_embeddings": True,
    },
    "tokenizer": {"kind": "byte"},
    "training": {"sequence_length": 32, "global_batch_size": 8, "micro_batch_size": 2, "max_steps": 20},
    "optimizer": {"learning_rate": 1e-2},
    "precision": "fp32",
    "hardware": {"accelerator": "cpu"},
    "checkpoint": {"every": 5},
    "evaluation": {"every": 10, "max_tokens": 512},
    "logging": {"every": 1},
}


@dataclass(frozen=True)
class Project:
    """An emitted project on the disk, with data."""

    path: Path
    data: Path

    def command(self, script: str, *arguments: str, processes: int = 1) -> list[str]:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
        return [sys.executable, *launcher, script, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def run(self, script: str, *arguments: str, processes: int = 1, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = self.command(script, *arguments, processes=processes)
        done = subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def train(self, output: str = "run", *arguments: str, processes: int = 1, check: bool = True) -> subprocess.CompletedProcess[str]:
        where = ["--device", "cpu", "--data-dir", str(self.data), "--output-dir", output]
        return self.run("train.py", *where, *arguments, processes=processes, check=check)

    def metrics(self, output: str = "run") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / output / "metrics.jsonl").read_text().splitlines()]

    def losses(self, output: str = "run") -> list[float]:
        return [line["loss"] for line in self.metrics(output)]

    def weights(self, step: int, output: str = "run") -> dict[str, bytes]:
        """All tensors of a checkpoint, by file and name. The files' headers have no fixed order."""
        files = (self.path / output / f"checkpoints/step-{step:08d}").glob("*.safetensors")
        return {f"{path.name} {name}": array.tobytes() for path in files for name, array in load_file(path).items()}


def write_project(directory: Path, changes: dict[str, Any]) -> Path:
    """Compile the spec, with fields set by dotted path, and write the project."""
    spec: dict[str, Any] = json.loads(json.dumps(SPEC))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = spec
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    directory.mkdir(parents=True, exist_ok=True)
    source = directory / "spec.yaml"
    source.write_text(json.dumps(spec))
    bag = Bag()
    for path, file in compile_spec(source, [], directory / "project", bag).items():
        target = directory / "project" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text)
    return directory / "project"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents that are easy to learn."""
    path = tmp_path_factory.mktemp("corpus") / "rows.txt"
    rows = [" ".join(str(start * 7 + step * 3) for step in range(20)) for start in range(300)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """Tokenizer and shards, made once: they are the same for all variations here."""
    directory = tmp_path_factory.mktemp("data")
    project = Project(write_project(directory, {"data": data_section(corpus)}), directory / "data")
    project.run("tokenizer.py", "--data-dir", str(project.data))
    project.run("prepare_data.py", "--data-dir", str(project.data))
    return project.data


def data_section(corpus: Path) -> dict[str, Any]:
    source = {"name": "rows", "kind": "text", "path": str(corpus), "document": "line"}
    return {"sources": [source], "validation_fraction": 0.1}


@pytest.fixture
def build(tmp_path: Path, corpus: Path, data: Path) -> Build:
    """Build a project from the small spec with some fields changed."""

    def build(**changes: Any) -> Project:
        dotted = {path.replace("__", "."): value for path, value in changes.items()}
        return Project(write_project(tmp_path, {"data": data_section(corpus), **dotted}), data)

    return build

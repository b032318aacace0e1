"""Projects with the DeepSpeed engine, many to a process."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import Project, corpus, data, data_section, write_project

__all__ = ["corpus", "data"]

# What could go wrong between the engine and the loss is all on.
EVERYTHING: dict[str, Any] = {
    "training.max_grad_norm": 0.5,
    "training.micro_batch_size": 1,
    "parallelism.activation_checkpointing": "full",
    "architecture.tie_embeddings": True,
    "evaluation.every": 20,
    "checkpoint.every": 20,
}

Make = Callable[[str, Mapping[str, Any]], Project]


@pytest.fixture
def make(tmp_path: Path, corpus: Path, data: Path) -> Make:
    """Write a project of a name with fields of the small spec changed, by dotted path."""

    def make(name: str, changes: Mapping[str, Any]) -> Project:
        return Project(write_project(tmp_path / name, {"data": data_section(corpus), **changes}), data)

    return make


def deepspeed(stage: int, **more: Any) -> dict[str, Any]:
    return {"parallelism.engine": "deepspeed", "parallelism.zero_stage": stage, "hardware.accelerators_per_node": 2, **more}


def train_all(projects: Sequence[Project], *arguments: str, processes: int, output: str = "run") -> str:
    """Run several projects in the same processes; returns what they printed."""
    command = projects[0].command(str(Path(__file__).with_name("several.py")), processes=processes)
    paths = [str(project.path) for project in projects]
    done = subprocess.run(
        [*command, output, *paths, "--", "--data-dir", str(projects[0].data), *arguments],
        cwd=projects[0].path,
        env=projects[0].environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

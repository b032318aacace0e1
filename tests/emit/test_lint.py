"""Emitted projects pass the linter, the formatter and the type checker with the settings that they carry themselves."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmspec.emit import Project
from tests.emit.conftest import SMALL, Compiler, changed

# Sharded, tracked, guarded, averaged: what the other variants do not have, for two processes on this machine.
ENGINES: dict[str, Mapping[str, Any]] = {
    "fsdp": {
        "hardware": {"accelerator": "cpu-avx512-bf16", "accelerators_per_node": 2},
        "parallelism": {"data": "fsdp", "activation_checkpointing": "full"},
        "architecture.norm": {"kind": "layernorm"},
        "precision": "bf16",
        "training.ema": {},
        "training.guard": {"spike_sigma": 6.0},
        "checkpoint": {"asynchronous": True},
        "schedule": {"kind": "one_cycle", "momentum_at_peak": 0.8},
        "logging": {"wandb": {"project": "a"}, "mlflow": {"experiment": "a"}, "profiler": {}},
    },
    "deepspeed": {
        "hardware": {"accelerator": "cpu", "accelerators_per_node": 2},
        "parallelism": {"engine": "deepspeed", "zero_stage": 3},
        "training.guard": {"spike_sigma": 6.0},
        "precision": "fp32",
    },
    "deepspeed on GPUs": {
        "hardware": {"accelerator": "h100-sxm", "accelerators_per_node": 2},
        "parallelism": {"engine": "deepspeed", "zero_stage": 2},
        "logging": {"memory_history": True, "wandb": {"project": "a"}},
    },
}
# Far from each other in what they emit.
VARIANTS: dict[str, Mapping[str, Any]] = {
    "quickstart": {},
    "several devices": {
        "hardware": {"accelerator": "h100-sxm", "nodes": 2, "accelerators_per_node": 2},
        "parallelism": {"activation_checkpointing": "selective"},
        "architecture.attention.window": [32, "full"],
        "training.max_duration": "1h",
        "logging": {"tensorboard": True, "wandb": {"project": "a"}, "profiler": {}, "memory_history": True},
    },
    "other components": {
        "architecture.attention": {"kind": "mha", "num_heads": 4, "logit_softcap": 50.0, "qk_norm": "per_head"},
        "architecture.position": {"kind": "alibi"},
        "architecture.norm": {"kind": "layernorm", "placement": "sandwich"},
        "architecture.feed_forward": {"kind": "gelu", "bias": True},
        "tokenizer": {"kind": "char", "vocab_size": 200},
        "data": {"sources": [{"name": "a", "kind": "parquet", "path": "a.parquet"}], "validation_fraction": 0.0},
        "objectives": [{"kind": "causal_lm", "z_loss": 1e-4}],
        "logging": {"mlflow": {"experiment": "a"}},
    },
}

ALL = VARIANTS | ENGINES


def put(project: Project, directory: Path) -> None:
    for path, file in project.items():
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(file.text, "utf-8")


def run(directory: Path, tool: str, *arguments: str) -> None:
    command = [Path(sys.executable).with_name(tool), *arguments]
    finished = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("name", ALL)
def test_ruff_and_shellcheck(name: str, compiler: Compiler, tmp_path: Path) -> None:
    directory = tmp_path / "project"
    put(compiler.render(changed(SMALL, ALL[name])), directory)
    run(directory, "ruff", "check", "--no-cache", ".")
    run(directory, "ruff", "format", "--no-cache", "--check", ".")
    run(directory, "shellcheck", *(str(path) for path in sorted(directory.rglob("*.sh"))))


@pytest.mark.parametrize("name", [*VARIANTS, *(pytest.param(name, marks=pytest.mark.slow) for name in ENGINES)])
def test_mypy(name: str, compiler: Compiler, tmp_path: Path) -> None:
    directory = tmp_path / "project"
    put(compiler.render(changed(SMALL, ALL[name])), directory)
    run(directory, "mypy", "--cache-dir", str(tmp_path / "cache"), ".")


@pytest.mark.parametrize(
    "name", ["several devices", "other components", "fsdp", "deepspeed", pytest.param("deepspeed on GPUs", marks=pytest.mark.slow)]
)
def test_own_tests(name: str, compiler: Compiler, tmp_path: Path) -> None:
    """What proves the project right to its owner holds."""
    directory = tmp_path / "project"
    put(compiler.render(changed(SMALL, ALL[name])), directory)
    run(directory, "pytest", "-q", "-p", "no:cacheprovider", "tests")

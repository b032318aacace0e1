"""Every layout trains as one device does: twenty steps, loss by loss, with clipping, accumulation and masked documents."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.training.conftest import data_section, write_project

DRIVER = Path(__file__).with_name("parity_driver.py")
# The largest difference of any loss from the single process's in the same precision.
TOLERANCE = {"fp32": 5e-6, "bf16": 2e-3, "fp16": 2e-3}

LAYOUTS: dict[str, dict[str, Any]] = {
    "ddp": {"parallelism.data": "ddp"},
    "fsdp": {"parallelism.data": "fsdp"},
    "fsdp kept gathered": {"parallelism.data": "fsdp", "parallelism.reshard_after_forward": False},
    "hsdp": {"parallelism.data": "hsdp", "parallelism.shard_size": 2},
}
MODELS: dict[str, dict[str, Any]] = {
    "tied": {"architecture.tie_embeddings": True},
    "untied": {"architecture.tie_embeddings": False, "architecture.position": {"kind": "learned"}},
    "layer norms": {
        "architecture.norm": {"kind": "layernorm"},
        "architecture.attention.qk_norm": "per_head",
        "architecture.feed_forward": {"kind": "gelu", "bias": True},
    },
}
COMMON: dict[str, Any] = {
    "hardware.accelerator": "h100-sxm",  # for its number formats: everything runs on the CPU
    "training.compile": False,
    "training.max_grad_norm": 0.5,
    "training.micro_batch_size": 1,
    "evaluation.every": 20,
    "checkpoint.every": 1000,
}


class Case(NamedTuple):
    precision: str
    model: str
    layout: str
    checkpointing: str

    @property
    def name(self) -> str:
        return "-".join(self).replace(" ", "_")

    @property
    def changes(self) -> dict[str, Any]:
        return {
            **COMMON,
            **MODELS[self.model],
            **LAYOUTS.get(self.layout, {}),
            "precision": self.precision,
            "hardware.accelerators_per_node": 1 if self.layout == "one" else 4,
            "parallelism.activation_checkpointing": self.checkpointing,
        }


# Each layout in fp32 and bf16, with and without tied embeddings, under both kinds of checkpointing in turn.
CASES = [
    Case(precision, model, layout, ("selective", "full")[index % 2])
    for index, (precision, model, layout) in enumerate(itertools.product(("fp32", "bf16"), MODELS, LAYOUTS))
]
FP16 = [Case("fp16", "tied", layout, "selective") for layout in ("ddp", "fsdp")]
# The few that always run: each layout, each precision, each kind of checkpointing and tying.
QUICK = {
    2: [
        Case("fp32", "tied", "ddp", "selective"),
        Case("fp32", "tied", "fsdp kept gathered", "selective"),
        Case("bf16", "untied", "fsdp", "full"),
        Case("bf16", "layer norms", "fsdp", "selective"),
        Case("fp16", "tied", "fsdp", "selective"),
    ],
    4: [Case("fp32", "tied", "fsdp", "full"), Case("fp32", "tied", "hsdp", "full"), Case("bf16", "untied", "hsdp", "full")],
}


def losses(project: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (project / "run/metrics.jsonl").read_text().splitlines()]


class Projects:
    """Projects and the losses of their twenty steps, each built and, on one process, trained once."""

    def __init__(self, root: Path, corpus: Path, data: Path) -> None:
        self.root, self.corpus, self.data = root, corpus, data
        self.single: dict[Case, list[float]] = {}

    def build(self, case: Case) -> Path:
        directory = self.root / case.name
        if not directory.exists():
            write_project(directory, {"data": data_section(self.corpus), **case.changes})
        return (directory / "project").resolve()

    def run(self, processes: int, cases: list[Case]) -> dict[Case, list[float]]:
        paths = {case: self.build(case) for case in cases}
        for path in paths.values():
            shutil.rmtree(path / "run", ignore_errors=True)
        train(processes, self.data, list(paths.values()))
        return {case: losses(path) for case, path in paths.items()}

    def differences(self, processes: int, cases: list[Case]) -> dict[Case, float]:
        """By case, the largest difference of a loss from the one of a project for one device."""
        partners = {case: Case(case.precision, case.model, "one", "none") for case in cases}
        missing = sorted(set(partners.values()) - self.single.keys())
        if missing:
            self.single |= self.run(1, missing)
        found = {}
        for case, ours in self.run(processes, cases).items():
            single = self.single[partners[case]]
            assert len(ours) == len(single) == 20
            assert single[-1] < single[0] - 1
            found[case] = max(abs(a - b) for a, b in zip(ours, single, strict=True))
        return found


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory, corpus: Path, data: Path) -> Projects:
    return Projects(tmp_path_factory.mktemp("parity"), corpus, data)


def train(processes: int, data: Path, projects: list[Path]) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    done = subprocess.run(
        [sys.executable, *launcher, str(DRIVER), str(data), *map(str, projects)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def compare(found: dict[Case, float]) -> None:
    too_far = {case.name: difference for case, difference in found.items() if difference > TOLERANCE[case.precision]}
    assert not too_far, found


@pytest.mark.parametrize("processes", QUICK)
def test_layouts(processes: int, projects: Projects) -> None:
    compare(projects.differences(processes, QUICK[processes]))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_all_layouts(processes: int, projects: Projects) -> None:
    compare(projects.differences(processes, [*CASES, *FP16]))

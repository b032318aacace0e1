"""Every layout trains as one device does: twenty steps, loss by loss, with clipping, accumulation and masked documents."""

import itertools
import json
import os
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
SINGLE = sorted({Case(case.precision, case.model, "one", "none") for case in (*CASES, *FP16)})


def losses(project: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (project / "run/metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory, corpus: Path, data: Path) -> dict[Case, Path]:
    """All projects, and the losses of those for one device, which a process without torchrun trains."""
    root = tmp_path_factory.mktemp("parity")
    built = {
        case: write_project(root / case.name, {"data": data_section(corpus), **case.changes}).resolve() for case in (*SINGLE, *CASES, *FP16)
    }
    train(1, data, [built[case] for case in SINGLE])
    return built


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


def compare(processes: int, data: Path, projects: dict[Case, Path], cases: list[Case]) -> None:
    for case in cases:
        subprocess.run(["rm", "-rf", str(projects[case] / "run")], check=True)
    train(processes, data, [projects[case] for case in cases])
    differences = {}
    for case in cases:
        ours = losses(projects[case])
        single = losses(projects[Case(case.precision, case.model, "one", "none")])
        assert len(ours) == len(single) == 20
        assert single[-1] < single[0] - 1
        differences[case.name] = max(abs(a - b) for a, b in zip(ours, single, strict=True))
    too_far = [case.name for case in cases if differences[case.name] > TOLERANCE[case.precision]]
    assert not too_far, differences


@pytest.mark.parametrize("processes", [2, 4])
def test_tied_fp32_and_untied_bf16(processes: int, data: Path, projects: dict[Case, Path]) -> None:
    chosen = [case for case in CASES if (case.precision == "fp32") == (case.model == "tied")]
    compare(processes, data, projects, chosen)


def test_fp16(data: Path, projects: dict[Case, Path]) -> None:
    compare(2, data, projects, FP16)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_all_others(processes: int, data: Path, projects: dict[Case, Path]) -> None:
    chosen = [case for case in CASES if (case.precision == "fp32") != (case.model == "tied")]
    compare(processes, data, projects, chosen)

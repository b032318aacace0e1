"""Real runs of emitted projects, a few steps each."""

import json
from typing import Any

import pytest
import torch

from tests.training.conftest import Build

KEYS = {
    "step",
    "loss",
    "learning_rate",
    "grad_norm",
    "tokens",
    "tokens_per_second",
    "mfu",
    "memory_gib",
    "seconds",
    "data_wait",
    "energy_kwh",
}

RUNS: dict[str, dict[str, Any]] = {
    "fp32, cosine, selective checkpointing": {
        "schedule": {"kind": "cosine"},
        "parallelism__activation_checkpointing": "selective",
    },
    "bf16, wsd, full checkpointing, dropout": {
        "hardware__accelerator": "h100-sxm",
        "training__compile": False,
        "precision": "bf16",
        "schedule": {"kind": "wsd", "decay_shape": "one_minus_sqrt"},
        "parallelism__activation_checkpointing": "full",
        "architecture__dropout": 0.05,
    },
    "no clipping, constant, no document mask, TensorBoard": {
        "training__max_grad_norm": "none",
        "schedule": {"kind": "constant"},
        "data__packing": {"document_mask": False},
        "logging__tensorboard": True,
    },
    "linear, z-loss, no decay, max_duration, no accumulation": {
        "schedule": {"kind": "linear"},
        "objectives": [{"kind": "causal_lm", "z_loss": 1e-4}],
        "optimizer__weight_decay": 0,
        "training__max_duration": "1h",
        "training__micro_batch_size": 8,
    },
}


MOMENTA = """
import sys
import train
build = train.build_optimizer
def recorded(*args):
    optimizer = build(*args)
    def note(optimizer, *_):
        print("MOMENTUM", *(group["{name}"][0] if "{name}" == "betas" else group["{name}"] for group in optimizer.param_groups))
    optimizer.register_step_pre_hook(note)
    return optimizer
train.build_optimizer = recorded
sys.exit(train.main())
"""


@pytest.mark.parametrize(("kind", "name"), [("adamw", "betas"), ("sgd", "momentum")])
def test_momentum_moves_against_the_rate(build: Build, kind: str, name: str) -> None:
    """Every step of a run has the momentum that torch's scheduler gives it."""
    project = build(schedule={"kind": "one_cycle", "momentum_at_peak": 0.8}, optimizer__kind=kind)
    (project.path / "recorded.py").write_text(MOMENTA.format(name=name))
    done = project.run("recorded.py", "--device", "cpu", "--data-dir", str(project.data))
    found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("MOMENTUM")]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, 20, base_momentum=0.8, max_momentum=0.9)
    for step, (line, values) in enumerate(zip(project.metrics(), found, strict=True), start=1):
        assert len(values) == (2 if kind == "adamw" else 1)  # groups
        assert all(float(value) == pytest.approx(optimizer.param_groups[0]["momentum"], rel=1e-12) for value in values), step
        assert line["learning_rate"] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12), step
        optimizer.step()
        if step < 20:
            scheduler.step()


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS.keys())
def test_a_run_learns_and_reports(build: Build, changes: dict[str, Any]) -> None:
    project = build(**changes)
    output = project.train().stdout
    assert "global batch  8 = micro" in output
    lines = project.metrics()
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert all(line.keys() >= KEYS for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"] - 1
    assert lines[-1]["tokens"] == 20 * 8 * 32
    # The utilisation is of the planned device's peak: there is none where another type of device runs.
    assert (lines[-1]["mfu"] is None) == (lines[-1]["energy_kwh"] is None) == ("hardware__accelerator" in changes)
    scored = [line for line in lines if "validation_loss" in line]
    assert [line["step"] for line in scored] == [10, 20]
    assert scored[-1]["validation_bits_per_byte"] < scored[0]["validation_bits_per_byte"]
    names = sorted(path.name for path in (project.path / "run/checkpoints").iterdir())
    assert names == ["step-00000010", "step-00000015", "step-00000020"]
    assert (project.path / "run/tensorboard").exists() == ("logging__tensorboard" in changes)

    project.run("evaluate.py", "--data-dir", str(project.data), "--output", "scores.json", "--device", "cpu")
    scores = json.loads((project.path / "scores.json").read_text())
    assert scores["validation_loss"] == pytest.approx(scored[-1]["validation_loss"], abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
def test_compiled_run_equals_eager_run(build: Build, checkpointing: str) -> None:
    changes = {"data__packing": {"document_mask": False}, "parallelism__activation_checkpointing": checkpointing}
    eager = build(**changes, training__compile=False)
    eager.train("eager", "--max-steps", "5")
    compiled = build(**changes, training__compile=True)
    compiled.train("compiled", "--max-steps", "5")
    assert compiled.losses("compiled") == pytest.approx(eager.losses("eager"), abs=1e-4)


def test_checkpointing_changes_no_result(build: Build) -> None:
    losses = []
    for kind in ("none", "selective", "full"):
        project = build(parallelism__activation_checkpointing=kind)
        project.train(kind, "--max-steps", "4")
        losses.append(project.losses(kind))
    assert losses[0] == losses[1] == losses[2]


def test_accumulation_changes_no_result(build: Build) -> None:
    losses = []
    for micro in (1, 8):
        project = build(training__micro_batch_size=micro)
        project.train(str(micro), "--max-steps", "5")
        losses.append(project.losses(str(micro)))
    assert losses[0] == pytest.approx(losses[1], abs=5e-6)


def test_without_validation_nothing_is_evaluated(build: Build) -> None:
    project = build(data__validation_fraction=0)
    assert not (project.path / "evaluate.py").exists()
    assert "validation" not in (project.path / "train.py").read_text()
    project.train("run", "--max-steps", "2")


def test_max_duration_saves_and_stops(build: Build) -> None:
    project = build(training__max_duration="1s", training__max_steps=100_000)
    done = project.train()
    assert "--resume goes on from there" in done.stdout
    step = project.metrics()[-1]["step"]
    assert step < 100_000
    assert project.weights(step)


def test_dry_run_and_usage(build: Build) -> None:
    project = build()
    done = project.train("run", "--dry-run")
    assert "steps         20" in done.stdout
    assert not (project.path / "run").exists()
    assert project.train("run", "--max-steps", "21", check=False).returncode == 2

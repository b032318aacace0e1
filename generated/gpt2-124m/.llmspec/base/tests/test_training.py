"""Proves that steps, resuming and stopping are right, on a tiny run."""

import dataclasses
import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny import MAX_STEPS, VOCAB_SIZE, MadeUpData, shrink, tiny_model

import train
from checkpoint import find_latest
from config import GuardConfig
from data import IGNORED
from objectives import count_targets, cross_entropy

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the tiny run, and leave Ctrl-C to pytest."""
    shrink(monkeypatch.setattr)
    monkeypatch.setattr(train, "catch_signals", lambda: [])


def run(output_dir: Path, *arguments: str) -> int:
    return train.main(["--device", "cpu", "--output-dir", str(output_dir), *arguments])


def metrics(output_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output_dir / "metrics.jsonl").read_text().splitlines()]


def test_loss_equals_torch() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 9, VOCAB_SIZE, requires_grad=True)
    targets = torch.randint(VOCAB_SIZE, (2, 9))
    targets[0, :3] = IGNORED
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    total = cross_entropy(logits, targets)
    torch.testing.assert_close(total, expected)
    (expected_gradient,) = torch.autograd.grad(expected * 3, logits)
    (gradient,) = torch.autograd.grad(total * 3, logits)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("micro", [1, 2, 4])
def test_accumulation_equals_the_big_batch(micro: int) -> None:
    gradients = []
    for size in (8, micro):
        model = tiny_model().eval()  # without dropout, whose masks depend on the batch's shape
        batches = [MadeUpData().batch(first, size) for first in range(0, 8, size)]
        num_targets = sum(map(count_targets, batches))
        total = train.forward_backward(model, batches, num_targets, CPU)
        gradients.append([total, *(parameter.grad for parameter in model.parameters())])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, atol=2e-3, rtol=2e-2)


def test_loss_falls(tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    losses = [line["loss"] for line in metrics(tmp_path)]
    assert len(losses) == MAX_STEPS
    assert losses[-1] < losses[0] - 0.1


def test_resumed_run_equals_uninterrupted_run_bit_for_bit(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "parts", "--max-steps", "2")
    run(tmp_path / "parts", "--resume", "--max-steps", "5")
    run(tmp_path / "parts", "--resume")
    whole, parts = (
        sorted((tmp_path / name / f"checkpoints/step-{MAX_STEPS:08d}").glob("*.safetensors"))
        for name in ("whole", "parts")
    )
    assert [path.name for path in whole] == [path.name for path in parts]
    for one, two in zip(whole, parts, strict=True):
        tensors, same = load_file(one), load_file(two)
        assert tensors.keys() == same.keys()
        assert all(torch.equal(tensors[name], same[name]) for name in tensors)
    losses = [[line["loss"] for line in metrics(tmp_path / name)] for name in ("whole", "parts")]
    assert losses[0] == losses[1]


def test_lines_after_the_checkpoint_are_written_once(tmp_path: Path) -> None:
    run(tmp_path, "--max-steps", "3")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "loss": 0.0}\n{"step": 5, "lo')  # as a crash leaves it
    run(tmp_path, "--resume")
    assert [line["step"] for line in metrics(tmp_path)] == list(range(1, MAX_STEPS + 1))


def test_signal_saves_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "catch_signals", lambda: [signal.SIGTERM])
    assert run(tmp_path) == 128 + signal.SIGTERM
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_run_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    run(tmp_path, "--max-steps", "1")
    with pytest.raises(SystemExit, match="--resume"):
        run(tmp_path)


def spoil(monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    """Let these steps of the next run have no finite loss."""
    forward_backward, losses = train.forward_backward, []

    def spoiled(*args: Any) -> torch.Tensor:
        losses.append(forward_backward(*args))
        return losses[-1] * (math.nan if len(losses) in steps else 1.0)

    monkeypatch.setattr(train, "forward_backward", spoiled)


def test_step_that_would_do_harm_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 1, 3)
    assert run(tmp_path) == 0
    lines = metrics(tmp_path)
    assert [line["loss"] is None for line in lines] == [True, False, True, False, False, False]
    assert [line["skipped"] for line in lines] == [1, 1, 2, 2, 2, 2]
    assert lines[-1]["loss"] < lines[1]["loss"]


def test_skipped_steps_are_counted_over_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        spoil(patch, 1)
        run(tmp_path, "--max-steps", "1")  # is saved before a step was taken
    run(tmp_path, "--resume")
    assert [line["skipped"] for line in metrics(tmp_path)] == [1] * MAX_STEPS


def test_too_many_skipped_steps_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 2, 3, 5)
    config = dataclasses.replace(GuardConfig(), max_skipped_steps=2)
    monkeypatch.setattr(train, "GuardConfig", lambda: config)
    with pytest.raises(SystemExit, match="step 5: stopped, since 3 of the last"):
        run(tmp_path)
    assert find_latest(tmp_path) == tmp_path / "checkpoints/step-00000003"


def test_dry_run_needs_no_data_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "run", "--dry-run") == 0
    assert "global batch" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()

"""Proves that a checkpoint is there as a whole or not at all, and fits or is refused."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import MadeUpData, tiny_model
from torch import nn
from torch.optim import Optimizer

import checkpoint
from checkpoint import Checkpoints, Progress, find_latest, load_model
from config import CheckpointConfig, OptimizerConfig
from objectives import predict
from optim import build_optimizer

SETTINGS = {"training": {"global_batch_size": 8}}


def checkpoints(
    directory: Path,
    model: nn.Module,
    optimizer: Optimizer,
    settings: dict[str, Any] = SETTINGS,
) -> Checkpoints:
    config = dataclasses.replace(CheckpointConfig(), keep=2)
    return Checkpoints(directory, model, optimizer, settings, config, extra={})


def trained() -> tuple[nn.Module, Optimizer]:
    model = tiny_model()
    optimizer = build_optimizer(model, OptimizerConfig())
    predict(model, MadeUpData().batch(0, 2)).square().mean().backward()
    optimizer.step()
    return model, optimizer


def write(directory: Path, *steps: int) -> tuple[nn.Module, Optimizer]:
    model, optimizer = trained()
    writer = checkpoints(directory, model, optimizer)
    for step in steps:
        save(writer, step)
    return model, optimizer


def save(writer: Checkpoints, step: int) -> None:
    writer.save(Progress(step=step))
    writer.wait()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "checkpoints").iterdir())


def test_restore_gives_back_everything(tmp_path: Path) -> None:
    model, optimizer = trained()
    progress = Progress(step=1, samples=8, tokens=128, seconds=1.5)
    writer = checkpoints(tmp_path, model, optimizer)
    writer.save(progress)
    writer.wait()
    other = tiny_model()
    other_optimizer = build_optimizer(other, OptimizerConfig())
    path = tmp_path / "checkpoints/step-00000001"
    assert checkpoints(tmp_path, other, other_optimizer).restore(path) == progress
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        for key, moment in optimizer.state[one].items():
            assert torch.equal(moment, other_optimizer.state[two][key])


def test_newest_are_kept(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    assert names(tmp_path) == ["step-00000002", "step-00000003"]
    assert find_latest(tmp_path) == tmp_path / "checkpoints/step-00000003"


def test_no_checkpoint(tmp_path: Path) -> None:
    assert find_latest(tmp_path) is None


def test_interrupted_write_is_not_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = write(tmp_path, 1)

    def full_disk(*_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(checkpoint, "_flush", full_disk)
        save(checkpoints(tmp_path, model, optimizer), 2)
    assert find_latest(tmp_path) == tmp_path / "checkpoints/step-00000001"
    save(checkpoints(tmp_path, model, optimizer), 2)
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


@pytest.mark.parametrize("size", [0, 100, None])
def test_damaged_is_passed_over(
    tmp_path: Path, size: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 1, 2)
    for file in sorted((tmp_path / "checkpoints/step-00000002").iterdir()):
        whole = file.read_bytes()
        if size is None:
            file.unlink()
        else:
            os.truncate(file, size)
        assert find_latest(tmp_path) == tmp_path / "checkpoints/step-00000001"
        assert "step-00000002 is not whole" in capsys.readouterr().err
        file.write_bytes(whole)
    assert find_latest(tmp_path) == tmp_path / "checkpoints/step-00000002"


def test_nothing_but_damaged_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "checkpoints/step-00000001/state.json").unlink()
    with pytest.raises(ValueError, match="no checkpoint in .* is whole"):
        find_latest(tmp_path)


def test_another_model_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with pytest.raises(ValueError, match="another model"):
        load_model(nn.Linear(2, 2), tmp_path / "checkpoints/step-00000001")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    model, optimizer = write(tmp_path, 1)
    with pytest.raises(ValueError, match="`global_batch_size` of the training was 8 and is 16"):
        checkpoints(tmp_path, model, optimizer, {"training": {"global_batch_size": 16}}).restore(
            tmp_path / "checkpoints/step-00000001"
        )

"""Checkpoints: all that a run needs to go on exactly where it was.

    run/checkpoints/step-00000500/model.safetensors   the weights, by parameter name
                                  training_state.pt   the optimizer's moments, by name too
                                  state.json          how far the run has come, and its settings

A checkpoint appears whole or not at all: it is written under another name, and renamed when all
of it is on the disk.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int = 0  # optimizer steps taken
    samples: int = 0  # training sequences seen
    tokens: int = 0  # training tokens seen
    seconds: float = 0.0  # wall-clock time, without that between stopping and resuming
    energy_kwh: float | None = None  # used by all devices, as far as it is known


def find_latest(output_dir: Path) -> Path | None:
    """The newest complete checkpoint; None where there is none."""
    complete = _complete(output_dir)
    return complete[-1] if complete else None


def load_model(model: nn.Module, checkpoint: Path) -> None:
    """Copy a checkpoint's weights into the model."""
    weights = load_file(checkpoint / "model.safetensors")
    parameters = dict(model.named_parameters())
    there = {name: tuple(weight.shape) for name, weight in weights.items()}
    here = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    if there != here:
        name = min(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
        raise ValueError(
            f"{checkpoint} is of another model: `{name}` is {there.get(name, 'missing')} in it "
            f"and {here.get(name, 'missing')} in this one"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def save(
    output_dir: Path,
    model: nn.Module,
    optimizer: Optimizer,
    progress: Progress,
    settings: dict[str, Any],
    keep: int,
) -> Path:
    """Write a checkpoint, then delete all but the `keep` newest.

    `settings` are what a run must share to be resumed from it.
    """
    directory = output_dir / "checkpoints" / f"step-{progress.step:08d}"
    _write(directory, model, optimizer, {"progress": asdict(progress), "settings": settings})
    _prune(output_dir, keep)
    return directory


def restore(
    checkpoint: Path, model: nn.Module, optimizer: Optimizer, settings: dict[str, Any]
) -> Progress:
    """Load weights and optimizer state; returns how far the run had come."""
    state = json.loads((checkpoint / "state.json").read_text())
    _compare(checkpoint, state["settings"], json.loads(json.dumps(settings)))
    load_model(model, checkpoint)
    moments = torch.load(checkpoint / "training_state.pt", map_location="cpu", weights_only=True)
    names = {parameter: name for name, parameter in model.named_parameters()}
    # The hyperparameters stay those of this run; only the moments come from the checkpoint.
    groups = optimizer.state_dict()["param_groups"]
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    by_index = {index: moments[names[parameter]] for index, parameter in enumerate(order)}
    optimizer.load_state_dict({"state": by_index, "param_groups": groups})
    return Progress(**state["progress"])


def _complete(output_dir: Path) -> list[Path]:
    """All complete checkpoints, the newest last."""
    complete = [path.parent for path in output_dir.glob("checkpoints/step-*/state.json")]
    return sorted(complete, key=lambda directory: int(directory.name.removeprefix("step-")))


def _write(directory: Path, model: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    parameters = dict(model.named_parameters())
    partial = directory.with_name(f"partial-{directory.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(
        {name: parameter.detach() for name, parameter in parameters.items()},
        partial / "model.safetensors",
        metadata={"format": "pt"},
    )
    torch.save(
        {name: optimizer.state[parameter] for name, parameter in parameters.items()},
        partial / "training_state.pt",
    )
    (partial / "state.json").write_text(json.dumps(state, indent=2) + "\n")
    for path in (*partial.iterdir(), partial):
        _flush(path)
    _delete(directory)
    partial.rename(directory)
    _flush(directory.parent)


def _prune(output_dir: Path, keep: int) -> None:
    for directory in _complete(output_dir)[:-keep]:
        _delete(directory)


def _delete(directory: Path) -> None:
    # state.json goes first: without it the directory no longer counts as a checkpoint.
    (directory / "state.json").unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until a file or a directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _compare(checkpoint: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    for section, values in here.items():
        for name, value in values.items():
            before = there.get(section, {}).get(name)
            if before != value:
                raise ValueError(
                    f"{checkpoint} cannot be resumed: `{name}` of the {section} was {before!r} "
                    f"and is {value!r} now; change it back, or start anew in another --output-dir"
                )

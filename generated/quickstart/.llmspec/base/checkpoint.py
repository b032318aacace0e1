"""Checkpoints: all that a run needs to go on exactly where it was.

    run/checkpoints/step-00000500/model.safetensors      the weights, by parameter name
                                  optimizer.safetensors  the optimizer's state, by name too
                                  state.json             how far the run has come, its settings, and
                                                         the size of every file

A checkpoint appears whole or not at all: it is written under another name, and renamed when all
of it is on the disk. However many processes wrote it, any number of them can read it.
"""

import json
import os
import shutil
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from config import CheckpointConfig


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int = 0  # optimizer steps taken
    samples: int = 0  # training sequences seen
    tokens: int = 0  # training tokens seen
    seconds: float = 0.0  # wall-clock time, without that between stopping and resuming
    energy_kwh: float | None = None  # used by all devices, as far as it is known


class Stateful(Protocol):
    """What has a state that is neither the model's nor the optimizer's."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> object: ...


def find_latest(output_dir: Path) -> Path | None:
    """The newest whole checkpoint; None where there is none at all."""
    directories = _find_all(output_dir / "checkpoints")
    for directory in reversed(directories):
        fault = _find_fault(directory)
        if fault is None:
            return directory
        print(f"{directory} is not whole: {fault}", file=sys.stderr)
    if directories:
        raise ValueError(f"no checkpoint in {output_dir / 'checkpoints'} is whole")
    return None


def load_model(model: nn.Module, checkpoint: Path) -> None:
    """Copy a checkpoint's weights into the model."""
    _read(checkpoint, _name_weights(model))


class Checkpoints:
    """The checkpoints of one run.

    `settings` are what a run must share to be resumed from them.
    """

    def __init__(
        self,
        output_dir: Path,
        model: nn.Module,
        optimizer: Optimizer,
        settings: dict[str, Any],
        config: CheckpointConfig,
        extra: dict[str, Stateful],
    ) -> None:
        self.output_dir, self.settings, self.config = output_dir, settings, config
        self.model, self.optimizer = model, optimizer
        self.extra = extra

    def find_latest(self) -> Path | None:
        """The newest whole checkpoint; None where there is none at all."""
        return find_latest(self.output_dir)

    def restore(self, checkpoint: Path) -> Progress:
        """Load all state; returns how far the run had come."""
        state = json.loads((checkpoint / "state.json").read_text())
        _compare(checkpoint, state["settings"], json.loads(json.dumps(self.settings)))
        if state["has_moments"]:
            _make_moments(self.optimizer)
        _read(checkpoint, _name_weights(self.model) | self._name_state())
        for name, part in self.extra.items():
            part.load_state_dict(state["extra"][name])
        return Progress(**state["progress"])

    def save(self, progress: Progress) -> None:
        """Write a checkpoint, then delete those that need not stay."""
        state: dict[str, Any] = {"progress": asdict(progress), "settings": self.settings}
        # There are none while no step was good enough to be taken.
        state["has_moments"] = bool(_name_moments(self.model, self.optimizer))
        state["extra"] = {name: part.state_dict() for name, part in self.extra.items()}
        self._write(_name_weights(self.model), self._name_state(), state)

    def _name_state(self) -> dict[str, Tensor]:
        """All tensors but the weights, by name."""
        return _name_moments(self.model, self.optimizer)

    def _write(
        self, weights: dict[str, Tensor], others: dict[str, Tensor], state: dict[str, Any]
    ) -> None:
        step = state["progress"]["step"]
        partial = self.output_dir / "checkpoints" / f"partial-step-{step:08d}"
        try:
            _prepare(partial)
            save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
            save_file(others, partial / "optimizer.safetensors", metadata={"format": "pt"})
            _complete(partial, state)
        except (OSError, SafetensorError) as error:
            needed = sum(tensor.nbytes for tensor in (*weights.values(), *others.values()))
            raise OSError(_describe_failure(partial, error, needed)) from None
        _prune(partial.parent, step, self.config)


def _name_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _name_moments(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, by name; a slash sets it apart from the weights."""
    return {
        f"optimizer/{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def _make_moments(optimizer: Optimizer) -> None:
    """Have the optimizer make its state by a step without gradients.

    It spoils the weights, so they are to be loaded afterwards.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


def _read(checkpoint: Path, tensors: dict[str, Tensor]) -> None:
    """Fill tensors from a checkpoint: the weights, or the weights and all else."""
    # Importing it takes a second, which a fresh run need not wait for.
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    reader = HuggingFaceStorageReader(str(checkpoint))
    stored = reader.read_metadata().state_dict_metadata
    here = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    kinds = {_kind(name) for name in here}
    there = {
        name: tuple(entry.size)
        for name, entry in stored.items()
        if isinstance(entry, TensorStorageMetadata) and _kind(name) in kinds
    }
    if there != here:
        name = min(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
        raise ValueError(
            f"{checkpoint} is of another model or optimizer: `{name}` is "
            f"{there.get(name, 'missing')} in it and {here.get(name, 'missing')} in this run"
        )
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="torch.distributed is disabled"
        )  # as it should be
        load(tensors, storage_reader=reader, no_dist=True)


def _kind(name: str) -> str:
    """What a tensor belongs to: the optimizer, or, without a slash, the model."""
    return name.partition("/")[0] if "/" in name else ""


def _find_all(directory: Path) -> list[Path]:
    """All checkpoints, the newest last."""
    return sorted(directory.glob("step-*"), key=_step)


def _step(directory: Path) -> int:
    return int(directory.name.removeprefix("step-"))


def _find_fault(directory: Path) -> str | None:
    """What is wrong with a checkpoint; None if it is whole."""
    try:
        sizes = json.loads((directory / "state.json").read_text())["files"]
        for name, size in sizes.items():
            there = (directory / name).stat().st_size
            if there != size:
                return f"{name} has {there:,} of {size:,} bytes"
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _prepare(partial: Path) -> None:
    """Make the directory to write to, without what interrupted runs have left."""
    for rest in partial.parent.glob("partial-*"):
        shutil.rmtree(rest)
    partial.mkdir(parents=True)


def _complete(partial: Path, state: dict[str, Any]) -> None:
    """Make a checkpoint of a directory in which all tensors are."""
    sizes = {path.name: path.stat().st_size for path in sorted(partial.iterdir())}
    (partial / "state.json").write_text(json.dumps({**state, "files": sizes}, indent=2) + "\n")
    for path in (*partial.iterdir(), partial):
        _flush(path)
    directory = partial.with_name(partial.name.removeprefix("partial-"))
    _delete(directory)  # it is there only if it was not whole
    partial.rename(directory)
    _flush(directory.parent)


def _flush(path: Path) -> None:
    """Wait until a file or a directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prune(directory: Path, newest: int, config: CheckpointConfig) -> None:
    """Delete the checkpoints up to the newest that need not stay."""
    old = [path for path in _find_all(directory) if _step(path) <= newest][: -config.keep]
    for path in old:
        _delete(path)


def _delete(directory: Path) -> None:
    """Delete a checkpoint, of which no half is ever seen as one."""
    if directory.exists():
        rest = directory.with_name(f"partial-{directory.name}-deleted")
        directory.rename(rest)
        shutil.rmtree(rest)


def _describe_failure(partial: Path, error: object, needed: int) -> str:
    """Why a checkpoint is not there, when it has made room again."""
    shutil.rmtree(partial, ignore_errors=True)
    free = shutil.disk_usage(partial.parent).free
    return (
        f"{partial} could not be written: {error}. The checkpoint takes {needed / 2**20:,.1f} MiB, "
        f"and {free / 2**20:,.1f} MiB are free there now. The checkpoints before it are as they "
        "were; the run stops, since it could not be resumed from here on"
    )


def _compare(checkpoint: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    for section, values in here.items():
        for name, value in values.items():
            before = there.get(section, {}).get(name)
            if before != value:
                raise ValueError(
                    f"{checkpoint} cannot be resumed: `{name}` of the {section} was {before!r} "
                    f"and is {value!r} now; change it back, or start anew in another --output-dir"
                )

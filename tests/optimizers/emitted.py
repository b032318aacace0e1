"""Emitted models and optimizers, rendered and imported in this process."""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from llmspec.compile import compile_spec
from llmspec.diagnostics import Bag

MODULES = ("config", "data", "model", "objectives", "optim")
SPEC: dict[str, Any] = {
    "llmspec": 1,
    "name": "tiny",
    "architecture": {
        "hidden_size": 32,
        "num_layers": 2,
        "attention": {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2, "qkv_bias": True},
        "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 48},
    },
    "tokenizer": {"kind": "byte"},
    "data": {"sources": [{"name": "stdlib", "kind": "python_stdlib"}], "packing": {"document_mask": False}},
    "training": {"sequence_length": 32, "global_batch_size": 4, "max_steps": 100},
    "schedule": {"kind": "constant"},
    "precision": "fp32",
    "hardware": {"accelerator": "cpu"},
}


def write(optimizer: Mapping[str, Any], directory: Path, **sections: Any) -> Path:
    """Compile the spec with an optimizer and write the project."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "spec.json"
    path.write_text(json.dumps({**SPEC, **sections, "optimizer": {"learning_rate": 1e-2, **optimizer}}))
    for name, file in compile_spec(path, [], directory / "project", Bag()).items():
        target = directory / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text)
    return directory / "project"


def load(project: Path) -> SimpleNamespace:
    """The modules of a project."""
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.path.insert(0, str(project))
    importlib.invalidate_caches()
    try:
        return SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(project))
        for name in MODULES:
            sys.modules.pop(name, None)


class Run:
    """A model and its optimizer, moved step by step on made-up batches."""

    def __init__(self, modules: SimpleNamespace) -> None:
        self.modules = modules
        self.model: nn.Module = modules.model.Transformer(modules.config.ModelConfig())
        self.model.init_weights(torch.Generator().manual_seed(0))  # type: ignore[operator]
        self.optimizer: Any = modules.optim.build_optimizer(self.model, modules.config.OptimizerConfig())
        if hasattr(self.optimizer, "train"):
            self.optimizer.train()

    @property
    def weights(self) -> dict[str, Tensor]:
        """Copies of the parameters."""
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def backward(self, step: int) -> float:
        """The gradients of a batch; returns its loss."""
        self.optimizer.zero_grad()
        tokens = torch.randint(256, (4, 33), generator=torch.Generator().manual_seed(step))
        batch = self.modules.data.Batch(tokens[:, :-1], (tokens[:, 1:] + tokens[:, :-1]) % 256)
        loss: Tensor = self.modules.objectives.loss(self.model, batch, batch.targets.numel())
        loss.backward()
        return loss.item()

    def step(self, rate: float) -> None:
        """Move the weights."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("rate_scale", 1.0)
        self.optimizer.step()

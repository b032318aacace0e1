"""Emitted models, rendered and imported in this process."""

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from llmspec.diagnostics import Bag
from llmspec.emit.environment import environment
from llmspec.estimate import estimate
from llmspec.lower import lower
from llmspec.network import Network, describe
from llmspec.resolve import Resolved, resolve
from llmspec.spec import compose, load
from llmspec.spec.standalone import standalone_text

ROOT = Path(__file__).parents[2]
MODULES = ("config", "model", "generate", "export", "tokenizer", "checkpoint", "optim")

TINY: dict[str, Any] = {
    "llmspec": 1,
    "name": "tiny",
    "architecture": {
        "vocab_size": 97,
        "hidden_size": 32,
        "num_layers": 2,
        "attention": {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2},
    },
    "tokenizer": {"kind": "byte"},
    "data": {"sources": [{"name": "stdlib", "kind": "python_stdlib"}], "packing": {"document_mask": False}},
    "training": {"sequence_length": 64, "global_batch_size": 8, "max_steps": 10},
    "optimizer": {"learning_rate": 1e-3},
    "precision": "fp32",
    "hardware": {"accelerator": "cpu"},
}
GPT2: dict[str, Any] = {
    "attention": {"kind": "mha", "num_heads": 4, "qkv_bias": True, "output_bias": True},
    "feed_forward": {"kind": "gelu", "approximate": "tanh", "bias": True},
    "norm": {"kind": "layernorm"},
    "position": {"kind": "learned"},
    "tie_embeddings": True,
}


def spec(architecture: Mapping[str, Any], *, document_mask: bool = False, accelerator: str = "cpu", **sections: Any) -> dict[str, Any]:
    """A tiny spec with another architecture. Sections replace those of `TINY`."""
    changed = {
        "architecture": {**TINY["architecture"], **architecture},
        "data": {**TINY["data"], "packing": {"document_mask": document_mask}},
        "hardware": {"accelerator": accelerator},
    }
    return {**TINY, **changed, **sections}


@dataclass(frozen=True)
class Emitted:
    """One emitted project's modules, and what llmspec knows of it."""

    resolved: Resolved
    network: Network
    modules: Mapping[str, ModuleType]
    directory: Path

    def __getattr__(self, name: str) -> ModuleType:
        return self.modules[name]

    def new_model(self) -> Any:
        """A model in evaluation mode whose every weight matters: nothing is zero, one, or small."""
        model = self.model.Transformer(self.config.ModelConfig())
        generator = torch.Generator().manual_seed(0)
        model.init_weights(generator)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(5 if parameter.dim() > 1 else 1)
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
        return model.eval()

    def tokens(self, batch_size: int, length: int) -> torch.Tensor:
        """Random token ids, the same in every run."""
        generator = torch.Generator().manual_seed(1)
        return torch.randint(self.config.ModelConfig().vocab_size, (batch_size, length), generator=generator)


def emit(spec: Mapping[str, Any], directory: Path) -> Emitted:
    """Render the model's part of a project and import it; rules are not asked, since odd specs are welcome here."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "spec.json"
    path.write_text(json.dumps(spec))
    bag = Bag()
    composed = compose(path, (), bag)
    bag.raise_if_errors()
    resolved = resolve(composed, load(composed, bag), bag)
    bag.raise_if_errors()
    network = describe(resolved)
    plan = lower(resolved, network, estimate(resolved, network), standalone_text(composed), directory)
    jinja = environment()
    names = []
    for file in plan.files:
        name = file.path.removesuffix(".py")
        if file.template is not None and name in MODULES:
            (directory / file.path).write_text(jinja.get_template(file.template).render(plan=plan))
            names.append(name)
    return Emitted(resolved, network, imported(directory, names), directory)


def imported(directory: Path, names: list[str]) -> dict[str, ModuleType]:
    """Import flat modules from a directory. They stay in `sys.modules`, where torch.compile looks for them, until `forget`."""
    forget()
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    try:
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(directory))


def forget() -> None:
    """Make room for another project's modules of the same names."""
    for name in MODULES:
        sys.modules.pop(name, None)

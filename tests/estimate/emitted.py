"""The emitted model, rendered and imported in memory, to hold the estimate against."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from llmspec.emit.environment import environment
from llmspec.lower.model import lower_model
from llmspec.lower.training import lower_training
from llmspec.network import Network
from llmspec.resolve.resolved import Resolved


@dataclass(frozen=True)
class Batch:
    """As the emitted data.py has it."""

    tokens: Tensor
    targets: Tensor
    document_ids: Tensor | None = None
    positions: Tensor | None = None


@contextmanager
def _modules(**modules: ModuleType) -> Iterator[None]:
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _module(name: str, text: str, **needs: ModuleType) -> ModuleType:
    module = ModuleType(name)
    with _modules(**needs, **{name: module}):
        exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return module


def emitted_model(resolved: Resolved, network: Network) -> tuple[nn.Module, Any]:
    """The emitted `Transformer` with initialised weights, and the emitted `CrossEntropy` as a function of logits and targets."""
    plan = lower_model(resolved, network)
    names = SimpleNamespace(model=plan, training=lower_training(resolved), config_classes=plan.config_classes, name="test")
    jinja = environment()
    config = _module("config", jinja.get_template("project/config.py.jinja").render(plan=names))
    model = _module("model", jinja.get_template("project/model.py.jinja").render(plan=names), config=config)
    loss = _module(
        "loss",
        "from typing import Any\nimport torch\nfrom torch import Tensor\nIGNORED = -100\n"
        + jinja.get_template("components/objective/cross_entropy.py.jinja").render(plan=names),
    )
    transformer = model.Transformer(config.ModelConfig())
    transformer.init_weights(torch.Generator().manual_seed(0))
    return transformer, loss.cross_entropy


def make_batch(resolved: Resolved) -> Batch:
    """Random tokens; with a document mask, two documents a sequence."""
    training, vocabulary = resolved.spec.training, resolved.spec.architecture.vocab_size
    shape = (training.micro_batch_size, training.sequence_length)
    generator = torch.Generator().manual_seed(0)
    tokens, targets = (torch.randint(0, vocabulary, shape, generator=generator) for _ in range(2))
    if not resolved.spec.data.packing.document_mask:
        return Batch(tokens, targets)
    half = shape[1] // 2
    ids = torch.zeros(shape, dtype=torch.int32)
    ids[:, half:] = 1
    positions = torch.arange(shape[1]).expand(shape).clone()
    positions[:, half:] -= half
    return Batch(tokens, targets, ids, positions)


def predict(model: nn.Module, batch: Batch) -> Tensor:
    """Logits of a batch, as the emitted objectives.py asks for them."""
    arguments = () if batch.document_ids is None else (batch.positions, batch.document_ids)
    logits: Tensor = model(batch.tokens, *arguments)
    return logits

"""What optimizers remember: as much as is estimated, in the types that are promised, and as much as a resumed run needs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llmspec.compile import analyze
from llmspec.diagnostics import Bag
from llmspec.network.optimizer_state import optimizer_state_bytes
from tests.optimizers.emitted import Run, load, write

KINDS: list[dict[str, Any]] = [
    {"kind": "adamw"},
    {"kind": "adam"},
    {"kind": "sgd"},
    {"kind": "sgd", "momentum": 0.0},
    {"kind": "rmsprop"},
    {"kind": "rmsprop", "momentum": 0.9},
    {"kind": "adafactor"},
    {"kind": "lamb"},
    {"kind": "lion"},
    {"kind": "muon"},
    {"kind": "soap", "max_precondition_size": 100},
    {"kind": "schedule_free_adamw"},
    {"kind": "adamw_8bit", "block_size": 64},
    {"kind": "adamw_8bit", "block_size": 256, "quantize_embeddings": True},
]
# Large enough for torchao to quantise, small enough to be quick.
LARGER = {"architecture": {"hidden_size": 64, "num_layers": 2, "attention": {"kind": "mha", "num_heads": 4}}}


@pytest.fixture(autouse=True)
def without_compilation() -> Any:
    """torchao compiles its step; a compiler has no part in what is tested here."""
    with torch.compiler.set_stance("force_eager"):
        yield


def named(optimizer: dict[str, Any]) -> str:
    return "-".join(str(value) for value in optimizer.values())


@pytest.mark.parametrize("optimizer", KINDS, ids=named)
def test_state_is_as_large_as_estimated(optimizer: dict[str, Any], tmp_path: Path) -> None:
    run = Run(load(write(optimizer, tmp_path, **LARGER)))
    analysis = analyze(tmp_path / "spec.json", (), Bag())
    run.backward(0)
    run.step(1e-3)
    weights = {weight.name: weight for weight in analysis.network.weights}
    for name, parameter in run.model.named_parameters():
        state = run.optimizer.state[parameter]
        assert all(type(value) is Tensor for value in state.values()), (name, state)
        held = sum(value.numel() * value.element_size() for value in state.values() if value.ndim)
        assert held == optimizer_state_bytes(analysis.resolved.spec.optimizer, weights[name]), name


def test_moments_are_8_bit_and_near_those_of_adamw(tmp_path: Path) -> None:
    eight = Run(load(write({"kind": "adamw_8bit"}, tmp_path / "8", **LARGER)))
    full = Run(load(write({"kind": "adamw"}, tmp_path / "32", **LARGER)))
    start = full.weights
    for step in range(12):
        full.backward(step)
        for mine, other in zip(eight.model.parameters(), full.model.parameters(), strict=True):
            assert other.grad is not None
            mine.grad = other.grad.clone()
        full.step(1e-3)
        eight.step(1e-3)
    quantized = 0
    for name, parameter in eight.model.named_parameters():
        state = eight.optimizer.state[parameter]
        inside = name.startswith("layers.") and parameter.numel() >= 4096
        assert ("exp_avg_codes" in state) == inside, name
        if inside:
            assert state["exp_avg_codes"].dtype == state["exp_avg_sq_codes"].dtype == torch.uint8
            quantized += 1
        moved, apart = (full.weights[name] - start[name]).norm(), (full.weights[name] - eight.weights[name]).norm()
        assert apart <= (0.1 if inside else 1e-5) * moved, (name, apart / moved)
    assert quantized == 14

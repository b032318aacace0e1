"""Every optimizer moves the emitted model as its paper says, on the same gradients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.optimizers import references
from tests.optimizers.emitted import Run, load, write
from tests.optimizers.references import Rule

ADAM = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8}
STEPS = 12


def rule_of(kind: str, numbers: dict[str, Any]) -> Callable[[str, Tensor, float], Rule]:
    """The reference that moves a parameter."""

    def choose(name: str, x: Tensor, decay: float) -> Rule:
        match kind:
            case "sgd":
                return references.sgd(x, decay, momentum=numbers.get("momentum", 0.9), nesterov=numbers.get("nesterov", False))
            case "rmsprop":
                return references.rmsprop(x, decay, beta2=0.99, momentum=numbers.get("momentum", 0.0), eps=1e-8)
            case "adam":
                return references.adam(x, decay, **ADAM, decoupled=False)
            case "adafactor":
                return references.adafactor(x, decay, exponent=0.8, threshold=1.0, min_scale=1e-3)
            case "lamb":
                return references.lamb(x, decay, beta1=0.9, beta2=0.999, eps=1e-6)
            case "lion":
                return references.lion(x, decay, beta1=0.9, beta2=0.99)
            case "soap":
                largest = numbers.get("max_precondition_size", 10_000)
                return references.soap(
                    x, decay, beta1=0.95, beta2=0.95, eps=1e-8, every=numbers.get("precondition_every", 10), largest=largest
                )
            case "schedule_free_adamw":
                return references.schedule_free(x, decay, **ADAM, power=numbers.get("average_power", 0.0))
            case "muon" if name.startswith("layers.") and x.ndim == 2:
                nesterov, scaling = numbers.get("nesterov", True), numbers.get("scaling", "match_rms_adamw")
                return references.muon(x, decay, momentum=0.95, nesterov=nesterov, steps=5, scaling=scaling)
            case _:
                return references.adam(x, decay, **ADAM, decoupled=True)

    return choose


# Kind, numbers, learning rate, and how far a weight may be from the reference's, as a share of how far it has moved.
CASES: list[tuple[str, dict[str, Any], float, float]] = [
    ("sgd", {}, 0.1, 1e-4),
    ("sgd", {"momentum": 0.5, "nesterov": True, "weight_decay": 0.01}, 0.1, 1e-4),
    ("rmsprop", {}, 1e-3, 1e-4),
    ("rmsprop", {"momentum": 0.9, "weight_decay": 0.01}, 1e-4, 1e-4),
    ("adam", {"weight_decay": 0.01}, 1e-2, 1e-3),
    ("adamw", {}, 1e-2, 1e-3),
    ("adafactor", {"weight_decay": 0.1}, 1e-2, 1e-4),
    ("lamb", {}, 1e-2, 1e-4),
    ("lion", {}, 1e-3, 1e-4),
    ("muon", {}, 1e-2, 1e-3),
    ("muon", {"scaling": "spectral", "nesterov": False, "adamw_learning_rate_scale": 0.1}, 1e-2, 1e-3),
    ("soap", {"precondition_every": 3, "max_precondition_size": 64}, 1e-2, 2e-2),
    ("soap", {"precondition_every": 3, "max_precondition_size": 40}, 1e-2, 2e-2),
    ("schedule_free_adamw", {}, 1e-2, 1e-3),
    ("schedule_free_adamw", {"average_power": 1.0}, 1e-2, 1e-3),
]


@pytest.mark.parametrize(("kind", "numbers", "rate", "tolerance"), CASES, ids=lambda value: str(value) if isinstance(value, str) else "")
def test_moves_as_its_paper_says(
    kind: str, numbers: dict[str, Any], rate: float, tolerance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Muon iterates in bf16, which leaves little to compare; the same iteration in full precision has to be the paper's.
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.double)
    run = Run(load(write({"kind": kind, **numbers}, tmp_path)))
    decay = run.modules.config.OptimizerConfig().weight_decay if hasattr(run.modules.config.OptimizerConfig(), "weight_decay") else 0.0
    choose, start = rule_of(kind, numbers), run.weights
    rules = {name: choose(name, weight, decay if weight.ndim >= 2 else 0.0) for name, weight in start.items()}
    expected = {name: next(rule) for name, rule in rules.items()}
    for step in range(STEPS):
        run.backward(step)
        now = rate * min(1, (step + 1) / 4)  # a warm-up: the rate is not constant
        for name, parameter in run.model.named_parameters():
            scale = numbers.get("adamw_learning_rate_scale", 1.0)
            own = now if name.startswith("layers.") and parameter.ndim == 2 else now * scale
            assert parameter.grad is not None
            expected[name] = rules[name].send((parameter.grad.clone(), own))
        run.step(now)
        for name, weight in run.weights.items():
            moved = (expected[name] - start[name]).norm().item()
            assert (weight - expected[name]).norm().item() <= tolerance * moved + 1e-6, (step, name)
    assert all((weight - start[name]).norm() > 0 for name, weight in run.weights.items())


def test_muon_makes_its_steps_nearly_orthogonal(tmp_path: Path) -> None:
    """In bf16, as it runs."""
    run = Run(load(write({"kind": "muon", "weight_decay": 0.0, "scaling": "spectral"}, tmp_path)))
    start = run.weights
    run.backward(0)
    run.step(1.0)
    for name, weight in run.weights.items():
        if name.startswith("layers.") and weight.ndim == 2:
            moved = (weight - start[name]) / max(1, weight.shape[0] / weight.shape[1]) ** 0.5
            values = torch.linalg.svdvals(moved)
            assert 0.3 < values.median() < 1.3 and values.max() < 1.3, name

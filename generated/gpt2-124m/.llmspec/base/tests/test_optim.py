"""Proves that parameter groups and the learning rate are right."""

import dataclasses

import pytest
from tiny import tiny_model

from config import OptimizerConfig, ScheduleConfig
from optim import build_optimizer, learning_rate

SCHEDULE = dataclasses.replace(
    ScheduleConfig(), learning_rate=1.0, warmup_steps=10, min_learning_rate=0.1
)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (1, 0.1),
        (5, 0.5),
        (10, 1.0),
        (55, 0.55),
        (40, 0.1 + 0.9 * 0.75),
        (70, 0.1 + 0.9 * 0.25),
        (100, 0.1),
    ],
)
def test_learning_rate(step: int, expected: float) -> None:
    assert learning_rate(step, 100, SCHEDULE) == pytest.approx(expected)


def test_no_warmup_starts_near_the_peak() -> None:
    schedule = dataclasses.replace(SCHEDULE, warmup_steps=0)
    assert learning_rate(1, 100, schedule) == pytest.approx(1.0, abs=0.01)


def test_every_parameter_is_in_one_group() -> None:
    model = tiny_model()
    optimizer = build_optimizer(model, OptimizerConfig())
    optimized = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(optimized) == sorted(id(parameter) for parameter in model.parameters())


def test_what_decays() -> None:
    model = tiny_model()
    optimizer = build_optimizer(model, OptimizerConfig())
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        is_vector = "norm" in name or name.endswith("bias")
        expected = 0.0 if is_vector else OptimizerConfig().weight_decay
        assert decay[id(parameter)] == expected, name

"""Proves that the learning rate moves as it should."""

import dataclasses

import pytest

from config import ScheduleConfig
from optim import learning_rate

SCHEDULE = dataclasses.replace(
    ScheduleConfig(),
    learning_rate=1.0,
    warmup_steps=10,
    decay_fraction=0.2,
    min_learning_rate=0.1,
)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (1, 0.1),
        (5, 0.5),
        (10, 1.0),
        (80, 1.0),
        (85, 0.775),
        (90, 0.55),
        (100, 0.1),
    ],
)
def test_learning_rate(step: int, expected: float) -> None:
    assert learning_rate(step, 100, SCHEDULE) == pytest.approx(expected)


def test_no_warmup_starts_near_the_peak() -> None:
    schedule = dataclasses.replace(SCHEDULE, warmup_steps=0)
    assert learning_rate(1, 100, schedule) == pytest.approx(1.0, abs=0.01)

"""Proves that the learning rate moves as it should."""

import dataclasses

import pytest

from config import ScheduleConfig
from optim import learning_rate

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

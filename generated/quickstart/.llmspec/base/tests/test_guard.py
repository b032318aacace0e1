"""Proves that harmful steps are skipped and counted, and that too many of them end the run."""

import json
import math

import pytest

from config import GuardConfig
from guard import Guard

NAN, INFINITE = math.nan, math.inf


def guard(window: int = 8) -> Guard:
    config = GuardConfig(max_skipped_steps=2, window=window)
    return Guard(config)


def test_finite_steps_are_taken() -> None:
    judge = guard()
    assert all(judge.allows(step, 5.0 - 0.01 * step, 1.0) for step in range(1, 100))
    assert judge.num_skipped == 0


@pytest.mark.parametrize("values", [(NAN, 1.0), (1.0, NAN), (INFINITE, 1.0), (1.0, INFINITE)])
def test_steps_that_are_not_finite_are_skipped(values: tuple[float, float]) -> None:
    judge = guard()
    assert judge.allows(1, 1.0, 1.0)
    assert not judge.allows(2, *values)
    assert judge.allows(3, 1.0, 1.0)
    assert judge.num_skipped == 1


def test_too_many_within_the_window_are_enough() -> None:
    judge = guard(window=8)
    for step, ended in ((1, False), (5, False), (9, False), (12, True)):
        assert not judge.allows(step, NAN, 1.0)
        assert judge.has_enough() == ended
    assert judge.num_skipped == 4


def test_state_goes_through_json() -> None:
    losses = [5.0 + 0.1 * (7 * step % 11) + 10 * (step % 29 == 0) for step in range(1, 60)]
    losses[40] = NAN
    whole, part = guard(window=16), guard(window=16)
    expected = [whole.allows(step, loss, 1.0) for step, loss in enumerate(losses, start=1)]
    found = []
    for step, loss in enumerate(losses, start=1):
        found.append(part.allows(step, loss, 1.0))
        state, part = json.loads(json.dumps(part.state_dict())), guard(window=16)
        part.load_state_dict(state)
    assert found == expected
    assert part.state_dict() == whole.state_dict()
    assert whole.num_skipped == 1

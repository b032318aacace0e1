"""What a log says about the speed, the memory and the goodput of a run, once it is warm. Knows figures, not how they came about."""

from math import isfinite, sqrt
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from llmspec.compare.log import Log

# Steps that are left out: compilation, memory that is allocated for the first time, caches, clocks that rise and fall.
WARM_UP_STEPS = 10
# What is left has to have so many lines and steps.
LEAST_INTERVALS, LEAST_STEPS = 3, 10
# The median of n values is that much less precise than their mean where they are normal; the median of distances is that much less than
# the standard deviation.
_MEDIAN, _DISTANCE = 1.2533, 1.4826


class Observation(NamedTuple):
    """A run as its log has it, from the lines that count."""

    step_seconds: float
    """Median over the intervals between lines."""
    step_noise: float
    """Standard error of its logarithm."""
    intervals: int
    steps: int
    memory_gib: float | None
    stepping: float | None
    """Share of the time between the lines in which it stepped; None where the log has no clock."""
    stepping_noise: float
    """Standard error of the logarithm of the rest."""


class Counted(NamedTuple):
    """The stretch between two lines."""

    steps: int
    seconds: float
    """Of one step."""
    elapsed: float | None


def intervals(log: Log, tokens_per_step: int) -> list[Counted]:
    """The stretches between lines that begin when `WARM_UP_STEPS` are over and have nothing but full steps."""
    found = []
    for before, after in zip(log.lines, log.lines[1:], strict=False):
        speed, steps = _number(after, "tokens_per_second"), int(after["step"]) - int(before["step"])
        tokens = (_number(after, "tokens") or 0.0) - (_number(before, "tokens") or 0.0)
        if before["step"] < WARM_UP_STEPS or not speed or speed <= 0 or tokens != steps * tokens_per_step:
            continue
        start, end = _number(before, "seconds"), _number(after, "seconds")
        elapsed = end - start if start is not None and end is not None and end > start else None
        found.append(Counted(steps, tokens_per_step / speed, elapsed))
    return found


def observe(log: Log, tokens_per_step: int) -> Observation | None:
    """What a log says; None where too little is left of it once the first steps are left out."""
    found = intervals(log, tokens_per_step)
    steps = sum(one.steps for one in found)
    if len(found) < LEAST_INTERVALS or steps < LEAST_STEPS:
        return None
    middle = median(one.seconds for one in found)
    spread = _DISTANCE * median(abs(one.seconds - middle) for one in found) / middle
    stepping, noise = _stepping(found)
    return Observation(middle, _MEDIAN * spread / sqrt(len(found)), len(found), steps, log.most("memory_gib"), stepping, noise)


def _stepping(found: list[Counted]) -> tuple[float | None, float]:
    timed = [(one.steps * one.seconds, one.elapsed) for one in found if one.elapsed is not None]
    if len(timed) < LEAST_INTERVALS:
        return None, 0.0
    lost = [max(0.0, elapsed - busy) for busy, elapsed in timed]
    share = min(1.0, sum(busy for busy, _ in timed) / sum(elapsed for _, elapsed in timed))
    # Validation and checkpoints come in a few of the intervals: their sum is as uncertain as that of so many draws.
    return share, stdev(lost) * sqrt(len(lost)) / sum(lost) if fmean(lost) > 0 else 1.0


def _number(line: dict[str, Any], name: str) -> float | None:
    value = line.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None

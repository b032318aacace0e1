"""What a profile makes of an estimate: factors, and how much of each interval is left."""

from math import exp, log
from typing import NamedTuple

from llmspec.estimate.derivation import Input

# No log has its own start and end, so that one that lost nothing does not show that nothing is lost.
LEAST_LOST = 0.01


class Correction(NamedTuple):
    """What measurements say about one figure."""

    factor: float
    spread: float
    """Share of the interval, in logarithms, that is left."""
    learned: str
    """From what, for people."""

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """The interval around the corrected figure, from that around the estimate; both as shares."""
        return float(low**self.spread), float(high**self.spread)

    def as_input(self) -> Input:
        """The factor as an input of what it corrects."""
        return Input("calibration", f"{self.factor:.4g}", self.learned)


class Stepping(NamedTuple):
    """Share of the wall-clock in steps where nothing fails, as it was seen."""

    value: float
    low: float
    high: float
    source: str
    """From what, for people."""


class Corrections(NamedTuple):
    """All that a profile says about one spec."""

    profile: str
    learned: str
    """From how many runs and steps, for people."""
    remarks: tuple[str, ...]
    """In what the spec differs from all of them."""
    step: Correction
    memory: Correction | None
    stepping: Stepping | None

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "profile": self.profile,
            "learned_from": self.learned,
            "differs": ", ".join(self.remarks),
            "step_factor": self.step.factor,
            "step_interval": self.step.spread,
            "memory_factor": self.memory and self.memory.factor,
            "memory_interval": self.memory and self.memory.spread,
            "stepping": self.stepping and self.stepping.value,
        }


def log_odds(share: float) -> float:
    """ln(lost / in steps) of a share of the wall-clock in steps."""
    lost = min(1.0 - LEAST_LOST, max(LEAST_LOST, 1.0 - share))
    return log(lost / (1.0 - lost))


def share_of(odds: float) -> float:
    """The share in steps, of what `log_odds` gives."""
    return 1.0 / (1.0 + exp(odds))

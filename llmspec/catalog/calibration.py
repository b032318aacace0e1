"""What is known before a run has been watched of how its measurements lie around their estimates."""

from functools import cache
from typing import NamedTuple

from llmspec.catalog.table import table


class Prior(NamedTuple):
    """How the error of an estimate is made up. The three shares add up to one and are of the variance that its 80% interval stands for."""

    cluster: float
    """Share that all runs of one accelerator in one place have in common: its clocks, its network, its software."""
    similar: float
    """Share that runs have in common as far as they are alike."""
    own: float
    """Share that a model in a layout has for itself."""
    length: float
    """Doublings over which the likeness of two runs falls to 1/e; a difference in kind counts as one doubling."""
    repeat: float
    """Standard deviation of ln(measured) when the same run is measured again."""


class Priors(NamedTuple):
    """One for each figure that is calibrated."""

    step: Prior
    memory: Prior
    goodput: Prior
    source: str


@cache
def priors() -> Priors:
    """Those of the catalog."""
    values = table("calibration.yaml").all()
    step, memory, goodput = (Prior(**{name: float(number) for name, number in values[kind].items()}) for kind in Priors._fields[:3])
    return Priors(step, memory, goodput, values["source"])

"""The constants of the estimate's analytic core, and how wrong it was where it was tested."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from llmspec.catalog.table import table


class Efficiency(NamedTuple):
    """What `make accuracy FIT=1` wrote."""

    step: Mapping[str, float]
    """Constants of the step time."""
    memory: Mapping[str, float]
    """Constants of the memory."""
    step_bounds: Mapping[str, tuple[float, float]]
    """By class: measured over predicted of the lowest and the highest of ten rows, from fits that had not seen their source."""
    memory_bounds: Mapping[str, tuple[float, float]]
    source: str


@cache
def efficiency() -> Efficiency:
    """The constants of the catalog."""
    values = table("efficiency.yaml").all()
    bounds = {kind: {name: (low, high) for name, (low, high) in values[kind].items()} for kind in ("step_bounds", "memory_bounds")}
    return Efficiency(values["step"], values["memory"], bounds["step_bounds"], bounds["memory_bounds"], values["source"])

"""The constants of the analytic core, as the catalog has them."""

from functools import cache

from llmspec.catalog import efficiency
from llmspec.estimate.memory_model import MemoryConstants
from llmspec.estimate.step_model import Constants
from llmspec.estimate.workload import Configuration

# Intervals of devices whose matrix products nobody measured are wider by this power: what holds for the V100 and the MI250X, which the
# fits did not see.
UNMEASURED_WIDER = 1.8


@cache
def step_constants() -> Constants:
    """Constants of the step time."""
    return Constants(**efficiency().step)


@cache
def memory_constants() -> MemoryConstants:
    """Constants of the memory."""
    return MemoryConstants(**efficiency().memory)


def step_class(configuration: Configuration) -> str:
    """The class of a configuration whose errors are alike."""
    if configuration.shape.trained < 1:
        return "adapters"
    if configuration.shape.experts > 0:
        return "experts"
    return "dense_narrow" if configuration.layout.quantised > 0 else "dense"


def step_bounds(configuration: Configuration, *, measured: bool) -> tuple[float, float]:
    """The 80% interval of a step time, as shares of the estimate."""
    low, high = efficiency().step_bounds[step_class(configuration)]
    return (low, high) if measured else (low**UNMEASURED_WIDER, high**UNMEASURED_WIDER)

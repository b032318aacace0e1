"""What a figure is: a value with its unit, formula, inputs and source, so that every figure can be derived in front of the reader."""

from collections.abc import Mapping
from typing import NamedTuple

from llmspec.resolve.resolved import Resolved

COUNTED = "counted from the network"


class Input(NamedTuple):
    """A value that a formula uses. `origin` says where it came from: a line of the spec, the catalog, the network, another figure."""

    name: str
    value: str
    origin: str


class Quantity(NamedTuple):
    """One figure of the estimate.

    `formula` is for people and uses the names of `inputs`. `source` says what the formula rests on: exact counting, a paper, a
    measurement. `low` and `high` bound the figure where it is a prediction and not a count.
    """

    value: float
    unit: str
    formula: str
    inputs: tuple[Input, ...]
    source: str
    low: float | None = None
    high: float | None = None

    def as_input(self, name: str) -> Input:
        """This figure as an input of another one."""
        unit = f" {self.unit}" if self.unit else ""
        return Input(name, f"{readable(self.value)}{unit}", "estimated here")


Quantities = Mapping[str, Quantity]


def readable(value: float) -> str:
    """A number for people: whole numbers with separators, others with four significant digits."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e9):
        return f"{int(value):,}"
    if abs(value) >= 1e6 or 0 < abs(value) < 1e-3:
        return f"{value:.3e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def field(resolved: Resolved, path: str) -> Input:
    """A field of the spec as an input, with the place that decided it."""
    value: object = resolved.spec
    for name in path.split("."):
        value = getattr(value, name)
    text = readable(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return Input(path.rpartition(".")[2], text, resolved.origin(path).text)


def counted(name: str, value: float) -> Input:
    """A count of the network as an input."""
    return Input(name, readable(value), COUNTED)


def constant(name: str, value: float, origin: str, unit: str = "") -> Input:
    """A constant of the estimator or of the catalog as an input."""
    return Input(name, f"{readable(value)} {unit}".strip(), origin)

"""How often runs fail, how long they take to come back, and how fast they are saved: figures of published runs, and their spread."""

from functools import cache
from typing import NamedTuple

from llmspec.catalog.table import table


class Spread(NamedTuple):
    """A figure over published runs: its middle, the least and the most."""

    value: float
    low: float
    high: float
    source: str


class Reliability(NamedTuple):
    """What the catalog knows of runs that do not step."""

    failures: Spread
    """Unexpected interruptions for each device in an hour."""
    restart: Spread
    """Hours from a failure to the next step."""
    storage: Spread
    """Bytes a second that a node writes to storage."""
    host_copy: Spread
    """Bytes a second that a device copies to its host."""
    pause: Spread
    """Seconds that an asynchronous checkpoint holds training up beside the copy."""
    stepping: Spread
    """Share of the wall-clock in steps where nothing fails."""


@cache
def reliability() -> Reliability:
    """The figures; each source of theirs stands in the file too."""
    figures = table("reliability.yaml").entry("figures")
    return Reliability(
        **{name: Spread(**{**figure, "source": f"catalog: reliability.yaml, {figure['source']}"}) for name, figure in figures.items()}
    )

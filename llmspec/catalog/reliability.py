"""How often runs fail, how long they take to come back, and how fast they are saved: figures of published runs, and their spread."""

from functools import cache
from math import exp, log
from typing import Any, NamedTuple

from llmspec.catalog.table import table

MINUTES = 60


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
    """The figures, each with the geometric mean of its sources as its middle."""
    rows: dict[str, Any] = table("reliability.yaml").all()
    rates = [row["count"] / (row["devices"] * row["hours"]) for row in rows["failures"]]
    minutes = [row["minutes"] / MINUTES for row in rows["restart"]]
    stepping = rows["stepping"]
    return Reliability(
        failures=_spread(rates, rates, rows["failures"]),
        restart=_spread(minutes, minutes, rows["restart"]),
        storage=_ranges(rows["storage"], 1e9),
        host_copy=_ranges(rows["host_copy"], 1e9),
        pause=_ranges(rows["pause"], 1.0),
        stepping=Spread(stepping["value"], stepping["low"], stepping["high"], stepping["source"]),
    )


def _ranges(rows: list[dict[str, Any]], unit: float) -> Spread:
    return _spread([row["low"] * unit for row in rows], [row["high"] * unit for row in rows], rows)


def _spread(lows: list[float], highs: list[float], rows: list[dict[str, Any]]) -> Spread:
    middle = exp(sum(map(log, lows + highs)) / (len(lows) + len(highs)))
    names = dict.fromkeys(row["run"] for row in rows)
    source = f"catalog: reliability.yaml, {len(rows)} source{'s' * (len(rows) > 1)} ({', '.join(names)})"
    return Spread(middle, min(lows), max(highs), source)

"""When to start: hourly carbon intensities of a grid in a file, and the hours in which a run of this length emits least.

The file is CSV with a column of times and one of intensities. Columns are found by the names of the public exports: Electricity Maps
(`Datetime (UTC)`, `Carbon intensity gCO₂eq/kWh (Life cycle)` or `(direct)`), WattTime (`point_time` or `timestamp`, and `value` or
`MOER` in pounds a MWh), the Carbon Intensity API of Great Britain (`from`, `actual`, `forecast`), and plain ones (`time`, `g/kWh`).
Times without an offset are UTC; several in an hour are averaged.
"""

import csv
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path
from typing import NamedTuple

from llmspec.diagnostics import Bag, Diagnostic, Severity, Span
from llmspec.diagnostics.codes import problem
from llmspec.estimate.derivation import Input, Quantity, constant
from llmspec.estimate.energy import Energy
from llmspec.estimate.wall_clock import WallClock

GRAMS_PER_POUND = 453.59237
HOUR = timedelta(hours=1)
# Gaps up to so many hours are filled with a straight line; data with longer ones, or with more than this share missing, says too little.
LONGEST_GAP = 6
MOST_MISSING = 0.05
# Above what any grid has, g/kWh: oil shale is near 1,200.
MOST_GRAMS = 3000.0
# Wrong rows that are shown before the rest is left unread.
MOST_ERRORS = 5

_TIMES = (
    "datetime (utc)", "datetime_utc", "datetime", "timestamp", "point_time", "time", "utc", "date", "from", "start", "start_time", "hour",
)  # fmt: skip
# The first that a file has counts: what a fuel's whole life emits before what its burning does, as the catalog's grids.
_GRAMS = (
    r"carbon.intensity.*(life.?cycle|lca)", r"carbon.intensity.*direct", r"^carbon.?intensity", r"^g(co2(eq?)?)?(_|/| per | )kwh$",
    r"g(co2(eq?)?)?/kwh", r"^(actual|avg_ci|intensity|forecast)$", r"kg.*/mwh",
)  # fmt: skip
_POUNDS = (r"^moer", r"lbs?.*mwh")


class Hours(NamedTuple):
    """Carbon intensity of a grid, hour by hour, without gaps."""

    first: datetime
    grams: tuple[float, ...]
    """g/kWh of each hour from the first one on."""
    column: str
    marginal: bool
    """Whether it is the intensity of one kWh more, and not of the mean one."""
    file: str

    def at(self, hour: int) -> datetime:
        """The start of an hour."""
        return self.first + hour * HOUR


class Start(NamedTuple):
    """When a run emits least."""

    best: datetime
    end: datetime
    kg: Quantity
    """kg of CO2 equivalent of the run's electricity, if it starts then."""
    grams: float
    """Mean g/kWh over the run."""
    at_once: Quantity
    """The same if it starts with the data."""
    first: datetime
    mean: Quantity
    """The same over all starts."""
    worst: float
    hours: Hours

    def quantities(self) -> dict[str, Quantity]:
        """The figures by their names in the JSON."""
        return {"operational_kg_co2e": self.kg, "at_once_kg_co2e": self.at_once, "mean_kg_co2e": self.mean}

    def facts(self) -> dict[str, object]:
        """What is no figure: times in UTC, and where the intensities are from."""
        return {
            "best": self.best.isoformat(),
            "end": self.end.isoformat(),
            "at_once": self.first.isoformat(),
            "grid_gco2e_per_kwh": self.grams,
            "worst_kg_co2e": self.worst,
            "column": self.hours.column,
            "marginal": self.hours.marginal,
        }


def _wrong(file: str, message: str, line: int = 1, column: int = 1, width: int = 1, help: Sequence[str] = ()) -> Diagnostic:
    return problem("LS554", message, Span(file, line, column, line, column + width), help=help)


def read_hours(path: Path, bag: Bag) -> Hours:
    """The intensities of a file; raises `CompilationError` where it is of no use, and the bag says why."""
    file = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        bag.add(_wrong(file, f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}"))
    except UnicodeDecodeError:
        bag.add(_wrong(file, f"`{path}` is not UTF-8 text"))
    bag.raise_if_errors()
    bag.sources[file] = text
    lines = text.splitlines()
    dialect = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
    rows = list(csv.reader(lines, delimiter=dialect))
    if len(rows) < 2:
        bag.add(_wrong(file, f"`{path}` holds no rows", help=[EXAMPLE]))
        bag.raise_if_errors()
    header = [name.strip() for name in rows[0]]
    time, value, factor = _columns(header)
    if time is None or value is None:
        missing = "times" if time is None else "intensities"
        found = ", ".join(f"`{name}`" for name in header[:8])
        bag.add(_wrong(file, f"no column of {missing} is known among {found}", width=max(1, len(lines[0])), help=[EXAMPLE]))
        bag.raise_if_errors()
    assert time is not None and value is not None
    sums: dict[datetime, tuple[float, int]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row or not any(row):
            continue
        moment, grams, fault = _read(row, time, value, factor)
        if fault is not None:
            column, reason = fault
            cell = row[column] if column < len(row) else ""
            start = lines[number - 1].find(cell, sum(len(other) + 1 for other in row[:column])) + 1 if cell and number <= len(lines) else 1
            bag.add(_wrong(file, reason, number, max(1, start), max(1, len(cell))))
            if len(bag.errors) >= MOST_ERRORS:
                break
        elif moment is not None and grams is not None:
            total, count = sums.get(moment, (0.0, 0))
            sums[moment] = total + grams, count + 1
    bag.raise_if_errors()
    if not sums:
        bag.add(_wrong(file, f"no row of `{path}` has an intensity"))
        bag.raise_if_errors()
    means = {moment: total / count for moment, (total, count) in sums.items()}
    grams_by_hour = tuple(_filled(means, file, bag))
    bag.raise_if_errors()
    return Hours(min(means), grams_by_hour, header[value], factor != 1 or "marginal" in header[value].lower(), file)


EXAMPLE = "the first line names the columns, such as `time,g/kWh`; exports of Electricity Maps and WattTime are read as they are"


def _columns(header: Sequence[str]) -> tuple[int | None, int | None, float]:
    """Places of the times and the intensities, and what makes g/kWh of the latter."""
    names = [re.sub(r"\s+", " ", name.lower().replace("₂", "2")) for name in header]
    time = next((names.index(name) for name in _TIMES if name in names), None)
    for patterns, factor in ((_POUNDS, GRAMS_PER_POUND / 1000), (_GRAMS, 1.0)):
        for pattern in patterns:
            for place, name in enumerate(names):
                if place != time and re.search(pattern, name):
                    return time, place, factor
    if "value" in names and "point_time" in names:
        return time, names.index("value"), GRAMS_PER_POUND / 1000
    return time, names.index("value") if "value" in names else None, 1.0


def _read(row: list[str], time: int, value: int, factor: float) -> tuple[datetime | None, float | None, tuple[int, str] | None]:
    """A row's hour and g/kWh; or the column that is wrong, and why."""
    written = row[time].strip() if time < len(row) else ""
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None, None, (time, f"`{written}` is no time such as 2026-01-31T14:00Z")
    moment = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    moment = moment.replace(minute=0, second=0, microsecond=0)
    figure = row[value].strip() if value < len(row) else ""
    if figure.lower() in ("", "nan", "null", "none", "-"):
        return moment, None, None
    try:
        grams = float(figure) * factor
    except ValueError:
        return None, None, (value, f"`{figure}` is no intensity")
    if not 0 <= grams <= MOST_GRAMS:
        return None, None, (value, f"`{figure}` is no carbon intensity: grids have 0 to {MOST_GRAMS:,.0f} g/kWh")
    return moment, grams, None


def _filled(means: dict[datetime, float], file: str, bag: Bag) -> Iterator[float]:
    """Every hour from the first to the last; short gaps filled, and said."""
    hours = sorted(means)
    count = round((hours[-1] - hours[0]) / HOUR) + 1
    longest, missing, place = 0, count - len(hours), hours[0]
    for before, after in pairwise(hours):
        gap = round((after - before) / HOUR) - 1
        if gap > longest:
            longest, place = gap, before + HOUR
    if missing:
        bad = longest > LONGEST_GAP or missing > MOST_MISSING * count
        text = f"{missing:,} of {count:,} hours are missing, {longest:,} in a row from {place:%Y-%m-%d %H:%M} UTC on"
        text += "" if bad else "; they are filled between their neighbours"
        help = [f"gaps of at most {LONGEST_GAP} hours and {MOST_MISSING:.0%} of all hours can be filled"] if bad else []
        severity = Severity.ERROR if bad else Severity.WARNING
        bag.add(problem("LS555", text, Span(file, 1, 1, 1, 2), help=help, severity=severity))
        if bad:
            return
    for hour in range(count):
        moment = hours[0] + hour * HOUR
        if moment in means:
            yield means[moment]
            continue
        index = bisect_left(hours, moment)
        before, after = hours[index - 1], hours[index]
        share = (moment - before) / (after - before)
        yield means[before] + share * (means[after] - means[before])


def best_start(energy: Energy, wall_clock: WallClock, hours: Hours, bag: Bag) -> Start | None:
    """The hour to start in for the least carbon; None where the run's energy is not known.

    The run draws the same in every hour. Raises `CompilationError` where the data ends before the run would.
    """
    kwh, clock = energy.kwh, wall_clock.total_hours
    if kwh is None:
        return None
    length = clock.value
    needed = ceil(length)
    if needed > len(hours.grams):
        days = f"{len(hours.grams):,} hours, and the run takes {needed:,}"
        help = ["give data as long as the run and some more, or a year's: the hours of a year are much like those of the next"]
        bag.add(problem("LS556", f"`{hours.file}` has {days}", Span(hours.file, 1, 1, 1, 2), help=help))
        bag.raise_if_errors()
    sums = [0.0, *accumulate(hours.grams)]
    whole = int(length)
    part = length - whole

    def grams(start: int) -> float:
        rest = part * hours.grams[start + whole] if part else 0.0
        return (sums[start + whole] - sums[start] + rest) / length

    starts = [grams(start) for start in range(len(hours.grams) - needed + 1)]
    best = min(range(len(starts)), key=starts.__getitem__)
    source = f"{hours.file}, column {hours.column}" + (": marginal, of one kWh more" if hours.marginal else "")

    def quantity(mean: float, formula: str, when: str) -> Quantity:
        assert kwh.low is not None and kwh.high is not None
        inputs = (kwh.as_input("kwh"), clock.as_input("total_hours"), Input("start", when, source), constant("g/kWh", mean, source))
        factor = mean / 1000
        return Quantity(kwh.value * factor, "kgCO2e", formula, inputs, source, low=kwh.low * factor, high=kwh.high * factor)

    each = "kwh * mean g/kWh of the hours from the start on / 1000"
    every = sum(starts) / len(starts)
    return Start(
        best=hours.at(best),
        end=hours.at(best) + timedelta(hours=length),
        kg=quantity(starts[best], f"{each}; the start with the least", f"{hours.at(best):%Y-%m-%d %H:%M} UTC"),
        grams=starts[best],
        at_once=quantity(starts[0], f"{each}; the first hour of the data", f"{hours.first:%Y-%m-%d %H:%M} UTC"),
        first=hours.first,
        mean=quantity(every, f"{each}; the mean over {len(starts):,} starts", "any"),
        worst=kwh.value * max(starts) / 1000,
        hours=hours,
    )

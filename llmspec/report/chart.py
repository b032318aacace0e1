"""What is drawn: points over an axis, and a band that they are held against."""

import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

Point = tuple[float, float]


class Series(NamedTuple):
    """A line through points; x increases."""

    name: str
    points: tuple[Point, ...]
    labels: tuple[str, ...] = ()
    """What each point is; shown when the reader points at it."""
    kind: Literal["mark", "faint", "here"] = "mark"
    """How its marks look beside the line."""


class Band(NamedTuple):
    """What was expected: a value, and bounds where there are any, from `start` to `end` on the x axis; None is the chart's edge."""

    name: str
    value: float
    low: float | None
    high: float | None
    start: float | None = None
    end: float | None = None


class Chart(NamedTuple):
    """One picture. The first series is the line; the others are marked points beside it."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    band: Band | None = None
    x_end: float | None = None
    """Where the x axis ends; None is the last point."""
    logarithmic: bool = False
    """Whether both axes are logarithmic; all values then are above 0, and there is no band."""
    x_ticks: tuple[float, ...] = ()
    """Where the x axis is labelled; empty is at round values."""


class Frame(NamedTuple):
    """The rectangle of values that a chart shows; of their logarithms, where the chart is logarithmic."""

    left: float
    right: float
    bottom: float
    top: float


def frame(chart: Chart) -> Frame:
    """A rectangle with all points and the band in it.

    A line that starts with far outliers (a first step that takes long, a loss that falls from the top) keeps its bulk visible: no more
    than ten times the spread of its middle is shown.
    """
    points = [point for series in chart.series for point in series.points if math.isfinite(point[1])]
    if chart.logarithmic:
        return _logarithmic_frame(points)
    xs = [x for x, _ in points] or [0.0, 1.0]
    expected = [value for value in (chart.band or ())[1:4] if isinstance(value, float | int)]
    ys = sorted([y for _, y in points] or [0.0, 1.0])
    bottom, top = min(ys[0], *expected, math.inf), max(ys[-1], *expected, -math.inf)
    middle = ys[len(ys) // 10 : len(ys) - len(ys) // 10]
    spread = max((middle[-1] - middle[0]), abs(middle[-1]) * 0.05, 1e-12)
    bottom = max(bottom, min([middle[0] - 10 * spread, *expected]))
    top = min(top, max([middle[-1] + 10 * spread, *expected]))
    margin = (top - bottom) * 0.05 or abs(top) * 0.05 or 1.0
    left, right = min(xs), max(*xs, chart.x_end if chart.x_end is not None else -math.inf)
    low = bottom - margin if bottom < 0 or bottom - margin > 0 else 0.0
    return Frame(left, right if right > left else left + 1.0, low, top + margin)


def _logarithmic_frame(points: list[Point]) -> Frame:
    """A little more than all points. A factor of two is always shown, since less than that is no slope."""
    xs, ys = ([math.log10(point[axis]) for point in points if min(point) > 0] or [0.0, 1.0] for axis in (0, 1))
    low, high = min(ys), max(ys)
    missing = max(0.0, math.log10(2) - (high - low)) / 2
    margins = max(0.05, (max(xs) - min(xs)) * 0.05), max(0.05, (high - low) * 0.08)
    return Frame(min(xs) - margins[0], max(xs) + margins[0], low - missing - margins[1], high + missing + margins[1])


def logarithmic_ticks(low: float, high: float, count: int) -> Iterator[float]:
    """Round values between two powers of ten, about `count` of them, or fewer."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 3), (1,)):
        found = [factor * 10.0**decade for decade in decades for factor in factors]
        found = [value for value in found if low <= math.log10(value) <= high]
        if len(found) <= count:
            break
    else:
        found = found[:: -(-len(found) // count)]
    return iter(found)


def ticks(low: float, high: float, count: int) -> Iterator[float]:
    """Round values between two bounds, about `count` of them."""
    step = 10.0 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    index = math.ceil(low / step)
    while index * step <= high * (1 + 1e-9):
        yield index * step
        index += 1


def readable(value: float) -> str:
    """A value on an axis."""
    for factor, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.4g}{suffix}"
    return f"{value:.4g}"


def thinned(points: Iterable[Point], most: int) -> list[Point]:
    """At most so many finite points, each the mean of its neighbourhood."""
    finite = [point for point in points if math.isfinite(point[0]) and math.isfinite(point[1])]
    if len(finite) <= most:
        return finite
    groups = [finite[index * len(finite) // most : (index + 1) * len(finite) // most] for index in range(most)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]

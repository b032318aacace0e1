"""A chart as SVG, to stand in a page or alone: it fetches nothing, and follows the reader's light or dark colours."""

import math
from html import escape

from llmspec.report.chart import Chart, Frame, Series, frame, logarithmic_ticks, readable, thinned, ticks

LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 42
# Narrower pictures have their legend below the title.
WIDE, LEGEND = 600, 20
MOST_POINTS = 800
STYLE = """\
.chart { font: 12px system-ui, sans-serif; }
.chart { --ink: #1f2328; --faint: #656d76; --grid: #d8dee4; --line: #0969da; --mark: #1a7f37; --band: #bf8700; }
@media (prefers-color-scheme: dark) {
  .chart { --ink: #e6edf3; --faint: #8d96a0; --grid: #30363d; --line: #4493f8; --mark: #3fb950; --band: #d29922; }
}
.chart text { fill: var(--faint); }
.chart .title { fill: var(--ink); font-size: 14px; font-weight: 600; }
.chart .key { fill: var(--mark); font-size: 12px; font-weight: 400; }
.chart .of-band { fill: var(--band); }
.chart .grid { stroke: var(--grid); stroke-width: 1; }
.chart .line { fill: none; stroke: var(--line); stroke-width: 1.75; stroke-linejoin: round; }
.chart .mark { fill: var(--mark); }
.chart .faint { fill: var(--faint); fill-opacity: 0.45; }
.chart .here { fill: var(--band); stroke: var(--ink); stroke-width: 1; }
.chart .key.faint { fill-opacity: 1; }
.chart .key.here { fill: var(--band); stroke: none; }
.chart .bar { fill: var(--line); fill-opacity: 0.75; }
.chart .bar.here { fill: var(--mark); stroke: none; }
.chart .bounds { stroke: var(--ink); stroke-width: 1.5; }
.chart .value { fill: var(--ink); }
.chart .band { fill: var(--band); fill-opacity: 0.2; }
.chart .expected { stroke: var(--band); stroke-width: 1.5; stroke-dasharray: 5 4; }
"""


def svg(chart: Chart, *, width: int = 720, height: int = 300, style: bool = True) -> str:
    """The chart as an `<svg>` element.

    Args:
        chart: What to draw.
        width: In pixels, as is the height.
        height: Of the whole picture.
        style: Whether it brings its colours along; false where the page around it has `STYLE`.
    """
    shown = frame(chart)
    place = _Place(shown, width, height, logarithmic=chart.logarithmic)
    parts = [
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(chart.title)}" width="100%">'
    ]
    if style:
        parts.append(f"<style>{STYLE}</style>")
    marks = "".join(f'<tspan class="key {series.kind}" dx="12">● {escape(series.name)}</tspan>' for series in chart.series[1:])
    if chart.band is not None:
        marks += f'<tspan class="key of-band" dx="12">■ {escape(chart.band.name)}</tspan>'
    if width >= WIDE or not marks:
        parts.append(f'<text class="title" x="{LEFT}" y="20">{escape(chart.title)}{marks}</text>')
    else:
        parts.append(f'<text class="title" x="8" y="20">{escape(chart.title)}</text>')
        parts.append(f'<text x="{LEFT - 12}" y="40">{marks}</text>')
    parts += _grid(chart, place, width, height)
    parts += _band(chart, place, width)
    parts += _line(chart.series[0], place)
    for series in chart.series[1:]:
        parts += _marks(series, place)
    parts.append("</svg>")
    return "\n".join(parts)


class _Place:
    """Where a value stands in the picture."""

    def __init__(self, shown: Frame, width: int, height: int, *, logarithmic: bool = False) -> None:
        self.shown, self.width, self.height, self.logarithmic = shown, width, height, logarithmic
        self.top = TOP if width >= WIDE else TOP + LEGEND

    def x(self, value: float) -> float:
        if self.logarithmic:
            value = math.log10(value)
        share = (value - self.shown.left) / (self.shown.right - self.shown.left)
        return round(LEFT + min(1.0, max(0.0, share)) * (self.width - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        if self.logarithmic:
            value = math.log10(value)
        share = (self.shown.top - value) / (self.shown.top - self.shown.bottom)
        return round(self.top + min(1.0, max(0.0, share)) * (self.height - self.top - BOTTOM), 1)


def _grid(chart: Chart, place: _Place, width: int, height: int) -> list[str]:
    shown = place.shown
    parts = []
    rounded = logarithmic_ticks if chart.logarithmic else ticks
    for value in rounded(shown.bottom, shown.top, 6):
        y = place.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{readable(value)}</text>')
    parts += [
        f'<text x="{place.x(value)}" y="{height - BOTTOM + 18}" text-anchor="middle">{readable(value)}</text>'
        for value in chart.x_ticks or rounded(shown.left, shown.right, 8)
    ]
    parts.append(f'<text x="{width - RIGHT}" y="{height - 6}" text-anchor="end">{escape(chart.x_label)}</text>')
    parts.append(f'<text x="{width - RIGHT}" y="20" text-anchor="end">{escape(chart.y_label)}</text>')
    return parts


def _band(chart: Chart, place: _Place, width: int) -> list[str]:
    band = chart.band
    if band is None:
        return []
    left = LEFT if band.start is None else place.x(band.start)
    right = width - RIGHT if band.end is None else place.x(band.end)
    parts = []
    if band.low is not None and band.high is not None:
        top, bottom = place.y(band.high), place.y(band.low)
        parts.append(f'<rect class="band" x="{left}" y="{top}" width="{right - left:g}" height="{bottom - top:g}"/>')
    y = place.y(band.value)
    parts.append(f'<line class="expected" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
    return parts


def _line(series: Series, place: _Place) -> list[str]:
    points = " ".join(f"{place.x(x):g},{place.y(y):g}" for x, y in thinned(series.points, MOST_POINTS))
    return [f'<polyline class="line" points="{points}"><title>{escape(series.name)}</title></polyline>']


def _marks(series: Series, place: _Place) -> list[str]:
    """Points that are measured now and then, or of which each has a label of its own."""
    points = list(series.points) if series.labels else thinned(series.points, MOST_POINTS)
    radius = 5 if series.kind == "here" else 3
    labels = series.labels or [f"{series.name} {y:.4g}, {x:g}" for x, y in points]
    return [
        f'<circle class="{series.kind}" cx="{place.x(x):g}" cy="{place.y(y):g}" r="{radius}"><title>{escape(label)}</title></circle>'
        for (x, y), label in zip(points, labels, strict=True)
    ]

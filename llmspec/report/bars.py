"""Horizontal bars as SVG: parts of a whole, or prices beside each other."""

from collections.abc import Callable
from html import escape
from typing import NamedTuple

from llmspec.report.chart import ticks

WIDTH, ROW, TOP, BOTTOM = 480, 24, 34, 30
# Of a character of the font, about.
CHARACTER, MOST_CHARACTERS = 7.0, 22


class Bar(NamedTuple):
    """One bar; `here` marks the one that is meant, `low` and `high` bound it."""

    name: str
    value: float
    here: bool = False
    low: float | None = None
    high: float | None = None


class Bars(NamedTuple):
    """Bars under a title; `show` writes their values, `limit` is a line that they are held against."""

    title: str
    unit: str
    bars: tuple[Bar, ...]
    show: Callable[[float], str]
    limit: tuple[str, float] | None = None


def bars_svg(picture: Bars) -> str:
    """The bars as an `<svg>` element; `llmspec.report.svg.STYLE` has its colours."""
    height = TOP + ROW * len(picture.bars) + BOTTOM
    ends = [value for bar in picture.bars for value in (bar.value, bar.high or 0.0)]
    most = max([*ends, picture.limit[1] if picture.limit is not None else 0.0]) or 1.0

    left = round(16 + CHARACTER * max((len(_short(bar.name)) for bar in picture.bars), default=0))
    right = round(12 + CHARACTER * max((len(picture.show(bar.value)) for bar in picture.bars), default=0))

    def x(value: float) -> float:
        return round(left + min(1.0, max(0.0, value / most)) * (WIDTH - left - right), 1)

    parts = [
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(picture.title)}" width="100%">',
        f'<text class="title" x="8" y="20">{escape(picture.title)}</text>',
        f'<text x="{WIDTH - 8}" y="20" text-anchor="end">{escape(picture.unit)}</text>',
    ]
    bottom = height - BOTTOM
    for value in ticks(0.0, most, 4):
        parts.append(f'<line class="grid" x1="{x(value)}" x2="{x(value)}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x(value)}" y="{bottom + 16}" text-anchor="middle">{escape(picture.show(value))}</text>')
    for index, bar in enumerate(picture.bars):
        y = TOP + ROW * index
        kind = "bar here" if bar.here else "bar"
        written = escape(picture.show(bar.value))
        title = f"{escape(bar.name)} {written}"
        if bar.low is not None and bar.high is not None:
            title += f" ({escape(picture.show(bar.low))} to {escape(picture.show(bar.high))})"
        parts.append(f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{escape(_short(bar.name))}</text>')
        size = f'width="{x(bar.value) - left:.1f}" height="{ROW - 8}"'
        parts.append(f'<rect class="{kind}" x="{left}" y="{y + 4}" {size}><title>{title}</title></rect>')
        end = x(bar.value)
        if bar.low is not None and bar.high is not None:
            end, middle = max(end, x(bar.high)), y + ROW // 2
            parts.append(f'<line class="bounds" x1="{x(bar.low)}" x2="{x(bar.high)}" y1="{middle}" y2="{middle}"/>')
        parts.append(f'<text class="value" x="{end + 5}" y="{y + 16}">{written}</text>')
    if picture.limit is not None:
        at = x(picture.limit[1])
        parts.append(f'<line class="expected" x1="{at}" x2="{at}" y1="{TOP - 4}" y2="{bottom}"/>')
        parts.append(f'<text class="key of-band" x="{at - 4}" y="{bottom - 4}" text-anchor="end">{escape(picture.limit[0])}</text>')
    parts.append("</svg>")
    return "\n".join(parts)


def _short(name: str) -> str:
    return name if len(name) <= MOST_CHARACTERS else f"{name[: MOST_CHARACTERS - 1]}…"

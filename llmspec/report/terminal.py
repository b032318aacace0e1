"""A chart in characters: braille dots, or ASCII where the terminal has nothing better."""

import math

from llmspec.report.chart import Chart, Frame, Series, frame, readable, thinned

# The bits of the dots of a braille cell, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BRAILLE = 0x2800


def terminal_chart(chart: Chart, *, width: int = 72, height: int = 12, unicode: bool = True) -> str:
    """The chart in lines of text; the band is shaded behind the line.

    Args:
        chart: What to draw.
        width: Columns of the picture, without the labels beside it.
        height: Its rows.
        unicode: Whether the terminal shows braille and shades.
    """
    shown = frame(chart)
    written = readable
    if chart.logarithmic:
        written = _of_logarithm
        chart = chart._replace(series=tuple(_logarithms(series) for series in chart.series), logarithmic=False, band=None)
    shaded = _shaded_cells(chart, shown, width, height)
    dots: dict[tuple[int, int], int] = {}
    first, *others = chart.series
    for row, column in _path(thinned(first.points, width * 2), shown, width * 2, height * 4):
        cell = row // 4, column // 2
        dots[cell] = dots.get(cell, 0) | _DOTS[row % 4][column % 2]
    marked = {(_row(y, shown, height), _column(x, shown, width)) for series in others for x, y in series.points if math.isfinite(y)}
    mark = "●" if unicode else "o"
    rows = []
    for row in range(height):
        cells = []
        for column in range(width):
            bits = dots.get((row, column))
            if (row, column) in marked:
                cells.append(mark)
            elif bits is not None:
                cells.append(chr(_BRAILLE | bits) if unicode else "*")
            elif (row, column) in shaded:
                cells.append("░" if unicode else ".")
            else:
                cells.append(" ")
        rows.append("".join(cells).rstrip())
    labels = {0: written(shown.top), height // 2: written((shown.top + shown.bottom) / 2), height - 1: written(shown.bottom)}
    edge = max(map(len, labels.values()))
    bar = "│" if unicode else "|"
    legend = [chart.title, *(f"{mark} {series.name}" for series in others)]
    if chart.band is not None:
        legend.append(f"{'░' if unicode else '.'} {chart.band.name}")
    lines = ["   ".join(legend)]
    lines += [f"{labels.get(row, ''):>{edge}} {bar}{text}" for row, text in enumerate(rows)]
    left, right = written(shown.left), f"{chart.x_label} {written(shown.right)}"
    corner, line = ("└", "─") if unicode else ("+", "-")
    lines.append(f"{'':{edge}} {corner}{line * width}")
    lines.append(f"{'':{edge}}  {left}{right:>{width - len(left)}}")
    return "\n".join(lines)


def _logarithms(series: Series) -> Series:
    return series._replace(points=tuple((math.log10(x), math.log10(y)) for x, y in series.points if min(x, y) > 0))


def _of_logarithm(value: float) -> str:
    return readable(10.0**value)


def _shaded_cells(chart: Chart, shown: Frame, width: int, height: int) -> set[tuple[int, int]]:
    """The cells of the band; a band without bounds is one row."""
    band = chart.band
    if band is None:
        return set()
    low, high = (band.value if bound is None else bound for bound in (band.low, band.high))
    first, last = (_row(bound, shown, height) for bound in (high, low))
    start = 0 if band.start is None else _column(band.start, shown, width)
    end = width - 1 if band.end is None else _column(band.end, shown, width)
    return {(row, column) for row in range(max(0, first), min(height - 1, last) + 1) for column in range(max(0, start), end + 1)}


def _path(points: list[tuple[float, float]], shown: Frame, columns: int, rows: int) -> set[tuple[int, int]]:
    """The dots of a line through points, by row and column."""
    dots = set()
    before: tuple[int, int] | None = None
    for x, y in points:
        row, column = _row(y, shown, rows), _column(x, shown, columns)
        first_row, first_column = before or (row, column)
        count = max(abs(row - first_row), abs(column - first_column), 1)
        for step in range(count + 1):
            share = step / count
            dots.add((round(first_row + (row - first_row) * share), round(first_column + (column - first_column) * share)))
        before = row, column
    return {(row, column) for row, column in dots if 0 <= row < rows and 0 <= column < columns}


def _row(y: float, shown: Frame, rows: int) -> int:
    return math.floor((shown.top - y) / (shown.top - shown.bottom) * rows)


def _column(x: float, shown: Frame, columns: int) -> int:
    return min(columns - 1, math.floor((x - shown.left) / (shown.right - shown.left) * columns))

"""A comparison for people: a table with charts below it in the terminal, or one HTML page."""

import os
import sys
from collections.abc import Sequence

import click

from llmspec import __version__
from llmspec.compare import Comparison, Row
from llmspec.report import Chart, page, terminal_chart

HEADER = ("", "estimated", "bounds", "measured", "ratio", "verdict")
# Above this share of a step the loader is worth a look.
MOST_WAITING = 0.01


def comparison_table(comparison: Comparison, charts: Sequence[Chart]) -> str:
    """The figures in a table, what there is to say about them, and the charts."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") in {"utf8", "utf16", "utf32"}
    cells = [HEADER, *(_cells(row) for row in comparison.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADER))]
    lines = [_bold(comparison.name), *remarks(comparison), ""]
    for index, row in enumerate(cells):
        text = "  ".join(
            [f"{row[0]:{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:-1], widths[1:-1], strict=True)), row[-1]]
        )
        lines.append(_bold(text.rstrip()) if index == 0 else _colored(text.rstrip(), comparison.rows[index - 1].inside))
    for chart in charts:
        lines += ["", terminal_chart(chart, unicode=unicode)]
    return "\n".join(lines)


def comparison_page(comparison: Comparison, charts: Sequence[Chart]) -> str:
    """The same as an HTML page."""
    return page(
        f"{comparison.name}: the run against its estimate",
        [*remarks(comparison), f"llmspec {__version__}"],
        HEADER,
        [(f"{row.label}\n{row.remark}", *_cells(row)[1:]) for row in comparison.rows],
        charts,
    )


def remarks(comparison: Comparison) -> list[str]:
    """How far the run has come, and what stands beside the figures."""
    state = "finished" if comparison.finished else f"{comparison.step / comparison.max_steps:.0%} of the run"
    lines = [
        f"step {comparison.step:,} of {comparison.max_steps:,} ({state}), {comparison.tokens:,} tokens; "
        "the estimate is this llmspec's, from the project's spec.yaml"
    ]
    if comparison.data_wait is not None:
        looks = " - more than it should" if comparison.data_wait > MOST_WAITING else ""
        lines.append(f"waiting for data: {comparison.data_wait:.2%} of a step{looks}")
    if comparison.lost_lines:
        plural = "s have" if comparison.lost_lines > 1 else " has"
        lines.append(f"{comparison.lost_lines:,} line{plural} a value that is not a finite number; left out")
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    bounds = "" if row.low is None or row.high is None else f"{_value(row.low, row.unit)} to {_value(row.high, row.unit)}"
    measured = _measured(row)
    ratio = "" if row.ratio is None else f"x {row.ratio:.2f}"
    if row.estimate is None:
        verdict = "nothing to hold it against"
    elif row.measured is None:
        verdict = "not measured"
    else:
        verdict = "" if row.inside is None else "inside" if row.inside else "outside"
    estimate = "not known" if row.estimate is None else _value(row.estimate, row.unit)
    return row.label, estimate, bounds, measured, ratio, verdict + (", projected" if row.projected and verdict else "")


def _measured(row: Row) -> str:
    return "" if row.measured is None else _value(row.measured, row.unit)


def _value(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:,.3g} s"
    if unit == "h":
        return _duration(value)
    if unit == "US$":
        return f"${value:,.2f}" if value >= 0.1 or value == 0 else f"${value:.2g}"
    if unit == "":
        return f"{value:.1%}"
    if unit == "nats":
        return f"{value:.3f}"
    digits = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{digits} {unit}"


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    if hours < 1:
        return f"{hours * 60:.1f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.1f} days"


def _bold(text: str) -> str:
    return text if os.environ.get("NO_COLOR") else click.style(text, bold=True)


def _colored(text: str, inside: bool | None) -> str:
    if inside is None or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg="green" if inside else "yellow")

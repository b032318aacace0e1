"""Pictures and pages of figures: charts for the terminal, SVG, and HTML that fetches nothing. Pure functions from series to text."""

from llmspec.report.bars import Bar, Bars, bars_svg
from llmspec.report.chart import Band, Chart, Series
from llmspec.report.page import document, folded, gallery, page, remark, table
from llmspec.report.svg import svg
from llmspec.report.terminal import terminal_chart

__all__ = [
    "Band",
    "Bar",
    "Bars",
    "Chart",
    "Series",
    "bars_svg",
    "document",
    "folded",
    "gallery",
    "page",
    "remark",
    "svg",
    "table",
    "terminal_chart",
]

"""Pictures and pages of figures: charts for the terminal, SVG, and HTML that fetches nothing. Pure functions from series to text."""

from llmspec.report.chart import Band, Chart, Series
from llmspec.report.page import page
from llmspec.report.svg import svg
from llmspec.report.terminal import terminal_chart

__all__ = ["Band", "Chart", "Series", "page", "svg", "terminal_chart"]

"""What a run did, held against what was estimated for it."""

from llmspec.compare.compare import Comparison, Row, compare
from llmspec.compare.log import Log, read_log
from llmspec.compare.pictures import charts

__all__ = ["Comparison", "Log", "Row", "charts", "compare", "read_log"]

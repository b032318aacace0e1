"""Search: which layout, on what, is fastest or cheapest for a spec.

All layouts that can be are scored in one pass over columns of numbers (space, score), by the formulae of `llmspec estimate`. The best of
them then go through the passes of the compiler as if somebody had written them (search), so that what is offered is what `estimate` says
of it and what no rule refuses.
"""

from llmspec.search.result import Finalist, Goal, Request, Result
from llmspec.search.search import search

__all__ = ["Finalist", "Goal", "Request", "Result", "search"]

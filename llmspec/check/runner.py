"""Runs the rules."""

from collections.abc import Iterator

from llmspec.check.registry import BUILD_RULES, RUN_RULES, SPEC_RULES, Run
from llmspec.diagnostics import Diagnostic
from llmspec.estimate import Estimate
from llmspec.network import Network
from llmspec.resolve import Resolved


def check(resolved: Resolved, network: Network, estimate: Estimate | None) -> Iterator[Diagnostic]:
    """Find what cannot be right, or is most likely not meant.

    Args:
        resolved: The spec with nothing left open.
        network: Its model.
        estimate: What it needs. Without it the rules on the spec alone are run (LS3xx), with it those on the estimate (LS4xx): they
            come after each other, since an estimate of an impossible spec says nothing.
    """
    if estimate is None:
        for found in SPEC_RULES.values():
            yield from found.diagnostics(resolved, resolved)
    else:
        run = Run(resolved, network, estimate)
        for judged in RUN_RULES.values():
            yield from judged.diagnostics(run, resolved)


def check_buildable(resolved: Resolved) -> Iterator[Diagnostic]:
    """Find what the language can say, and the estimate knows, but no project is written for yet."""
    for found in BUILD_RULES.values():
        yield from found.diagnostics(resolved, resolved)

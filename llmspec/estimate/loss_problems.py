"""What can be wrong with ladders, their runs and their fits: one function a code. `llmspec.diagnostics.codes` has their documentation."""

from pathlib import Path

from llmspec.diagnostics import Diagnostic, Severity, Span
from llmspec.diagnostics.codes import problem


def _whole(path: Path) -> Span:
    return Span(str(path), 1, 1, 1, 1)


def too_narrow(span: Span, width: int, least: int) -> Diagnostic:
    """The spec is too small for a ladder below it."""
    help = ["give `llmspec ladder` the spec of the large run: it writes the small ones"]
    return problem("LS530", f"a model {width} wide leaves no room for smaller ones; it has to be at least {least} wide", span, help=help)


def bad_run(path: Path, reason: str, *, fatal: bool = False) -> Diagnostic:
    """A run cannot be used; it is left out."""
    severity = Severity.ERROR if fatal else Severity.WARNING
    return problem("LS531", f"`{path}` {reason}" + ("" if fatal else ", and is left out"), _whole(path), severity=severity)


def too_few_runs(path: Path, count: int, least: int) -> Diagnostic:
    """Not enough runs to fit a law."""
    help = ["`llmspec ladder` writes the specs of runs that suffice"]
    return problem("LS532", f"{count} finished runs of different sizes or lengths; a fit needs at least {least}", _whole(path), help=help)


def bad_fit(path: Path, reason: str) -> Diagnostic:
    """The file of a fit cannot be used."""
    return problem("LS533", f"`{path}` {reason}", _whole(path), help=["write one with `llmspec fit RUNS... -o FILE`"])


def not_writable(path: Path, reason: str) -> Diagnostic:
    """Nothing can be written there."""
    return problem("LS534", f"cannot write `{path}`: {reason}", _whole(path), help=["name another place with `-o`"])

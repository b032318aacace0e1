"""What can be wrong with a project that is to be compared: one function a code. `llmspec.diagnostics.codes` has their documentation."""

from pathlib import Path

from llmspec.diagnostics import Diagnostic, Severity, Span
from llmspec.diagnostics.codes import problem


def _whole(path: Path) -> Span:
    return Span(str(path), 1, 1, 1, 1)


def _line(path: Path, number: int, text: str) -> Span:
    return Span(str(path), number, 1, number, len(text) + 1)


def no_project(path: Path, reason: str) -> Diagnostic:
    """The directory is not one that llmspec built."""
    return problem("LS520", f"`{path}` {reason}", _whole(path), help=["name the directory that `llmspec build` wrote"])


def no_metrics(path: Path, reason: str) -> Diagnostic:
    """There is no log, or nothing in it yet."""
    help = ["start the run, or name its directory with `--output-dir`", "the first line is written after the first step"]
    return problem("LS521", f"`{path}` {reason}", _whole(path), help=help)


def bad_line(path: Path, number: int, text: str, reason: str) -> Diagnostic:
    """A line of the log is not one that a run wrote; it is left out."""
    return problem("LS522", f"line {number} {reason}, and is left out", _line(path, number, text), severity=Severity.WARNING)


def page_not_writable(path: Path, reason: str) -> Diagnostic:
    """The HTML page cannot be written."""
    return problem("LS523", f"cannot write `{path}`: {reason}", _whole(path), help=["name another file with `--html`"])

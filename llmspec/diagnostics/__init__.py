"""Diagnostics as data. A leaf: it imports nothing of llmspec and knows no terminal."""

from llmspec.diagnostics.diagnostic import Bag, CompilationError, Diagnostic, Fact, Severity, Span

__all__ = ["Bag", "CompilationError", "Diagnostic", "Fact", "Severity", "Span"]

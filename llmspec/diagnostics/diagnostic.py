"""What a diagnostic is: data, never text for a terminal."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is: an error ends the compilation, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of source text. Lines and columns count from 1 in characters; the end column is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that took part in a problem, and where it came from (`spec.yaml:14`, `preset gpt2`, `derived: ...`)."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem. `label` stands after the carets under the source line; `help` says how to mend it."""

    code: str
    name: str
    severity: Severity
    message: str
    span: Span
    label: str = ""
    facts: tuple[Fact, ...] = ()
    help: tuple[str, ...] = ()


class CompilationError(Exception):
    """Raised at a pass boundary when the bag holds an error; the bag is the message."""

    def __init__(self, bag: "Bag") -> None:
        super().__init__(f"{len(bag.errors)} errors")
        self.bag = bag


@dataclass(slots=True)
class Bag:
    """Collects the diagnostics of a compilation, and the text of every file that they may point into."""

    diagnostics: list[Diagnostic] = field(default_factory=list[Diagnostic])
    sources: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, diagnostic: Diagnostic) -> None:
        """Collect one diagnostic; the same one twice counts once."""
        if diagnostic not in self.diagnostics:
            self.diagnostics.append(diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Collect several diagnostics."""
        for diagnostic in diagnostics:
            self.add(diagnostic)

    def __iter__(self) -> Iterator[Diagnostic]:
        """The diagnostics in the order of their position."""
        return iter(sorted(self.diagnostics, key=lambda d: (d.span, d.code, d.message)))

    @property
    def errors(self) -> list[Diagnostic]:
        """Those that end the compilation."""
        return [d for d in self if d.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Diagnostic]:
        """Those that do not."""
        return [d for d in self if d.severity is Severity.WARNING]

    def raise_if_errors(self) -> None:
        """End the pass: raise `CompilationError` when there is an error."""
        if self.errors:
            raise CompilationError(self)

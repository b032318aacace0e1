"""What a rule is, and the list of all of them.

A rule is a function whose docstring is its documentation page. It yields findings; code, name and severity stand in its decorator.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from llmspec.diagnostics import Diagnostic, Fact, Severity, Span
from llmspec.diagnostics.codes import CODES, Code
from llmspec.estimate import Estimate
from llmspec.network import Network
from llmspec.resolve import Resolved


class Finding(NamedTuple):
    """What a rule found: a message, and the path of the field to point at. `span` points elsewhere where a path cannot."""

    message: str
    path: str
    label: str = ""
    facts: tuple[Fact, ...] = ()
    help: tuple[str, ...] = ()
    span: Span | None = None


class Run(NamedTuple):
    """What rules look at that costs something to know: the network and the estimate of a resolved spec."""

    resolved: Resolved
    network: Network
    estimate: Estimate


Subject = TypeVar("Subject")
SpecRule = Callable[[Resolved], Iterable[Finding]]
RunRule = Callable[[Run], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """A rule and its place in the registry."""

    code: str
    name: str
    severity: Severity
    since: str
    function: Callable[[Subject], Iterable[Finding]]

    @property
    def page(self) -> Code:
        """Its documentation page."""
        return Code(self.code, self.name, lambda: f"{inspect.getdoc(self.function)}\n", self.since)

    def diagnostics(self, subject: Subject, resolved: Resolved) -> Iterator[Diagnostic]:
        """Run the rule."""
        for finding in self.function(subject):
            span = finding.span or resolved.span(finding.path)
            yield Diagnostic(self.code, self.name, self.severity, finding.message, span, finding.label, finding.facts, finding.help)


SPEC_RULES: dict[str, Rule[Resolved]] = {}
RUN_RULES: dict[str, Rule[Run]] = {}
BUILD_RULES: dict[str, Rule[Resolved]] = {}


def rule(code: str, name: str, *, since: str, severity: Severity = Severity.ERROR) -> Callable[[SpecRule], SpecRule]:
    """Register a rule on the resolved spec."""

    def register(function: SpecRule) -> SpecRule:
        SPEC_RULES[code] = Rule(code, name, severity, since, function)
        return function

    return register


def run_rule(code: str, name: str, *, since: str, severity: Severity = Severity.ERROR) -> Callable[[RunRule], RunRule]:
    """Register a rule on the estimate."""

    def register(function: RunRule) -> RunRule:
        RUN_RULES[code] = Rule(code, name, severity, since, function)
        return function

    return register


def build_rule(code: str, name: str, *, since: str, severity: Severity = Severity.ERROR) -> Callable[[SpecRule], SpecRule]:
    """Register a rule on what can be built, which does not keep anybody from an estimate."""

    def register(function: SpecRule) -> SpecRule:
        BUILD_RULES[code] = Rule(code, name, severity, since, function)
        return function

    return register


def fact(resolved: Resolved, path: str, value: object | None = None) -> Fact:
    """A field's value and origin; the value is read from the spec where it is not given."""
    if value is None:
        value = resolved.spec
        for name in path.split("."):
            value = getattr(value, name)
    text = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    return Fact(path.rpartition(".")[2], text, resolved.origin(path).text)


def documentation() -> list[Code]:
    """The pages of all codes, rules and others, in the order of the codes."""
    rules = (found.page for found in (*SPEC_RULES.values(), *BUILD_RULES.values()))
    pages = [*CODES.values(), *rules, *(found.page for found in RUN_RULES.values())]
    return sorted(pages, key=lambda page: page.code)

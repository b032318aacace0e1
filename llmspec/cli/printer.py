"""Diagnostics to text: the only place that knows how a problem looks.

Four formats. `full` shows the source line under each message, `concise` is one line a problem (`path:line:col: CODE message`), `github`
is workflow commands, and `json` is one object with the stable keys

    errors, warnings    how many there are
    diagnostics         a list, in the order of their places, of
        code, name, severity ("error" or "warning"), message
        file, line, column, end_line, end_column    counted from 1 in characters; the end column is exclusive
        label           what stands beside the mark under the source line; may be empty
        facts           a list of {name, value, origin}: the values that took part, and where they came from
        help            a list of sentences that say how to mend it
"""

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Literal, TextIO

import click

from llmspec.diagnostics import Bag, Diagnostic, Severity

TAB = "    "
# A line of a source may be a megabyte long; this much of it is shown around the mark.
MAX_COLUMNS = 140
_CONTEXT_BEFORE = 40
_COLORS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


def print_diagnostics(
    bag: Bag, diagnostic_format: Literal["full", "concise", "json", "github"], *, to_stdout: bool = False, written: bool = False
) -> None:
    """Print what the bag holds.

    Args:
        bag: The diagnostics, and the texts that they point into.
        diagnostic_format: How they are printed.
        to_stdout: Whether they are the command's data and not remarks beside it. The summary is a remark in any case but `full`.
        written: Whether the command would have written files, which the last line then speaks of.
    """
    stream = sys.stdout if to_stdout else sys.stderr
    if diagnostic_format == "json":
        if to_stdout or bag.diagnostics:
            _echo(json_text(bag), stream)
    elif diagnostic_format == "github":
        for diagnostic in bag:
            _echo(github(diagnostic), stream)
    elif bag.diagnostics:
        for diagnostic in bag:
            _echo(full(diagnostic, bag.sources) + "\n" if diagnostic_format == "full" else concise(diagnostic), stream)
        _echo(summary(bag, written=written), stream if diagnostic_format == "full" else sys.stderr)


def _echo(text: str, stream: TextIO) -> None:
    # A terminal that cannot show a character shows its escape instead.
    encoding = stream.encoding or "utf-8"
    shown = text.encode(encoding, errors="backslashreplace").decode(encoding)
    click.echo(shown, file=stream, color=False if os.environ.get("NO_COLOR") else None)


def printable(text: str) -> str:
    """A text whose control characters, which could steer a terminal, are shown as escapes."""
    return text if text.isprintable() else "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def place(diagnostic: Diagnostic) -> str:
    """`path:line:column`."""
    span = diagnostic.span
    return f"{printable(span.file)}:{span.line}:{span.column}"


def concise(diagnostic: Diagnostic) -> str:
    """One line for a problem."""
    return f"{place(diagnostic)}: {diagnostic.code} {printable(diagnostic.message)}"


def summary(bag: Bag, *, written: bool = False) -> str:
    """The last line: how many problems there are."""
    counts = [_plural(len(bag.errors), "error")] if bag.errors else []
    counts += [_plural(len(bag.warnings), "warning")] if bag.warnings else []
    return f"Found {', '.join(counts)}." + (" No files were written." if written and bag.errors else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def full(diagnostic: Diagnostic, sources: dict[str, str]) -> str:
    """A problem with the source line that it is in, the facts that took part, and help."""
    color = _COLORS[diagnostic.severity]
    width = len(str(diagnostic.span.line))
    margin = " " * width
    bar = click.style("|", fg="blue", bold=True)
    head = click.style(f"{diagnostic.severity}[{diagnostic.code}]", fg=color, bold=True)
    lines = [
        f"{head}{click.style(f': {printable(diagnostic.message)}', bold=True)}",
        f"{margin}{click.style('-->', fg='blue', bold=True)} {click.style(place(diagnostic), fg='cyan')}",
    ]
    framed = _frame(diagnostic, sources)
    if framed is not None:
        text, before, marked = framed
        number = click.style(str(diagnostic.span.line), fg="blue", bold=True)
        label = f" {printable(diagnostic.label)}" if diagnostic.label else ""
        mark = click.style("^" * marked + label, fg=color, bold=True)
        lines += [f"{margin} {bar}", f"{number} {bar} {text}".rstrip(), f"{margin} {bar} {' ' * before}{mark}"]
    elif diagnostic.label:
        lines.append(f"{margin} {click.style('=', fg='blue', bold=True)} {printable(diagnostic.label)}")
    lines += [f"{margin} {click.style('=', fg='blue', bold=True)} {fact}" for fact in _facts(diagnostic)]
    lines += [f"{margin}{click.style('help:', fg='cyan', bold=True)} {printable(text)}" for text in diagnostic.help]
    return "\n".join(lines)


def _facts(diagnostic: Diagnostic) -> Iterator[str]:
    rows = [(printable(fact.name), printable(fact.value), printable(fact.origin)) for fact in diagnostic.facts]
    names, values = (max((columns(row[index]) for row in rows), default=0) for index in (0, 1))
    for name, value, origin in rows:
        yield f"{name}{' ' * (names - columns(name))}  {' ' * (values - columns(value))}{value}  {origin}".rstrip()


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _frame(diagnostic: Diagnostic, sources: dict[str, str]) -> tuple[str, int, int] | None:
    """The source line as it is shown, and where in it the mark starts and how long it is; None where there is no such line."""
    span = diagnostic.span
    if span.file not in sources:
        return None
    lines = _LINE_ENDS.split(sources[span.file])
    if not 1 <= span.line <= len(lines) or (len(lines) == 1 and not lines[0]):
        return None
    line = lines[span.line - 1]
    start = min(span.column - 1, len(line))
    end = min(max(span.end_column - 1 if span.end_line == span.line else len(line), start + 1), len(line) + 1)
    first = 0 if len(line) <= MAX_COLUMNS or start < MAX_COLUMNS - _CONTEXT_BEFORE else start - _CONTEXT_BEFORE
    last = min(len(line), first + MAX_COLUMNS)
    lead, trail = ("..." if first else ""), ("..." if last < len(line) else "")
    before, marked, after = (_shown(part) for part in (line[first:start], line[start : min(end, last)], line[min(end, last) : last]))
    return f"{lead}{before}{marked}{after}{trail}", len(lead) + columns(before), max(1, columns(marked))


def _shown(text: str) -> str:
    return printable(text.replace("\t", TAB))


def github(diagnostic: Diagnostic) -> str:
    """A workflow command that GitHub shows beside the line."""
    span = diagnostic.span
    properties = {
        "file": printable(span.file),
        "line": str(span.line),
        "endLine": str(span.end_line),
        "col": str(span.column),
        "endColumn": str(span.end_column),
        "title": f"{diagnostic.code} {diagnostic.name}",
    }
    listed = ",".join(f"{key}={_escape_property(value)}" for key, value in properties.items())
    label = f" ({printable(diagnostic.label)})" if diagnostic.label else ""
    text = "\n".join([f"{printable(diagnostic.message)}{label}", *(f"help: {printable(line)}" for line in diagnostic.help)])
    return f"::{diagnostic.severity} {listed}::{_escape_data(text)}"


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")


def json_text(bag: Bag) -> str:
    """All problems as one JSON object."""
    import json

    entries = [
        {
            "code": diagnostic.code,
            "name": diagnostic.name,
            "severity": str(diagnostic.severity),
            "message": diagnostic.message,
            "file": diagnostic.span.file,
            "line": diagnostic.span.line,
            "column": diagnostic.span.column,
            "end_line": diagnostic.span.end_line,
            "end_column": diagnostic.span.end_column,
            "label": diagnostic.label,
            "facts": [{"name": fact.name, "value": fact.value, "origin": fact.origin} for fact in diagnostic.facts],
            "help": list(diagnostic.help),
        }
        for diagnostic in bag
    ]
    return json.dumps({"errors": len(bag.errors), "warnings": len(bag.warnings), "diagnostics": entries}, indent=1)

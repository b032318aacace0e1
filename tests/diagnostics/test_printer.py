"""The four formats, and that no text of a spec can steer a terminal or a workflow."""

import io
import json
import sys

import click
import pytest

from llmspec.cli import printer
from llmspec.diagnostics import Bag, Diagnostic, Fact, Severity, Span

BATCH = Diagnostic(
    "LS302",
    "batch-not-divisible",
    Severity.ERROR,
    "`global_batch_size` is not divisible by `micro_batch_size * data_parallel_size`",
    Span("specs/llama-8b.yaml", 14, 22, 14, 26),
    "1000 % 96 = 40",
    (
        Fact("micro_batch_size", "2", "specs/llama-8b.yaml:15"),
        Fact("data_parallel_size", "48", "derived: 96 accelerators / tensor 2"),
    ),
    ("use 960 (10 accumulation steps) or 1056 (11)",),
)


def bag_of(*diagnostics: Diagnostic, **sources: str) -> Bag:
    return Bag(list(diagnostics), {name.replace("_", "."): text for name, text in sources.items()})


def diagnostic(span: Span, message: str = "m", label: str = "", severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic("LS999", "some-name", severity, message, span, label)


def frame(line: str, column: int, end: int, label: str = "") -> list[str]:
    text = click.unstyle(printer.full(diagnostic(Span("a.yaml", 1, column, 1, end), label=label), {"a.yaml": line}))
    return text.splitlines()[3:]


def test_full_is_laid_out_as_designed() -> None:
    source = "\n" * 13 + "  global_batch_size: 1000\n  micro_batch_size: 2\n"
    assert click.unstyle(printer.full(BATCH, {"specs/llama-8b.yaml": source})) == "\n".join(
        [
            "error[LS302]: `global_batch_size` is not divisible by `micro_batch_size * data_parallel_size`",
            "  --> specs/llama-8b.yaml:14:22",
            "   |",
            "14 |   global_batch_size: 1000",
            "   |                      ^^^^ 1000 % 96 = 40",
            "   = micro_batch_size     2  specs/llama-8b.yaml:15",
            "   = data_parallel_size  48  derived: 96 accelerators / tensor 2",
            "  help: use 960 (10 accumulation steps) or 1056 (11)",
        ]
    )


def test_without_the_source_there_is_no_frame() -> None:
    assert click.unstyle(printer.full(diagnostic(Span("gone.yaml", 1, 1, 1, 2), label="why"), {})) == (
        "error[LS999]: m\n --> gone.yaml:1:1\n  = why"
    )
    assert "|" not in printer.full(diagnostic(Span("a.yaml", 9, 1, 9, 2)), {"a.yaml": "one line"})


def test_tabs_and_wide_characters_keep_the_mark_in_place() -> None:
    assert frame("\ta: bad", 5, 8) == ["1 |     a: bad", "  |        ^^^"]
    assert frame("名: bad", 4, 7) == ["1 | 名: bad", "  |     ^^^"]
    assert frame("a: 名前", 4, 6) == ["1 | a: 名前", "  |    ^^^^"]
    assert frame("e\u0301: bad", 5, 8) == ["1 | e\u0301: bad", "  |    ^^^"]
    assert frame("a: \x1b[31m", 4, 5) == ["1 | a: \\x1b[31m", "  |    ^^^^"]


def test_marks_beyond_the_line() -> None:
    assert frame("abc", 4, 5, "end") == ["1 | abc", "  |    ^ end"]
    assert frame("abc", 99, 120) == ["1 | abc", "  |    ^"]
    assert frame("abc", 2, 999) == ["1 | abc", "  |  ^^"]


def test_long_lines_are_cut_around_the_mark() -> None:
    line = "x" * 1000 + "BAD" + "y" * 1000
    text, mark = frame(line, 1001, 1004)
    assert len(text) < 160 and text.startswith("1 | ...x") and text.endswith("y...")
    assert text[mark.index("^") : mark.rindex("^") + 1] == "BAD"


def test_concise() -> None:
    assert printer.concise(BATCH) == (
        "specs/llama-8b.yaml:14:22: LS302 `global_batch_size` is not divisible by `micro_batch_size * data_parallel_size`"
    )


def test_json_keys() -> None:
    found = json.loads(printer.json_text(bag_of(BATCH)))
    assert (found["errors"], found["warnings"]) == (1, 0)
    assert found["diagnostics"] == [
        {
            "code": "LS302",
            "name": "batch-not-divisible",
            "severity": "error",
            "message": BATCH.message,
            "file": "specs/llama-8b.yaml",
            "line": 14,
            "column": 22,
            "end_line": 14,
            "end_column": 26,
            "label": "1000 % 96 = 40",
            "facts": [
                {"name": "micro_batch_size", "value": "2", "origin": "specs/llama-8b.yaml:15"},
                {"name": "data_parallel_size", "value": "48", "origin": "derived: 96 accelerators / tensor 2"},
            ],
            "help": ["use 960 (10 accumulation steps) or 1056 (11)"],
        }
    ]
    assert json.loads(printer.json_text(Bag())) == {"errors": 0, "warnings": 0, "diagnostics": []}


def test_github_escapes() -> None:
    hostile = diagnostic(Span("a,b:c.yaml", 3, 4, 3, 9), "50%\n::error::x", "l", Severity.WARNING)
    assert printer.github(hostile) == (
        "::warning file=a%2Cb%3Ac.yaml,line=3,endLine=3,col=4,endColumn=9,title=LS999 some-name::50%25\\x0a::error::x (l)"
    )
    assert printer.github(BATCH).endswith("(1000 %25 96 = 40)%0Ahelp: use 960 (10 accumulation steps) or 1056 (11)")


def test_nothing_steers_the_terminal() -> None:
    hostile = "\x1b[2J\x07\u202e\x9b\udcff"
    found = Diagnostic(
        "LS999", "n", Severity.ERROR, hostile, Span(hostile, 1, 1, 1, 2), hostile, (Fact(hostile, hostile, hostile),), (hostile,)
    )
    for text in (click.unstyle(printer.full(found, {hostile: hostile})), printer.concise(found), printer.github(found)):
        assert all(character.isprintable() or character == "\n" for character in text)
    assert printer.json_text(bag_of(found)).isascii()


def test_summary() -> None:
    warning = diagnostic(Span("a", 1, 1, 1, 2), severity=Severity.WARNING)
    assert printer.summary(bag_of(BATCH)) == "Found 1 error."
    assert printer.summary(bag_of(BATCH, warning), written=True) == "Found 1 error, 1 warning. No files were written."
    assert printer.summary(bag_of(warning), written=True) == "Found 1 warning."


def test_streams_and_order(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = diagnostic(Span("a", 2, 1, 2, 2), "first"), diagnostic(Span("a", 10, 1, 10, 2), "second")
    printer.print_diagnostics(bag_of(second, first), "concise", to_stdout=True)
    captured = capsys.readouterr()
    assert captured.out == "a:2:1: LS999 first\na:10:1: LS999 second\n" and captured.err == "Found 2 errors.\n"
    printer.print_diagnostics(bag_of(second, first), "full")
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.index("first") < captured.err.index("second") < captured.err.index("Found 2 errors.")
    for style in ("full", "concise", "github"):
        printer.print_diagnostics(Bag(), style)
        assert capsys.readouterr() == ("", "")


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    def printed(terminal: bool) -> str:
        buffer = io.BytesIO()
        stream = (Terminal if terminal else io.TextIOWrapper)(buffer, encoding="utf-8")
        monkeypatch.setattr(sys, "stderr", stream)
        printer.print_diagnostics(bag_of(BATCH), "full")
        stream.flush()
        return buffer.getvalue().decode()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in printed(terminal=True) and "\x1b[" not in printed(terminal=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in printed(terminal=True)


def test_an_ascii_terminal_shows_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    printer.print_diagnostics(bag_of(diagnostic(Span("é.yaml", 1, 1, 1, 2))), "concise")
    stream.flush()
    assert b"\\xe9.yaml:1:1" in buffer.getvalue()

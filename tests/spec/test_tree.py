"""YAML 1.2 scalars, positions, and the bounds on what a text can cost."""

import math
import time

import pytest

from llmspec.diagnostics import Bag, CompilationError
from llmspec.spec.load import plain
from llmspec.spec.tree import MAX_NODES, Node, parse_scalar, parse_yaml


def parsed(text: str) -> Node:
    bag = Bag()
    node = parse_yaml("spec.yaml", text, bag)
    assert not bag.diagnostics
    assert node is not None
    return node


def problems(text: str) -> list[tuple[str, int, int]]:
    bag = Bag()
    try:
        parse_yaml("spec.yaml", text, bag)
    except CompilationError:
        assert bag.errors
    return [(diagnostic.code, diagnostic.span.line, diagnostic.span.column) for diagnostic in bag]


# The tables of section 10.3.2 of YAML 1.2.2, and what YAML 1.1 reads otherwise.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None), ("Null", None), ("~", None), ("", None), ("nUll", "nUll"),
        ("true", True), ("True", True), ("FALSE", False), ("tRUE", "tRUE"),
        ("no", "no"), ("off", "off"), ("yes", "yes"), ("on", "on"), ("y", "y"), ("NO", "NO"),
        ("0", 0), ("-19", -19), ("+7", 7), ("012", 12), ("-012", -12), ("0o14", 12), ("0xC", 12), ("0b11", "0b11"), ("1_000", "1_000"),
        ("1e-4", 1e-4), ("1E3", 1000.0), ("3e4", 3e4), (".5", 0.5), ("5.", 5.0), ("-.5e-3", -0.5e-3), ("6.02e+23", 6.02e23),
        ("1e", "1e"), (".", "."),
        (".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf), ("inf", "inf"), ("nan", "nan"),
        ("12:30:45", "12:30:45"), ("2024-01-01", "2024-01-01"), ("0o9", "0o9"), ("2B", "2B"),
    ],
)  # fmt: skip
def test_scalars_of_yaml_1_2(text: str, value: object) -> None:
    read = parse_scalar(text)
    assert read == value and type(read) is type(value)
    assert plain(parsed(f"[{text}, x]"))[0] == value if text else True  # type: ignore[index]


def test_nan_is_recognised() -> None:
    value = parse_scalar(".NaN")
    assert isinstance(value, float) and math.isnan(value)


def test_quotes_make_text() -> None:
    assert plain(parsed("a: '1'\nb: \"true\"\nc: ''\nd: |\n  1\n")) == {
        "a": "1",
        "b": "true",
        "c": "",
        "d": "1\n",
    }


def test_standard_tags() -> None:
    assert plain(parsed("a: !!str 12\nb: !!int '12'\nc: !!float 3\nd: ! 5\ne: !!seq [1]\nf: !!map {x: 1}")) == {
        "a": "12", "b": 12, "c": 3.0, "d": "5", "e": (1,), "f": {"x": 1},
    }  # fmt: skip
    assert problems("a: !!int x") == [("LS015", 1, 4)]
    assert problems("a: !!timestamp 2024-01-01") == [("LS015", 1, 4)]
    assert problems("a: !custom {x: 1}") == [("LS015", 1, 4)]
    assert problems("a: !!set {x}") == [("LS015", 1, 4)]


def test_numbers_of_any_length() -> None:
    huge = "9" * 100_000
    for text in (huge, f"-{huge}", f"0x{huge}", f"0o{'7' * 100_000}"):
        value = parse_scalar(text)
        assert isinstance(value, int) and abs(value) > 10**100 and (value < 0) == text.startswith("-")


def test_positions() -> None:
    tree = parsed("# comment\na: 1\nb:\n  c: [x, 'é', 3]\n  d: {e: f}\n")
    inner = tree.mapping["b"].mapping
    assert (tree.mapping["a"].span.line, tree.mapping["a"].span.column, tree.mapping["a"].span.end_column) == (2, 4, 5)
    items = inner["c"].value
    assert isinstance(items, list)
    assert [(item.span.line, item.span.column, item.span.end_column) for item in items] == [(4, 7, 8), (4, 10, 13), (4, 15, 16)]
    key = inner["d"].mapping["e"].key_span
    assert key is not None and (key.line, key.column) == (5, 7)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("odd", ["", "\u2028", "\x85", "𝄞", "e\u0301"])
def test_lines_are_an_editor_s(line_end: str, odd: str) -> None:
    text = line_end.join(["a: 'x" + odd + "y'", "b: 2", "  c: 3"])
    # The last line is wrong; it is line 3 whatever the line ends, and whatever YAML 1.1 takes for a line end.
    assert problems(text) == [("LS010", 3, 4)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1, 2", ("LS010", 1, 4)),
        ("a: 'open", ("LS010", 1, 4)),
        ('a: "open\nb: 2\n', ("LS010", 1, 4)),
        ("a: b: c", ("LS010", 1, 5)),
        ("a: 1\n b: 2", ("LS010", 2, 3)),
        ("a: @x", ("LS010", 1, 4)),
        ("a: `x`", ("LS010", 1, 4)),
        ("a\nb: 1", ("LS010", 2, 2)),
        ("%FOO\na: 1", ("LS010", 1, 5)),
        ("a:\n\tb: 1", ("LS011", 2, 1)),
        ("a:\n  b: 1\n\tc: 1", ("LS011", 3, 1)),
        ("a: 1\n---\nb: 1", ("LS012", 2, 1)),
        ("a: 1\nb: 2\na: 3", ("LS013", 3, 1)),
        ("a: {b: 1, b: 2}", ("LS013", 1, 11)),
        ("1: a", ("LS014", 1, 1)),
        ("true: a", ("LS014", 1, 1)),
        ("? [x]\n: 1", ("LS014", 1, 3)),
        ("a: *b", ("LS018", 1, 4)),
        ("a: &a [*a]", ("LS018", 1, 8)),
        ("<<: {a: 1}", ("LS019", 1, 1)),
        ("a: &a {x: 1}\nb:\n  <<: *a", ("LS019", 3, 3)),
    ],
)
def test_problems_have_places(text: str, expected: tuple[str, int, int]) -> None:
    assert problems(text) == [expected]


def test_anchors_within_reason() -> None:
    assert plain(parsed("a: &x [1, 2]\nb: *x\nc: *x")) == {"a": (1, 2), "b": (1, 2), "c": (1, 2)}


def test_bombs_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 40)]
    start = time.perf_counter()
    assert [code for code, _, _ in problems("\n".join(lines))] == ["LS016"]
    assert [code for code, _, _ in problems("[" + "x, " * (MAX_NODES + 10) + "]")] == ["LS016"]
    assert [code for code, _, _ in problems("[" * 500_000)] == ["LS017"]
    assert [code for code, _, _ in problems("{a: " * 300_000)] == ["LS017"]
    assert [code for code, _, _ in problems("- " * 400_000)] == ["LS017"]
    assert [code for code, _, _ in problems("".join(f"{' ' * i}a:\n" for i in range(1000)))] == ["LS017"]
    assert time.perf_counter() - start < 10

"""YAML 1.2 text to a tree whose every node knows its place.

PyYAML's C parser gives the events; the scalars are read by the core schema of YAML 1.2 here, since PyYAML itself reads YAML 1.1
(`no` is false there, `1e-4` a string, `012` ten). Building from events also bounds what a hostile text can cost: depth, number of
nodes, and what aliases expand to.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from llmspec.diagnostics import Bag, CompilationError, Span
from llmspec.diagnostics.codes import problem

MAX_DEPTH = 50
MAX_NODES = 50_000

Scalar = str | int | float | bool | None

# The core schema of YAML 1.2, section 10.3.2.
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMBER = re.compile(
    r"(?P<int>[-+]?[0-9]+)|0o(?P<octal>[0-7]+)|0x(?P<hexadecimal>[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)
# Python refuses to read whole numbers of more than 4300 digits, and to make floats of more than 308; what the first 250 say is as far
# beyond every bound of the language.
_MAX_DIGITS = 250

_TAG_PREFIX = "tag:yaml.org,2002:"
_SCALAR_TAGS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "bool": (bool,), "null": (type(None),)}

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Node(NamedTuple):
    """A value of the tree: a scalar, a mapping or a list.

    `span` covers the value, `key_span` its key in the mapping around it. `implicit` marks a null for which nothing is written.
    """

    value: "Scalar | dict[str, Node] | list[Node]"
    span: Span
    key_span: Span | None = None
    implicit: bool = False

    @property
    def mapping(self) -> "dict[str, Node]":
        """The entries of a mapping; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def place(self) -> Span:
        """Where to point for this node: at a scalar or a list on one line itself, else at its key."""
        if self.key_span is not None and (isinstance(self.value, dict | list) or self.value is None):
            return self.key_span
        return self.span

    def at(self, key_span: Span | None) -> "Node":
        """The same value under another key."""
        return Node(self.value, self.span, key_span, self.implicit)


class _Lines:
    """Turns offsets into lines and columns. The parser counts lines as YAML 1.1 does, with three breaks more than an editor."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.length = len(text)
        self.starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]
        self.ends = [match.start() for match in re.finditer(r"\r\n|\r|\n", text)] + [len(text)]

    def position(self, offset: int) -> tuple[int, int]:
        offset = min(offset, self.length)
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def span(self, start: int, end: int) -> Span:
        """The span from one offset to another, cut at the end of the first line."""
        line, column = self.position(start)
        end = max(start, min(end, self.ends[line - 1]))
        return Span(self.file, line, column, line, max(column + 1, column + end - start))

    def last_written(self) -> int:
        """Offset of the last line with anything on it, where a problem `at the end` is shown."""
        for start, end in zip(reversed(self.starts), reversed(self.ends), strict=True):
            if end > start:
                return end
        return 0


def parse_scalar(text: str) -> Scalar:
    """Read a plain scalar by the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    if match["float"] is not None:
        return float(text)
    base = 10 if match["int"] is not None else 8 if match["octal"] is not None else 16
    return int((match["int"] or match["octal"] or match["hexadecimal"])[:_MAX_DIGITS], base)


class _Builder:
    """Builds the tree from the parser's events."""

    def __init__(self, file: str, text: str, bag: Bag) -> None:
        self.text = text
        self.bag = bag
        self.lines = _Lines(file, text)
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.open_anchors: set[str] = set()
        self.nodes = 0

    def fail(self, code: str, message: str, span: Span, *help_lines: str, label: str = "") -> CompilationError:
        """Report what makes the text unreadable as a whole; the caller raises what this returns."""
        self.bag.add(problem(code, message, span, label=label, help=help_lines))
        return CompilationError(self.bag)

    def span(self, event: Any) -> Span:
        return self.lines.span(event.start_mark.index, event.end_mark.index)

    def span_between(self, start: Any, end: Any) -> Span:
        return self.lines.span(start.start_mark.index, end.end_mark.index)

    def document(self) -> Node | None:
        """The one document of the text; None when there is none."""
        root: Node | None = None
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.fail(
                        "LS012",
                        "a spec is one YAML document; a second one starts here",
                        self.span(event),
                        "remove the `---` line, or put the second document into a file of its own",
                    )
                root = self.node(next(self.events), depth=0)
        return root

    def count(self, span: Span, amount: int = 1) -> None:
        self.nodes += amount
        if self.nodes > MAX_NODES:
            raise self.fail(
                "LS016",
                f"the text expands to more than {MAX_NODES:,} values",
                span,
                "a spec has some hundreds; write out what the aliases (`*name`) stand for, or remove the repetition",
            )

    def node(self, event: Any, depth: int) -> Node:
        span = self.span(event)
        if depth > MAX_DEPTH:
            raise self.fail("LS017", f"values are nested more than {MAX_DEPTH} deep", span, "no section of a spec is nested deeper than 5")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor), span)
        anchor: str | None = event.anchor
        if anchor is not None:
            self.open_anchors.add(anchor)
        before = self.nodes
        self.count(span)
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self.scalar(event, span), span, implicit=not event.value and event.implicit[0])
        elif isinstance(event, yaml.SequenceStartEvent):
            self.check_collection_tag(event, span, "seq")
            node = self.sequence(event, depth)
        else:
            self.check_collection_tag(event, span, "map")
            node = self.mapping(event, depth)
        if anchor is not None:
            self.open_anchors.discard(anchor)
            self.anchors[anchor] = (node, self.nodes - before)
        return node

    def alias(self, anchor: str, span: Span) -> Node:
        if anchor in self.open_anchors:
            raise self.fail("LS018", f"the alias `*{anchor}` stands inside the value that it names", span)
        if anchor not in self.anchors:
            raise self.fail("LS018", f"the alias `*{anchor}` names no anchor above it", span, f"mark the value with `&{anchor}` first")
        node, size = self.anchors[anchor]
        self.count(span, size)
        # What is wrong inside a section is shown where it is written, a wrong scalar where it is used.
        return Node(node.value, node.span if isinstance(node.value, dict | list) else span)

    def scalar(self, event: Any, span: Span) -> Scalar:
        text: str = event.value
        tag: str | None = event.tag
        if tag is None:
            return parse_scalar(text) if event.implicit[0] else text
        name = tag.removeprefix(_TAG_PREFIX)
        if tag == "!" or (name == "str" and name != tag):
            return text
        if name != tag and name in _SCALAR_TAGS:
            value = parse_scalar(text)
            if isinstance(value, _SCALAR_TAGS[name]):
                return float(value) if name == "float" and isinstance(value, int) else value
            raise self.fail("LS015", f"the tag `!!{name}` does not fit this value", span)
        raise self.unknown_tag(tag, span)

    def check_collection_tag(self, event: Any, span: Span, name: str) -> None:
        if event.tag not in (None, "!", _TAG_PREFIX + name):
            raise self.unknown_tag(event.tag, span)

    def unknown_tag(self, tag: str, span: Span) -> CompilationError:
        shown = tag.replace(_TAG_PREFIX, "!!")
        return self.fail(
            "LS015", f"the tag `{shown}` has no meaning in a spec", span, "remove the tag; llmspec reads plain YAML values only"
        )

    def sequence(self, event: Any, depth: int) -> Node:
        items: list[Node] = []
        for inner in self.events:
            if isinstance(inner, yaml.SequenceEndEvent):
                return Node(items, self.span_between(event, inner))
            items.append(self.node(inner, depth + 1))
        raise AssertionError("the parser ends every sequence")

    def mapping(self, event: Any, depth: int) -> Node:
        entries: dict[str, Node] = {}
        for inner in self.events:
            if isinstance(inner, yaml.MappingEndEvent):
                return Node(entries, self.span_between(event, inner))
            key = self.key(inner, depth)
            value = self.node(next(self.events), depth + 1)
            if key is None:
                continue
            name, key_span = key
            if name in entries:
                first = entries[name].key_span
                assert first is not None
                self.bag.add(
                    problem(
                        "LS013",
                        f"`{name}` is given twice in this section, on lines {first.line} and {key_span.line}",
                        key_span,
                        label=f"first given on line {first.line}",
                        help=("keep one of the two",),
                    )
                )
                continue
            entries[name] = value.at(key_span)
        raise AssertionError("the parser ends every mapping")

    def key(self, event: Any, depth: int) -> tuple[str, Span] | None:
        """The name and place of a key; None, and a diagnostic, for what cannot be a name."""
        span = self.span(event)
        node = self.node(event, depth + 1)
        if isinstance(node.value, str) and not (node.value == "<<" and event.implicit[0]):
            return node.value, span
        if node.value == "<<":
            self.bag.add(
                problem(
                    "LS019",
                    "the merge key `<<` is not part of YAML 1.2",
                    span,
                    help=("write the fields out, or put what is shared into a file of its own and name it under `extends`",),
                )
            )
            return None
        kind = "a mapping" if isinstance(node.value, dict) else "a list" if isinstance(node.value, list) else "not text"
        quoted = self.text[event.start_mark.index : event.end_mark.index].strip()
        hints = (f'write "{quoted}" in quotes if it is meant as a name',) if kind == "not text" and quoted and len(quoted) < 40 else ()
        self.bag.add(problem("LS014", f"a key must be a name, and this one is {kind}", span, help=hints))
        return None


def _syntax_error(error: Any, text: str, lines: _Lines, bag: Bag) -> None:
    """Turn the parser's complaint into a diagnostic that says what to look at."""
    mark = error.problem_mark or error.context_mark
    offset = mark.index if mark is not None else 0
    stated = str(error.problem or error.context or "it cannot be read").removeprefix("while ")
    if offset >= len(text.rstrip()):
        # At the end of the text the parser knows only that something is missing; where it began says more.
        offset = error.context_mark.index if error.context_mark is not None else lines.last_written()
    line, _ = lines.position(offset)
    source_line = text[lines.starts[line - 1] : lines.ends[line - 1]]
    indent = source_line[: len(source_line) - len(source_line.lstrip(" \t"))]
    if "\t" in indent:
        at = lines.starts[line - 1] + indent.index("\t")
        message = "a tab is used for indentation, where YAML wants spaces"
        bag.add(problem("LS011", message, lines.span(at, at + 1), help=("replace each tab with two spaces",)))
        return
    hints: tuple[str, ...] = ()
    stripped = source_line.strip()
    if "mapping values are not allowed" in stated:
        stated = "a `key: value` stands where a single value is expected"
        hints = ("put text that contains `: ` in quotes, or check the indentation of this line and the one above",)
    elif "could not find expected ':'" in stated:
        stated = "this line is neither `key: value` nor part of the value above"
        hints = ("write `key: value`, with a space after the colon",)
    elif "did not find expected key" in stated or "expected <block end>" in stated or "did not find expected '-' indicator" in stated:
        stated = "the indentation of this line fits no section above it"
        hints = ("keys of one section start in the same column",)
    elif "',' or ']'" in stated or "',' or '}'" in stated:
        stated = "a bracket that opens a list or a mapping is not closed, or a comma is missing"
        hints = ("close `[` with `]` and `{` with `}`, and separate the entries with commas",)
    elif "unexpected end of stream" in stated and "quoted" in str(error.context):
        stated = "a quote is opened here and never closed"
    elif "cannot start any token" in stated and offset < len(text):
        stated = f"a value cannot start with `{text[offset]}`"
        hints = (f"put the text in quotes: `'{text[offset]}...'`",)
    elif stripped.startswith("%"):
        stated = "a line that starts with `%` is a YAML directive, and this one is not known"
    bag.add(problem("LS010", f"not valid YAML: {stated}", lines.span(offset, offset + 1), help=hints))


def parse_yaml(file: str, text: str, bag: Bag) -> Node | None:
    """Read one YAML document. None when the text holds none; raises `CompilationError` when it cannot be read."""
    lines = _Lines(file, text)
    try:
        return _Builder(file, text, bag).document()
    except yaml.MarkedYAMLError as error:
        _syntax_error(error, text, lines, bag)
    except yaml.reader.ReaderError as error:
        bag.add(problem("LS010", f"not valid YAML: {error.reason}", lines.span(error.position, error.position + 1)))
    raise CompilationError(bag)

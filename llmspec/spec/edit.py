"""Changes to a spec's own text: a field that is there is replaced where it stands, a missing one is added to its section.

All else of the text stays as it is, comments and line ends too. What is edited is the file itself: what comes from presets and extended
files is overridden in it, as a person would.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from llmspec.diagnostics import Bag, CompilationError, Span
from llmspec.spec.source import Source, parse
from llmspec.spec.standalone import scalar_text
from llmspec.spec.tree import Node, Scalar

INDENT = "  "
_BREAK = re.compile(r"\r\n|\r|\n")


class NotEditableError(Exception):
    """The text is written in a way that these few operations cannot change; `span` is the place."""

    def __init__(self, reason: str, span: Span) -> None:
        super().__init__(reason)
        self.span = span


def edited(source: Source, changes: Sequence[tuple[str, Scalar]]) -> str:
    """The text with some fields changed, each a dotted path below a section, and its value.

    Raises:
        NotEditableError: A field stands where it cannot be changed alone.
    """
    text = source.text
    for path, value in changes:
        text = _changed(source._replace(text=text), path.split("."), scalar_text(value))
    return text


def _changed(source: Source, path: Sequence[str], value: str) -> str:
    bag = Bag()
    try:
        node = parse(source, bag)
    except CompilationError:
        raise NotEditableError("it is not valid YAML", Span(source.file, 1, 1, 1, 2)) from None
    text = source.text
    for depth, name in enumerate(path):
        below = node.mapping.get(name)
        if below is None:
            return _added(text, node, path[depth:], value, top=depth == 0)
        node = below
        if depth + 1 < len(path) and not isinstance(node.value, dict):
            if node.value is not None:
                raise NotEditableError(f"`{name}` is no section there", node.place)
            # A section of which only the name stands there.
            return _replaced(text, node, _flow(path[depth + 1 :], value))
    if isinstance(node.value, dict | list):
        if value != "null":
            raise NotEditableError(f"`{path[-1]}` is a section there", node.place)
        raise NotEditableError(f"`{path[-1]}` has to go, and is a section there", node.place)
    return _replaced(text, node, value)


def _flow(path: Sequence[str], value: str) -> str:
    for name in reversed(path):
        value = f"{{{scalar_text(name)}: {value}}}"
    return value


def _offset(text: str, line: int, column: int) -> int:
    starts = [0, *(match.end() for match in _BREAK.finditer(text))]
    return starts[line - 1] + column - 1


def _replaced(text: str, node: Node, value: str) -> str:
    """The text with another value in the place of a scalar."""
    span = node.span
    start = _offset(text, span.line, span.column)
    if node.implicit:
        # Nothing is written: the value goes behind the colon.
        assert node.key_span is not None
        key_end = _offset(text, node.key_span.line, node.key_span.column)
        colon = text.index(":", key_end + node.key_span.end_column - node.key_span.column)
        return f"{text[: colon + 1]} {value}{text[colon + 1 :]}"
    end = _offset(text, span.end_line, span.end_column)
    old = text[start:end]
    if old[:1] in "&!|>":
        raise NotEditableError(f"`{old.split()[0]}` stands before the value", span)
    return text[:start] + value + text[end:]


def _added(text: str, section: Node, path: Sequence[str], value: str, *, top: bool) -> str:
    """The text with a field more in a section that is there."""
    newline = match.group() if (match := _BREAK.search(text)) else "\n"
    start = _offset(text, section.span.line, section.span.column)
    if text[start : start + 1] == "{":
        entry = f"{scalar_text(path[0])}: {_flow(path[1:], value)}"
        if not section.mapping:
            return f"{text[: start + 1]}{entry}{text[start + 1 :]}"
        # Behind the last entry, wherever the bracket closes.
        last = list(section.mapping.values())[-1]
        end = _end(text, last)
        return f"{text[:end]}, {entry}{text[end:]}"
    first = next(iter(section.mapping.values()))
    assert first.key_span is not None
    column = first.key_span.column
    pad = " " * (column - 1)
    if top and len(path) > 1:
        lines = [f"{pad}{scalar_text(path[0])}:", f"{pad}{INDENT}{scalar_text(path[1])}: {_flow(path[2:], value)}"]
    else:
        lines = [f"{pad}{scalar_text(path[0])}: {_flow(path[1:], value)}"]
    place = _after(text, section, column)
    before, after = text[:place], text[place:]
    if before and not before.endswith(("\n", "\r")):
        before += newline
    gap = newline if top and len(path) > 1 else ""
    return before + gap + newline.join(lines) + newline + after


def _end(text: str, node: Node) -> int:
    """Where a value of a flow mapping ends."""
    if isinstance(node.value, dict | list):
        # Its span is cut at the end of the first line, so the closing bracket is looked for.
        return _closing(text, _offset(text, node.span.line, node.span.column))
    if node.implicit:
        assert node.key_span is not None
        colon = text.index(":", _offset(text, node.key_span.end_line, node.key_span.end_column))
        return colon + 1
    return _offset(text, node.span.end_line, node.span.end_column)


def _closing(text: str, start: int) -> int:
    """The offset behind the bracket that closes the one at `start`, quotes and comments left aside."""
    depth, index, quote = 0, start, ""
    while index < len(text):
        character = text[index]
        if quote:
            if character == "\\" and quote == '"':
                index += 1
            elif character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        elif character == "#" and text[index - 1] in " \t\r\n":
            index = match.start() if (match := _BREAK.search(text, index)) else len(text)
            continue
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
            if depth == 0:
                return index + 1
        index += 1
    raise AssertionError("the parser has seen every bracket closed")


def _after(text: str, section: Node, column: int) -> int:
    """The start of the line behind a block section's last one: before blank lines and comments of what follows it."""
    last_key = max(entry.key_span.line for entry in section.mapping.values() if entry.key_span is not None)
    lines = text.splitlines(keepends=True) if not re.search("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text) else _lines(text)
    end = last_key
    for number in range(last_key, len(lines)):
        line = lines[number]
        body = line.strip()
        indent = len(line) - len(line.lstrip(" "))
        if body.startswith("#") and indent >= column - 1 > 0 and end == number:
            end = number + 1  # a comment that stands with the section's last entry
            continue
        if not body or body.startswith("#"):
            continue
        if indent < column:
            # Lists may stand as far left as their key.
            if indent == column - 1 and body.startswith("-"):
                end = number + 1
                continue
            break
        end = number + 1
    return sum(len(line) for line in lines[:end])


def _lines(text: str) -> list[str]:
    starts = [0, *(match.end() for match in _BREAK.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(starts) if end > start]

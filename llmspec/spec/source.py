"""Files to text: what can be wrong with a file before its YAML is looked at."""

import codecs
import os
import re
import stat
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from llmspec.diagnostics import Bag, CompilationError, Span
from llmspec.diagnostics.codes import problem
from llmspec.diagnostics.suggest import choice, nearest
from llmspec.spec.tree import Node, parse_yaml

MAX_BYTES = 1_000_000

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# What YAML does not allow in a text.
_UNPRINTABLE = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


class Layer(StrEnum):
    """Who wrote a source."""

    SPEC = "spec"
    PRESET = "preset"
    OVERRIDE = "override"


class Source(NamedTuple):
    """A text and where it is from. `file` is its name for people, as it stands in every span."""

    file: str
    text: str
    path: Path | None = None
    layer: Layer = Layer.SPEC


def _start(file: str) -> Span:
    return Span(file, 1, 1, 1, 2)


def _missing(path: Path) -> tuple[str, list[str]]:
    """The message and help for a file that does not exist."""
    parent = path.parent
    if not parent.is_dir():
        return f"there is no directory `{parent}`", []
    try:
        # Listing stops somewhere: a directory of a million files is no reason to wait for a suggestion.
        names = [entry.name for entry, _ in zip(os.scandir(parent), range(5000), strict=False) if entry.is_file()]
    except OSError:
        names = []
    specs = [name for name in names if name.endswith((".yaml", ".yml"))]
    near = nearest(path.name, specs) or nearest(path.stem, [Path(name).stem for name in specs])
    near = [name if name in names else next(spec for spec in specs if Path(spec).stem == name) for name in near]
    hints = [f"did you mean {choice([str(parent / name) for name in near])}?"] if near else []
    return f"there is no file `{path}`", hints


def read_source(path: Path, bag: Bag, *, file: str | None = None, layer: Layer = Layer.SPEC, at: Span | None = None) -> Source:
    """Read a file as text.

    Args:
        path: The file.
        bag: Where problems go.
        file: Its name for people; the path as given when left out.
        layer: Who wrote it.
        at: Where another spec names this file, to which problems of finding it then point.

    Raises:
        CompilationError: The file cannot be read, or is no text; the bag says why.
    """
    file = file if file is not None else str(path)
    where = at or _start(file)

    def fail(code: str, message: str, *hints: str, span: Span | None = None) -> CompilationError:
        bag.add(problem(code, message, span or where, help=hints))
        return CompilationError(bag)

    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            inside = sorted(entry.name for entry in path.glob("[!.]*.y*ml"))[:3]
            hints = [f"name the spec in it: {choice([str(path / name) for name in inside])}"] if inside else []
            raise fail("LS002", f"`{path}` is a directory, not a spec", *hints)
        if status.st_size > MAX_BYTES:
            size = f"{status.st_size / 1e6:,.0f} MB" if status.st_size >= 2e6 else f"{status.st_size:,} bytes"
            raise fail("LS004", f"`{path}` has {size}; a spec has at most 1 MB", "check that this is the spec and not its data")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        message, hints = _missing(path)
        raise fail("LS202" if at else "LS001", message, *hints) from None
    except PermissionError:
        raise fail("LS003", f"`{path}` may not be read by this user", f"grant it with `chmod u+r {path}`") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise fail("LS003", f"`{path}` cannot be read: {reason.lower()}") from None
    if len(content) > MAX_BYTES:
        raise fail("LS004", f"`{path}` has more than 1 MB; a spec has at most 1 MB", "check that this is the spec and not its data")
    return Source(file, _decode(content, file, path, bag), path, layer)


def _decode(content: bytes, file: str, path: Path, bag: Bag) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            help_lines = (f"save it as UTF-8: `iconv -f {encoding} -t UTF-8 {path} > utf8.yaml`",)
            bag.add(problem("LS006", f"`{path}` is {encoding}, which its first bytes say; a spec is UTF-8", _start(file), help=help_lines))
            raise CompilationError(bag)
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        span = _position(file, before)
        if b"\0" in content:
            bag.add(problem("LS005", f"`{path}` is a binary file, not a spec", _start(file)))
            raise CompilationError(bag) from None
        # The line is shown with what could be read of it.
        bag.sources[file] = content.decode("utf-8", errors="replace")
        message = f"byte {error.start + 1} (0x{content[error.start]:02x}) is not UTF-8"
        help_lines = ("save the file as UTF-8; in Latin-1 or Windows-1252 this byte is " + _as_latin(content[error.start]),)
        bag.add(problem("LS006", message, span, help=help_lines))
        raise CompilationError(bag) from None
    if "\0" in text:
        bag.add(problem("LS005", f"`{path}` is a binary file, not a spec", _start(file)))
        raise CompilationError(bag)
    return text


def _as_latin(byte: int) -> str:
    character = bytes([byte]).decode("cp1252", errors="replace")
    return f"`{character}`" if character.isprintable() and character != "\ufffd" else "a control character"


def _position(file: str, before: str) -> Span:
    """The span of the one character after a text."""
    lines = re.split(r"\r\n|\r|\n", before)
    line, column = len(lines), len(lines[-1]) + 1
    return Span(file, line, column, line, column + 1)


def parse(source: Source, bag: Bag) -> Node:
    """Parse a source, which must be a mapping.

    Raises:
        CompilationError: It cannot be parsed at all; the bag says where and why. Smaller problems, such as a key given twice, only
            go to the bag.
    """
    bag.sources[source.file] = source.text
    _refuse_unprintable(source, bag)
    node = parse_yaml(source.file, source.text, bag)
    if node is None or (node.value is None and node.implicit):
        hints = ("start with `llmspec: 1` and `name: my-run`, or let `llmspec init` write one",) if source.layer is Layer.SPEC else ()
        bag.add(
            problem(
                "LS007", "the file is empty" if not source.text.strip() else "the file holds only comments", _start(source.file), help=hints
            )
        )
        raise CompilationError(bag)
    if not isinstance(node.value, dict):
        found = "a list" if isinstance(node.value, list) else "a single value"
        hint = "a spec is a mapping of sections, such as `architecture:` and `training:`"
        bag.add(problem("LS020", f"the spec is {found}, not a mapping", node.span, help=(hint,)))
        raise CompilationError(bag)
    return node


def _refuse_unprintable(source: Source, bag: Bag) -> None:
    # Most texts are printable as Python sees it, which is faster found out than the pattern is compiled.
    if source.text.replace("\n", "").isprintable():
        return
    match = re.search(_UNPRINTABLE, source.text)
    if match is not None:
        message = f"the control character U+{ord(match[0]):04X} stands here"
        span = _position(source.file, source.text[: match.start()])
        bag.add(problem("LS008", message, span, help=('remove it; in quotes it can be written as an escape such as "\\t"',)))
        raise CompilationError(bag)


def parse_value(source: Source, bag: Bag) -> Node:
    """Parse a source that may be any value; nothing at all is null."""
    _refuse_unprintable(source, bag)
    node = parse_yaml(source.file, source.text, bag)
    return node if node is not None else Node(None, _start(source.file))

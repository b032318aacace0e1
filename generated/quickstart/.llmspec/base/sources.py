"""Where the text comes from: files, cut into units of work and read as documents.

A document is an iterable of pieces of text, because it may be larger than memory; a piece is not,
and ends at a line end where there is one. Text must be UTF-8: a file that is not is named, nothing
is guessed or replaced.
"""

import os
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from config import PythonStdlibSource

Source = PythonStdlibSource
Document = Iterable[str]

PROJECT = Path(__file__).resolve().parent
PIECE_CHARACTERS = 2**17
# A source is cut into some 256 units: every worker has work, and little is lost when one is killed.
UNITS_PER_SOURCE, MIN_UNIT_BYTES, MAX_UNIT_BYTES = 256, 2**20, 2**28
# What is not written by hand, or not part of the library.
SKIPPED_DIRECTORIES = {
    "__pycache__",
    "dist-packages",
    "encodings",
    "idle_test",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
}
SKIPPED_FILES = (
    "*_test.py",
    "test_*.py",
    "_sysconfigdata*",
    "_casefix.py",
    "entities.py",
    "stringprep.py",
)


@dataclass(frozen=True)
class Part:
    """A file."""

    path: str
    num_bytes: int


@dataclass(frozen=True)
class Unit:
    """What a worker reads at a time: parts of one source."""

    source: Source
    index: int
    parts: tuple[Part, ...]

    @property
    def num_bytes(self) -> int:
        """What is left to read, as progress bars count it."""
        return sum(part.num_bytes for part in self.parts)


def plan_units(source: Source) -> list[Unit]:
    """Cut a source into units. The cuts depend on its files alone, not on who reads them."""
    sizes = {path: (PROJECT / path).stat().st_size for path in find_files(source)}
    unit_bytes = min(max(sum(sizes.values()) // UNITS_PER_SOURCE, MIN_UNIT_BYTES), MAX_UNIT_BYTES)
    parts = [Part(path, num_bytes) for path, num_bytes in sizes.items()]
    units: list[list[Part]] = []
    room = 0
    for part in parts:
        if not units or part.num_bytes > room:
            units.append([])
            room = unit_bytes
        units[-1].append(part)
        room -= part.num_bytes
    return [Unit(source, index, tuple(parts)) for index, parts in enumerate(units)]


def find_files(source: Source) -> list[str]:
    """The source files of the running Python's standard library, in a fixed order."""
    files: list[str] = []
    for directory, directories, names in os.walk(sysconfig.get_path("stdlib")):
        directories[:] = sorted(set(directories) - SKIPPED_DIRECTORIES)
        files += [
            os.path.join(directory, name)
            for name in sorted(names)
            if name.endswith(".py") and not any(fnmatch(name, pattern) for pattern in SKIPPED_FILES)
        ]
    return files


def read_documents(unit: Unit) -> Iterator[Document]:
    """The documents of a unit, in order; each is to be consumed before the next is asked for."""
    for part in unit.parts:
        yield read_pieces(part)


def read_pieces(part: Part) -> Document:
    """A file as one document."""
    with naming(part.path), open(PROJECT / part.path, encoding="utf-8", newline="\n") as file:
        while piece := file.read(PIECE_CHARACTERS):
            yield piece + file.readline(PIECE_CHARACTERS)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Name the file in errors that do not."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}") from error


def is_validation(text_hash: bytes, validation_fraction: float) -> bool:
    """Whether a document is for validation. Its text alone decides: it is never on both sides."""
    return int.from_bytes(text_hash[:8], "big") < validation_fraction * 2**64


@contextmanager
def progress(description: str, num_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how much of `num_bytes` is done: a bar on a terminal, elsewhere a line now and then."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(description, total=num_bytes)
            yield lambda done: bar.advance(task, done)
        return

    total_done, next_line = 0, time.monotonic() + 10

    def advance(done: int) -> None:
        nonlocal total_done, next_line
        total_done += done
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + 10
            percent = 100 * total_done / max(num_bytes, 1)
            print(f"{description}: {total_done / 1e6:,.0f} MB, {percent:.0f} %", flush=True)

    yield advance

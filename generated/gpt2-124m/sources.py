"""Where the text comes from: files, cut into units of work and read as documents.

A document is an iterable of pieces of text, because it may be larger than memory; a piece is not,
and ends at a line end where there is one. Text must be UTF-8: a file that is not is named, nothing
is guessed or replaced.
"""

import glob
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from config import ParquetSource

Source = ParquetSource
Document = Iterable[str]

PROJECT = Path(__file__).resolve().parent
PIECE_CHARACTERS = 2**17
# A source is cut into some 256 units: every worker has work, and little is lost when one is killed.
UNITS_PER_SOURCE, MIN_UNIT_BYTES, MAX_UNIT_BYTES = 256, 2**20, 2**28


@dataclass(frozen=True)
class Part:
    """A file, or a stretch of it: row group `start`."""

    path: str
    num_bytes: int
    start: int = 0


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
    parts = [part for path in sizes for part in cut_file(source, path, sizes[path], unit_bytes)]
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
    """The files that a source's paths name or match, in a fixed order."""
    files: set[str] = set()
    for path in source.paths:
        matches = [path]
        if not (PROJECT / path).is_file():
            matches = glob.glob(path, root_dir=PROJECT, recursive=True)
            matches = [match for match in matches if (PROJECT / match).is_file()]
        if not matches:
            raise ValueError(f"source {source.name!r}: no file matches {path!r} in {PROJECT}")
        files.update(matches)
    return sorted(files)


def cut_file(source: Source, path: str, num_bytes: int, unit_bytes: int) -> list[Part]:
    """Cut a file into its row groups."""
    return find_row_groups(path, source.text_field)


def read_documents(unit: Unit) -> Iterator[Document]:
    """The documents of a unit, in order; each is to be consumed before the next is asked for."""
    for part in unit.parts:
        yield from read_parquet(part, unit.source.text_field)


def find_row_groups(path: str, text_field: str) -> list[Part]:
    """The row groups of a file."""
    with naming(path), pyarrow.parquet.ParquetFile(PROJECT / path) as file:
        columns = file.schema_arrow.names
        if text_field not in columns:
            raise ValueError(f"{path}: no column {text_field!r}; there are {', '.join(columns)}")
        return [
            Part(path, file.metadata.row_group(index).total_byte_size, start=index)
            for index in range(file.num_row_groups)
        ]


def read_parquet(part: Part, text_field: str) -> Iterator[Document]:
    """The text of each row of a row group; a null is an empty text."""
    with naming(part.path), pyarrow.parquet.ParquetFile(PROJECT / part.path) as file:
        for rows in file.iter_batches(256, row_groups=[part.start], columns=[text_field]):
            for text in rows.column(0).to_pylist():
                if not isinstance(text, str | None):
                    kind = type(text).__name__
                    raise ValueError(f"{part.path}: {text_field!r} holds {kind}, not text")
                yield cut_text(text or "")


def cut_text(text: str) -> Iterator[str]:
    """Cut a text into pieces, at line ends where there are any."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        limit = start + PIECE_CHARACTERS
        stop = text.rfind("\n", start, limit) + 1 or limit
        yield text[start:stop]
        start = stop
    yield text[start:]


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Name the file in errors that do not."""
    try:
        yield
    except (UnicodeDecodeError, pyarrow.ArrowInvalid) as error:
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

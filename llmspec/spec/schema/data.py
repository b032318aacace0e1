"""`data:` where the text comes from and how it is packed."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import ByKind, Name, Positive, Section, Text, section

Paths = Text | tuple[Text, ...]


class Source(Section):
    """Fields that every source shares."""

    name: Name
    """Name of the source in logs and file names; unique in the list. Required."""

    weight: Positive | None = None
    """Share of training sequences drawn from this source, relative to the other sources' weights; given for all sources or for
    none. Default: null, in proportion to each source's tokens."""


class TextSource(Source):
    """Plain text files, also .gz and .zst."""

    kind: Literal["text"]
    """Plain text files."""

    path: Paths
    """One path or glob, or a list of them, relative to the spec. Required."""

    document: Literal["file", "line", "paragraph"] = "file"
    """What one document is; `paragraph` splits at blank lines. Default: file."""


class JsonlSource(Source):
    """One JSON object a line, also .gz and .zst."""

    kind: Literal["jsonl"]
    """One JSON object a line."""

    path: Paths
    """One path or glob, or a list of them, relative to the spec. Required."""

    text_field: Text = "text"
    """Key that holds the text. Default: text."""


class ParquetSource(Source):
    """Parquet files, read a row group at a time."""

    kind: Literal["parquet"]
    """Parquet files."""

    path: Paths
    """One path or glob, or a list of them, relative to the spec. Required."""

    text_field: Text = "text"
    """Column that holds the text. Default: text."""


class PythonStdlibSource(Source):
    """The source files of the running Python's own standard library, tests and generated tables left out. Needs no download."""

    kind: Literal["python_stdlib"]
    """The running Python's standard library."""


class Packing(Section):
    """How documents share a training sequence."""

    document_mask: bool = True
    """Tokens see only their own document, positions restart with it, and no loss crosses its end. Default: true."""


class Data(Section):
    """Where the text comes from and how it is packed."""

    sources: Annotated[
        tuple[Annotated[TextSource | JsonlSource | ParquetSource | PythonStdlibSource, ByKind()], ...],
        Field(min_length=1, max_length=1000),
    ]
    """The sources, mixed by weight. At least one."""

    validation_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    """Share of documents, chosen by a hash of their text, that are never trained on. Default: 0.01."""

    packing: Packing = section()
    """How documents share a training sequence."""

"""What the sources' files say, as far as they lie on this machine. Data may live elsewhere, so every answer can be `not known`."""

import os
import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

from llmspec.diagnostics.suggest import nearest
from llmspec.spec.schema import Spec
from llmspec.spec.schema.data import JsonlSource, ParquetSource, PythonStdlibSource, TextSource
from llmspec.spec.schema.tokenizer import CharTokenizer, SentencePieceTokenizer

MAX_CORPUS_BYTES = 8_000_000
# The standard library has some 10 MB of code, and a vocabulary up to this size is far below its bound: no need to read it.
STDLIB_IS_ENOUGH_FOR = 200_000
_MAX_FILES = 10_000
_GLOB = re.compile(r"[*?\[]")


def paths_of(source: TextSource | JsonlSource | ParquetSource | PythonStdlibSource) -> list[tuple[str, str]]:
    """The paths of a source, each with the end of its own path in the spec."""
    if isinstance(source, PythonStdlibSource):
        return []
    if isinstance(source.path, str):
        return [(source.path, "path")]
    return [(path, f"path[{index}]") for index, path in enumerate(source.path)]


def matching_files(directory: Path, pattern: str) -> list[Path] | None:
    """The files that a path or glob names; None where that cannot be said."""
    try:
        if (directory / pattern).is_file():
            return [directory / pattern]
        if not _GLOB.search(pattern):
            return []
        import glob

        found = islice(glob.iglob(pattern, root_dir=directory, recursive=True), _MAX_FILES)  # noqa: PTH207 - absolute patterns too
        return [directory / name for name in found if (directory / name).is_file()]
    except (OSError, ValueError, re.error):
        return None


def nearest_existing(directory: Path, pattern: str) -> str | None:
    """What there is in place of a path that leads nowhere, as a sentence; None where there is nothing to say."""
    here = directory
    for part in Path(pattern).parts:
        try:
            exists = (here / part).exists()
            names = [] if exists else sorted(entry.name for entry in islice(os.scandir(here), 5000) if not entry.name.startswith("."))
        except (OSError, ValueError):
            return None
        if exists:
            here = here / part
            continue
        near = nearest(part, names)
        if near:
            return f"did you mean `{here / near[0]}`?"
        if not _GLOB.search(part):
            return f"there is no `{here / part}`"
        shown = ", ".join(f"`{name}`" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return f"`{here}` holds {shown}" if names else f"`{here}` is empty"
    return f"`{here}` is a directory; `{Path(pattern) / '*'}` names its files"


def largest_vocabulary(spec: Spec, directory: Path) -> tuple[int, int] | None:
    """An upper bound of the vocabulary that a tokenizer can be trained to on the sources, and the bytes of text that it rests on.

    Each piece of a bpe or unigram vocabulary is a character, or a stretch of some word that training met. A word of n characters
    yields at most n merges, and at most n + 2 candidates of the unigram trainer, so unique words bound both. None where the text is
    not all here, or is more than is worth reading for this.
    """
    tokenizer = spec.tokenizer
    if not isinstance(tokenizer, CharTokenizer | SentencePieceTokenizer):
        return None
    special = 1 + tokenizer.add_bos + tokenizer.add_eos
    characters: set[str] = set()
    words: set[str] = set()
    size = 0
    for source in spec.data.sources:
        if isinstance(source, ParquetSource) or (isinstance(source, PythonStdlibSource) and tokenizer.vocab_size <= STDLIB_IS_ENOUGH_FOR):
            return None
        texts = _stdlib() if isinstance(source, PythonStdlibSource) else _texts(source, directory, MAX_CORPUS_BYTES - size)
        if texts is None:
            return None
        for text in texts:
            size += len(text.encode())
            if isinstance(tokenizer, SentencePieceTokenizer) and tokenizer.normalization == "nfkc":
                import unicodedata

                text = unicodedata.normalize("NFKC", text)
            characters.update(text)
            words.update(text.split(" "))
    if isinstance(tokenizer, CharTokenizer):
        return special + len(characters), size
    longest_run_of_blanks = 16
    bytes_and_tab = 256 * tokenizer.byte_fallback + 1
    return special + bytes_and_tab + len(characters) + longest_run_of_blanks + sum(len(word) + 2 for word in words), size


def _texts(source: TextSource | JsonlSource, directory: Path, budget: int) -> list[str] | None:
    """The texts of a source's files; None where one cannot be read here or all of them go beyond the budget."""
    texts = []
    for pattern, _ in paths_of(source):
        files = matching_files(directory, pattern)
        if not files:
            return None
        for file in files:
            text = _read(file, budget)
            if text is None:
                return None
            budget -= len(text.encode())
            texts.append(text if isinstance(source, TextSource) else "\n".join(_json_texts(text, source.text_field)))
    return texts


def _read(file: Path, budget: int) -> str | None:
    import gzip

    if file.suffix == ".zst":
        return None
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(budget + 1)
    except (OSError, EOFError):
        return None
    return content.decode("utf-8", errors="replace") if len(content) <= budget else None


def _json_texts(text: str, field: str) -> Iterator[str]:
    import json

    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get(field), str):
            yield entry[field]


@cache
def _stdlib() -> tuple[str, ...]:
    """The running Python's standard library, packages that were installed into it left out."""
    import sysconfig

    texts = []
    for folder, folders, names in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = [name for name in folders if name not in ("site-packages", "dist-packages", "__pycache__")]
        texts += [Path(folder, name).read_text(encoding="utf-8", errors="replace") for name in sorted(names) if name.endswith(".py")]
    return tuple(texts)

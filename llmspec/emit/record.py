"""`.llmspec`: what the last build rendered, kept beside the project so that a rebuild can tell edits from its own text.

.llmspec/lock.json    format, llmspec version, and the hash of every pristine file
.llmspec/base/        the pristine files
.llmspec/staging/     only during a build: what is about to be moved into place
.llmspec/journal.json only during a build: the moves, from the moment on when all of them will be made
"""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import cast

from llmspec import __version__
from llmspec.emit.project import EmittedText, Project

FORMAT = 1
RECORD = ".llmspec"
LOCK = f"{RECORD}/lock.json"
BASE = f"{RECORD}/base"
STAGING = f"{RECORD}/staging"
JOURNAL = f"{RECORD}/journal.json"


class DamagedRecordError(Exception):
    """The record is not as llmspec left it."""


class NewerRecordError(Exception):
    """The record has a format that this llmspec does not know."""


def digest(text: str) -> str:
    """The hash of a file's content."""
    return hashlib.sha256(encode(text)).hexdigest()


def encode(text: str) -> bytes:
    """Text as it is on the disk; what was not UTF-8 when it was read comes out unchanged."""
    return text.encode("utf-8", "surrogateescape")


def decode(content: bytes) -> str:
    """The text of a file, with a stand-in for each byte that is not UTF-8."""
    return content.decode("utf-8", "surrogateescape")


def is_project_path(path: str) -> bool:
    """Whether a path can be that of an emitted file: inside the project, and not where the record and the runs are."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or str(pure) != path or "\\" in path or "\0" in path:
        return False
    return ".." not in pure.parts and pure.parts[:1] not in ((), (RECORD,), (".git",), ("data",), ("run",))


def lock_text(files: Project) -> str:
    """The lock: the same bytes for the same files, whenever and wherever it is written."""
    entries = {path: {"sha256": digest(file.text), "executable": file.executable} for path, file in sorted(files.items())}
    return json.dumps({"format": FORMAT, "llmspec": __version__, "files": entries}, indent=2) + "\n"


def read_record(directory: Path) -> Project | None:
    """The pristine files of the last build; None where llmspec has not built.

    Raises:
        DamagedRecordError: The lock cannot be read, or a pristine file is not the one it names.
        NewerRecordError: A newer llmspec wrote the lock; the exception says which.
    """
    try:
        text = (directory / LOCK).read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise DamagedRecordError(f"`{LOCK}` is not a text file") from error
    try:
        lock = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedRecordError(f"`{LOCK}` is not JSON") from error
    version = lock.get("format") if isinstance(lock, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise NewerRecordError(str(lock.get("llmspec", "of a later release")))
    if version != FORMAT or not isinstance(lock.get("files"), dict):
        raise DamagedRecordError(f"`{LOCK}` is not a lock of llmspec")
    return {path: _pristine(directory, path, entry) for path, entry in lock["files"].items()}


def _pristine(directory: Path, path: str, entry: object) -> EmittedText:
    if not is_project_path(path) or not isinstance(entry, dict):
        raise DamagedRecordError(f"`{LOCK}` has a bad entry, {path!r}")
    fields = cast(dict[str, object], entry)
    try:
        text = decode((directory / BASE / path).read_bytes())
    except OSError as error:
        raise DamagedRecordError(f"`{BASE}/{path}` cannot be read") from error
    if digest(text) != fields.get("sha256"):
        raise DamagedRecordError(f"`{BASE}/{path}` has changed since the last build")
    return EmittedText(text, fields.get("executable") is True)

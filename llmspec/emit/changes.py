"""What a build would do to a directory, found by reading alone: `--plan`, `--check`, `--diff` and writing share it.

Each file has up to three versions: `base`, what the last build rendered; `yours`, what is on the disk; `new`, what is rendered now.

    base   yours    new      status
    -      -        new      created
    -      = new    new      unchanged; llmspec takes the file over
    -      other    new      refused: llmspec did not write it (LS506)
    base   = base   new      changed, or unchanged where new = base
    base   = new    new      unchanged: the same edit was made by hand
    base   edited   = base   kept
    base   edited   new      merged, or conflict where both changed the same lines
    base   -        new      kept deleted: a file that was deleted stays so
    base   = base   -        removed
    base   edited   -        kept, no longer rendered
    base   -        -        forgotten

Nothing is asked of files that were never rendered: they are yours.
"""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import unified_diff as difference
from enum import StrEnum
from pathlib import Path

from llmspec.diagnostics import Bag, Diagnostic, Span
from llmspec.emit import problems
from llmspec.emit.merge import first_marker, merge, split_lines
from llmspec.emit.project import EmittedText, Project
from llmspec.emit.record import JOURNAL, RECORD, DamagedRecordError, NewerRecordError, decode, is_project_path, read_record

# May be in the output directory before the first build: never written by a build.
_NOT_COUNTED = {RECORD, ".git", "data", "run"}


class Status(StrEnum):
    """What happens to one file."""

    CREATED = "created"
    CHANGED = "changed"
    REMOVED = "removed"
    MERGED = "merged"
    CONFLICT = "conflict"
    KEPT = "kept"
    KEPT_DELETED = "kept deleted"
    KEPT_STALE = "kept, no longer rendered"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file: what the last build rendered, what is on the disk now, what is rendered now, and what the disk will hold."""

    path: str
    status: Status
    base: EmittedText | None
    yours: EmittedText | None
    new: EmittedText | None
    after: EmittedText | None

    @property
    def is_drift(self) -> bool:
        """Whether the file on the disk is not the one that the spec renders."""
        if self.new is None:
            return self.yours is not None
        return self.yours is None or self.yours.text != self.new.text or (self.new.executable and not self.yours.executable)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a build would do to `directory`, file by file in the order of their paths."""

    directory: Path
    files: tuple[FileChange, ...]
    recorded: Project | None

    def having(self, *statuses: Status) -> tuple[FileChange, ...]:
        """The files of these statuses."""
        return tuple(file for file in self.files if file.status in statuses)

    @property
    def counts(self) -> dict[Status, int]:
        """How many files there are of each status; every status is there."""
        return {status: len(self.having(status)) for status in Status}

    @property
    def conflicts(self) -> tuple[FileChange, ...]:
        """The files in which conflict markers will stand."""
        return self.having(Status.CONFLICT)

    @property
    def drift(self) -> tuple[FileChange, ...]:
        """The files that make `--check` fail: those that are not as the spec renders them, whoever changed them.

        A file edited or deleted by hand counts, though a build leaves it alone: `--check` asks whether the directory is what the
        spec says, `--plan` what a build would do about it.
        """
        return tuple(file for file in self.files if file.is_drift)

    @property
    def written(self) -> tuple[FileChange, ...]:
        """The files that a build writes or removes."""
        return tuple(file for file in self.files if file.after != file.yours)

    @property
    def record(self) -> Project:
        """The pristine files to keep for the next build. One that is no longer rendered stays while an edit of it does."""
        kept = {file.path: file.base if file.status is Status.KEPT_STALE else file.new for file in self.files}
        return {path: text for path, text in kept.items() if text is not None}


def plan_changes(project: Project, directory: Path, *, span: Span, bag: Bag) -> Changes:
    """Compare a rendered project with a directory. Writes nothing.

    Args:
        project: The rendered files.
        directory: The output directory; it need not exist.
        span: Where in the source the directory is named, for diagnostics.
        bag: Takes the diagnostics.

    Raises:
        CompilationError: The directory cannot take the project; the bag says why.
    """
    outside = [path for path in project if not is_project_path(path)]
    if outside:
        raise ValueError(f"emitted outside of the project: {outside}")
    try:
        recorded = _read_directory(directory, span, bag)
        bag.raise_if_errors()
        base = recorded or {}
        files = tuple(_plan_file(path, base.get(path), _read(directory / path), project.get(path)) for path in sorted({*project, *base}))
        changes = Changes(directory, files, recorded)
        bag.extend(_refusals(changes, span, bag))
    except OSError as error:
        bag.add(problems.output_not_writable(Path(error.filename or directory), error.strerror or str(error), span))
    bag.raise_if_errors()
    return changes


def unified_diff(changes: Changes) -> str:
    """What a build would change, then where files that it keeps differ from what the spec renders."""
    parts: list[str] = []
    for file in changes.files:
        if file.after != file.yours:
            parts.append(_diff(file.path, file.yours, file.after, "on disk", "after the build"))
        elif file.is_drift:
            parts.append(_diff(file.path, file.new, file.yours, "rendered", "yours, kept"))
    return "".join(parts)


def conflict_diagnostics(changes: Changes, bag: Bag) -> Iterator[Diagnostic]:
    """One error for each file in which a build left conflict markers."""
    for file in changes.conflicts:
        if file.after is not None:
            yield _at_marker(problems.merge_conflict, changes.directory / file.path, file.after, file.base, bag)


def find_obstacle(directory: Path, path: str) -> Path | None:
    """The first thing on the way to a file, or in its place, that is a link or not of the kind that it should be."""
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        step = directory.joinpath(*parts[:depth])
        try:
            mode = step.lstat().st_mode
        except FileNotFoundError:
            return None
        if not (stat.S_ISREG(mode) if depth == len(parts) else stat.S_ISDIR(mode)):
            return step
    return None


def _read_directory(directory: Path, span: Span, bag: Bag) -> Project | None:
    """The pristine files of the last build, None where there was none; adds to the bag what forbids to build here."""
    above = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not above.is_dir():
        bag.add(problems.output_is_a_file(above, span))
        return None
    if above != directory:
        return None
    if (directory / RECORD).is_symlink():
        bag.add(problems.link_in_the_way(directory / RECORD, span))
        return None
    if (directory / JOURNAL).exists():
        bag.add(problems.interrupted_build(directory, span))
        return None
    try:
        recorded = read_record(directory)
    except NewerRecordError as error:
        bag.add(problems.project_from_newer_llmspec(directory, str(error), span))
        return None
    except DamagedRecordError as error:
        bag.add(problems.build_record_damaged(directory, str(error), span))
        return None
    found = sorted(path.name for path in directory.iterdir() if path.name not in _NOT_COUNTED)
    if recorded is None and found:
        bag.add(problems.output_not_ours(directory, found, span))
    return recorded


def _read(path: Path) -> EmittedText | None:
    """A file of the project; None where there is none, or something that is no file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        return EmittedText(decode(path.read_bytes()), bool(status.st_mode & stat.S_IXUSR))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _plan_file(path: str, base: EmittedText | None, yours: EmittedText | None, new: EmittedText | None) -> FileChange:
    """One row of the table at the top."""

    def change(status: Status, after: EmittedText | None) -> FileChange:
        return FileChange(path, status, base, yours, new, after)

    if new is None:
        if yours is None or base is None:
            return change(Status.UNCHANGED, yours)
        return change(Status.REMOVED, None) if yours.text == base.text else change(Status.KEPT_STALE, yours)
    if yours is None:
        return change(Status.CREATED, new) if base is None else change(Status.KEPT_DELETED, None)
    # A build gives the right to execute where the render asks for it, and takes it only where the last one gave it.
    executable = new.executable or (yours.executable and not (base is not None and base.executable))
    if yours.text == new.text or base is None:
        status = Status.UNCHANGED if executable == yours.executable else Status.CHANGED
        return change(status, EmittedText(yours.text, executable))
    if yours.text == base.text:
        return change(Status.CHANGED, EmittedText(new.text, executable))
    if new.text == base.text:
        return change(Status.KEPT, EmittedText(yours.text, executable))
    merged = merge(base.text, yours.text, new.text)
    return change(Status.CONFLICT if merged.num_conflicts else Status.MERGED, EmittedText(merged.text, executable))


def _refusals(changes: Changes, span: Span, bag: Bag) -> Iterator[Diagnostic]:
    """Why files of the plan cannot be written as they stand."""
    for file in changes.files:
        path = changes.directory / file.path
        obstacle = find_obstacle(changes.directory, file.path) if file.after != file.yours else None
        if obstacle is not None and obstacle.is_symlink():
            yield problems.link_in_the_way(obstacle, span)
        elif obstacle is not None:
            yield problems.file_in_the_way(obstacle, span)
        elif file.base is None and file.yours is not None and file.new is not None and file.yours.text != file.new.text:
            yield problems.file_in_the_way(path, span)
        elif file.yours is not None and file.base is not None and first_marker(file.yours.text, file.base.text) is not None:
            yield _at_marker(problems.unresolved_conflict, path, file.yours, file.base, bag)


def _at_marker(
    problem: Callable[[Path, int, str], Diagnostic], path: Path, text: EmittedText, base: EmittedText | None, bag: Bag
) -> Diagnostic:
    """A diagnostic that points at the first conflict marker of a file."""
    printable = _printable(text.text)
    line = first_marker(text.text, base.text if base else "") or 1
    bag.sources[str(path)] = printable
    return problem(path, line, split_lines(printable)[line - 1].rstrip("\r\n"))


def _diff(path: str, before: EmittedText | None, after: EmittedText | None, before_is: str, after_is: str) -> str:
    old, new = _diff_lines(before), _diff_lines(after)
    old_name, new_name = f"a/{path}" if before else "/dev/null", f"b/{path}" if after else "/dev/null"
    lines = list(difference(old, new, old_name, new_name, before_is, after_is))
    if before and after and before.executable != after.executable:
        lines.insert(0, f"{path}: {'made executable' if after.executable else 'no longer executable'}\n")
    elif not lines:
        lines = [f"--- {old_name}\t{before_is}\n", f"+++ {new_name}\t{after_is}\n"]
    return "".join(lines)


def _diff_lines(text: EmittedText | None) -> list[str]:
    lines = split_lines(_printable(text.text)) if text else []
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n\\ No newline at end of file\n"
    return lines


def _printable(text: str) -> str:
    """Text without the stand-ins for bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

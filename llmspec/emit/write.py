"""Putting a project on the disk: all of it or nothing, and never over an edit.

A new project is written beside its place and moved there in one step. An existing one holds data and runs that may be large, so it
is changed where it stands, in two steps: first every new file is staged under `.llmspec/staging`, then the list of moves is
written to `.llmspec/journal.json`. Before the journal is there, nothing of the project has changed, and what was staged is thrown
away. From then on the project counts as new: a build that is cut off among the moves is finished by the next one. Each move can
be made again without harm.
"""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from llmspec.diagnostics import Bag, Diagnostic, Span
from llmspec.emit import problems
from llmspec.emit.changes import Changes, conflict_diagnostics, find_obstacle, plan_changes
from llmspec.emit.disk import Disk, exclusive
from llmspec.emit.project import EmittedText, Project
from llmspec.emit.record import (
    BASE,
    JOURNAL,
    LOCK,
    RECORD,
    STAGING,
    DamagedRecordError,
    NewerRecordError,
    digest,
    encode,
    is_project_path,
    lock_text,
    read_record,
)
from llmspec.emit.record import decode as decode_content


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a build: a staged file takes its place, or, where `staged` is None, the target goes away.

    `found` is the hash of what stood there when the build was planned, None where there was nothing; it guards files that a person
    may edit (`guarded`), not those of the record.
    """

    target: str
    staged: str | None
    guarded: bool
    found: str | None = None


@dataclass(frozen=True, slots=True)
class _Content:
    content: bytes
    mode: int | None
    executable: bool


def write(project: Project, directory: Path, *, span: Span, bag: Bag) -> Changes:
    """Write a project, merging with what is there, and return what was done.

    Conflicts are errors in the bag, but do not raise: the files are written, with markers in them.

    Args:
        project: The rendered files.
        directory: The output directory; it need not exist.
        span: Where in the source the directory is named, for diagnostics.
        bag: Takes the diagnostics.

    Raises:
        CompilationError: Nothing was written; the bag says why.
    """
    recover(directory, span=span, bag=bag)
    changes = plan_changes(project, directory, span=span, bag=bag)
    apply(changes, span=span, bag=bag)
    return changes


def recover(directory: Path, *, span: Span, bag: Bag, disk: Disk | None = None) -> None:
    """Finish a build that was cut off, if there was one. To be called before `plan_changes` by a command that writes."""
    disk = disk or Disk()
    root = directory.resolve()
    if (root / RECORD).is_symlink() or not ((root / JOURNAL).exists() or (root / STAGING).exists()):
        return
    try:
        with exclusive(root):
            if (root / JOURNAL).exists():
                for path, aside in _finish(root, _read_journal(root), disk):
                    bag.add(problems.edited_after_interruption(directory / path, directory / aside, span))
            else:
                disk.remove_tree(root / STAGING)
    except DamagedRecordError as error:
        bag.add(problems.build_record_damaged(directory, str(error), span))
    except OSError as error:
        bag.add(_inaccessible(error, directory, span))
    bag.raise_if_errors()


def apply(changes: Changes, *, span: Span, bag: Bag, disk: Disk | None = None) -> None:
    """Do what was planned.

    Raises:
        CompilationError: The disk refused, or a file changed since the plan was made; the bag says more.
    """
    disk = disk or Disk()
    root = changes.directory.resolve()
    try:
        if root.exists():
            _update(changes, root, span, bag, disk)
        else:
            _create(changes, root, disk)
    except OSError as error:
        bag.add(_inaccessible(error, changes.directory, span))
        if (root / JOURNAL).exists():
            bag.add(problems.interrupted_build(changes.directory, span))
    bag.raise_if_errors()
    bag.extend(conflict_diagnostics(changes, bag))


def _create(changes: Changes, root: Path, disk: Disk) -> None:
    """Write a new project beside its place, then move it there."""
    disk.make_directories(root.parent)
    _remove_leftovers(root, disk)
    temporary = root.parent / f".{root.name}.llmspec-{os.getpid()}"
    disk.make_directories(temporary)
    with exclusive(temporary):
        try:
            paths = {temporary}
            for path, file in sorted(_new_tree(changes).items()):
                target = temporary / path
                disk.make_directories(target.parent)
                disk.write(target, file.content, file.mode, file.executable)
                paths |= {target, *(parent for parent in target.parents if parent.is_relative_to(temporary))}
            disk.sync(sorted(paths))
            disk.replace(temporary, root)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.remove_tree(temporary)
            raise
        disk.sync([root.parent])


def _new_tree(changes: Changes) -> dict[str, _Content]:
    """Every file of a project that is not on the disk yet."""
    files = {file.path: _content(file.after) for file in changes.files if file.after is not None}
    pristine = {f"{BASE}/{path}": _Content(encode(text.text), None, False) for path, text in changes.record.items()}
    return {**files, **pristine, LOCK: _Content(encode(lock_text(changes.record)), None, False)}


def _remove_leftovers(root: Path, disk: Disk) -> None:
    """Remove what builds left beside the project that were cut off. One that is still at work holds its directory."""
    for leftover in sorted(root.parent.iterdir()):
        if leftover.name.startswith(f".{root.name}.llmspec-") and leftover.is_dir() and not leftover.is_symlink():
            with contextlib.suppress(OSError), exclusive(leftover):
                disk.remove_tree(leftover)


def _update(changes: Changes, root: Path, span: Span, bag: Bag, disk: Disk) -> None:
    """Change an existing project where it stands."""
    steps = _steps(changes, root)
    if not steps:
        return
    with exclusive(root):
        problem = _obstacle(changes, root, [move for move, _ in steps], span)
        if problem is not None:
            bag.add(problem)
            return
        try:
            disk.remove_tree(root / STAGING)
            disk.make_directories(root / STAGING)
            journal = root / STAGING / "journal"
            moves = [move for move, _ in steps]
            disk.write(journal, json.dumps([asdict(move) for move in moves], indent=1).encode(), None, False)
            staged = [journal, root / STAGING, root / RECORD, root]
            for move, file in steps:
                if move.staged is not None and file is not None:
                    disk.write(root / STAGING / move.staged, file.content, file.mode, file.executable)
                    staged.append(root / STAGING / move.staged)
            disk.sync(staged)
            disk.replace(journal, root / JOURNAL)
        except BaseException:
            if not (root / JOURNAL).exists():
                with contextlib.suppress(OSError):
                    disk.remove_tree(root / STAGING)
                    disk.remove_empty_directory(root / RECORD)
            raise
        disk.sync([root / RECORD])
        for path, aside in _finish(root, moves, disk):
            bag.add(problems.edited_after_interruption(changes.directory / path, changes.directory / aside, span))


def _steps(changes: Changes, root: Path) -> list[tuple[Move, _Content | None]]:
    """The moves that make the project what it should be, and the content of what they move. None where all is well."""
    recorded = changes.recorded or {}
    removals: list[tuple[str, bool, str | None]] = []
    writes: list[tuple[str, bool, str | None, _Content]] = []
    for file in changes.written:
        found = None if file.yours is None else digest(file.yours.text)
        if file.after is None:
            removals.append((file.path, True, found))
        else:
            writes.append((file.path, True, found, _content(file.after, root / file.path)))
    removals += [(f"{BASE}/{path}", False, None) for path in recorded if path not in changes.record]
    for path, text in changes.record.items():
        if path not in recorded or recorded[path].text != text.text:
            writes.append((f"{BASE}/{path}", False, None, _Content(encode(text.text), None, False)))
    lock = encode(lock_text(changes.record))
    if changes.recorded is None or (root / LOCK).read_bytes() != lock:
        writes.append((LOCK, False, None, _Content(lock, None, False)))
    steps: list[tuple[Move, _Content | None]] = [(Move(path, None, guarded, found), None) for path, guarded, found in removals]
    steps += [(Move(path, str(number), guarded, found), file) for number, (path, guarded, found, file) in enumerate(writes)]
    return steps


def _content(text: EmittedText, replaced: Path | None = None) -> _Content:
    """A file to write; one that replaces another keeps its permissions, save the right to execute."""
    mode = None
    if replaced is not None and replaced.is_file():
        mode = stat.S_IMODE(replaced.stat().st_mode)
        mode = mode | (mode & 0o444) >> 2 if text.executable else mode & ~0o111
    return _Content(encode(text.text), mode, text.executable)


def _obstacle(changes: Changes, root: Path, moves: list[Move], span: Span) -> Diagnostic | None:
    """Why the moves must not be made: something is in their way, or not as it was when the plan was made."""
    for move in moves:
        obstacle = find_obstacle(root, move.target)
        if obstacle is not None:
            shown = changes.directory / obstacle.relative_to(root)
            return problems.link_in_the_way(shown, span) if obstacle.is_symlink() else problems.file_in_the_way(shown, span)
        if move.guarded and _found(root / move.target) != move.found:
            return problems.changed_during_build(changes.directory / move.target, span)
    try:
        as_planned = read_record(root) == changes.recorded
    except (DamagedRecordError, NewerRecordError):
        as_planned = False
    return None if as_planned else problems.changed_during_build(changes.directory / LOCK, span)


def _found(path: Path) -> str | None:
    """The hash of what stands at a path; None for nothing."""
    try:
        return digest(decode_content(path.read_bytes()))
    except FileNotFoundError:
        return None


def _finish(root: Path, moves: list[Move], disk: Disk) -> list[tuple[str, str]]:
    """Make the moves that have not been made yet. Returns the files that were edited since, and where each of them is now."""
    asides: list[tuple[str, str]] = []
    directories = {root / RECORD}
    for move in moves:
        target = root / move.target
        staged = None if move.staged is None else root / STAGING / move.staged
        if staged is not None and not staged.exists():
            continue  # made before the build was cut off
        obstacle = find_obstacle(root, move.target)
        if obstacle is not None:
            raise OSError(errno.EEXIST, "it is in the way of a file of the project", str(obstacle))
        edited = move.guarded and _found(target) not in (None, move.found)
        if staged is None:
            if not edited:
                disk.remove(target)
                directories.add(_remove_empty_parents(target, root, disk))
            continue
        if edited:
            aside = next(name for name in _names_beside(move.target) if not (root / name).exists())
            disk.replace(target, root / aside)
            asides.append((move.target, aside))
        disk.make_directories(target.parent)
        disk.replace(staged, target)
        directories |= {target.parent, target.parent.parent}
    disk.sync(sorted(directory for directory in directories if directory.is_dir()))
    disk.remove(root / JOURNAL)
    disk.sync([root / RECORD])
    disk.remove_tree(root / STAGING)
    return asides


def _remove_empty_parents(target: Path, root: Path, disk: Disk) -> Path:
    """Remove the directories that a removed file leaves empty; returns the first that stays."""
    parent = target.parent
    while parent not in (root, root / RECORD) and (not parent.exists() or disk.remove_empty_directory(parent)):
        parent = parent.parent
    return parent


def _names_beside(path: str) -> Iterator[str]:
    """Names for a version to be set aside, until one is free."""
    yield f"{path}.yours"
    number = 2
    while True:
        yield f"{path}.yours-{number}"
        number += 1


def _read_journal(root: Path) -> list[Move]:
    """The moves of a build that was cut off."""
    try:
        moves = [Move(**fields) for fields in json.loads((root / JOURNAL).read_text("utf-8"))]
    except (ValueError, TypeError) as error:
        raise DamagedRecordError(f"`{JOURNAL}` is not a journal of llmspec") from error
    for move in moves:
        inside = move.target.removeprefix(f"{BASE}/") if isinstance(move.target, str) else ""
        if not (move.target == LOCK or is_project_path(inside)) or not (move.staged is None or str(move.staged).isdigit()):
            raise DamagedRecordError(f"`{JOURNAL}` has a bad entry, {move.target!r}")
    return moves


def _inaccessible(error: OSError, directory: Path, span: Span) -> Diagnostic:
    """What the system refused, told with the path that it named."""
    return problems.output_not_writable(Path(error.filename2 or error.filename or directory), error.strerror or str(error), span)

"""What can be wrong with an output directory: one function a code. Its docstring is what `llmspec explain` prints."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from llmspec.diagnostics import Diagnostic, Severity, Span

_Problem = TypeVar("_Problem", bound=Callable[..., Diagnostic])

PROBLEMS: dict[str, tuple[str, str]] = {}
"""Code to name and explanation."""


def _problem(code: str, name: str) -> Callable[[_Problem], _Problem]:
    def register(function: _Problem) -> _Problem:
        PROBLEMS[code] = (name, function.__doc__ or "")
        return function

    return register


def _diagnostic(code: str, message: str, span: Span, *help: str, severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic(code, PROBLEMS[code][0], severity, message, span, help=help)


def _line(path: Path, line: int, text: str) -> Span:
    """The whole of one line of a file."""
    return Span(str(path), line, 1, line, len(text) + 1)


@_problem("LS501", "output-not-a-directory")
def output_not_a_directory(path: Path, span: Span) -> Diagnostic:
    """The output path, or a directory above it, is a file.

    ## What it checks
    That the project can have a directory of its own at the output path.

    ## Why it matters
    A project is many files; llmspec does not replace a file of yours with a directory.

    ## Example
    `llmspec build spec.yaml -o notes.txt`, where `notes.txt` exists.

    Use instead: another path, `llmspec build spec.yaml -o generated/notes`.
    """
    return _diagnostic("LS501", f"`{path}` is not a directory", span, "name another output directory with `-o`")


@_problem("LS502", "output-not-accessible")
def output_not_accessible(path: Path, reason: str, span: Span) -> Diagnostic:
    """The system refused to read or write in the output directory.

    ## What it checks
    That every file of the project can be read and written: permissions, space, a read-only file system, another build at work.

    ## Why it matters
    A project that is written in part does not run. The files are as they were before the command.

    ## Example
    `llmspec build spec.yaml -o /usr/project` without the right to write there.

    Use instead: a directory of your own.
    """
    return _diagnostic("LS502", f"cannot use `{path}`: {reason}", span, "mend the cause, or name another output directory with `-o`")


@_problem("LS503", "output-not-llmspec")
def output_not_llmspec(path: Path, found: list[str], span: Span) -> Diagnostic:
    """The output directory holds files and was not written by llmspec.

    ## What it checks
    That the output directory is new, empty, or an llmspec project, which `.llmspec/lock.json` shows. `data/`, `run/` and `.git`
    may be there before the first build: llmspec never writes in them.

    ## Why it matters
    In a directory of another kind a build could bury your files among its own.

    ## Example
    `llmspec build spec.yaml -o .` in your home directory.

    Use instead: a new directory, `llmspec build spec.yaml -o generated/run`.
    """
    shown = ", ".join(f"`{name}`" for name in found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    message = f"`{path}` is not empty and was not written by llmspec: it holds {shown}"
    return _diagnostic("LS503", message, span, "name a new or empty output directory with `-o`")


@_problem("LS504", "project-from-newer-llmspec")
def project_from_newer_llmspec(path: Path, version: str, span: Span) -> Diagnostic:
    """The project was last built by a newer llmspec, which keeps its record in a form that this one cannot read.

    ## What it checks
    The `format` of `.llmspec/lock.json`.

    ## Why it matters
    Without the record a rebuild cannot tell your edits from its own text.

    ## Example
    A colleague rebuilt the project with the next release.

    Use instead: that release, `pip install --upgrade llmspec-compiler`.
    """
    message = f"`{path}` was built by llmspec {version}, whose record this llmspec cannot read"
    return _diagnostic("LS504", message, span, f"install llmspec {version} or newer, or build into another directory")


@_problem("LS505", "project-record-damaged")
def project_record_damaged(path: Path, reason: str, span: Span) -> Diagnostic:
    """`.llmspec` is not as llmspec left it.

    ## What it checks
    That `.llmspec/lock.json` can be read, and that every file in `.llmspec/base` has the content that the lock names.

    ## Why it matters
    `.llmspec/base` is the render that your edits are compared with. A merge against another base could lose them.

    ## Example
    A search-and-replace over the whole project that went into `.llmspec/base` too.

    Use instead: `.llmspec` from version control, or a build into a new directory.
    """
    message = f"the record of the last build in `{path}` is damaged: {reason}"
    return _diagnostic("LS505", message, span, "restore `.llmspec` from version control, or build into another directory")


@_problem("LS506", "file-in-the-way")
def file_in_the_way(path: Path, span: Span) -> Diagnostic:
    """Something of yours has the name of a file that the build would write for the first time.

    ## What it checks
    That no file, directory or link stands where a newly rendered file goes. A file with just the rendered content may stay.

    ## Why it matters
    llmspec has no earlier render of it to merge with, and it does not overwrite what it did not write.

    ## Example
    You wrote `export.py` yourself, and a change of the spec now renders an `export.py`.

    Use instead: rename or delete yours, then build again.
    """
    return _diagnostic("LS506", f"`{path}` is yours, and the build would write a file of that name", span, "rename or delete it")


@_problem("LS507", "unresolved-conflict")
def unresolved_conflict(path: Path, line: int, text: str) -> Diagnostic:
    """A file of the project still holds conflict markers.

    ## What it checks
    That no edited file has a line that starts with `<<<<<<<` or `>>>>>>>` and a space.

    ## Why it matters
    A second merge on top of an unresolved one would mix three versions.

    ## Example
    A rebuild that reported LS510, and another one right after it.

    Use instead: keep the lines that you want, delete the markers, then build again.
    """
    message = f"`{path}` holds an unresolved conflict"
    return _diagnostic("LS507", message, _line(path, line, text), "keep the lines that you want, delete the markers, and build again")


@_problem("LS508", "link-in-the-way")
def link_in_the_way(path: Path, span: Span) -> Diagnostic:
    """A symbolic link stands where the build would write.

    ## What it checks
    That neither a file that changes nor a directory above it, within the project, is a symbolic link.

    ## Why it matters
    The link may lead out of the project. Links at `data` and `run` are fine: a build does not write there.

    ## Example
    `tests -> ../shared-tests` in the project.

    Use instead: a copy, or delete the link.
    """
    return _diagnostic("LS508", f"`{path}` is a symbolic link, and the build does not write through links", span, "replace it by a copy")


@_problem("LS509", "interrupted-build")
def interrupted_build(path: Path, span: Span) -> Diagnostic:
    """The last build was cut off while it moved its files into place.

    ## What it checks
    That there is no `.llmspec/journal.json`.

    ## Why it matters
    Some files may be old and some new. All new ones are on the disk; the next `llmspec build` moves the rest.

    ## Example
    A power cut during a rebuild, then `llmspec build --check`, which only reads.

    Use instead: `llmspec build`, which finishes the work first.
    """
    return _diagnostic("LS509", f"the last build of `{path}` was interrupted", span, "run `llmspec build` without options to finish it")


@_problem("LS510", "merge-conflict")
def merge_conflict(path: Path, line: int, text: str) -> Diagnostic:
    """The same lines changed by hand and in the new render.

    ## What it checks
    That your edits and the changes of the render since the last build are in different places.

    ## Why it matters
    Only you can tell which one is wanted. Both stand in the file, between `<<<<<<< yours` and `>>>>>>> new render`.

    ## Example
    You changed `learning_rate` in `config.py`, and then in the spec to another value.

    Use instead: keep the lines that you want and delete the markers.
    """
    message = f"`{path}` was edited where the render changed too; both versions are in the file"
    return _diagnostic("LS510", message, _line(path, line, text), "keep the lines that you want and delete the markers")


@_problem("LS511", "edited-after-interruption")
def edited_after_interruption(path: Path, aside: Path, span: Span) -> Diagnostic:
    """A file was edited between an interrupted build and the command that finished it.

    ## What it checks
    That each file that an interrupted build still has to replace is as that build found it.

    ## Why it matters
    The edit was not part of the merge. Your version is kept beside the new one.

    ## Example
    A power cut during a rebuild, an edit of `train.py`, then `llmspec build`.

    Use instead: carry the edit over from `train.py.yours`, and delete it.
    """
    message = f"`{path}` was edited after the build was interrupted; your version is now `{aside}`"
    return _diagnostic("LS511", message, span, "carry your edit over, then delete that file", severity=Severity.WARNING)


@_problem("LS512", "changed-during-build")
def changed_during_build(path: Path, span: Span) -> Diagnostic:
    """A file of the project changed while the build was at work.

    ## What it checks
    That each file still has, when it is about to be replaced, the content that was merged.

    ## Why it matters
    Replacing it would lose the change.

    ## Example
    An editor that saves at the very moment of the build.

    Use instead: build again.
    """
    return _diagnostic("LS512", f"`{path}` changed while the build was at work", span, "build again")

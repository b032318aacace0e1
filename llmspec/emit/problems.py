"""What can be wrong with an output directory: one function a code. `llmspec.diagnostics.codes` has their documentation."""

from pathlib import Path

from llmspec.diagnostics import Diagnostic, Severity, Span
from llmspec.diagnostics.codes import problem


def _line(path: Path, line: int, text: str) -> Span:
    """The whole of one line of a file."""
    return Span(str(path), line, 1, line, len(text) + 1)


def output_is_a_file(path: Path, span: Span) -> Diagnostic:
    """The output path, or a directory above it, is a file."""
    return problem("LS501", f"`{path}` is not a directory", span, help=["name another output directory with `-o`"])


def output_not_writable(path: Path, reason: str, span: Span) -> Diagnostic:
    """The system refused to read or write in the output directory."""
    help = "mend the cause, or name another output directory with `-o`"
    return problem("LS502", f"cannot use `{path}`: {reason}", span, help=[help])


def output_not_ours(path: Path, found: list[str], span: Span) -> Diagnostic:
    """The output directory holds files and was not written by llmspec."""
    shown = ", ".join(f"`{name}`" for name in found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    message = f"`{path}` is not empty and was not written by llmspec: it holds {shown}"
    return problem("LS503", message, span, help=["name a new or empty output directory with `-o`"])


def merge_conflict(path: Path, line: int, text: str) -> Diagnostic:
    """The same lines changed by hand and in the new render."""
    message = f"`{path}` was edited where the render changed too; both versions are in the file"
    return problem("LS504", message, _line(path, line, text), help=["keep the lines that you want and delete the markers"])


def build_record_damaged(path: Path, reason: str, span: Span) -> Diagnostic:
    """`.llmspec` is not as llmspec left it."""
    help = "restore `.llmspec` from version control, or build into another directory"
    return problem("LS505", f"the record of the last build in `{path}` is damaged: {reason}", span, help=[help])


def file_in_the_way(path: Path, span: Span) -> Diagnostic:
    """Something of the user's has the name of a file that the build would write for the first time."""
    return problem("LS506", f"`{path}` is yours, and the build would write a file of that name", span, help=["rename or delete it"])


def unresolved_conflict(path: Path, line: int, text: str) -> Diagnostic:
    """A file of the project still holds conflict markers."""
    help = "keep the lines that you want, delete the markers, and build again"
    return problem("LS507", f"`{path}` holds an unresolved conflict", _line(path, line, text), help=[help])


def link_in_the_way(path: Path, span: Span) -> Diagnostic:
    """A symbolic link stands where the build would write."""
    message = f"`{path}` is a symbolic link, and the build does not write through links"
    return problem("LS508", message, span, help=["replace it by a copy"])


def interrupted_build(path: Path, span: Span) -> Diagnostic:
    """The last build was cut off while it moved its files into place."""
    help = "run `llmspec build` without `--plan`, `--diff` or `--check` to finish it"
    return problem("LS509", f"the last build of `{path}` was interrupted", span, help=[help])


def project_from_newer_llmspec(path: Path, version: str, span: Span) -> Diagnostic:
    """A newer llmspec keeps its record in a form that this one cannot read."""
    message = f"`{path}` was built by llmspec {version}, whose record this llmspec cannot read"
    return problem("LS510", message, span, help=[f"install llmspec {version} or newer, or build into another directory"])


def edited_after_interruption(path: Path, aside: Path, span: Span) -> Diagnostic:
    """A file was edited between an interrupted build and the command that finished it."""
    message = f"`{path}` was edited after the build was interrupted; your version is now `{aside}`"
    return problem("LS511", message, span, help=["carry your edit over, then delete that file"], severity=Severity.WARNING)


def changed_during_build(path: Path, span: Span) -> Diagnostic:
    """A file of the project changed while the build was at work."""
    return problem("LS512", f"`{path}` changed while the build was at work", span, help=["build again"])

"""`llmspec build SPEC`: compile a spec into a project."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmspec.cli.options import DiagnosticFormat, format_option, reporting, set_option, spec_argument

if TYPE_CHECKING:
    from llmspec.emit.changes import Changes


@click.command()
@spec_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Directory of the project.  [default: generated/<name of the spec>]")
@click.option("--plan", "mode", flag_value="plan", help="Print which files would change, and write nothing.")
@click.option("--diff", "mode", flag_value="diff", help="Print how they would change, and write nothing.")
@click.option("--check", "mode", flag_value="check", help="Exit with 1 if the project is not what the spec says; write nothing.")
@set_option
@format_option
def command(spec: Path, output: Path | None, mode: str | None, overrides: tuple[str, ...], diagnostic_format: DiagnosticFormat) -> None:
    """Compile SPEC into a standalone project.

    A rebuild keeps your edits: they are merged with the new code, deleted files stay deleted, and where both changed the same lines
    both versions are left between conflict markers.
    """
    from llmspec.compile import analyze, render
    from llmspec.emit.changes import plan_changes, unified_diff
    from llmspec.emit.write import write

    start = time.perf_counter()
    with reporting(diagnostic_format, written=mode is None) as bag:
        analysis = analyze(spec, overrides, bag)
        directory = output or Path("generated") / analysis.resolved.spec.name
        project = render(analysis, directory)
        place = write if mode is None else plan_changes
        changes = place(project, directory, span=analysis.resolved.root, bag=bag)
        bag.raise_if_errors()  # conflicts: the files are written, with markers in them
    if mode == "diff":
        click.echo(unified_diff(changes), nl=False)
    elif mode == "plan":
        click.echo(plan_text(changes))
    elif mode == "check":
        for file in changes.drift:
            click.echo(f"{directory / file.path}: {'not there' if file.yours is None else 'differs' if file.new else 'no longer rendered'}")
        if changes.drift:
            raise click.exceptions.Exit(1)
        click.echo(f"{directory} is what {spec} says ({len(project)} files)")
    else:
        click.echo(f"Compiled {spec} -> {directory} ({summary(changes)}) in {time.perf_counter() - start:.1f}s")


_SYMBOLS = {
    "created": ("+", "green", "create"),
    "changed": ("~", "yellow", "change"),
    "merged": ("~", "yellow", "merge with your edits"),
    "conflict": ("!", "red", "conflict with your edits"),
    "removed": ("-", "red", "remove"),
    "kept": ("=", "cyan", "keep your edits"),
    "kept deleted": ("=", "cyan", "stays deleted"),
    "kept, no longer rendered": ("=", "cyan", "keep your edits, though it is no longer rendered"),
}


def plan_text(changes: "Changes") -> str:
    """The files that a build would touch or leave to you, a line each, and a line that sums up."""
    from llmspec.emit.changes import Status

    shown = [file for file in changes.files if file.status is not Status.UNCHANGED]
    width = max((len(file.path) for file in shown), default=0)
    lines = []
    for file in shown:
        symbol, color, text = _SYMBOLS[file.status]
        lines.append(click.style(f"  {symbol} {file.path:{width}}  {text}", fg=color))
    if changes.counts[Status.UNCHANGED]:
        lines.append(f"  # {changes.counts[Status.UNCHANGED]} unchanged")
    return "\n".join([*lines, f"{changes.directory}: {summary(changes)}" + (". Build without --plan to apply" if changes.written else "")])


def summary(changes: "Changes") -> str:
    """How many files a build touches and keeps: `17 files`, or `17 files: 2 changed, 1 kept`."""
    from llmspec.emit.changes import Status

    total = f"{sum(file.after is not None for file in changes.files)} files"
    counts = [f"{number} {status}" for status, number in changes.counts.items() if number and status is not Status.UNCHANGED]
    if changes.recorded is None:
        return total
    return f"{total}: {', '.join(counts) or 'nothing to do'}"

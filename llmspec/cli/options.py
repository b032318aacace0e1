"""Arguments and options that several commands share, and what they do with diagnostics."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click

from llmspec.diagnostics import Bag, CompilationError

DiagnosticFormat = Literal["full", "concise", "json", "github"]

# Not `exists=True`: a missing file is a diagnostic like any other.
spec_argument = click.argument("spec", type=click.Path(path_type=Path))

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Override one field of the spec, such as training.max_steps=100. May be repeated.",
)

_formats = click.Choice(("full", "concise", "json", "github"))

format_option = click.option(
    "--format", "diagnostic_format", type=_formats, default="full", show_default=True, help="How problems are printed."
)

diagnostics_option = click.option(
    "--diagnostics", "diagnostic_format", type=_formats, default="full", show_default=True, help="How problems are printed."
)


@contextmanager
def reporting(diagnostic_format: DiagnosticFormat, *, to_stdout: bool = False, written: bool = False) -> Iterator[Bag]:
    """Give a bag to the compiler, print what it holds at the end, and exit with 1 when that ends the compilation.

    Args:
        diagnostic_format: How the diagnostics are printed.
        to_stdout: Whether they are the command's data (validate) and not remarks beside it.
        written: Whether the command would have written files, which the last line then speaks of.
    """
    from llmspec.cli.printer import print_diagnostics

    bag = Bag()
    failed = False
    try:
        yield bag
    except CompilationError:
        failed = True
    print_diagnostics(bag, diagnostic_format, to_stdout=to_stdout, written=written)
    if failed:
        raise click.exceptions.Exit(1)

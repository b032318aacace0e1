"""`llmspec validate SPEC`: find everything that is wrong with a spec."""

from pathlib import Path

import click

from llmspec.cli.options import DiagnosticFormat, format_option, reporting, set_option, spec_argument


@click.command()
@spec_argument
@set_option
@format_option
def command(spec: Path, overrides: tuple[str, ...], diagnostic_format: DiagnosticFormat) -> None:
    """Check SPEC and report every problem with its line and column.

    Writes nothing. Exits with 0 when the spec can be built, else with 1.
    """
    from llmspec.compile import analyze

    with reporting(diagnostic_format, to_stdout=diagnostic_format != "full") as bag:
        analyze(spec, overrides, bag)
    if diagnostic_format == "full":
        click.echo(f"{spec}: no problems" if not bag.warnings else f"{spec}: no errors")

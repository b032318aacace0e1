"""`llmspec estimate SPEC`: what a run will cost, before anything is written."""

from pathlib import Path
from typing import Literal

import click

from llmspec.cli.options import DiagnosticFormat, diagnostics_option, reporting, set_option, spec_argument


@click.command()
@spec_argument
@set_option
@click.option("--explain", is_flag=True, help="Print each figure's formula and the values in it.")
@click.option("--format", "output", type=click.Choice(("table", "json")), default="table", show_default=True)
@diagnostics_option
def command(
    spec: Path, overrides: tuple[str, ...], explain: bool, output: Literal["table", "json"], diagnostic_format: DiagnosticFormat
) -> None:
    """Tell what the run of SPEC costs: parameters, FLOPs, memory, time, money, energy, carbon and the expected loss."""
    from llmspec.cli.estimate_text import estimate_json, estimate_table
    from llmspec.compile import analyze

    with reporting(diagnostic_format) as bag:
        analysis = analyze(spec, overrides, bag, to_build=False)
    text = estimate_json if output == "json" else estimate_table
    click.echo(text(analysis.estimate, explain=explain))

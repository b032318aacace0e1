"""`llmspec ladder SPEC`: small specs whose runs tell what the large one will reach."""

import os
import shlex
from pathlib import Path

import click

from llmspec.cli.options import DiagnosticFormat, diagnostics_option, reporting, set_option, spec_argument


def _ratios(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or any(not 0.01 <= number <= 1e5 for number in numbers):
        raise click.BadParameter("should be numbers from 0.01 to 100000 such as 10,40", ctx, param)
    return tuple(dict.fromkeys(numbers))


@click.command()
@spec_argument
@click.option("--sizes", type=click.IntRange(1, 12), default=5, show_default=True, help="How many widths.")
@click.option("--tokens-per-parameter", default="10,40", show_default=True, callback=_ratios, help="Lengths of the runs of each width.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Directory of the ladder.  [default: ladder/<name of the spec>]")
@set_option
@diagnostics_option
def command(
    spec: Path,
    sizes: int,
    tokens_per_parameter: tuple[float, ...],
    output: Path | None,
    overrides: tuple[str, ...],
    diagnostic_format: DiagnosticFormat,
) -> None:
    """Write small specs below SPEC, and a script that trains them one after the other and fits the law of the loss to them.

    `llmspec estimate SPEC --loss-fit` then tells what SPEC will reach, on its own data and tokenizer.
    """
    from llmspec.compile import analyze
    from llmspec.estimate.loss_problems import not_writable
    from llmspec.ladder import launch_script, make_ladder

    with reporting(diagnostic_format, written=True) as bag:
        large = analyze(spec, overrides, bag, to_build=False)
        directory = output or Path("ladder") / large.resolved.spec.name
        rungs = make_ladder(large, spec, overrides, directory, sizes=sizes, ratios=tokens_per_parameter, bag=bag)
        above = os.path.relpath(spec.resolve(), directory.resolve())
        options = "".join(f" --set {shlex.quote(override)}" for override in overrides)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for rung in rungs:
                (directory / f"{rung.name}.yaml").write_text(rung.text, encoding="utf-8")
            script = directory / "run.sh"
            script.write_text(launch_script(rungs, shlex.quote(above) + options), encoding="utf-8")
            script.chmod(0o755)
        except OSError as error:
            bag.add(not_writable(Path(error.filename or directory), (error.strerror or str(error)).lower()))
            bag.raise_if_errors()
    width = max(len(rung.name) for rung in rungs)
    click.echo(f"{'':<{width}} {'wide':>6} {'layers':>6} {'parameters':>12} {'tokens':>15} {'hours':>8}")
    for rung in rungs:
        figures = f"{rung.width:>6} {rung.layers:>6} {rung.parameters:>12,} {rung.tokens:>15,} {rung.hours:>8.2f}"
        click.echo(f"{rung.name:<{width}} {figures}")
    click.echo(f"\nwrote {len(rungs)} specs and run.sh to {directory}: {sum(rung.hours for rung in rungs):.2g} hours in all")

"""`llmspec estimate SPEC...`: what a run will cost, before anything is written."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from llmspec.cli.loss_options import LossOptions, loss_options
from llmspec.cli.options import DiagnosticFormat, diagnostics_option, reporting, set_option
from llmspec.cli.price_options import price_options, warn_of_prices
from llmspec.diagnostics import Bag

if TYPE_CHECKING:
    from llmspec.cli.profiles import Calibrated
    from llmspec.compile import Analysis
    from llmspec.estimate import Estimate
    from llmspec.estimate.profile import Profile

Output = Literal["table", "json", "csv"]


@click.command()
@click.argument("specs", metavar="SPEC...", nargs=-1, type=click.Path(path_type=Path))
@set_option
@click.option(
    "--what-if",
    "what_if",
    multiple=True,
    metavar="FIELD=VALUE,...",
    help="Estimate the spec with each of these values and print a table. May be repeated: all combinations are estimated.",
)
@click.option("--explain", is_flag=True, help="Print each figure's formula and the values in it.")
@click.option("--format", "output", type=click.Choice(("table", "json", "csv")), default="table", show_default=True)
@click.option("--html", type=click.Path(path_type=Path), help="Write the estimate as one HTML page too, with charts.")
@click.option(
    "--calibrate",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="LOG...",
    help="Learn from the logs of runs (projects, or metrics.jsonl in them) and write what was learned as a profile.",
)
@click.option("--profile", metavar="NAME", help="Correct the estimate by this profile; with --calibrate, its name.  [default: none]")
@click.option("--grid-data", type=click.Path(path_type=Path), metavar="FILE", help="Hourly g/kWh of the grid (CSV): tells the best start.")
@loss_options
@price_options
@diagnostics_option
def command(
    specs: tuple[Path, ...],
    overrides: tuple[str, ...],
    what_if: tuple[str, ...],
    explain: bool,
    output: Output,
    html: Path | None,
    grid_data: Path | None,
    logs: tuple[Path, ...],
    profile: str | None,
    loss: LossOptions,
    diagnostic_format: DiagnosticFormat,
) -> None:
    """Tell what the run of SPEC costs: parameters, FLOPs, memory, time, money, energy, carbon and the expected loss.

    Several specs are put side by side. One that has errors leaves the others alone; the exit code then is 1.

    With --calibrate the profile goes to llmspec-profiles/NAME.yaml beside SPEC, or in this directory where no SPEC is given; NAME may be
    a path. It is named after the accelerator where no --profile is given.
    """
    if logs:
        # `--calibrate a.jsonl b.jsonl`: what is a log or a project is no spec.
        logs += tuple(path for path in specs if path.suffix == ".jsonl" or path.is_dir())
        specs = tuple(path for path in specs if path not in logs)
        for option, given in (("--what-if", bool(what_if)), ("--format csv", output == "csv"), ("several specs", len(specs) > 1)):
            if given:
                raise click.UsageError(f"--calibrate does not go with {option}")
    elif not specs:
        raise click.UsageError("Missing argument 'SPEC...'.")
    if len(specs) > 1 or what_if:
        for option, given in (
            ("--explain", explain),
            ("--html", html is not None),
            ("--grid-data", grid_data is not None),
            ("--what-if", bool(what_if) and len(specs) > 1),
        ):
            if given:
                raise click.UsageError(f"{option} takes one spec" + ("" if len(specs) > 1 else " without --what-if"))
        _several(specs, overrides, what_if, output, profile, loss, diagnostic_format)
    else:
        if explain and output == "csv":
            raise click.UsageError("--explain does not go into rows: ask for --format json")
        _one(specs[0] if specs else None, overrides, explain, output, html, grid_data, logs, profile, loss, diagnostic_format)


def _one(
    given: Path | None,
    overrides: tuple[str, ...],
    explain: bool,
    output: Output,
    html: Path | None,
    grid_data: Path | None,
    logs: tuple[Path, ...],
    name: str | None,
    loss: LossOptions,
    diagnostic_format: DiagnosticFormat,
) -> None:
    from llmspec.cli.estimate_text import advice, change_json, estimate_json, estimate_table
    from llmspec.compile import analyze
    from llmspec.variants import best_change

    with reporting(diagnostic_format) as bag:
        spec, profile, learned, before = _profile(given, overrides, logs, name, bag)
        # A run that does not fit is shown too: what takes the memory is the question then.
        misfit = Bag()
        analysis = loss.applied(analyze(spec, overrides, bag, to_build=False, profile=profile, misfit=misfit), bag)
        warn_of_prices(analysis, bag)
        if grid_data is not None:
            analysis = _with_start(analysis, grid_data, bag)
        change = best_change(analysis) if not misfit.errors and (output != "csv" or html is not None) else None
        if html is not None:
            from llmspec.cli.estimate_page import estimate_page
            from llmspec.compare.problems import page_not_writable

            try:
                html.write_text(estimate_page(spec, overrides, analysis, change, misfit.errors), encoding="utf-8")
            except OSError as error:
                bag.add(page_not_writable(html, (error.strerror or str(error)).lower()))
                bag.raise_if_errors()
        bag.extend(misfit)
    if output == "json":
        beside = {}
        if learned is not None and before is not None:
            from llmspec.cli.profiles_text import calibration_json

            beside["calibrated"] = calibration_json(learned, before)
        click.echo(estimate_json(analysis.estimate, explain=explain, helps_most=change_json(change), **beside))
    elif output == "csv":
        from llmspec.cli.estimate_many import cases_csv
        from llmspec.variants import Case

        click.echo(cases_csv([Case(spec, (), bag, analysis)]), nl=False)
    else:
        if learned is not None and before is not None:
            from llmspec.cli.profiles_text import calibration_table

            click.echo(calibration_table(learned, before, analysis.estimate) + "\n")
        click.echo(estimate_table(analysis.estimate, explain=explain, advice=advice(change, misfit.errors)))
        if html is not None:
            click.echo(f"\nwrote {html}")
    if misfit.errors:
        raise click.exceptions.Exit(1)


def _profile(
    spec: Path | None, overrides: tuple[str, ...], logs: tuple[Path, ...], name: str | None, bag: Bag
) -> "tuple[Path, Profile | None, Calibrated | None, Estimate | None]":
    """The spec, the profile to use, and where it was just learned, that and the plain estimate."""
    if not logs:
        assert spec is not None
        if name is None:
            return spec, None, None, None
        from llmspec.cli.profiles import load_profile

        return spec, load_profile(name, spec, bag), None, None
    from llmspec.cli.profiles import find_sources, learn, write_profile
    from llmspec.compile import analyze

    sources = find_sources(logs, bag)
    directory = Path() if spec is None else spec.parent
    spec = spec or sources[0].spec
    profile, place = learn(sources, name, directory, bag)
    plain = analyze(spec, overrides, bag, to_build=False)
    # What the spec cannot use is not written.
    profile.calibrated(plain.resolved, plain.network, plain.estimate, bag)
    bag.raise_if_errors()
    learned = write_profile(profile, place, bag)
    return spec, learned.profile, learned, plain.estimate


def _with_start(analysis: "Analysis", grid_data: Path, bag: Bag) -> "Analysis":
    """The analysis with the best start in it."""
    from dataclasses import replace

    from llmspec.estimate.grid_data import best_start, read_hours

    figures = analysis.estimate
    start = best_start(figures.energy, figures.wall_clock, read_hours(grid_data, bag), bag)
    return replace(analysis, estimate=figures._replace(start=start))


def _several(
    specs: tuple[Path, ...],
    overrides: tuple[str, ...],
    what_if: tuple[str, ...],
    output: Output,
    name: str | None,
    loss: LossOptions,
    diagnostic_format: DiagnosticFormat,
) -> None:
    from llmspec.cli.estimate_many import cases_csv, cases_json, side_by_side, what_if_table
    from llmspec.variants import analyze_case, variations

    with reporting(diagnostic_format) as bag:
        profile = None
        if name is not None:
            from llmspec.cli.profiles import load_profile

            profile = load_profile(name, specs[0], bag)
        if what_if:
            # The spec as it is comes first, for the others to be held against.
            cases = [analyze_case(specs[0], overrides, changes, profile) for changes in ((), *variations(what_if, bag))]
            failed = all(case.analysis is None for case in cases[1:])
            # What is wrong with one variation stands in its row. What is wrong with all of them is said in full.
            told = [cases[0], cases[1]] if failed else cases[:1]
        else:
            cases = told = [analyze_case(spec, overrides, profile=profile) for spec in specs]
            failed = any(case.analysis is None for case in cases)
        cases = [case._replace(analysis=case.analysis and loss.applied(case.analysis, bag)) for case in cases]
        for case in told:
            bag.extend(case.bag)
            if case.analysis is not None:
                warn_of_prices(case.analysis, bag)
            bag.sources.update(case.bag.sources)
    if output == "json":
        click.echo(cases_json(cases))
    elif output == "csv":
        click.echo(cases_csv(cases), nl=False)
    else:
        click.echo(what_if_table(cases) if what_if else side_by_side(cases))
    if failed:
        raise click.exceptions.Exit(1)

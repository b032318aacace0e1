"""`llmspec fit RUNS...`: the law of the loss, from finished runs."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from llmspec.cli.options import DiagnosticFormat, diagnostics_option, reporting
from llmspec.diagnostics import Bag

if TYPE_CHECKING:
    from llmspec.estimate.loss_fit import LossFit, Point

LEAST_RUNS = 3
_SIZES = ("parameters", "params", "params_total", "params_nonembed", "N")
_TOKENS = ("tokens", "D")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the fit there, for `llmspec estimate --loss-fit`.")
@click.option("--name", help="Name of the fit.  [default: that of the file or of the first run]")
@click.option("--format", "output_format", type=click.Choice(("table", "json")), default="table", show_default=True)
@diagnostics_option
def command(
    runs: tuple[Path, ...],
    output: Path | None,
    name: str | None,
    output_format: Literal["table", "json"],
    diagnostic_format: DiagnosticFormat,
) -> None:
    """Fit L(N, D) = E + ((A / N^alpha)^(1/k) + (B / D^beta)^(1/k))^k to finished RUNS, with bootstrapped intervals.

    Each of RUNS is the directory of a project that has been trained, a directory of such, or a CSV file with columns parameters,
    tokens and loss.
    """
    from llmspec.estimate.loss_fit import fit_loss
    from llmspec.estimate.loss_problems import not_writable, too_few_runs

    with reporting(diagnostic_format) as bag:
        points = [point for run in runs for point in _points(run, bag)]
        bag.raise_if_errors()
        different = len({(point.parameters, point.tokens) for point in points})
        if different < LEAST_RUNS:
            bag.add(too_few_runs(runs[0], different, LEAST_RUNS))
            bag.raise_if_errors()
        fit = fit_loss(points, name or (output.stem if output else runs[0].stem))
        text = json.dumps(fit.to_json(), indent=2)
        if output is not None:
            try:
                output.write_text(text + "\n", encoding="utf-8")
            except OSError as error:
                bag.add(not_writable(output, (error.strerror or str(error)).lower()))
                bag.raise_if_errors()
    if output_format == "json":
        click.echo(text)
        return
    click.echo(_table(fit, points))
    if output is not None:
        click.echo(f"\nwrote {output}")


def _table(fit: "LossFit", points: "list[Point]") -> str:
    from llmspec.estimate.loss_fit import describe_fit

    width = max(len(point.name) for point in points)
    lines = [f"{'':<{width}} {'parameters':>14} {'tokens':>18} {'loss':>8} {'fitted':>8}"]
    for point in sorted(points, key=lambda point: (point.parameters, point.tokens)):
        fitted = fit.coefficients.loss(point.parameters, point.tokens)
        lines.append(f"{point.name:<{width}} {point.parameters:>14,.0f} {point.tokens:>18,.0f} {point.loss:>8.4f} {fitted:>8.4f}")
    lines += ["", "L(N, D) = E + ((A / N^alpha)^(1/k) + (B / D^beta)^(1/k))^k, with 80% intervals from resampled runs"]
    lines += [f"  {letter:<6} {value:>12.5g}  ({low:.5g} to {high:.5g})" for letter, (value, low, high) in describe_fit(fit).items()]
    lines.append(f"  {fit.residual:.2%} mean error over its own {fit.points} runs")
    return "\n".join(lines)


def _points(path: Path, bag: Bag) -> "Iterator[Point]":
    from llmspec.estimate.loss_problems import bad_run

    if path.is_dir():
        if (path / "spec.yaml").is_file():
            yield from _project(path, bag)
            return
        projects = sorted(one.parent for one in path.glob("*/spec.yaml"))
        if not projects:
            bag.add(bad_run(path, "holds no project that llmspec built", fatal=True))
        for project in projects:
            yield from _project(project, bag)
    elif path.is_file():
        yield from _table_rows(path, bag)
    else:
        bag.add(bad_run(path, "is not there", fatal=True))


def _project(path: Path, bag: Bag) -> "Iterator[Point]":
    from llmspec.compare import read_log
    from llmspec.compile import analyze
    from llmspec.estimate.loss_fit import Point
    from llmspec.estimate.loss_problems import bad_run
    from llmspec.estimate.scaling import mixed_size

    quiet = Bag()
    log = read_log(path / "run" / "metrics.jsonl", quiet)
    if log is None:
        bag.add(bad_run(path, "has no log of a run"))
        return
    own = Bag()
    analysis = analyze(path / "spec.yaml", (), own, to_build=False)
    spec, parameters = analysis.resolved.spec, analysis.estimate.parameters
    if log.step < spec.training.max_steps:
        bag.add(bad_run(path, f"has come to step {log.step:,} of {spec.training.max_steps:,}"))
        return
    loss = log.last("validation_loss")
    loss = log.end("loss") if loss is None else loss
    if loss is None or loss <= 0:
        bag.add(bad_run(path, "has no loss in its log"))
        return
    tokens = log.last("tokens") or float(spec.training.max_tokens)
    yield Point(mixed_size(parameters.active.value, parameters.total.value), tokens, loss, spec.name)


def _table_rows(path: Path, bag: Bag) -> "Iterator[Point]":
    from llmspec.estimate.loss_fit import Point
    from llmspec.estimate.loss_problems import bad_run

    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        bag.add(bad_run(path, f"cannot be read: {str(error).lower()}", fatal=True))
        return
    for number, row in enumerate(rows, start=1):
        values = [_number(row, _SIZES), _number(row, _TOKENS), _number(row, ("loss",))]
        if None in values:
            bag.add(bad_run(path, f"has no parameters, tokens or loss in row {number}"))
            continue
        size, tokens, loss = (value or 0.0 for value in values)
        yield Point(size, tokens, loss, row.get("id") or row.get("name") or f"row {number}")


def _number(row: dict[str, str], names: tuple[str, ...]) -> float | None:
    for name in names:
        try:
            value = float(row.get(name) or "")
        except ValueError:
            continue
        if 0 < value < 1e30:
            return value
    return None

"""`llmspec compare PROJECT`: a run's log against its estimate."""

import json
from pathlib import Path
from typing import Literal

import click

from llmspec.cli.options import DiagnosticFormat, diagnostics_option, reporting


@click.command()
@click.argument("project", type=click.Path(path_type=Path))
@click.option(
    "--output-dir", type=click.Path(path_type=Path), help="Where train.py wrote, relative to the project.  [default: run in the project]"
)
@click.option("--format", "output", type=click.Choice(("table", "json")), default="table", show_default=True)
@click.option("--html", type=click.Path(path_type=Path), help="Write the comparison as one HTML page too.")
@diagnostics_option
def command(
    project: Path, output_dir: Path | None, output: Literal["table", "json"], html: Path | None, diagnostic_format: DiagnosticFormat
) -> None:
    """Hold the log of the run in PROJECT against its estimate.

    The run may be finished or still going on; what it has not reached yet is projected. The estimate is made anew from the
    project's spec.yaml.
    """
    from llmspec.cli.compare_text import comparison_page, comparison_table
    from llmspec.compare import charts, compare, read_log
    from llmspec.compare.problems import no_project, page_not_writable
    from llmspec.compile import analyze

    with reporting(diagnostic_format) as bag:
        spec = project / "spec.yaml"
        if not project.is_dir():
            bag.add(no_project(project, "is not a directory" if project.exists() else "does not exist"))
        elif not spec.is_file():
            bag.add(no_project(project, "holds no spec.yaml"))
        bag.raise_if_errors()
        log = read_log(project / (output_dir or "run") / "metrics.jsonl", bag)
        bag.raise_if_errors()
        assert log is not None
        analysis = analyze(spec, (), bag, to_build=False)
        comparison = compare(
            analysis.estimate.to_json(),
            log,
            name=analysis.resolved.spec.name,
            max_steps=analysis.resolved.spec.training.max_steps,
            devices=analysis.resolved.world_size,
            on_gpu=_on_gpu(analysis.resolved.spec.hardware.accelerator),
        )
        if html is not None:
            try:
                html.write_text(comparison_page(comparison, charts(comparison, log)), encoding="utf-8")
            except OSError as error:
                bag.add(page_not_writable(html, (error.strerror or str(error)).lower()))
                bag.raise_if_errors()
    if output == "json":
        click.echo(json.dumps(comparison.to_json(), indent=2))
    else:
        click.echo(comparison_table(comparison, charts(comparison, log)))
        if html is not None:
            click.echo(f"\nwrote {html}")


def _on_gpu(accelerator: str) -> bool:
    from llmspec.catalog import find_accelerator

    device = find_accelerator(accelerator)
    return device is not None and device.device_type == "cuda"

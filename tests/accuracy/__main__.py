"""`make accuracy`: how near the estimates come to published measurements.

Without arguments every source of measured_runs.csv is predicted by constants that were fitted to all the other sources. With `--rows FILE`
the frozen constants of the catalog predict another file with the same columns. `--fit` fits the constants to all rows and writes them.
`--calibration` asks instead whether a few rows of a cluster help to predict its others, and with `--fit` writes the prior for that.
The laws of the loss are scored on loss_runs.csv, or on the file after `--losses`, and fits of a law to its smaller runs by the larger
ones; with `--fits` only these are. Hours, days, money, energy and carbon of whole runs are scored on whole_runs.csv, or on the file
after `--runs`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmspec.estimate.constants import step_constants
from llmspec.estimate.step_model import Constants, step_seconds
from tests.accuracy.baselines import PUBLISHED, SHARE, best_constant, constant_share
from tests.accuracy.calibration import CATALOG, calibration_json, calibration_table, catalog_text, clusters, outcomes
from tests.accuracy.fit import BEGIN, MEANING, fit
from tests.accuracy.fits import fits_json, fits_table
from tests.accuracy.losses import LOSSES, losses_json, losses_table
from tests.accuracy.memory import MemoryScore, leave_one_out_memory, score_memory, write_memory
from tests.accuracy.rows import ROWS, Row, read_rows
from tests.accuracy.runs import RUNS, runs_json, runs_table
from tests.accuracy.score import Array, Bounds, Score, bounds_of, class_of, find_bounds, score
from tests.accuracy.search import groups_of, score_search, search_table
from tests.accuracy.table import columns

EFFICIENCY = Path(__file__).parents[2] / "llmspec/catalog/efficiency.yaml"


def predict(rows: Sequence[Row], constants: Constants) -> Array:
    """Seconds of each row's step."""
    return np.asarray(step_seconds(np, columns(rows), constants), dtype=float)


def families(rows: Sequence[Row]) -> Array:
    """The source of each row; sources that repeat measurements of each other count as one, the first."""
    first: dict[tuple[object, ...], str] = {}
    shared: dict[tuple[str, str], int] = {}
    sizes: dict[str, int] = {}
    for row in rows:
        assert row.configuration is not None and row.accelerator is not None
        sizes[row.source] = sizes.get(row.source, 0) + 1
        shape, layout, _ = row.configuration
        known = first.setdefault((row.accelerator.id, shape, layout.devices, layout.micro_batch, row.seconds), row.source)
        if known != row.source:
            shared[known, row.source] = shared.get((known, row.source), 0) + 1
    # A number that two sources have in common by chance does not make them one.
    same = {other: source for (source, other), count in shared.items() if count > 0.05 * sizes[other]}
    return np.array([same.get(row.source, row.source) for row in rows])


def leave_one_out(rows: Sequence[Row]) -> tuple[Array, Array, Array]:
    """Predictions of each source by a fit to the others, and the interval that the others' errors give it."""
    everything = fit(rows)
    sources = families(rows)
    predicted = np.zeros(len(rows))
    for source in dict.fromkeys(sources):
        chosen = sources == source
        constants = fit([row for row, own in zip(rows, chosen, strict=True) if not own], start=everything, rounds=6)
        predicted[chosen] = predict([row for row, own in zip(rows, chosen, strict=True) if own], constants)
    measured = _measured(rows)
    low, high = np.zeros(len(rows)), np.zeros(len(rows))
    for source in dict.fromkeys(sources):
        other = sources != source
        bounds = find_bounds([row for row, chosen in zip(rows, other, strict=True) if chosen], predicted[other], measured[other])
        for index in np.flatnonzero(~other):
            low[index], high[index] = bounds_of(rows[index], bounds)
    return predicted, predicted * low, predicted * high


def frozen(rows: Sequence[Row]) -> tuple[Array, Array, Array]:
    """Predictions and intervals of the catalog's constants."""
    from llmspec.catalog.efficiency import efficiency

    predicted = predict(rows, step_constants())
    bounds: Bounds = dict(efficiency().step_bounds)
    ends = np.array([bounds_of(row, bounds) for row in rows])
    return predicted, predicted * ends[:, 0], predicted * ends[:, 1]


def _measured(rows: Sequence[Row]) -> Array:
    return np.array([row.seconds for row in rows], dtype=float)


def scores(rows: Sequence[Row], predicted: Array, low: Array, high: Array) -> tuple[list[Score], list[Score]]:
    """One line a source, and one a class."""
    measured = _measured(rows)
    baseline = constant_share(rows)

    def line(name: str, chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Score:
        return score(name, predicted[chosen], measured[chosen], low[chosen], high[chosen], baseline[chosen])

    sources = np.array([row.source for row in rows])
    classes = np.array([class_of(row) for row in rows])
    by_source = [
        line(f"{source} {kind}", (sources == source) & (classes == kind))
        for source in dict.fromkeys(sources)
        for kind in dict.fromkeys(classes[sources == source])
    ]
    overall = [line(kind, classes == kind) for kind in sorted(set(classes))]
    dense = np.array([kind.startswith("dense") for kind in classes])
    for name, chosen in (("dense", dense), ("experts", ~dense)):
        if chosen.any():
            overall.append(line(name, chosen))
    return by_source, overall


def write_constants(rows: Sequence[Row], bounds: Bounds, held: Sequence[Row]) -> None:
    """Fit to all rows and write the catalog's file."""
    constants = fit(rows)
    lines = [
        "# Constants of the analytic core of the estimate, written by `make accuracy FIT=1`: do not edit by hand.",
        f"source: {json.dumps(f'fitted to {len(rows):,} published measurements of {len({row.source for row in rows})} sources')}",
        "step:",
    ]
    for name in BEGIN:
        lines += [f"  # {MEANING[name]}", f"  {name}: {getattr(constants, name):.4g}"]
    lines += [
        "# Measured over predicted at the ends of the 80% interval, by class, from fits that had not seen the source.",
        "step_bounds:",
    ]
    lines += [f"  {name}: [{low:.3f}, {high:.3f}]" for name, (low, high) in bounds.items()]
    EFFICIENCY.write_text("\n".join(lines) + "\n" + write_memory(held), encoding="utf-8")


def main() -> None:
    """Fit, score, print."""
    parser = argparse.ArgumentParser(prog="make accuracy", description=__doc__)
    parser.add_argument("--rows", type=Path, help="score this file with the frozen constants")
    parser.add_argument("--losses", type=Path, help="score the laws of the loss on this file; alone, nothing else is scored")
    parser.add_argument("--fits", action="store_true", help="only score how well fits to small runs predict the large ones")
    parser.add_argument("--search", action="store_true", help="only score how often the fastest of several published layouts is found")
    parser.add_argument("--fit", action="store_true", help="fit the constants to all rows and write them to the catalog")
    parser.add_argument(
        "--calibration", action="store_true", help="score calibration on held-out halves of clusters; nothing else is scored"
    )
    parser.add_argument("--runs", type=Path, help="score whole runs on this file; alone, nothing else is scored")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    if arguments.fits:
        path = arguments.losses or LOSSES
        as_json = arguments.format == "json"
        sys.stdout.write(json.dumps({"fits": fits_json(path)}, indent=2) + "\n" if as_json else fits_table(path))
        return
    if (arguments.losses or arguments.runs) and not arguments.rows:
        sys.stdout.write(_others(arguments.losses, arguments.runs, arguments.format))
        return

    everything = read_rows(arguments.rows or ROWS)
    rows = [row for row in everything if row.excluded is None and row.seconds]
    held = [row for row in everything if row.excluded is None and row.memory_gib]
    if arguments.calibration:
        sys.stdout.write(_calibration(rows, held, arguments.format, frozen_too=arguments.rows is not None, write=arguments.fit))
        return
    if arguments.rows:
        predicted, low, high = frozen(rows) if rows else (np.zeros(0), np.zeros(0), np.zeros(0))
    else:
        predicted, low, high = leave_one_out(rows)
    if arguments.search:
        if arguments.format == "json":
            found = [line._asdict() for line in score_search(groups_of(rows, predicted))]
            sys.stdout.write(json.dumps({"search": found}, indent=2) + "\n")
        else:
            sys.stdout.write(search_table(rows, predicted))
        return
    if arguments.fit:
        write_constants(rows, find_bounds(rows, predicted, _measured(rows)), held)
    by_source, overall = scores(rows, predicted, low, high) if rows else ([], [])
    memory = score_memory(held, frozen=arguments.rows is not None)
    losses = arguments.losses or (None if arguments.rows else LOSSES)
    runs = arguments.runs or (None if arguments.rows else RUNS)
    left_out: dict[str, int] = {}
    for row in everything:
        if row.excluded:
            left_out[row.excluded] = left_out.get(row.excluded, 0) + 1
    if arguments.format == "json":
        value = {
            "by_source": [line._asdict() for line in by_source],
            "overall": [line._asdict() for line in overall],
            "memory": [line._asdict() for line in memory],
            "search": [line._asdict() for line in score_search(groups_of(rows, predicted))],
            "left_out": left_out,
            **_others_json(losses, runs),
            **({"fits": fits_json(losses)} if losses else {}),
            "published": [{"source": source, "mean_error": error, "by": by} for source, error, by in PUBLISHED],
        }
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
        return
    how = "frozen constants" if arguments.rows else "each source by a fit that has not seen it"
    sys.stdout.write(_table(f"step time, {how}", by_source, overall, memory, left_out, rows))
    if groups_of(rows, predicted):
        sys.stdout.write("\n" + search_table(rows, predicted))
    if losses:
        sys.stdout.write("\n" + losses_table(losses) + "\n" + fits_table(losses))
    if runs:
        sys.stdout.write("\n" + runs_table(runs))


def _calibration(rows: Sequence[Row], held: Sequence[Row], form: str, *, frozen_too: bool, write: bool) -> str:
    """How calibration does: with what has not seen the source, or on another file with the catalog's constants and prior."""
    from llmspec.catalog.calibration import priors

    if frozen_too:
        found = clusters(rows, _measured(rows), *frozen(rows)) if rows else []
        lines = outcomes(found, priors().step)[0] if found else []
        if form == "json":
            return json.dumps({"step": calibration_json(lines) if lines else []}, indent=2) + "\n"
        return calibration_table("step time, frozen constants and prior", lines) if lines else "no cluster has enough rows\n"
    of_steps = clusters(rows, _measured(rows), *leave_one_out(rows))
    of_memory = clusters(held, *leave_one_out_memory(held))
    steps, step = outcomes(of_steps)
    memories, memory = outcomes(of_memory)
    if write:
        CATALOG.write_text(catalog_text(step, of_steps, memory, of_memory), encoding="utf-8")
    if form == "json":
        return json.dumps({"step": calibration_json(steps), "memory": calibration_json(memories)}, indent=2) + "\n"
    return "\n".join((calibration_table("step time", steps), calibration_table("memory", memories)))


def _others_json(losses: Path | None, runs: Path | None) -> dict[str, Any]:
    return {**({"losses": losses_json(losses)} if losses else {}), **({"runs": runs_json(runs)} if runs else {})}


def _others(losses: Path | None, runs: Path | None, form: str) -> str:
    """The scores of losses and of whole runs."""
    if form == "json":
        return json.dumps(_others_json(losses, runs), indent=2) + "\n"
    return "\n".join([*([losses_table(losses)] if losses else []), *([runs_table(runs)] if runs else [])])


def _table(
    title: str,
    by_source: Sequence[Score],
    overall: Sequence[Score],
    memory: Sequence[MemoryScore],
    left_out: dict[str, int],
    rows: Sequence[Row],
) -> str:
    head = f"{'rows':>6} {'mean':>7} {'median':>7} {'bias':>6} {'in 80%':>7} {f'{SHARE:.0%} of peak':>12}"

    def text(line: Score) -> str:
        base = "" if line.baseline is None else f"{line.baseline:>12.1%}"
        return (
            f"{line.name:<28} {line.rows:>6} {line.mean_error:>7.1%} {line.median_error:>7.1%} {line.bias:>6.2f} {line.inside:>7.0%} {base}"
        )

    lines = [f"{title:<28}\n", f"{'':<28} {head}", *map(text, by_source), "", *map(text, overall)]
    if rows:
        dense = [row for row in rows if class_of(row) == "dense bf16/fp16"]
        if dense:
            share = best_constant(dense)
            error = float(np.abs(constant_share(dense, share) / _measured(dense) - 1).mean())
            lines += ["", f"the best constant share of the peak for all dense bf16/fp16 rows, {share:.0%}: {error:.1%}"]
        sources = {row.source for row in rows}
        lines += [f"{source}: {error:.2%} by {by}" for source, error, by in PUBLISHED if source in sources]
    if memory:
        lines += ["", f"{'memory':<28} {'rows':>6} {'mean':>7} {'median':>7} {'bias':>6} {'in 80%':>7}"]
        lines += [
            f"{line.name:<28} {line.rows:>6} {line.mean_error:>7.1%} {line.median_error:>7.1%} {line.bias:>6.2f} {line.inside:>7.0%}"
            for line in memory
        ]
    if left_out:
        lines += ["", "left out: " + ", ".join(f"{count} {name}" for name, count in sorted(left_out.items(), key=lambda item: -item[1]))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

"""How well `llmspec fit` extrapolates: the largest runs of each public data set, predicted by a fit to the smaller ones.

A data set is that of losses.py; of several learning rates and batches at one size and length the best one counts, as a ladder has it. The
quarter of the runs with the most compute is held out (and, as a harder test, the larger half); the fit sees none of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmspec.estimate.loss_fit import Point, fit_loss
from tests.accuracy.losses import LOSSES, LossRow, read_losses

# The share of the runs that is held out.
CUTS = (0.25, 0.5)
LEAST_RUNS = 8
SAMPLES = 40


class FitScore(NamedTuple):
    """One line: errors are shares of the measured loss."""

    name: str
    cut: float
    fitted: int
    held_out: int
    bias: float
    mean_error: float
    inside: float
    """Share of the held-out runs inside the 80% interval."""
    coupling: float


def data_sets(rows: Sequence[LossRow]) -> dict[str, list[Point]]:
    """The runs of each data set, from little compute to much."""
    found: dict[str, dict[tuple[float, float], Point]] = {}
    for row in rows:
        if row.excluded is not None:
            continue
        name = " ".join((row.source, row.data[1].split()[0]))
        runs, key = found.setdefault(name, {}), (row.parameters, row.tokens)
        if key not in runs or row.loss < runs[key].loss:
            runs[key] = Point(row.parameters, row.tokens, row.loss)
    return {name: sorted(runs.values(), key=lambda run: run.parameters * run.tokens) for name, runs in found.items()}


def score_fit(name: str, points: Sequence[Point], cut: float, samples: int = SAMPLES) -> tuple[FitScore, list[tuple[float, bool]]]:
    """The score of one data set, and of each held-out run the error and whether the interval holds it."""
    kept = len(points) - round(len(points) * cut)
    fit = fit_loss(points[:kept], name, samples=samples)
    errors, inside = [], []
    for run in points[kept:]:
        low, high = fit.bounds(run.parameters, run.tokens)
        errors.append(fit.coefficients.loss(run.parameters, run.tokens) / run.loss - 1)
        inside.append(low <= run.loss <= high)
    sizes = np.abs(errors)
    score = FitScore(
        name,
        cut,
        kept,
        len(errors),
        float(np.mean(errors)),
        float(sizes.mean()),
        float(np.mean(inside)),
        fit.coefficients.coupling,
    )
    return score, list(zip(errors, inside, strict=True))


def score_fits(path: Path = LOSSES, cuts: Sequence[float] = CUTS, samples: int = SAMPLES) -> tuple[list[FitScore], list[FitScore]]:
    """One line a data set, and one over all held-out runs a cut."""
    sets = {name: points for name, points in data_sets(read_losses(path)).items() if len(points) >= LEAST_RUNS}
    lines, overall = [], []
    for cut in cuts:
        scored = [score_fit(name, points, cut, samples) for name, points in sets.items()]
        lines += [score for score, _ in scored]
        runs = [run for _, held_out in scored for run in held_out]
        if not runs:
            continue
        errors = np.array([error for error, _ in runs])
        overall.append(
            FitScore(
                "all held-out runs",
                cut,
                sum(score.fitted for score, _ in scored),
                len(runs),
                float(errors.mean()),
                float(np.abs(errors).mean()),
                float(np.mean([holds for _, holds in runs])),
                float("nan"),
            )
        )
    return lines, overall


def fits_json(path: Path = LOSSES) -> dict[str, Any]:
    """The score as plain values."""
    lines, overall = score_fits(path)
    return {
        "by_data_set": [line._asdict() for line in lines],
        "overall": [{name: value for name, value in line._asdict().items() if name != "coupling"} for line in overall],
    }


def fits_table(path: Path = LOSSES) -> str:
    """The score for people."""
    lines, overall = score_fits(path)
    text = []
    for cut in dict.fromkeys(line.cut for line in lines):
        title = f"`llmspec fit`, the largest {cut:.0%} of the runs held out"
        text += [f"{title:<52} {'fitted':>6} {'held':>5} {'bias':>7} {'mean':>6} {'in 80%':>7} {'k':>6}"]
        for line in (*lines, *overall):
            if line.cut == cut:
                coupling = "" if np.isnan(line.coupling) else f"{line.coupling:>6.2f}"
                figures = f"{line.fitted:>6} {line.held_out:>5} {line.bias:>+7.2%} {line.mean_error:>6.2%} {line.inside:>7.0%}"
                text.append(f"{line.name:<52} {figures} {coupling}".rstrip())
        text.append("")
    return "\n".join(text)

"""The score: errors by source and overall, and how many measurements lie inside the intervals."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmspec.estimate.constants import UNMEASURED_WIDER, step_class
from tests.accuracy.rows import Row

# Ends of the interval among sources that were seen: somewhat further out than the tenths that it promises of sources that were not.
TAILS = (0.08, 0.92)


class Score(NamedTuple):
    """One line of the table."""

    name: str
    rows: int
    mean_error: float
    median_error: float
    bias: float
    inside: float
    baseline: float | None
    """Mean error of one share of the peak for everything."""


Array = np.ndarray[tuple[int], np.dtype[np.float64]]
Bounds = dict[str, tuple[float, float]]


def score(name: str, predicted: Array, measured: Array, low: Array, high: Array, baseline: Array | None = None) -> Score:
    """Score some predictions."""
    error = np.abs(predicted / measured - 1)
    return Score(
        name,
        len(measured),
        float(error.mean()),
        float(np.median(error)),
        float(np.exp(np.median(np.log(predicted / measured)))),
        float(((measured >= low) & (measured <= high)).mean()),
        None if baseline is None else float(np.abs(baseline / measured - 1).mean()),
    )


def class_of(row: Row) -> str:
    """The overall line that a row belongs to."""
    kind = "experts" if row.experts else "dense"
    return f"{kind} {'bf16/fp16' if row.number_format in ('bf16', 'fp16') else row.number_format}"


def bounds_of(row: Row, bounds: Bounds) -> tuple[float, float]:
    """Measured over predicted of the ends of the 80% interval of a row."""
    assert row.configuration is not None and row.accelerator is not None
    low, high = bounds[step_class(row.configuration)]
    wider = 1.0 if row.accelerator.matmul_tflops else UNMEASURED_WIDER
    return low**wider, high**wider


def quantiles(values: Array, weights: Array) -> tuple[float, float]:
    """Weighted quantiles of the ends of the interval, interpolated between rows."""
    order = np.argsort(values)
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    low, high = np.interp(TAILS, share, values[order]).tolist()
    return low, high


def interval_weights(rows: Sequence[Row]) -> Array:
    """How much each row counts for an interval.

    Rows of one model on one device in one format err alike, so a source tells as much as it has different ones; both count by their root,
    as sources do in the fit.
    """
    experiments = [(row.source, row.values["model_name"], row.values["gpu"], row.number_format) for row in rows]
    repeats = Counter(experiments)
    different = Counter(source for source, *_ in repeats)
    return np.array([(repeats[experiment] * different[experiment[0]]) ** -0.5 for experiment in experiments])


def find_bounds(rows: Sequence[Row], predicted: Array, measured: Array) -> Bounds:
    """The interval of each class, from errors of fits that had not seen the source."""
    weights = interval_weights(rows)
    ratio = np.log(measured / predicted)
    kinds = np.array([step_class(row.configuration) for row in rows if row.configuration is not None])
    # What was not measured counts by what it would be without its wider interval.
    wider = np.array([1.0 if row.accelerator is not None and row.accelerator.matmul_tflops else UNMEASURED_WIDER for row in rows])
    ratio = ratio / wider
    found = {}
    for kind in ("dense", "dense_narrow", "experts", "adapters"):
        chosen = kinds == kind
        if chosen.sum() < 5:
            chosen = np.ones(len(rows), dtype=bool)
        low, high = quantiles(ratio[chosen], weights[chosen])
        found[kind] = (float(np.exp(min(low, -0.02))), float(np.exp(max(high, 0.02))))
    return found

"""Does calibration help? On each cluster of the measured rows: learn from some of one half, predict the other half.

Everything is by constants, intervals and a prior that have not seen the source: the fit to the others gives the errors, and the prior is
the one of a grid that would have served the other sources' held-out halves best. `choose` makes the catalog's from all of them.
"""

import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from llmspec.catalog.calibration import Prior
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.likeness import NORMAL_80, Evidence, Features, Learned, features_of
from tests.accuracy.rows import Row
from tests.accuracy.score import Array
from tests.accuracy.table import columns

CATALOG = Path(__file__).parents[2] / "llmspec/catalog/calibration.yaml"
# Rows of which a cluster needs so many, for halves that say something.
LEAST_ROWS = 10
# How many rows of the one half are learned from; 0 is all of it.
COUNTS = (1, 2, 5, 0)
# A profile of more runs than this is not expected; of larger halves so many are drawn.
MOST_LEARNED, MOST_PREDICTED = 40, 200
HALVES = 10
# Sources round what they measure: rows that agree to the last digit do not show that nothing varies.
LEAST_REPEAT = 0.005
# What calibration adds to a cluster's error weighs so many times more than what it takes off.
HARM = 8.0
# Calibration may cost a cluster this much in mean error, on the mean of its random halves.
TOLERANCE = 0.015
# Shares of what a cluster has in common and of what alike runs have, and the doublings over which that falls off.
GRID = [
    (cluster, similar, length)
    for cluster, similar, length in product((0.05, 0.1, 0.2), (0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (2.0, 4.0, 8.0))
    if cluster + similar <= 0.9
]
# Time lost over time in steps: the spread (of its logarithm) of 31 of xLSTM's published runs, whose notes say how much of the wall-clock
# median step * steps is, is a fifth of that of published runs at large (0.85 to 0.95 in steps). But those 31 validated and saved at one
# pace, which other projects do not: half of what they have in common is counted as the cluster's.
GOODPUT = Prior(0.5, 0.25, 0.25, 4.0, 0.1)


class Cluster(NamedTuple):
    """Rows of one source on one accelerator, in logarithms of measured over predicted."""

    source: str
    name: str
    rows: tuple[Row, ...]
    error: Array
    low: Array
    high: Array
    sizes: "np.ndarray[tuple[int, int], np.dtype[np.float64]]"
    kinds: "np.ndarray[tuple[int, int], np.dtype[np.float64]]"

    @property
    def width(self) -> Array:
        """Standard deviation that each row's interval stands for."""
        return (self.high - self.low) / (2 * NORMAL_80)

    def distances(self, first: Array, second: Array) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        """As `llmspec.estimate.likeness.distance`, between many."""
        apart = np.abs(self.sizes[first][:, None] - self.sizes[second][None]).sum(-1)
        return apart + (self.kinds[first][:, None] != self.kinds[second][None]).sum(-1)


class Outcome(NamedTuple):
    """One cluster, on the mean of its halves: error and share inside the interval, plain and by how many rows were learned from."""

    source: str
    name: str
    rows: int
    prior: Prior
    error: float
    inside: float
    errors: tuple[float, ...]
    insides: tuple[float, ...]

    @property
    def harm(self) -> float:
        """The most that calibration adds to the mean error."""
        return max(self.errors) - self.error


def clusters(rows: Sequence[Row], measured: Array, predicted: Array, low: Array, high: Array) -> list[Cluster]:
    """Rows by source and accelerator, where there are enough."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        assert row.accelerator is not None
        groups.setdefault((row.source, row.accelerator.id), []).append(index)
    found = []
    for (source, accelerator), chosen in groups.items():
        if len(chosen) < LEAST_ROWS:
            continue
        own = [rows[index] for index in chosen]
        features = features_of(np, columns(own))
        found.append(
            Cluster(
                source,
                f"{source} {accelerator}",
                tuple(own),
                np.log(measured[chosen] / predicted[chosen]),
                np.log(low[chosen] / predicted[chosen]),
                np.log(high[chosen] / predicted[chosen]),
                np.stack([np.broadcast_to(size, len(own)) for size in features.sizes], axis=1),
                np.stack([np.broadcast_to(kind, len(own)) for kind in features.kinds], axis=1),
            )
        )
    return found


def repeated(found: Sequence[Cluster]) -> float:
    """Standard deviation of ln(measured) among rows of one cluster that nothing recorded tells apart."""
    differences = []
    for cluster in found:
        everything = np.arange(len(cluster.rows))
        first, second = np.nonzero(np.triu(cluster.distances(everything, everything) < 1e-6, 1))
        # What was measured differs as the errors do: the predictions are the same.
        gaps = np.abs(cluster.error[first] - cluster.error[second])
        if len(gaps):
            differences.append(np.median(gaps) / np.sqrt(2) / 0.6745)
    return max(LEAST_REPEAT, round(float(np.mean(differences)), 4))


def _halves(cluster: Cluster, count: int, seed: int) -> tuple[Array, Array]:
    """Rows to learn from, and rows to predict."""
    order = np.random.default_rng(seed).permutation(len(cluster.rows))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    return first[: min(count or MOST_LEARNED, MOST_LEARNED)], second[:MOST_PREDICTED]


def _posterior(cluster: Cluster, prior: Prior, learned: Array, asked: Array) -> tuple[Array, Array]:
    """As `Learned`, in numpy, for the grid."""
    noise = prior.repeat / cluster.width
    same = cluster.distances(learned, learned) < 1e-6
    first = np.flatnonzero(same.argmax(1) == np.arange(len(learned)))
    members = same[first]  # rows that nothing tells apart count as one
    precision = members / noise[learned][None] ** 2
    errors = cluster.error[learned] / cluster.width[learned]
    known = (precision * errors[None]).sum(1) / precision.sum(1)
    number = members.sum(1)
    scatter = (members * (errors[None] - known[:, None]) ** 2).sum(1) / np.maximum(1, number - 1) / number
    variances = np.maximum(1 / precision.sum(1), scatter)
    distinct = learned[first]
    apart, across = cluster.distances(distinct, distinct), cluster.distances(asked, distinct)
    own = prior.own * np.maximum(1.0, (known / NORMAL_80) ** 2)
    shared = prior.cluster + prior.similar * np.exp(-apart / prior.length)
    across_same = across < 1e-6
    matrix = shared + np.diag(own + variances)
    covariance = prior.cluster + prior.similar * np.exp(-across / prior.length) + across_same * own[None]
    solved = np.linalg.solve(matrix, covariance.T).T
    variance = 1.0 + (across_same * (own - prior.own)[None]).max(1, initial=0.0) - (solved * covariance).sum(1)
    spread = np.sqrt(np.minimum(1.0, np.maximum(variance, 0.0) + noise[asked] ** 2))
    return solved @ known * cluster.width[asked], spread


def _learned(cluster: Cluster, prior: Prior, learned: Array, asked: Array) -> tuple[Array, Array]:
    """What llmspec itself says."""
    width = cluster.width
    evidence = [
        Evidence(_features(cluster.rows[index]), float(cluster.error[index] / width[index]), float(prior.repeat / width[index]))
        for index in learned
    ]
    target = features_of(np, columns([cluster.rows[index] for index in asked]))
    found = Learned(prior, evidence).posterior(np, target, prior.repeat / width[asked])
    return found.mean * width[asked], found.spread


def _features(row: Row) -> Features:
    assert row.configuration is not None
    return features_of(SCALARS, row.configuration)


Method = Callable[[Cluster, Prior, Array, Array], tuple[Array, Array]]


def _try(cluster: Cluster, prior: Prior, count: int, seed: int, method: Method) -> tuple[float, float, float, float]:
    """Mean error and share inside, before and after."""
    learned, asked = _halves(cluster, count, seed)
    correction, spread = method(cluster, prior, learned, asked)
    error, low, high = cluster.error[asked], cluster.low[asked], cluster.high[asked]
    return (
        float(np.abs(np.exp(-error) - 1).mean()),
        float(((error >= low) & (error <= high)).mean()),
        float(np.abs(np.exp(correction - error) - 1).mean()),
        float(((error >= correction + spread * low) & (error <= correction + spread * high)).mean()),
    )


def costs(found: Sequence[Cluster], repeat: float) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """What each prior of the grid leaves of the error of each cluster; what it adds counts `HARM` times more."""
    table = np.zeros((len(found), len(GRID)))
    for row, cluster in enumerate(found):
        for column, (share, similar, length) in enumerate(GRID):
            prior = Prior(share, similar, 1 - share - similar, length, repeat)
            for count in COUNTS:
                before, _, after, _ = np.mean([_try(cluster, prior, count, seed, _posterior) for seed in range(HALVES)], axis=0)
                table[row, column] += (after + HARM * max(0.0, after - before)) / before / len(COUNTS)
    return table


def choose(found: Sequence[Cluster], table: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", repeat: float, without: str = "") -> Prior:
    """The prior of the grid that costs least over sources, without one of them."""
    sources = [cluster.source for cluster in found]
    kept = [
        np.mean([table[index] for index, other in enumerate(sources) if other == source], axis=0)
        for source in dict.fromkeys(sources)
        if source != without
    ]
    share, similar, length = GRID[int(np.argmin(np.mean(kept, axis=0)))]
    return Prior(share, similar, round(1 - share - similar, 3), length, repeat)


def outcomes(found: Sequence[Cluster], fixed: Prior | None = None) -> tuple[list[Outcome], Prior]:
    """Each cluster by a prior that has not seen its source, and the prior that all of them choose; or all of them by a fixed one."""
    repeat = repeated(found) if fixed is None else fixed.repeat
    table = costs(found, repeat) if fixed is None else np.zeros((0, 0))
    lines = []
    for cluster in found:
        prior = fixed or choose(found, table, repeat, cluster.source)
        tried = np.array([[_try(cluster, prior, count, seed, _learned) for seed in range(HALVES)] for count in COUNTS]).mean(1)
        before = tried[-1]
        lines.append(
            Outcome(
                cluster.source,
                cluster.name,
                len(cluster.rows),
                prior,
                float(before[0]),
                float(before[1]),
                tuple(float(value) for value in tried[:, 2]),
                tuple(float(value) for value in tried[:, 3]),
            )
        )
    return lines, fixed or choose(found, table, repeat)


def overall(lines: Sequence[Outcome]) -> Outcome:
    """The mean over clusters."""
    return Outcome(
        "",
        "mean of the clusters",
        sum(line.rows for line in lines),
        lines[0].prior,
        float(np.mean([line.error for line in lines])),
        float(np.mean([line.inside for line in lines])),
        tuple(float(value) for value in np.mean([line.errors for line in lines], axis=0)),
        tuple(float(value) for value in np.mean([line.insides for line in lines], axis=0)),
    )


def calibration_table(title: str, lines: Sequence[Outcome]) -> str:
    """For people."""
    heads = [f"after {count}" if count else "after half" for count in COUNTS]
    text = [
        f"{title}: mean error and share inside the 80% interval of the held-out half, mean of {HALVES} random halves",
        f"{'':<28} {'rows':>5} {'before':>12}" + "".join(f"{head:>14}" for head in heads) + f"{'most added':>12}",
    ]
    for line in [*lines, overall(lines)]:
        cells = "".join(f"{error:>8.1%} {inside:>5.0%}" for error, inside in zip(line.errors, line.insides, strict=True))
        text.append(f"{line.name:<28} {line.rows:>5} {line.error:>6.1%} {line.inside:>5.0%}{cells}{line.harm * 100:>+11.1f}")
    worst = max(lines, key=lambda line: line.harm)
    worse = [f"{line.name}, {line.error:.1%} off before" for line in lines if line.errors[-1] >= line.error]
    text.append(f"the most that it adds is {worst.harm * 100:+.1f} points ({worst.name}); {TOLERANCE:.1%} is allowed")
    if worse:
        text.append("half of it does not help " + ", ".join(worse))
    return "\n".join(text) + "\n"


def calibration_json(lines: Sequence[Outcome]) -> list[dict[str, object]]:
    """For programs."""
    return [
        {
            "name": line.name,
            "rows": line.rows,
            "before": {"mean_error": line.error, "inside": line.inside},
            "after": {
                str(count or "half"): {"mean_error": error, "inside": inside}
                for count, error, inside in zip(COUNTS, line.errors, line.insides, strict=True)
            },
        }
        for line in [*lines, overall(lines)]
    ]


def catalog_text(step: Prior, step_clusters: Sequence[Cluster], memory: Prior, memory_clusters: Sequence[Cluster]) -> str:
    """The catalog's file."""

    def line(name: str, prior: Prior) -> str:
        return f"{name}: {{{', '.join(f'{field}: {value:g}' for field, value in prior._asdict().items())}}}"

    def told(found: Sequence[Cluster]) -> str:
        rows = sum(len(cluster.rows) for cluster in found)
        return f"{rows:,} rows of {len(found)} clusters from {len({cluster.source for cluster in found})} sources"

    return f"""\
# How the errors of the estimates are made up, written by `make accuracy CALIBRATION=1 FIT=1`: do not edit by hand.
#
# ln(measured / estimated), in units of the standard deviation that the 80% interval of the estimate stands for, has the variance 1. Of it
# cluster: what all runs of one accelerator in one place have in common
# similar: what runs have in common as far as they are alike: it falls to 1/e over `length` doublings of any size or degree, a
#          difference in kind counting as one doubling
# own:     what one model in one layout has for itself
# repeat:  standard deviation of ln(measured) when the same is measured again
#
# Of a grid those were taken that leave least of the error of held-out halves of the clusters, with errors of fits that had not seen the
# source; what calibration adds to a cluster's error weighs {HARM:g} times more than what it takes off. `repeat` is the spread of rows that
# nothing recorded tells apart.
source: {json.dumps(f"step time: {told(step_clusters)}; memory: {told(memory_clusters)}; goodput: 31 runs of one study")}
{line("step", step)}
{line("memory", memory)}
# The logarithm of lost time over time in steps. Published runs lie between 0.85 and 0.95 in steps; those of one study (xLSTM's, on H100)
# have `repeat` as their spread. They all validated and saved at one pace: half of what they share is counted as the cluster's.
{line("goodput", GOODPUT)}
"""

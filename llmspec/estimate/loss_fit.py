"""A law of the loss fitted to own runs: L(N, D) = E + ((A / N**alpha)**(1/k) + (B / D**beta)**(1/k))**k.

As Hoffmann et al. 2022 (approach 3): the Huber loss of the logarithm, with threshold 0.001, from a grid of starts. The coupling k is that
of Videau et al. 2026: added terms (k = 1) bend the wrong way at few and at many tokens a parameter, and from small runs say too high a
loss for large ones. Priors keep exponents and coupling near published ones and, where few runs say little, decide them; how much they
decide shows in the intervals, which are those of fits to resampled runs with exponents drawn from the priors. Held out, the largest runs
of public sets lie in them as often as they should: `make accuracy` scores it. Plain Python: a ladder has a handful of points, public sets
hundreds.
"""

import json
import random
from collections.abc import Mapping, Sequence
from math import exp, log, log1p, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from llmspec.catalog.loss_laws import loss_effect
from llmspec.estimate.scaling import Coefficients

FORMAT = 2
LAW = "E + ((A / N**alpha)**(1/k) + (B / D**beta)**(1/k))**k"
THRESHOLD = 1e-3
# Runs that differ in nothing but the seed end so far apart, and no law holds closer than that beyond its runs, however well it fits them.
LEAST_ERROR = 0.005
# Size and data have to explain the loss; what is left over at infinity may be nearly nothing. In ln(E), around half of the lowest loss.
PRIOR_IRREDUCIBLE_SPREAD = 1.0
SAMPLES = 100
LEVEL = 0.8
_EXPONENTS = (0.2, 0.35, 0.6)
_SHARES = (0.2, 0.6, 0.9)
_RANGE = 30.0


class Point(NamedTuple):
    """A finished run."""

    parameters: float
    tokens: float
    loss: float
    name: str = ""


class LossFit(NamedTuple):
    """A fitted law, with the laws of the resampled runs."""

    name: str
    coefficients: Coefficients
    samples: tuple[Coefficients, ...]
    points: int
    parameters: tuple[float, float]
    tokens: tuple[float, float]
    residual: float
    """Mean relative error over its own runs."""

    def interval(self, name: str) -> tuple[float, float]:
        """The bootstrapped 80% interval of a coefficient."""
        return _ends([getattr(sample, name) for sample in self.samples])

    def bounds(self, parameters: float, tokens: float) -> tuple[float, float]:
        """The bootstrapped 80% interval of a loss, wider by what the law misses of its own runs."""
        low, high = _ends([sample.loss(parameters, tokens) for sample in self.samples])
        value = self.coefficients.loss(parameters, tokens)
        # The residuals of a fit with five coefficients are smaller than the errors of the law.
        error = max(self.residual * sqrt(self.points / max(self.points - 5, 1)), LEAST_ERROR)
        noise = 1.28 * 1.25 * error  # 80% of a normal distribution with that mean absolute deviation
        return min(low, value) * (1 - noise), max(high, value) * (1 + noise)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `read_fit` takes them."""
        return {
            "llmspec_loss_fit": FORMAT,
            "name": self.name,
            "law": LAW,
            "coefficients": dict(zip(_LETTERS, self.coefficients, strict=True)),
            "intervals": {letter: list(self.interval(name)) for letter, name in zip(_LETTERS, Coefficients._fields, strict=True)},
            "runs": self.points,
            "parameters": list(self.parameters),
            "tokens": list(self.tokens),
            "mean_error": self.residual,
            "samples": [list(sample) for sample in self.samples],
        }


_LETTERS = ("E", "A", "alpha", "B", "beta", "k")


def _ends(values: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

    return at((1 - LEVEL) / 2), at((1 + LEVEL) / 2)


def read_fit(path: Path) -> LossFit:
    """A fit from its file. Raises `ValueError` where it is none, `OSError` where it cannot be read."""
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict) or value.get("llmspec_loss_fit") != FORMAT:
        raise ValueError("is not a file that `llmspec fit` wrote")
    try:
        coefficients = Coefficients(*(float(value["coefficients"][letter]) for letter in _LETTERS))
        samples = tuple(Coefficients(*map(float, sample)) for sample in value["samples"])
        sizes, tokens = value["parameters"], value["tokens"]
        fit = LossFit(
            str(value["name"]),
            coefficients,
            samples,
            int(value["runs"]),
            (float(sizes[0]), float(sizes[1])),
            (float(tokens[0]), float(tokens[1])),
            float(value["mean_error"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError("has been changed since `llmspec fit` wrote it") from error
    if not samples or any(number <= 0 for number in (*coefficients, *(n for sample in samples for n in sample))):
        raise ValueError("has coefficients that are not positive")
    return fit


def fit_loss(points: Sequence[Point], name: str, *, samples: int = SAMPLES, seed: int = 0) -> LossFit:
    """Fit the law and its resampled copies.

    Args:
        points: At least two runs.
        name: Of the profile.
        samples: How many resampled fits make the intervals.
        seed: Of the resampling.
    """
    problem = _Problem(points)
    best = problem.solve(problem.starts())
    # Priors and runs weigh by what is known of each: the runs' errors by their mean, which the first fit has shown.
    problem.weight = min(1.0, THRESHOLD / max(problem.mean_error(best), THRESHOLD))
    best = problem.solve([best, *problem.starts()])
    generator = random.Random(seed)
    copies = []
    for _ in range(samples):
        drawn = [generator.choice(points) for _ in points]
        if len({(point.parameters, point.tokens) for point in drawn}) < 2:
            drawn = list(points)
        copies.append(_Problem(drawn, problem.drawn_priors(generator), problem).solve([best]))
    coefficients = problem.coefficients(best)
    return LossFit(
        name,
        coefficients,
        tuple(problem.coefficients(copy) for copy in copies),
        len(points),
        (min(point.parameters for point in points), max(point.parameters for point in points)),
        (min(point.tokens for point in points), max(point.tokens for point in points)),
        fmean(abs(coefficients.loss(point.parameters, point.tokens) / point.loss - 1) for point in points),
    )


Vector = list[float]


class _Prior(NamedTuple):
    """What is known of an unconstrained number before any run."""

    place: int
    centre: float
    spread: float


# The places of the unconstrained numbers: ln of E, of the term of size and its exponent, of the term of data and its exponent, of k.
_CONSTANT, _SIZE, _ALPHA, _DATA, _BETA, _COUPLING = range(6)
_COUNT = 6


class _Problem:
    """The fit in six unconstrained numbers: ln E, for size and data ln of the term at the middle run and of its exponent, ln k."""

    def __init__(self, points: Sequence[Point], priors: Sequence[_Prior] = (), like: "_Problem | None" = None) -> None:
        # Terms at the geometric middle of the runs hardly depend on the exponents, as A and B at N = D = 1 do.
        self.size: float = like.size if like else fmean(log(point.parameters) for point in points)
        self.data: float = like.data if like else fmean(log(point.tokens) for point in points)
        self.lowest: float = like.lowest if like else min(point.loss for point in points)
        self.rows = [(log(p.parameters) - self.size, log(p.tokens) - self.data, log(p.loss)) for p in points]
        self.weight: float = like.weight if like else 1.0
        known = loss_effect("fit")
        self.coupling = log(known["coupling"])
        self.priors = priors or (
            _Prior(_CONSTANT, log(self.lowest / 2), PRIOR_IRREDUCIBLE_SPREAD),
            _Prior(_ALPHA, log(known["exponent"]), known["exponent_spread"]),
            _Prior(_BETA, log(known["exponent"]), known["exponent_spread"]),
            _Prior(_COUPLING, self.coupling, known["coupling_spread"]),
        )

    def drawn_priors(self, generator: random.Random) -> tuple[_Prior, ...]:
        """The priors, each around a place drawn from itself: what they decide alone then varies as they say."""
        return tuple(prior._replace(centre=prior.centre + prior.spread * generator.gauss(0, 1)) for prior in self.priors)

    def mean_error(self, x: Vector) -> float:
        """The mean of the residuals, as shares of the loss."""
        return fmean(abs(residual) for residual in self._residuals(x)[0]) * THRESHOLD

    def starts(self) -> list[Vector]:
        """The grid."""
        return [
            [
                log(self.lowest * share),
                log(self.lowest * (1 - share) / 2),
                log(a),
                log(self.lowest * (1 - share) / 2),
                log(b),
                self.coupling,
            ]
            for share in _SHARES
            for a in _EXPONENTS
            for b in _EXPONENTS
        ]

    def coefficients(self, x: Vector) -> Coefficients:
        alpha, beta = exp(x[_ALPHA]), exp(x[_BETA])
        size, data = exp(x[_SIZE] + alpha * self.size), exp(x[_DATA] + beta * self.data)
        return Coefficients(exp(x[_CONSTANT]), size, alpha, data, beta, exp(x[_COUPLING]))

    def _residuals(self, x: Vector) -> tuple[list[float], list[Vector]]:
        """Residuals and their derivatives, in units of the threshold."""
        alpha, beta, constant, coupling = exp(x[_ALPHA]), exp(x[_BETA]), exp(x[_CONSTANT]), exp(x[_COUPLING])
        residuals, derivatives = [], []
        for n, d, target in self.rows:
            # ln of the two terms to the power of 1/k, and of their sum, without powers that overflow.
            size, data = (x[_SIZE] - alpha * n) / coupling, (x[_DATA] - beta * d) / coupling
            both = max(size, data) + log1p(exp(-abs(size - data)))
            share = exp(size - both)
            term = exp(coupling * both)
            total = constant + term
            residuals.append((log(total) - target) / THRESHOLD)
            scale = 1 / (total * THRESHOLD)
            by_size, by_data = term * share * scale, term * (1 - share) * scale
            by_coupling = coupling * (both - share * size - (1 - share) * data) * term * scale
            derivatives.append([constant * scale, by_size, -by_size * alpha * n, by_data, -by_data * beta * d, by_coupling])
        return residuals, derivatives

    def cost(self, x: Vector) -> float:
        """Huber's loss of the residuals, and the squares of the priors."""
        huber = sum(r * r / 2 if abs(r) <= 1 else abs(r) - 0.5 for r in self._residuals(x)[0])
        return self.weight * huber + sum(((x[prior.place] - prior.centre) / prior.spread) ** 2 / 2 for prior in self.priors)

    def solve(self, starts: Sequence[Vector]) -> Vector:
        """The best of the minima that the starts lead to: a few steps from each, all the way from the three best."""
        if len(starts) > 1:
            starts = sorted((self._descend(start, 6) for start in starts), key=self.cost)[:3]
        return min((self._descend(start, 100) for start in starts), key=self.cost)

    def _descend(self, start: Vector, steps: int) -> Vector:
        """Levenberg and Marquardt's steps on the reweighted squares."""
        x, damping, cost = list(start), 1e-2, self.cost(start)
        for _ in range(steps):
            residuals, derivatives = self._residuals(x)
            matrix, right = [[0.0] * _COUNT for _ in range(_COUNT)], [0.0] * _COUNT
            for residual, row in zip(residuals, derivatives, strict=True):
                weight = self.weight * (1.0 if abs(residual) <= 1 else 1 / abs(residual))
                for i in range(_COUNT):
                    scaled = weight * row[i]
                    right[i] -= scaled * residual
                    for j in range(i + 1):
                        matrix[i][j] += scaled * row[j]
            for i, centre, spread in self.priors:
                matrix[i][i] += 1 / spread**2
                right[i] -= (x[i] - centre) / spread**2
            for i in range(_COUNT):
                for j in range(i):
                    matrix[j][i] = matrix[i][j]
            gained = 0.0
            for _ in range(12):
                damped = [list(row) for row in matrix]
                for i in range(_COUNT):
                    damped[i][i] += damping * matrix[i][i] + 1e-12
                step = _solve(damped, right)
                length = sqrt(sum(value * value for value in step))
                # A long step is cut: it left the region that the derivatives describe.
                shrink = min(1.0, 1.0 / length) if length > 0 else 1.0
                trial = [max(-_RANGE, min(_RANGE, value + shrink * change)) for value, change in zip(x, step, strict=True)]
                new = self.cost(trial)
                if new < cost:
                    gained, x, cost, damping = cost - new, trial, new, max(damping / 4, 1e-9)
                    break
                damping *= 5
            if gained <= 1e-10 * (cost + 1e-12):
                break
        return x


def _solve(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> Vector:
    """Gaussian elimination with pivoting; the matrix is positive definite."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    count = len(rows)
    for column in range(count):
        pivot = max(range(column, count), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, count):
            factor = rows[row][column] / rows[column][column]
            for place in range(column, count + 1):
                rows[row][place] -= factor * rows[column][place]
    solution = [0.0] * count
    for row in reversed(range(count)):
        known = sum(rows[row][place] * solution[place] for place in range(row + 1, count))
        solution[row] = (rows[row][count] - known) / rows[row][row]
    return solution


def describe_fit(fit: LossFit) -> Mapping[str, tuple[float, float, float]]:
    """Each coefficient by its letter, with the ends of its interval."""
    return {
        letter: (value, *fit.interval(name)) for letter, name, value in zip(_LETTERS, Coefficients._fields, fit.coefficients, strict=True)
    }

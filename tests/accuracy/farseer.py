"""The coefficients of Farseer's form in llmspec/catalog/loss_laws.yaml, fitted to the public runs of dense models.

Li et al. 2025 (arXiv:2506.10972) print theirs for bits a character of a validation set of their own, which say nothing in nats a token.
Their form, E + U(N) + B(N) * D**-A(N), is fitted here with U, B and A as powers of N, and with a constant E for each data set, found anew
for every trial as the weighted median of what its runs say. Each source counts with the root of its runs.
"""

from collections.abc import Sequence

import numpy as np

from llmspec.catalog.loss_laws import loss_law
from tests.accuracy.losses import Array, LossRow, constant

NAMES = ("size", "size_exponent", "data", "data_size_exponent", "data_exponent", "data_exponent_size")
# Muennighoff et al. 2023's, from which nothing is known to depart: the spreads of their logarithms, or of the last two exponents.
SPREADS = np.array([1.0, 0.3, 1.0, 0.3, 0.3, 0.1])
THRESHOLD = 0.01
ROUNDS = 40


def start() -> Array:
    """Where the fit begins, in the unconstrained numbers that it moves."""
    main = loss_law("data_constrained").coefficients
    size, data = main["A"] / 5e8 ** main["alpha"], main["B"] / 1e10 ** main["beta"]
    return np.array([np.log(size), np.log(main["alpha"]), np.log(data), 0.0, np.log(main["beta"]), 0.0])


def variable(x: Array, parameters: Array, tokens: Array) -> Array:
    """U(N) + B(N) * D**-A(N), with N over 500M and D over 10B."""
    n, d = np.log(parameters / 5e8), np.log(tokens / 1e10)
    exponent = np.exp(x[4] + x[5] * n)
    return np.asarray(np.exp(x[0] - np.exp(x[1]) * n) + np.exp(x[2] - x[3] * n - exponent * d))


def fit_farseer(rows: Sequence[LossRow]) -> dict[str, float]:
    """The coefficients, by the names in the catalog."""
    used = [row for row in rows if row.excluded is None and not row.experts]
    parameters, tokens = np.array([row.parameters for row in used]), np.array([row.tokens for row in used])
    loss = np.array([row.loss / row.tuning for row in used])
    counts = {row.source: sum(other.source == row.source for other in used) for row in used}
    weight = np.array([counts[row.source] ** -0.5 for row in used])
    names = [row.data for row in used]
    groups = [np.array([n for n, other in enumerate(names) if other == name]) for name in dict.fromkeys(names)]

    def residuals(x: Array) -> Array:
        part = variable(x, parameters, tokens)
        error = np.zeros(len(used))
        for group in groups:
            error[group] = (constant(loss[group] - part[group], 1 / loss[group]) + part[group]) / loss[group] - 1
        return error

    def cost(x: Array) -> float:
        size = np.abs(residuals(x)) / THRESHOLD
        return float((weight * np.where(size < 1, size**2 / 2, size - 0.5)).sum() + (((x - centre) / SPREADS) ** 2).sum() / 2)

    centre = start()
    x, best, damping = centre.copy(), cost(centre), 1e-2
    for _ in range(ROUNDS):
        error = residuals(x)
        slopes = np.stack([(residuals(x + 1e-4 * unit) - error) / 1e-4 for unit in np.eye(len(x))], axis=1)
        scaled = weight / THRESHOLD**2 / np.maximum(1, np.abs(error) / THRESHOLD)
        normal = slopes.T @ (scaled[:, None] * slopes) + np.diag(SPREADS**-2)
        gradient = slopes.T @ (scaled * error) + (x - centre) / SPREADS**2
        for _ in range(8):
            trial = x + np.clip(np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient), -0.5, 0.5)
            value = cost(trial)
            if value < best:
                x, best, damping = trial, value, damping / 3
                break
            damping *= 4
        else:
            break
    values = [np.exp(x[0]), np.exp(x[1]), np.exp(x[2]), x[3], np.exp(x[4]), x[5]]
    return dict(zip(NAMES, map(float, values), strict=True))

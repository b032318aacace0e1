"""The score of the memory: the peak of one device against what sources report."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmspec.estimate.constants import memory_constants
from llmspec.estimate.memory_model import MemoryConstants, peak_parts
from tests.accuracy.rows import Row
from tests.accuracy.score import Array, quantiles
from tests.accuracy.table import columns

ROUNDS = 12
FLOOR = 0.1
PULL = 0.5

# Where each constant begins, and by what factor it may be off.
BEGIN: dict[str, tuple[float, float]] = {
    "context_bytes": (1.5e9, 1.5),
    "collective_bytes": (0.7e9, 1.5),
    "eager_stream": (6.0, 1.3),
    "fused_stream": (3.0, 1.3),
    "eager_loss_bytes": (16.0, 1.15),
    "fused_loss_bytes": (10.0, 1.25),
    "fragmentation": (0.06, 1.5),
}
MEANING = {
    "context_bytes": "bytes of the driver's context, loaded kernels and workspaces",
    "collective_bytes": "bytes of the collective library's buffers, for each kind of group that a device is in",
    "eager_stream": "copies of the residual stream that eager kernels keep of a layer, beside the inputs of products",
    "fused_stream": "the same of hand-written and compiled kernels",
    "eager_loss_bytes": "bytes held for one logit in the loss and its backward pass: bf16, fp32, its softmax, both gradients",
    "fused_loss_bytes": "the same with hand-written and compiled kernels",
    "fragmentation": "share of what comes and goes in a step that the allocator holds beside it",
}


class MemoryScore(NamedTuple):
    """One line of the table."""

    name: str
    rows: int
    mean_error: float
    median_error: float
    bias: float
    inside: float


def _predict(rows: Sequence[Row], constants: MemoryConstants) -> Array:
    return np.asarray(sum(peak_parts(np, columns(rows), constants).values()), dtype=float)


def _measured(rows: Sequence[Row]) -> Array:
    return np.array([row.memory_gib for row in rows], dtype=float) * 1e9


def _weights(rows: Sequence[Row]) -> Array:
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.source] = sizes.get(row.source, 0) + 1
    return np.array([sizes[row.source] ** -0.5 for row in rows])


def fit_memory(rows: Sequence[Row]) -> MemoryConstants:
    """Fit the constants of the memory to some rows."""
    names = list(BEGIN)
    centre = np.log([BEGIN[name][0] for name in names])
    pull = PULL / np.log([BEGIN[name][1] for name in names]) ** 2
    measured, weight, x = np.log(_measured(rows)), _weights(rows), centre.copy()

    def predicted(x: Array) -> Array:
        return np.log(_predict(rows, MemoryConstants(**dict(zip(names, np.exp(x).tolist(), strict=True)))))

    for _ in range(ROUNDS):
        current = predicted(x)
        residual = current - measured
        robust = weight / FLOOR / (1 + (residual / FLOOR) ** 2)
        jacobian = np.stack([(predicted(x + 1e-3 * unit) - current) / 1e-3 for unit in np.eye(len(x))], axis=1)
        normal = jacobian.T @ (robust[:, None] * jacobian) + np.diag(pull)
        x = x - np.clip(np.linalg.solve(normal, jacobian.T @ (robust * residual) + pull * (x - centre)), -0.3, 0.3)
    return MemoryConstants(**dict(zip(names, np.exp(x).tolist(), strict=True)))


def _leave_one_out(rows: Sequence[Row]) -> Array:
    sources = np.array([row.source for row in rows])
    predicted = np.zeros(len(rows))
    for source in dict.fromkeys(sources):
        constants = fit_memory([row for row in rows if row.source != source])
        predicted[sources == source] = _predict([row for row in rows if row.source == source], constants)
    return predicted


def _held_out(rows: Sequence[Row]) -> tuple[Array, Array, Array]:
    """Predictions of each source by a fit to the others, and the interval, as shares, that the others' errors give it."""
    measured, weight, predicted = _measured(rows), _weights(rows), _leave_one_out(rows)
    sources = np.array([row.source for row in rows])
    low, high = np.zeros(len(rows)), np.zeros(len(rows))
    for source in dict.fromkeys(sources):
        other = sources != source
        ends = quantiles(np.log(measured / predicted)[other], weight[other])
        low[~other], high[~other] = np.exp(ends)
    return predicted, low, high


def leave_one_out_memory(rows: Sequence[Row]) -> tuple[Array, Array, Array, Array]:
    """Measured and predicted bytes, and the interval, of each source by a fit to the others."""
    predicted, low, high = _held_out(rows)
    return _measured(rows), predicted, predicted * low, predicted * high


def score_memory(rows: Sequence[Row], *, frozen: bool) -> list[MemoryScore]:
    """One line a source and one overall."""
    from llmspec.catalog.efficiency import efficiency

    if not rows:
        return []
    measured = _measured(rows)
    sources = np.array([row.source for row in rows])
    if frozen:
        predicted, (low, high) = _predict(rows, memory_constants()), efficiency().memory_bounds["peak"]
    else:
        predicted, low, high = _held_out(rows)

    def line(name: str, chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> MemoryScore:
        ratio = predicted[chosen] / measured[chosen]
        inside = (measured >= predicted * low) & (measured <= predicted * high)
        error = np.abs(ratio - 1)
        return MemoryScore(
            name,
            int(chosen.sum()),
            float(error.mean()),
            float(np.median(error)),
            float(np.exp(np.median(np.log(ratio)))),
            float(inside[chosen].mean()),
        )

    return [line(source, sources == source) for source in dict.fromkeys(sources)] + [line("memory", np.ones(len(rows), dtype=bool))]


def write_memory(rows: Sequence[Row]) -> str:
    """The memory's part of the catalog's file."""
    constants = fit_memory(rows)
    low, high = quantiles(np.log(_measured(rows) / _leave_one_out(rows)), _weights(rows))
    lines = ["memory:"]
    for name in BEGIN:
        lines += [f"  # {MEANING[name]}", f"  {name}: {getattr(constants, name):.4g}"]
    lines += ["memory_bounds:", f"  peak: [{np.exp(min(low, -0.02)):.3f}, {np.exp(max(high, 0.02)):.3f}]"]
    return "\n".join(lines) + "\n"

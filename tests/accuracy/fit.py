"""The fit of the constants: robust least squares on the logarithm of the step time, with a weak pull towards where each began.

Constants are positive and fitted by their logarithms. Every source weighs as the root of its number of rows, so that a large one counts
for more than a small one but does not drown it. The pull says how far a constant may be believed to lie from its beginning: it keeps
what no row tells of, and what the rows tell of only together, at a physical value.
"""

from collections.abc import Sequence

import numpy as np

from llmspec.estimate.step_model import Constants, step_seconds
from tests.accuracy.rows import Row
from tests.accuracy.table import columns

ROUNDS = 14
PULL = 0.5
FLOOR = 0.06  # residuals below count as squares, far above hardly more than others: those rows have causes that are not modelled

# What each constant means; efficiency.yaml is written with it.
MEANING = {
    "sustained": "share of the best measured matrix product that training sustains: power and heat",
    "amd": "time of kernels on AMD's devices over what the best measured product says: clocks fall under load, kernels are younger",
    "falloff": "power of a device's speed over an A100's by which products lose that PyTorch starts itself",
    "tail": "waves of tiles of the result that are lost at the end of a matrix product",
    "fill": "steps of the inner dimension that filling a multiprocessor's pipeline costs, on an A100; more on faster ones",
    "attention": "share of the best matrix product that PyTorch's fused attention reaches with long heads",
    "fused_attention": "the same of the libraries' that are written for each generation of devices: cuDNN, Transformer Engine, XLA",
    "attention_fill": "entries of a head that filling costs in fused attention, on an A100",
    "attention_backward": "backward over forward FLOPs of fused attention, which computes the scores again",
    "bandwidth": "share of the stated memory bandwidth that passes reach",
    "eager_passes": "passes over memory of eager kernels, over those that are needed",
    "compiled_passes": "the same of compiled kernels",
    "fused_passes": "the same of hand-written kernels",
    "score_bytes": "bytes moved for one attention score where attention is not fused, forward",
    "quantise_passes": "bytes moved to quantise one entry of an operand",
    "accumulation": "share of the passes that add a micro batch's gradients to the kept ones which products do not hide",
    "host": "seconds in which Python starts one layer's kernels, forward and backward",
    "compiled_host": "the same where they are compiled",
    "host_jitter": "relative spread of that time among the processes of a tensor group",
    "adapter_host": "kernels of a layer with adapters over those of one without",
    "step_overhead": "seconds of a step for what is not the model: logging, reading the loss, the optimizer's kernels",
    "link": "share of the stated bandwidth of the link between devices that collectives reach",
    "network": "the same of the network between nodes",
    "latency": "seconds that a collective takes at least",
    "hop": "seconds more for each node that it spans",
    "unaligned": "time of a product whose rows are no multiple of 16 bytes, over that of an aligned one",
    "coarse": "the same of one whose rows are no multiple of 128 bytes",
    "tensor_exposed": "share of tensor parallelism's messages that nothing hides, with sequence parallelism",
    "overlap": "share of the computation behind which messages of gradients and shards can hide",
    "contention": "share of their time that hidden messages cost anyway, since they take memory bandwidth and multiprocessors",
    "pipeline_exposed": "share of the messages between pipeline stages that nothing hides",
    "expert_imbalance": "tokens of the busiest device over the mean, and what grouped products lose against one",
    "expert_passes": "passes over a routed token for routing, sorting and combining",
    "expert_exposed": "share of the exchange of tokens that nothing hides",
    "expert_host": "kernels of a layer with experts over those of a dense one",
    "jitter": "relative spread of the time of devices that wait for each other",
}

# Where each constant begins, from measurements of single kernels and links, and by what factor it may be off.
BEGIN: dict[str, tuple[float, float]] = {
    "sustained": (0.92, 1.08),
    "amd": (1.1, 1.06),
    "falloff": (0.15, 1.2),
    "tail": (0.5, 1.3),
    "fill": (100.0, 1.5),
    "attention": (0.55, 1.25),
    "fused_attention": (0.68, 1.25),
    "attention_fill": (30.0, 1.5),
    "attention_backward": (2.5, 1.1),
    "bandwidth": (0.8, 1.1),
    "eager_passes": (1.5, 1.5),
    "compiled_passes": (1.0, 1.3),
    "fused_passes": (1.0, 1.3),
    "score_bytes": (5.0, 1.4),
    "quantise_passes": (1.0, 1.6),
    "accumulation": (0.5, 1.5),
    "host": (2.0e-3, 1.5),
    "compiled_host": (0.8e-3, 1.5),
    "host_jitter": (0.1, 1.6),
    "adapter_host": (1.5, 1.3),
    "step_overhead": (5e-3, 2.0),
    "link": (0.75, 1.15),
    "network": (0.75, 1.25),
    "latency": (20e-6, 2.0),
    "hop": (5e-6, 2.0),
    "unaligned": (2.5, 1.3),
    "coarse": (1.3, 1.15),
    "tensor_exposed": (0.5, 1.6),
    "overlap": (0.8, 1.15),
    "contention": (0.15, 1.8),
    "pipeline_exposed": (0.5, 1.8),
    "expert_imbalance": (1.25, 1.15),
    "expert_passes": (12.0, 1.5),
    "expert_exposed": (0.35, 1.5),
    "expert_host": (2.0, 1.5),
    "jitter": (0.005, 2.0),
}


def begin() -> Constants:
    """The constants before any fit."""
    return Constants(**{name: value for name, (value, _) in BEGIN.items()})


def weights(rows: Sequence[Row]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """How much each row counts."""
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.source] = sizes.get(row.source, 0) + 1
    return np.array([sizes[row.source] ** -0.5 for row in rows])


def fit(rows: Sequence[Row], start: Constants | None = None, rounds: int = ROUNDS) -> Constants:
    """Fit the constants to some rows."""
    configuration = columns(rows)
    measured = np.log(np.array([row.seconds for row in rows], dtype=float))
    weight = weights(rows)
    names = list(BEGIN)
    centre = np.log([BEGIN[name][0] for name in names])
    pull = 1.0 / np.log([BEGIN[name][1] for name in names]) ** 2 * PULL
    x = centre.copy() if start is None else np.log([getattr(start, name) for name in names])

    def predicted(x: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        constants = Constants(**dict(zip(names, np.exp(x).tolist(), strict=True)))
        return np.log(step_seconds(np, configuration, constants))

    def cost(residual: "np.ndarray[tuple[int], np.dtype[np.float64]]", x: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
        robust = FLOOR * np.log1p((residual / FLOOR) ** 2) / 2
        return float((weight * robust).sum() + (pull * (x - centre) ** 2).sum() / 2)

    damping = 1.0
    current = predicted(x)
    best = cost(current - measured, x)
    for _ in range(rounds):
        residual = current - measured
        robust = weight / FLOOR / (1 + (residual / FLOOR) ** 2)
        step = 1e-3
        jacobian = np.stack([(predicted(x + step * unit) - current) / step for unit in np.eye(len(x))], axis=1)
        normal = jacobian.T @ (robust[:, None] * jacobian) + np.diag(pull)
        gradient = jacobian.T @ (robust * residual) + pull * (x - centre)
        for _ in range(6):
            move = np.linalg.solve(normal + damping * np.diag(np.diag(normal)) * 0.1, -gradient)
            candidate = x + np.clip(move, -0.5, 0.5)
            trial = predicted(candidate)
            value = cost(trial - measured, candidate)
            if value < best:
                x, current, best, damping = candidate, trial, value, damping * 0.4
                break
            damping *= 4
        else:
            break
    return Constants(**dict(zip(names, np.exp(x).tolist(), strict=True)))

"""How near the laws of the loss come to public runs.

A data set is the rows of one source (the `id` up to its last dash), text, kind of loss and sequence length: for each the law's constant
is found anew, since no law can know it. A row's constant is the weighted median of what all the *other* rows of its data set say
(measured loss over the tuning factor, less the law's two terms; weights one over the loss, so that the mean relative error is smallest):
a row never helps to predict itself, and nothing else of the law is fitted to any row but the tuning factor, whose four constants come from
StepLaw's grids, and the loss at few tokens a parameter, whose two come from two of the sources (llmspec/catalog/loss_laws.yaml).
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmspec.catalog.loss_laws import LossLaw, loss_law
from llmspec.estimate.scaling import MAIN, additive, mixed_size, scarcity, small_law, tuning_factor

LOSSES = Path(__file__).parent / "loss_runs.csv"
OTHERS = ("epoch", "chinchilla", "kaplan")
# A batch of one or two sequences is a micro batch that its source took for the whole.
SEQUENCES = 4

Array = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class LossRow:
    """One public run. `parameters` are those of the dense model that it is worth."""

    source: str
    data: tuple[str, str, str]
    experts: bool
    parameters: float
    tokens: float
    loss: float
    tuning: float
    """Loss over that of the best learning rate and batch."""
    excluded: str | None


class LossScore(NamedTuple):
    """One line: errors are shares of the measured loss."""

    name: str
    rows: int
    mean_error: float
    median_error: float
    bias: float
    inside: float
    """Share of the rows within the error that the law states for 90% of them."""
    other_laws: dict[str, float]
    """Mean error of other laws with a constant of their own."""


def _number(values: dict[str, str], name: str) -> float | None:
    try:
        return float(values.get(name) or "")
    except ValueError:
        return None


def _rules(values: dict[str, str], loss: float | None, lowest: float | None) -> str | None:
    """Why a row is left out; the first rule that holds."""
    sized = any(_number(values, name) for name in ("params_total", "params_nonembed", "params_active"))
    if not sized or not _number(values, "tokens") or not loss:
        return "size, tokens or loss not stated"
    if re.search(r"per.(character|byte)|bits|bpb|bpc", values.get("loss_kind") or "", re.IGNORECASE):
        return "loss not in nats a token"
    if lowest is not None and loss > 1.2 * lowest:
        return "diverged: over 20% above another run of the same size, tokens and data"
    return None


def _factor(values: dict[str, str], body: float, active: float, tokens: float) -> float:
    rate, batch = _number(values, "lr"), _number(values, "batch_tokens")
    if not rate or not batch or batch < SEQUENCES * (_number(values, "seq_len") or 1):
        return 1.0
    return tuning_factor(body, active, tokens, rate, batch)


def read_losses(path: Path = LOSSES) -> list[LossRow]:
    """The rows of a file with the columns of loss_runs.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    lowest: dict[tuple[str, ...], float] = {}
    for values in records:
        loss = _number(values, "loss")
        if loss:
            key = _run(values)
            lowest[key] = min(loss, lowest.get(key, loss))
    rows = []
    for values in records:
        loss = _number(values, "loss")
        excluded = _rules(values, loss, lowest.get(_run(values)))
        source = values["id"].rpartition("-")[0]
        data = (source, f"{values.get('dataset') or ''} {values.get('loss_kind') or ''}", values.get("seq_len") or "")
        total, body, active = (_number(values, f"params_{name}") for name in ("total", "nonembed", "active"))
        experts = active is not None and active < 0.95 * (body or total or 0)
        if excluded:
            rows.append(LossRow(source, data, experts, 0, 0, 0, 1, excluded))
            continue
        size = total or body or active or 0
        worth = mixed_size(active, body or size) if experts and active else size
        tokens = _number(values, "tokens") or 0
        factor = _factor(values, body or size, active or body or size, tokens)
        rows.append(LossRow(source, data, experts, worth, tokens, loss or 0, factor, None))
    return rows


def _run(values: dict[str, str]) -> tuple[str, ...]:
    names = ("params_total", "params_nonembed", "params_active", "tokens", "dataset", "loss_kind", "seq_len")
    return (values["id"].rpartition("-")[0], *(values.get(name) or "" for name in names), _experts(values))


def _experts(values: dict[str, str]) -> str:
    found = re.match(r"experts=\d+ topk=\d+", values.get("notes") or "")
    return found[0] if found else ""


def variable_part(rows: Sequence[LossRow], law: LossLaw) -> Array:
    """What the law adds to its constant for each row; for Kaplan's the whole."""
    if law.form == "kaplan":
        return np.array([small_law(row.parameters, row.tokens) for row in rows])
    coefficients = additive(law, 0.0)
    # What the estimate adds to its own law; the others are as they were printed.
    scarce = [law.name == MAIN and not row.experts for row in rows]
    return np.array(
        [
            coefficients.loss(row.parameters, row.tokens) + (scarcity(coefficients, row.parameters, row.tokens) if few else 0.0)
            for row, few in zip(rows, scarce, strict=True)
        ]
    )


def constant(rest: Array, weights: Array) -> float:
    """The weighted median of what each row says of the constant."""
    order = np.argsort(rest)
    sums = np.cumsum(weights[order])
    return float(rest[order][np.searchsorted(sums, sums[-1] / 2)])


def predict_losses(rows: Sequence[LossRow], law: LossLaw) -> Array:
    """Each row's loss, with the constant that the other rows of its data set give; NaN for a row that is alone."""
    measured, tuning = np.array([row.loss for row in rows]), np.array([row.tuning for row in rows])
    part = variable_part(rows, law)
    predicted = np.full(len(rows), np.nan)
    names = [row.data for row in rows]
    for name in dict.fromkeys(names):
        index = np.array([n for n, other in enumerate(names) if other == name])
        if len(index) < 2:
            continue
        rest, weight = measured[index] / tuning[index] - part[index], tuning[index] / measured[index]
        for place, n in enumerate(index):
            others = np.arange(len(index)) != place
            predicted[n] = (constant(rest[others], weight[others]) + part[n]) * tuning[n]
    return predicted


def score_losses(rows: Sequence[LossRow]) -> tuple[list[LossScore], list[LossScore]]:
    """One line a source, and one a class."""
    used = [row for row in rows if row.excluded is None]
    if not used:
        return [], []
    measured = np.array([row.loss for row in used])
    errors = {name: predict_losses(used, loss_law(name)) / measured - 1 for name in (MAIN, *OTHERS)}
    stated = loss_law(MAIN).error

    def line(name: str, holds: Callable[[LossRow], bool]) -> LossScore | None:
        chosen = np.array([holds(row) for row in used]) & np.isfinite(errors[MAIN])
        if not chosen.any():
            return None
        error = errors[MAIN][chosen]
        size = np.abs(error)
        return LossScore(
            name,
            int(chosen.sum()),
            float(size.mean()),
            float(np.median(size)),
            float(1 + np.median(error)),
            float((size <= stated).mean()),
            {other: float(np.abs(errors[other][chosen]).mean()) for other in OTHERS},
        )

    def from_source(source: str) -> Callable[[LossRow], bool]:
        return lambda row: row.source == source

    sources = dict.fromkeys(row.source for row in used)
    by_source = [line(source, from_source(source)) for source in sources]
    overall = [
        line("dense", lambda row: not row.experts),
        line("experts", lambda row: row.experts),
        line("all losses", lambda row: True),
    ]
    return [one for one in by_source if one], [one for one in overall if one]


def left_out(rows: Sequence[LossRow]) -> dict[str, int]:
    """How many rows each rule leaves out."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.excluded:
            counts[row.excluded] = counts.get(row.excluded, 0) + 1
    return counts


def losses_json(path: Path = LOSSES) -> dict[str, Any]:
    """The score as plain values."""
    rows = read_losses(path)
    by_source, overall = score_losses(rows)
    return {
        "law": MAIN,
        "by_source": [line._asdict() for line in by_source],
        "overall": [line._asdict() for line in overall],
        "left_out": left_out(rows),
    }


def losses_table(path: Path = LOSSES) -> str:
    """The score for people."""
    rows = read_losses(path)
    by_source, overall = score_losses(rows)
    head = f"{'loss, one constant a data set from its other rows':<52} {'rows':>6} {'mean':>7} {'median':>7} {'bias':>6} {'in 90%':>7}"
    lines = [f"{head}  {'  '.join(f'{name:>10}' for name in OTHERS)}"]
    for line in (*by_source, None, *overall):
        if line is None:
            lines.append("")
            continue
        others = "  ".join(f"{line.other_laws[name]:>10.2%}" for name in OTHERS)
        figures = f"{line.mean_error:>7.2%} {line.median_error:>7.2%} {line.bias:>6.3f} {line.inside:>7.0%}"
        lines.append(f"{line.name:<52} {line.rows:>6} {figures}  {others}")
    omitted = left_out(rows)
    if omitted:
        lines += ["", "left out: " + ", ".join(f"{count} {name}" for name, count in sorted(omitted.items(), key=lambda item: -item[1]))]
    return "\n".join(lines) + "\n"

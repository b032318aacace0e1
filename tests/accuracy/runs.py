"""How near the estimates come to whole published runs, from what a press release says: parameters, tokens, device, number of devices.

Nobody publishes the layout, so one is assumed: a gated decoder as wide for its depth as published ones, sequences of 2,048 tokens in
small and 4,096 in large models (or what the name says), bf16, hand-written kernels, a batch by StepLaw, and the fastest of the usual
layouts that fit. The hours of a run are its steps over the goodput of so many devices. What is published as a run's hours holds more
than one clean pass (a worse layout, restarts, tests, longer contexts): how much more, and its spread, is asked of the published runs
themselves, and never of a source's own: of the other sources in whole_runs.csv, or of all others there where another file is scored.
Nothing else is fitted to any of them.

Energy is scored on metered runs alone. Energy and carbon that were published as rated power times hours are scored under a name of their
own: that is arithmetic on somebody's assumption, and no measurement.
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmspec.catalog import Accelerator, best_quote, facility, grid_intensity, prices_for
from llmspec.catalog.footprint import LARGE
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.constants import memory_constants, step_constants
from llmspec.estimate.energy import ERROR, activity, device_watts
from llmspec.estimate.goodput import HOUR, plain_goodput
from llmspec.estimate.machine import machine
from llmspec.estimate.memory_model import peak_parts
from llmspec.estimate.step_model import step_parts
from llmspec.estimate.workload import FUSED, RECOMPUTE_FULL, RECOMPUTE_NONE, RECOMPUTE_SELECTIVE, Configuration, Layout, Shape
from tests.accuracy.rows import accelerator_of

RUNS = Path(__file__).parent / "whole_runs.csv"
SHARE = 0.40
# Tokens of a sequence of published runs below and above so many parameters.
SEQUENCES = (2048, 4096)
SMALL = 3e9
VOCABULARY = 50_304
# Width over depth of published decoders: GPT-2 64, Llama 3 128 to 130, in between 80 to 100.
ASPECT = 100
HEAD = 128
# Where nobody says how many devices: so many that the run takes a month at the baseline's speed.
DAYS = 30
# Activity of devices where the parts of a step are not known.
USUAL_ACTIVITY = 0.65
# Grids of runs over the world's mean: from hydropower to coal.
GRIDS = (0.1, 1.5)
# Ends of the 80% interval among published over estimated hours, somewhat further out since a source was not seen, and the middle.
TAILS = (0.07, 0.5, 0.93)
FIGURES = ("gpu_hours", "days", "cost_usd", "energy_mwh", "tco2")

Array = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True)
class RunRow:
    """One published run: what it says, and what it is scored on."""

    source: str
    model: str
    parameters: float | None
    tokens: float | None
    accelerator: Accelerator | None
    devices: float | None
    published: dict[str, float]
    rated: bool
    """Whether energy and carbon are rated power times hours."""
    excluded: dict[str, str]
    """The rule that leaves a figure out, by figure."""


class Prediction(NamedTuple):
    """What the estimator says of a run."""

    figures: dict[str, float]
    baseline: float
    """Device hours of 6 N D at 40% of the peak."""
    prices: tuple[float, float]
    """Cheapest and dearest quote over the one that counts."""


class RunScore(NamedTuple):
    """One line: errors are shares of what was published."""

    name: str
    figure: str
    rows: int
    mean_error: float
    median_error: float
    bias: float
    inside: float
    """Share within the 80% interval."""
    baseline_mean_error: float | None
    baseline_median_error: float | None


class Scored(NamedTuple):
    """A figure of a row beside its prediction."""

    source: str
    figure: str
    published: float
    predicted: float
    low: float
    high: float
    baseline: float | None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if number > 0 else None


# Rules that leave a figure out: by name, with the figures, and what holds. None looks at how well a row is predicted.
class Rule(NamedTuple):
    """Why figures of a row are left out."""

    name: str
    reason: str
    figures: tuple[str, ...]
    holds: "Callable[[dict[str, str]], bool]"


def _says(pattern: str, *columns: str) -> Callable[[dict[str, str]], bool]:
    return lambda values: any(re.search(pattern, values.get(column) or "", re.IGNORECASE) for column in columns)


def _contradicts(values: dict[str, str]) -> bool:
    hours, days, devices = (_number(values.get(name)) for name in ("gpu_hours", "days", "gpu_count"))
    return bool(hours and days and devices) and not 0.8 < (days or 0) * 24 * (devices or 0) / (hours or 1) < 1.25


RULES = (
    Rule("planned", "hours of a plan, not of a run", FIGURES, _says(r"\bplan(?!et)", "model", "notes")),
    Rule(
        "not-one-run",
        "several models or development beside the run",
        FIGURES,
        _says(r"whole project|NOT a single run|all sizes", "model", "notes"),
    ),
    Rule("distilled", "a pruned or distilled model, whose teacher ran too", FIGURES, _says(r"distill|pruned|^as 1B$", "notes")),
    Rule("unreliable", "the source itself doubts it", FIGURES, _says(r"unreliable|not official|not verified", "notes")),
    Rule("coarse", "months, or an upper bound", ("gpu_hours", "days"), _says(r"coarse|upper bound", "notes")),
    Rule("count-assumed", "the number of devices is somebody else's guess", ("days",), _says(r"count assumed", "notes")),
    Rule("encoder", "an encoder, of which a token costs other work", FIGURES, _says(r"\bbert\b|BERT|MLM|encoder", "model", "notes")),
    Rule("hybrid", "state space layers, which 6 N D does not hold for", FIGURES, _says(r"\bGDN\b|mamba|hybrid", "model", "notes")),
    Rule("contradictory", "days times devices are not the hours", ("days",), _contradicts),
)


# Energy and carbon by rated power: another figure.
RATED = _says(r"TDP|not metered|derived|MODEL_CARD", "notes", "source")
_BY_POWER = ("energy_mwh", "tco2")


def read_runs(path: Path = RUNS) -> list[RunRow]:
    """The rows of a file with the columns of whole_runs.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_row(values) for values in csv.DictReader(file)]


def _row(values: dict[str, str]) -> RunRow:
    excluded = {figure: rule.name for rule in reversed(RULES) if rule.holds(values) for figure in rule.figures}
    # With an `id` the source is what stands before its last dash; else the repository or paper that the source names first.
    identifier = values.get("id") or ""
    source = identifier.rpartition("-")[0] if identifier else _named_source(values)
    return RunRow(
        source=source,
        model=values["model"],
        parameters=_number(values.get("params")),
        tokens=_number(values.get("tokens")),
        accelerator=accelerator_of(values.get("gpu") or ""),
        devices=_number(values.get("gpu_count")),
        published={figure: number for figure in FIGURES if (number := _number(values.get(figure)))},
        rated=RATED(values),
        excluded=excluded,
    )


def _named_source(values: dict[str, str]) -> str:
    """The owner and repository, the paper, or the first words."""
    text = values.get("source") or ""
    found = re.search(r"[\w.-]+/[\w.-]+", text)
    paper = re.search(r"arXiv:? ?\d{4}\.\d{4,5}", text, re.IGNORECASE)
    return paper[0].replace("arXiv ", "arXiv:") if paper else found[0] if found else " ".join(text.split()[:2])


def assumed_shape(parameters: float, active: float, sequence: float) -> Shape:
    """A decoder of so many parameters: width 100 times depth, heads of 128, feed-forwards of 8/3, 50k tokens in the vocabulary.

    A model with experts is taken for the dense one of its active parameters; what its exchange costs is in the interval.
    """
    tables = (1 if parameters < SMALL else 2) * VOCABULARY
    low, high = 64.0, 65_536.0
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if 12 * middle**3 / ASPECT + tables * middle < active else (low, middle)
    # Widths are multiples of 128, which kernels ask for, or of 64 in small models; layers that are no whole number hold the size.
    multiple = 128.0 if low >= 512 else 64.0
    hidden = max(multiple, round(low / multiple) * multiple)
    ffn = 256.0 * -(-8 * hidden // 768)
    layers = max(1.0, (active - tables * hidden) / (4 * hidden**2 + 3 * hidden * ffn))
    heads = max(1.0, hidden // HEAD)
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        key_dim=hidden / heads,
        value_dim=hidden / heads,
        attention_entries=4 * hidden**2,
        ffn=ffn,
        matrices=3.0,
        vocabulary=float(VOCABULARY),
        tied=float(parameters < SMALL),
        sequence=sequence,
        span=sequence / 2,
        experts=0.0,
        active_experts=0.0,
        expert_ffn=0.0,
        shared_ffn=0.0,
        dense_layers=layers,
        trained=1.0,
    )


def batch_tokens(tokens: float) -> float:
    """StepLaw's batch (arXiv:2503.04715): 0.58 D^0.571 tokens."""
    return 0.58 * tokens**0.571


def step_of(shape: Shape, accelerator: Accelerator, devices: float, tokens: float) -> tuple[float, dict[str, float]] | None:
    """Tokens of a step and its parts in seconds, with the fastest layout among the usual ones that fit; None where none does."""
    per_node = float(min(devices, accelerator.accelerators_per_node))
    number_format = "bf16" if accelerator.supports("bf16") else "fp16"
    described = machine(accelerator, number_format)
    best: tuple[float, float, dict[str, float]] | None = None
    for tensor in (1.0, 2.0, 4.0, 8.0):
        for pipeline in (1.0, 2.0, 4.0, 8.0, 16.0):
            replicas = devices / (tensor * pipeline)
            if tensor > per_node or replicas < 1 or pipeline * 2 > shape.layers:
                continue
            for recompute, stage in product((RECOMPUTE_NONE, RECOMPUTE_SELECTIVE, RECOMPUTE_FULL), (1.0, 3.0)):
                for micro_batch in (1.0, 4.0, 16.0):
                    micro_batches = max(pipeline, round(batch_tokens(tokens) / (replicas * micro_batch * shape.sequence)), 1.0)
                    layout = Layout(
                        devices=devices, per_node=per_node, tensor=tensor, sequence_parallel=float(tensor > 1), pipeline=pipeline,
                        virtual=1.0, bubble=1.0, flushes=0.0, context=1.0, expert=1.0, shard_stage=stage if devices > 1 else 0.0,
                        shard_size=max(1.0, replicas), reshard=1.0, micro_batch=micro_batch, micro_batches=micro_batches,
                        recompute=float(recompute), kernels=float(FUSED), flash=1.0, product_bytes=2.0, activation_bytes=2.0, quantised=0.0,
                        reduce_bytes=4.0, state_bytes=8.0, optimizer_flops=0.0, parameter_bytes=4.0, gradient_bytes=4.0, overlapped=1.0,
                        bucket=0.0, offload=0.0,
                    )  # fmt: skip
                    configuration = Configuration(shape, layout, described)
                    if sum(peak_parts(SCALARS, configuration, memory_constants()).values()) > 0.95 * described.memory:
                        continue
                    parts = step_parts(SCALARS, configuration, step_constants())
                    size = replicas * micro_batch * micro_batches * shape.sequence
                    rate = size / sum(parts.values())
                    if best is None or rate > best[0]:
                        best = rate, size, parts
    return None if best is None else (best[1], best[2])


def predict(model: str, parameters: float, tokens: float, accelerator: Accelerator, devices: float | None) -> Prediction | None:
    """What the estimator says of a run, before anything is added for what was published as its hours."""
    peak = (accelerator.peak_tflops.get("bf16") or accelerator.peak_tflops.get("fp16") or 0) * 1e12
    if not peak:
        return None
    found = re.search(r"\bA(\d+(?:\.\d+)?)B\b", model, re.IGNORECASE)
    active = float(found[1]) * 1e9 if found else parameters
    context = re.search(r"ctx(\d+)", model)
    baseline = 6 * active * tokens / (SHARE * peak) / HOUR
    used = devices or 2.0 ** round(np.log2(max(1.0, baseline / (24 * DAYS), 24 * parameters / accelerator.memory_bytes)))
    shape = assumed_shape(parameters, active, float(context[1]) if context else SEQUENCES[parameters >= SMALL])
    step = step_of(shape, accelerator, used, tokens)
    if step is None:
        return None
    size, parts = step
    share = plain_goodput(12 * parameters, int(used), int(max(1, used // accelerator.accelerators_per_node)))
    hours = tokens / size * sum(parts.values()) / HOUR * used / share
    watts = power(accelerator, activity(parts) * share, used)
    figures = {"gpu_hours": hours, "energy_mwh": hours * watts / 1e6, "tco2": hours * watts / 1e6 * _grid() / 1e3}
    if devices:
        figures["days"] = hours / devices / 24
    prices = (1.0, 1.0)
    quote = best_quote(accelerator.id, "on_demand", int(min(used, accelerator.accelerators_per_node)))
    if quote is not None and quote.on_demand is not None:
        figures["cost_usd"] = hours * quote.on_demand
        asked = [price for other in prices_for(accelerator.id) if (price := other.price("on_demand")) is not None]
        prices = min(asked) / quote.on_demand, max(asked) / quote.on_demand
    return Prediction(figures, baseline, prices)


def power(accelerator: Accelerator, busy: float, devices: float) -> float:
    """Watts that one device draws, its machine and building included."""
    return device_watts(accelerator, busy) * facility(None, int(devices)).pue


def _grid() -> float:
    """g/kWh of the world: no run says where it was in a column."""
    grid = grid_intensity(None)
    assert grid is not None
    return grid.gco2_per_kwh


def predictions(rows: Sequence[RunRow]) -> list[Prediction | None]:
    """One for each row; None where its size, tokens or device are not told, or nothing of it is scored."""
    return [
        predict(row.model, row.parameters, row.tokens, row.accelerator, row.devices)
        if row.parameters and row.tokens and row.accelerator is not None and set(row.published) - set(row.excluded)
        else None
        for row in rows
    ]


@cache
def _known() -> tuple[list[RunRow], list[Prediction | None]]:
    """The rows of whole_runs.csv and their predictions."""
    rows = read_runs()
    return rows, predictions(rows)


def _ratios(rows: Sequence[RunRow], found: Sequence[Prediction | None], without: str | None) -> tuple[float, float, float]:
    """Middle and tenths of published over estimated hours; each source weighs as the root of its rows."""
    ratios: dict[str, list[float]] = {}
    for row, prediction in zip(rows, found, strict=True):
        hours = row.published.get("gpu_hours")
        if prediction is not None and hours and "gpu_hours" not in row.excluded and row.source != without:
            ratios.setdefault(row.source, []).append(np.log(hours / prediction.figures["gpu_hours"]))
    values = np.array([value for source in ratios.values() for value in source])
    weights = np.array([len(source) ** -0.5 for source in ratios.values() for _ in source])
    order = np.argsort(values)
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    low, middle, high = np.exp(np.interp(TAILS, share, values[order]))
    return float(low), float(middle), float(high)


def scored(rows: Sequence[RunRow], *, own: bool) -> list[Scored]:
    """Every figure of every row that counts. `own` says that these are the rows of whole_runs.csv."""
    known, known_found = _known()
    found = known_found if own else predictions(rows)
    result = []
    for row, prediction in zip(rows, found, strict=True):
        low, middle, high = _ratios(known, known_found, row.source)
        for figure, published in row.published.items():
            if figure in row.excluded:
                continue
            name = f"{figure} (by rated power)" if row.rated and figure in _BY_POWER else figure
            hours = row.published.get("gpu_hours")
            if hours and figure in _BY_POWER and row.accelerator is not None:
                # What the published hours draw: the power alone, whatever the hours are.
                value = (
                    hours
                    * power(row.accelerator, USUAL_ACTIVITY, row.devices or LARGE)
                    / 1e6
                    * (1 if figure == "energy_mwh" else _grid() / 1e3)
                )
                ends = _spread(ERROR) if figure == "energy_mwh" else _spread(ERROR, GRIDS)
                result.append(Scored(row.source, f"{name} of the hours", published, value, value * ends[0], value * ends[1], None))
            if prediction is None or figure not in prediction.figures:
                continue
            value = prediction.figures[figure] * middle
            factors = [(low / middle, high / middle)]
            if figure in _BY_POWER:
                factors.append(ERROR)
            if figure == "tco2":
                factors.append(GRIDS)
            if figure == "cost_usd":
                factors.append(prediction.prices)
            ends = _spread(*factors)
            baseline = None
            if figure in ("gpu_hours", "days"):
                baseline = prediction.baseline / (row.devices * 24 if figure == "days" and row.devices else 1)
            result.append(Scored(row.source, name, published, value, value * ends[0], value * ends[1], baseline))
    return result


def _spread(*factors: tuple[float, float]) -> tuple[float, float]:
    """Independent factors together: squares of logarithms add up."""
    low, high = (float(np.exp(sign * np.sqrt(sum(np.log(pair[end]) ** 2 for pair in factors)))) for end, sign in ((0, -1), (1, 1)))
    return low, high


def _line(name: str, figure: str, chosen: Sequence[Scored]) -> RunScore:
    published, predicted, low, high = (
        np.array([getattr(one, part) for one in chosen]) for part in ("published", "predicted", "low", "high")
    )
    error = np.abs(predicted / published - 1)
    plain = [abs(one.baseline / one.published - 1) for one in chosen if one.baseline is not None]
    return RunScore(
        name,
        figure,
        len(chosen),
        float(error.mean()),
        float(np.median(error)),
        float(np.exp(np.median(np.log(predicted / published)))),
        float(((published >= low) & (published <= high)).mean()),
        float(np.mean(plain)) if plain else None,
        float(np.median(plain)) if plain else None,
    )


def score_runs(rows: Sequence[RunRow], *, own: bool) -> tuple[list[RunScore], list[RunScore]]:
    """A line for each source and figure, and one for each figure over all sources."""
    found = scored(rows, own=own)
    figures = list(dict.fromkeys(one.figure for figure in FIGURES for one in found if one.figure.startswith(figure)))
    by_source = [
        _line(source, figure, chosen)
        for source in dict.fromkeys(one.source for one in found)
        for figure in figures
        if (chosen := [one for one in found if (one.source, one.figure) == (source, figure)])
    ]
    return by_source, [_line("all runs", figure, [one for one in found if one.figure == figure]) for figure in figures]


def left_out(rows: Sequence[RunRow]) -> dict[str, int]:
    """How many rows each rule takes a figure from, and how many say too little."""
    counts: dict[str, int] = {}
    for row in rows:
        for name in {rule for figure, rule in row.excluded.items() if figure in row.published}:
            counts[name] = counts.get(name, 0) + 1
        if not (row.parameters and row.tokens and row.accelerator):
            counts["parameters, tokens or device not told"] = counts.get("parameters, tokens or device not told", 0) + 1
    return counts


def runs_json(path: Path = RUNS) -> dict[str, Any]:
    """The score as plain values."""
    rows = read_runs(path)
    by_source, overall = score_runs(rows, own=path == RUNS)
    return {
        "by_source": [line._asdict() for line in by_source],
        "overall": [line._asdict() for line in overall],
        "left_out": left_out(rows),
    }


def runs_table(path: Path = RUNS) -> str:
    """The score for people."""
    rows = read_runs(path)
    by_source, overall = score_runs(rows, own=path == RUNS)
    plain = f"6ND at {SHARE:.0%}"
    head = f"{'rows':>5} {'mean':>7} {'median':>7} {'bias':>6} {'in 80%':>7}  {plain + ', mean':>17} {'median':>7}"
    lines = [f"{'whole runs, from parameters, tokens and devices':<60} {head}"]
    for line in (*by_source, None, *overall):
        if line is None:
            lines.append("")
            continue
        base = ""
        if line.baseline_mean_error is not None and line.baseline_median_error is not None:
            base = f"{line.baseline_mean_error:>17.1%} {line.baseline_median_error:>7.1%}"
        figures = f"{line.rows:>5} {line.mean_error:>7.1%} {line.median_error:>7.1%} {line.bias:>6.2f} {line.inside:>7.0%}"
        lines.append(f"{f'{line.name} {line.figure}':<60} {figures}  {base}".rstrip())
    omitted = left_out(rows)
    if omitted:
        lines += ["", "left out: " + ", ".join(f"{count} {name}" for name, count in sorted(omitted.items(), key=lambda item: -item[1]))]
    return "\n".join(lines) + "\n"

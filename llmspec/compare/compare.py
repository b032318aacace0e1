"""A run's log held against its estimate, figure by figure. Pure: from the estimate's JSON and the log to rows.

`Comparison.to_json()` has these keys, which do not change meaning:

    name, steps, max_steps, finished      the run; how far it has come
    tokens                                seen so far
    data_wait                             median share of a step that waited for data; null where it was not logged
    energy_source                         nvml, rapl, estimated or null
    figures.<name>                        step_seconds, tokens_per_second, mfu, memory_gib, total_hours, energy_kwh, cost_usd, loss
        estimate, low, high               what was estimated for the whole run; null where it is not known
        measured                          what the log says; null where it says nothing
        ratio                             measured / estimate
        inside                            whether it lies within the bounds; null without bounds
        projected                         whether it was extended to the end of a run that is not finished
        remark                            how it was measured
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmspec.compare.log import Log, count_lost


class Row(NamedTuple):
    """One figure: what was estimated, and what came of it."""

    name: str
    label: str
    unit: str
    estimate: float | None
    low: float | None
    high: float | None
    measured: float | None
    remark: str = ""
    projected: bool = False

    @property
    def ratio(self) -> float | None:
        """Measured over estimated."""
        if self.measured is None or not self.estimate:
            return None
        return self.measured / self.estimate

    @property
    def inside(self) -> bool | None:
        """Whether the measurement lies within the estimate's bounds."""
        if self.measured is None or self.low is None or self.high is None:
            return None
        return self.low <= self.measured <= self.high


class Comparison(NamedTuple):
    """All figures of a run."""

    name: str
    step: int
    max_steps: int
    tokens: int
    rows: tuple[Row, ...]
    data_wait: float | None
    energy_source: str | None
    lost_lines: int

    @property
    def finished(self) -> bool:
        """Whether the last step is logged."""
        return self.step >= self.max_steps

    def to_json(self) -> dict[str, Any]:
        """Plain values; the module's docstring lists the keys."""
        return {
            "name": self.name,
            "steps": self.step,
            "max_steps": self.max_steps,
            "finished": self.finished,
            "tokens": self.tokens,
            "data_wait": self.data_wait,
            "energy_source": self.energy_source,
            "figures": {
                row.name: {
                    "estimate": row.estimate,
                    "low": row.low,
                    "high": row.high,
                    "measured": row.measured,
                    "ratio": row.ratio,
                    "inside": row.inside,
                    "projected": row.projected,
                    "remark": row.remark,
                }
                for row in self.rows
            },
        }


class _Figures:
    """The estimate's JSON by dotted key."""

    def __init__(self, estimate: Mapping[str, Any]) -> None:
        self.estimate = estimate

    def value(self, key: str) -> float | None:
        value: Any = self.estimate
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return float(value) if isinstance(value, int | float) else None

    def bounds(self, key: str) -> tuple[float | None, float | None]:
        low, high = self.estimate.get("intervals", {}).get(key) or (None, None)
        return low, high


def compare(estimate: Mapping[str, Any], log: Log, *, name: str, max_steps: int, devices: int, on_gpu: bool) -> Comparison:
    """Hold a log against an estimate.

    Args:
        estimate: `Estimate.to_json()`.
        log: What the run wrote.
        name: Of the run.
        max_steps: Steps of the whole run.
        devices: How many take part.
        on_gpu: Whether the memory in the log is that of a GPU's tensors, and not that of the process.
    """
    figures = _Figures(estimate)
    tokens = int(log.last("tokens") or 0)
    tokens_per_second = log.usual("tokens_per_second")
    step_seconds = tokens / log.step / tokens_per_second if tokens and tokens_per_second else None
    finished, remaining = log.step >= max_steps, max(0, max_steps - log.step)
    hours = _hours(log, step_seconds, remaining)
    energy = _extended(log.last("energy_kwh"), log.step, max_steps)
    source = log.text("energy_source")
    price = figures.value("cost.usd_per_device_hour")
    cost = None if hours is None or price is None else hours * devices * price
    memory_key = "memory.allocated_gib" if on_gpu else "memory.peak_gib"
    loss, of = log.last("validation_loss"), "of the validation documents, the last time they were scored"
    if loss is None:
        loss, of = log.end("loss"), "of the training batches, mean over the last twentieth of the lines"
    if not finished:
        of += f"; after {log.step / max_steps:.0%} of the run"

    def row(name: str, label: str, unit: str, key: str, measured: float | None, remark: str = "", *, projected: bool = False) -> Row:
        low, high = figures.bounds(key)
        return Row(name, label, unit, figures.value(key), low, high, measured, remark, projected and measured is not None)

    energy_row = row("energy_kwh", "energy", "kWh", "energy.kwh", energy, projected=not finished)
    rows = (
        row("step_seconds", "time of a step", "s", "time.step_seconds", step_seconds, "median, without the first line"),
        row("tokens_per_second", "speed", "tokens/s", "throughput.tokens_per_second", tokens_per_second, "median, without the first line"),
        row("mfu", "model FLOPs utilisation", "", "throughput.mfu", log.usual("mfu")),
        row(
            "memory_gib",
            "peak memory",
            "GiB",
            memory_key,
            log.most("memory_gib"),
            "of tensors on the first GPU" if on_gpu else "of the first process",
        ),
        row("total_hours", "wall-clock", "h", "time.total_hours", hours, projected=not finished),
        _without_building(energy_row, figures, source),
        row("cost_usd", "cost", "US$", "cost.usd", cost, "measured time at the estimate's price", projected=not finished),
        row("loss", "loss", "nats", "loss.expected", loss, of),
    )
    lost = count_lost(log, ("loss", "tokens_per_second", "grad_norm"))
    return Comparison(name, log.step, max_steps, tokens, rows, log.usual("data_wait"), source, lost)


def _hours(log: Log, step_seconds: float | None, remaining: int) -> float | None:
    seconds = log.last("seconds")
    if seconds is None or (remaining and step_seconds is None):
        return None
    return (seconds + remaining * (step_seconds or 0.0)) / 3600


def _extended(value: float | None, step: int, max_steps: int) -> float | None:
    return value if value is None or step >= max_steps else value * max_steps / step


def _without_building(row: Row, figures: _Figures, source: str | None) -> Row:
    """The log knows the devices only, so the estimate is taken without what the building adds."""
    pue = figures.value("energy.pue") or 1.0
    estimate, low, high = (None if value is None else value / pue for value in (row.estimate, row.low, row.high))
    what = {
        "nvml": "GPU boards by their counters, without hosts; the estimate has both",
        "rapl": "processors and memory by their counters",
        "estimated": "from rated power and load",
    }.get(source or "", "")
    return row._replace(estimate=estimate, low=low, high=high, remark=f"{what}; both without the building" if what else "")

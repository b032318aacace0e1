"""The estimate for people: one screen of figures with their bounds, and the derivation of each figure."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from llmspec.diagnostics import Diagnostic
from llmspec.estimate import Estimate, Quantity
from llmspec.estimate.goodput import Goodput
from llmspec.estimate.money import KINDS, Money
from llmspec.variants import WORTHWHILE, Change

if TYPE_CHECKING:
    from llmspec.estimate.grid_data import Start

WIDTH = 100
BAR = 32
LABEL = 20
# Offers of a market on the screen.
MOST_OFFERS = 2
# A share of the wall-clock below which failures and checkpoints have no line of their own.
WORTH_SAYING = 0.01
_SCALES = ((1e15, "e15"), (1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k"))


def estimate_json(estimate: Estimate, *, explain: bool = False, **beside: Any) -> str:
    """The estimate as JSON, with every derivation where `explain` asks for it, and what else is known beside it.

    `llmspec.estimate.estimate` lists the estimate's keys. The command adds `helps_most`, which is `change_json`.
    """
    return json.dumps(estimate.to_json(derivations=explain) | beside, indent=2)


def change_json(change: Change | None) -> dict[str, Any] | None:
    """The change of one field that shortens a step most; None where none helps.

    field, value, before                              what to change, to what, from what
    saves                                             share of a step's time
    step_seconds, total_hours, usd, memory_gib        with the change; usd is null where nobody quotes the device
    """
    if change is None:
        return None
    figures = change.estimate
    return {
        "field": change.field,
        "value": change.value,
        "before": change.before,
        "saves": change.saves,
        "step_seconds": figures.step_time.step.value,
        "total_hours": figures.wall_clock.total_hours.value,
        "usd": figures.money.cost and figures.money.cost.value,
        "memory_gib": figures.memory.peak.value,
    }


def estimate_table(estimate: Estimate, *, explain: bool = False, advice: Iterable[str] = ()) -> str:
    """One screen: what it is, whether it fits, how long, how much, what dominates, and advice; with `explain`, every derivation."""
    lines = [
        *_model(estimate),
        "",
        *_memory(estimate),
        "",
        *_step(estimate),
        "",
        *_run(estimate),
        *advice,
    ]
    if explain:
        lines += ["", *all_offers(estimate.money)]
        lines += ["", _bold("How each figure comes about")]
        for key, quantity in estimate.quantities().items():
            lines += ["", *derivation(key, quantity)]
    return "\n".join(lines)


def _model(estimate: Estimate) -> list[str]:
    parameters = estimate.parameters
    devices = f"{estimate.devices:,} x {estimate.device}" if estimate.devices > 1 else estimate.device
    parts = ", ".join(f"{words(name)} {scaled(q.value)}" for name, q in parameters.by_component.items())
    total, per_token = estimate.flops.total.value, scaled(estimate.flops.per_token.value).replace("B", "G")
    return [
        f"{_bold(estimate.name)} on {devices}",
        "",
        _row("parameters", f"{int(parameters.total.value):,} ({parts})"),
        _row("compute", f"{per_token}FLOP a token, {total:.3g} FLOP for {scaled(estimate.tokens)} tokens"),
        *_calibration(estimate),
    ]


def _calibration(estimate: Estimate) -> Iterable[str]:
    """By what the figures were corrected, where they were."""
    found = estimate.calibration
    if found is None:
        return
    factors = f"step x {found.step.factor:.2f}, its interval {found.step.spread:.0%} as wide"
    if found.memory is not None:
        factors += f"; memory x {found.memory.factor:.2f}"
    if found.stepping is not None:
        factors += f"; {found.stepping.value:.0%} in steps"
    yield _row("calibrated", f"by {found.learned}")
    yield _row("", factors)
    if found.remarks:
        yield from (_row("", line) for line in _wrapped(", ".join(found.remarks)))


def _memory(estimate: Estimate) -> list[str]:
    memory = estimate.memory
    peak, capacity = memory.peak, memory.capacity.value
    verdict = click.style("does not fit", fg="red") if not memory.fits else click.style("fits barely", fg="yellow")
    if memory.fits and not memory.tight:
        verdict = click.style("fits", fg="green")
    share = peak.value / capacity
    head = f"{gib(peak.value)} of {gib(capacity)} ({share:.0%}){bounds(peak, gib)}"
    lines = [_row(_bold("memory of a device", LABEL), f"{head}: {_plain_or(verdict)}")]
    # Bars against the capacity, so that what is empty is what is free; against the peak where it does not fit.
    whole = max(capacity, peak.value)
    lines += _bars({name: q.value for name, q in memory.components.items()}, whole, gib)
    free = capacity - peak.value
    if free > 0:
        lines.append(_row("  free", f"{gib(free):>10}"))
    lines.append(_row("", f"peak {memory.moment}"))
    return lines


def _step(estimate: Estimate) -> list[str]:
    step = estimate.step_time
    return [
        _row(_bold("time of a step", LABEL), f"{seconds(step.step.value)}{bounds(step.step, seconds)}"),
        *_bars(step.parts, step.step.value, seconds),
    ]


def _run(estimate: Estimate) -> list[str]:
    step, clock, money, energy, carbon, loss = (
        estimate.step_time,
        estimate.wall_clock,
        estimate.money,
        estimate.energy,
        estimate.carbon,
        estimate.loss,
    )
    each = f", {step.tokens_per_second_per_device.value:,.0f} a device" if estimate.devices > 1 else ""
    early = "; max_duration ends it before max_steps" if clock.stops_early else ""
    lines = [
        _row(
            _bold("run", LABEL),
            f"{duration(clock.total_hours.value)}{bounds(clock.total_hours, duration)} for {estimate.steps:,} steps{early}",
        ),
        _row("  speed", f"{step.tokens_per_second.value:,.0f} tokens/s{each}, model FLOPs utilisation {step.mfu.value:.0%}"),
        *_goodput(clock.goodput, step.step.value),
    ]
    if money.cost is None or money.price is None:
        lines.append(_row("  cost", "nobody quotes this device so: set `hardware.price`, or `--price USD`"))
    else:
        origin = money.price.source.removeprefix("catalog: ")
        text = f"{dollars(money.cost.value)}{bounds(money.cost, dollars)} at {dollars(money.price.value)} a device hour, {origin}"
        lines.append(_row("  cost", text))
        lines += [_row("", line) for line in _elsewhere(money)]
    if energy.kwh is None or energy.watts_per_device is None or carbon.total is None:
        lines.append(_row("  energy", "not known: the catalog has no rated power for this device"))
    else:
        watts = f"{energy.watts_per_device.value:,.0f} W a device, PUE {energy.pue.value:g}"
        lines.append(_row("  energy", f"{significant(energy.kwh.value)} kWh{bounds(energy.kwh, significant)}, {watts}"))
        grid = carbon.grid.source.removeprefix("catalog: ").partition(",")[0]
        made = f"{carbon.grid.value:g} g/kWh of {grid}, {significant(carbon.embodied.value)} kg of it for the machines"
        lines.append(_row("  carbon", f"{significant(carbon.total.value)} kg CO2e{bounds(carbon.total, significant)}, {made}"))
        if estimate.start is not None:
            lines += [_row("  start" if n == 0 else "", line) for n, line in enumerate(start_lines(estimate.start))]
    lines.append(_row("  loss", f"{loss.expected.value:.2f} {loss.expected.unit}{bounds(loss.expected, '{:.2f}'.format)}"))
    lines += [_row("", line) for line in _wrapped(loss.meaning)]
    optimal = (
        ""
        if not loss.within_fitted_range
        else f"; for this compute {scaled(loss.optimal_parameters.value)} parameters on {scaled(loss.optimal_tokens.value)} tokens"
    )
    lines += [_row("", line) for line in _wrapped(loss.verdict + optimal)]
    if loss.epochs is not None:
        lines.append(_row("", f"{loss.epochs.value:.3g} epochs over the data"))
    if loss.served is not None:
        served = loss.served
        best = f"{scaled(served.optimal_parameters.value)} parameters on {scaled(served.optimal_tokens.value)} tokens"
        text = f"with {scaled(served.tokens.value)} tokens of inference: {best}, loss {served.optimal_loss.value:.2f}, for the same compute"
        lines += [_row("", line) for line in _wrapped(text)]
    largest = max(estimate.memory.by_component, key=lambda name: estimate.memory.by_component[name])
    lines.append(_row("  dominating", f"{words(step.dominant)} in time, {words(largest)} in memory"))
    return lines


def start_lines(start: "Start") -> list[str]:
    """When the run emits least, and against what."""
    best, once, mean = start.kg, start.at_once, start.mean
    text = f"best {start.best:%Y-%m-%d %H:%M} to {start.end:%Y-%m-%d %H:%M} UTC: {significant(best.value)} kg of electricity"
    text += f"{bounds(best, significant)} at {start.grams:.0f} g/kWh{' more' if start.hours.marginal else ''},"
    if start.best != start.first:
        text += f" {_change(best.value, once.value)} at once ({start.first:%Y-%m-%d %H:%M}, {significant(once.value)} kg) and"
    return _wrapped(f"{text} {_change(best.value, mean.value)} the mean start ({significant(mean.value)} kg)")


def _change(value: float, other: float) -> str:
    share = 0.0 if other == 0 else value / other - 1
    return "as much as" if abs(share) < 0.0005 else f"{abs(share):.1%} {'less' if share < 0 else 'more'} than"


def _elsewhere(money: Money) -> list[str]:
    """The cheapest offers of each market."""
    parts = []
    for market in KINDS:
        offers = [offer for offer in money.all_offers if offer.market == market and (offer.market, offer.provider) != money.chosen]
        if offers:
            parts.append(f"{words(market)} " + ", ".join(f"{offer.provider} {dollars(offer.usd)}" for offer in offers[:MOST_OFFERS]))
    return ["; ".join(parts)] if parts else []


def all_offers(money: Money) -> list[str]:
    """Every provider that has the accelerator, in every market."""
    if not money.all_offers:
        return []
    rows = [
        (o.provider, KINDS[o.market], f"{o.usd_per_hour:.4g}", dollars(o.usd), o.source.partition(f": {o.provider} ")[2] or o.source)
        for o in money.all_offers
    ]
    head = ("provider", "rented", "$ an hour", "run", "quote")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(4)]
    lines = [_bold("Who rents it out, the cheapest first")]
    for provider, rented, price, run, quote in (head, *rows):
        lines.append(f"  {provider:<{widths[0]}}  {rented:<{widths[1]}}  {price:>{widths[2]}}  {run:>{widths[3]}}  {quote}")
    return lines


def _goodput(goodput: Goodput, step: float) -> list[str]:
    """Which share of the run is in steps, and the interval between checkpoints that leaves most of it."""
    share, between = goodput.goodput, goodput.between
    text = f"{share.value:.0%}{bounds(share, '{:.0%}'.format)} of the time in steps"
    if goodput.lost < WORTH_SAYING:
        little = "less than 0.1%" if goodput.lost < 0.001 else f"{goodput.lost:.1%}"
        return [_row("  goodput", f"{text}; failures and checkpoints take {little}")]
    lines = [f"{text}; failures, one in {duration(between.value)}{bounds(between, duration)},"]
    own = f"and checkpoints every {goodput.every:,} steps ({duration(goodput.every * step / 3600)}) take {goodput.lost:.1%}"
    best = int(goodput.best_every.value)
    if goodput.lost - goodput.least_lost < WORTH_SAYING:
        return [_row("  goodput", lines[0]), _row("", f"{own}, which is near the best")]
    return [
        _row("  goodput", lines[0]),
        _row("", f"{own};"),
        _row("", f"checkpoint every {best:,} steps ({duration(best * step / 3600)}) is best: takes {goodput.least_lost:.1%}"),
    ]


def advice(change: Change | None, misfit: Sequence[Diagnostic] = ()) -> list[str]:
    """The one change that helps most, with its figures; for a run that does not fit, what would make it fit."""
    if misfit:
        ways = "; ".join(way for found in misfit for way in found.help).replace("`", "")
        return [_row("  to make it fit" if n == 0 else "", line) for n, line in enumerate(_wrapped(ways))]
    if change is None:
        return [_row("  helps most", f"no single change that we know saves {WORTHWHILE:.0%} of a step and fits")]
    figures = change.estimate
    step, clock, cost, peak = figures.step_time.step, figures.wall_clock.total_hours, figures.money.cost, figures.memory.peak
    barely = ", which fits barely" if figures.memory.tight else ""
    money = "" if cost is None else f" and {dollars(cost.value)}{bounds(cost, dollars)}"
    return [
        _row("  helps most", f"{_bold(f'{change.field}: {change.value}')} instead of {change.before} saves {change.saves:.0%} of a step:"),
        _row("", f"{seconds(step.value)}{bounds(step, seconds)} a step, {duration(clock.value)}{bounds(clock, duration)}{money},"),
        _row("", f"{gib(peak.value)}{bounds(peak, gib)} of memory{barely}"),
    ]


def derivation(key: str, quantity: Quantity, *, bold: bool = True) -> list[str]:
    """How a figure comes about: its value, formula, inputs and source, a line each or more."""
    unit = f" {quantity.unit}" if quantity.unit else ""
    lines = [f"{_bold(key) if bold else key} = {_exact(quantity.value)}{unit}{bounds(quantity, _exact)}"]
    lines += [f"    {'= ' if n == 0 else '  '}{line}" for n, line in enumerate(_wrapped(quantity.formula, WIDTH - 6))]
    names = max((len(i.name) for i in quantity.inputs), default=0)
    values = max((len(i.value) for i in quantity.inputs), default=0)
    lines += [f"    {i.name:<{names}}  {i.value:>{values}}  {i.origin}" for i in quantity.inputs]
    lines += [f"    {'source: ' if n == 0 else '        '}{line}" for n, line in enumerate(_wrapped(quantity.source, WIDTH - 12))]
    return lines


def _row(label: str, text: str) -> str:
    return f"{label:<{LABEL}}{text}".rstrip()


def _bars(parts: Mapping[str, float], whole: float, show: Callable[[float], str]) -> Iterable[str]:
    block = "█" if unicode() else "#"
    for name, value in sorted(parts.items(), key=lambda item: -item[1]):
        share = value / whole
        yield _row(f"  {words(name)}", f"{show(value):>10} {share:>5.0%}  {_plain_or(click.style(block * round(BAR * share), fg='cyan'))}")


def _bold(text: str, width: int = 0) -> str:
    return _plain_or(click.style(text, bold=True)) + " " * (width - len(text))


def colored(text: str, *, color: str | None = None, bold: bool = False) -> str:
    """A text in a colour, where colours are wanted."""
    return _plain_or(click.style(text, fg=color, bold=bold or None))


def _plain_or(styled: str) -> str:
    return click.unstyle(styled) if os.environ.get("NO_COLOR") else styled


def unicode() -> bool:
    """Whether the terminal shows more than ASCII."""
    return (sys.stdout.encoding or "").lower().replace("-", "") in {"utf8", "utf16", "utf32"}


def words(name: str) -> str:
    """A component's name for people."""
    return name.replace("_", " ")


def bounds(quantity: Quantity, show: Callable[[float], str]) -> str:
    """Where a figure lies with some certainty, in brackets; empty for what is counted."""
    if quantity.low is None or quantity.high is None:
        return ""
    return f" ({show(quantity.low)} to {show(quantity.high)})"


def scaled(value: float) -> str:
    """A count, with a letter for its size."""
    for factor, suffix in _SCALES:
        if abs(value) >= factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}"


def significant(value: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2g}" if value < 1 else f"{value:.3g}"


def _exact(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4e}" if abs(value) >= 1e7 or 0 < abs(value) < 1e-3 else f"{value:,.5g}" if abs(value) < 1000 else f"{value:,.1f}"


def gib(value: float) -> str:
    """Memory."""
    return f"{value:,.2f} GiB" if value < 100 else f"{value:,.0f} GiB"


def seconds(value: float) -> str:
    """A short time."""
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:,.3g} s"


def dollars(value: float) -> str:
    """Money."""
    return f"${value:,.0f}" if value >= 100 else f"${value:.2f}" if value >= 0.1 else f"${value:.2g}"


def duration(hours: float) -> str:
    """A long time, of hours."""
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    if hours < 1:
        return f"{hours * 60:.1f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.1f} days"


def _wrapped(text: str, width: int = WIDTH - LABEL) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines

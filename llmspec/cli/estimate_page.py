"""The estimate as one HTML page: figures with their bounds, charts, and every derivation folded away."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from llmspec import __version__
from llmspec.cli.estimate_text import (
    all_offers,
    bounds,
    derivation,
    dollars,
    duration,
    gib,
    scaled,
    seconds,
    significant,
    start_lines,
    words,
)
from llmspec.compile import Analysis
from llmspec.diagnostics import Diagnostic
from llmspec.estimate import Estimate, Quantity
from llmspec.report import Bar, Bars, Chart, Series, bars_svg, document, folded, gallery, remark, svg, table
from llmspec.report.chart import Point
from llmspec.variants import WORTHWHILE, Case, Change, on_other_accelerators, over_nodes

WIDTH, HEIGHT = 480, 300
GIB = 2**30
# Of a whole, parts below this share are one bar together.
SMALL = 0.005
MOST_OFFERS = 12


def estimate_page(
    spec: Path, overrides: Sequence[str], analysis: Analysis, change: Change | None, misfit: Sequence[Diagnostic] = ()
) -> str:
    """The page. It estimates the spec again on other numbers of nodes and on other accelerators, for the charts."""
    figures = analysis.estimate
    nodes = over_nodes(spec, overrides, analysis)
    others = on_other_accelerators(spec, overrides, analysis)
    pictures = [
        _memory(figures),
        _step(figures),
        *_offers(figures),
        *_scaling(figures, nodes),
        *_frontier(figures, nodes, others),
    ]
    return document(
        f"{figures.name} on {_devices(figures)}",
        [*_remarks(analysis, change, misfit), f"llmspec {__version__}; estimated from {spec}, nothing has run"],
        [
            table(("", "estimate", ""), _rows(figures), wrapped=True),
            gallery(pictures),
            *_alone(nodes),
            *_all_offers(figures),
            folded(
                "How each figure comes about",
                (
                    (f"{key} = {_first(key, quantity)}", derivation(key, quantity, bold=False))
                    for key, quantity in figures.quantities().items()
                ),
            ),
        ],
    )


def _first(key: str, quantity: Quantity) -> str:
    return derivation(key, quantity, bold=False)[0].partition(" = ")[2]


def _devices(figures: Estimate) -> str:
    return f"{figures.devices:,} x {figures.device}" if figures.devices > 1 else figures.device


def _remarks(analysis: Analysis, change: Change | None, misfit: Sequence[Diagnostic]) -> list[str]:
    figures = analysis.estimate
    largest = max(figures.memory.by_component, key=lambda name: figures.memory.by_component[name])
    lines = []
    if analysis.resolved.spec.description:
        lines.append(analysis.resolved.spec.description)
    lines.append(f"{words(figures.step_time.dominant)} dominate in time, {words(largest)} in memory".capitalize())
    if figures.calibration is not None:
        lines.append(f"Calibrated by {', '.join((figures.calibration.learned, *figures.calibration.remarks))}")
    if misfit:
        lines += [f"It does not fit: {'; '.join((found.message, *found.help))}".replace("`", "") for found in misfit]
    elif change is None:
        lines.append(f"No single change that we know saves {WORTHWHILE:.0%} of a step and fits")
    else:
        after = change.estimate
        clock, cost, peak = after.wall_clock.total_hours, after.money.cost, after.memory.peak
        money = "" if cost is None else f" and {_whole(cost, dollars)}"
        lines.append(
            f"What helps most: {change.field}: {change.value} instead of {change.before} saves {change.saves:.0%} of a step: "
            f"{_whole(after.step_time.step, seconds)} a step, {_whole(clock, duration)}{money}, {_whole(peak, gib)} of memory"
        )
    return lines


def _whole(quantity: Quantity, show: Callable[[float], str]) -> str:
    return f"{show(quantity.value)}{bounds(quantity, show)}"


def _rows(figures: Estimate) -> Iterable[tuple[str, ...]]:
    memory, step, clock, money, energy, carbon, loss = (
        figures.memory,
        figures.step_time,
        figures.wall_clock,
        figures.money,
        figures.energy,
        figures.carbon,
        figures.loss,
    )

    def row(label: str, quantity: Quantity | None, show: Callable[[float], str], remark: str = "", unknown: str = "") -> tuple[str, ...]:
        if quantity is None:
            return label, "not known", unknown
        return label, f"{show(quantity.value)}\n{bounds(quantity, show).strip(' ()')}", remark

    def percent(value: float) -> str:
        return f"{value:.0%}"

    fits = f"of {gib(memory.capacity.value)}: {'does not fit' if not memory.fits else 'fits barely' if memory.tight else 'fits'}"
    price = "" if money.price is None else f"at {dollars(money.price.value)} a device hour, {money.price.source.removeprefix('catalog: ')}"
    watts = "" if energy.watts_per_device is None else f"{energy.watts_per_device.value:,.0f} W a device, PUE {energy.pue.value:g}"
    grid = carbon.grid.source.removeprefix("catalog: ").partition(",")[0]
    yield row("parameters", figures.parameters.total, "{:,.0f}".format, f"trained on {scaled(figures.tokens)} tokens")
    yield row("compute", figures.flops.total, "{:.3g} FLOP".format, f"{figures.flops.per_token.value:.3g} FLOP a token")
    yield row("memory of a device", memory.peak, gib, fits)
    yield row("time of a step", step.step, seconds, f"{figures.steps:,} steps")
    yield row("speed", step.tokens_per_second, lambda value: f"{significant(value)} tokens/s")
    yield row("model FLOPs utilisation", step.mfu, percent)
    yield row("wall-clock", clock.total_hours, duration, "max_duration ends it before max_steps" if clock.stops_early else "")
    goodput = clock.goodput
    stepping = f"failures and checkpoints every {goodput.every:,} steps take {goodput.lost:.1%}"
    if goodput.best_every.value != goodput.every:
        stepping += f"; every {goodput.best_every.value:,.0f} steps is best: {goodput.least_lost:.1%}"
    yield row("goodput", goodput.goodput, percent, stepping)
    yield row("cost", money.cost, dollars, price, "nobody quotes this device: set hardware.price")
    yield row("energy", energy.kwh, lambda value: f"{significant(value)} kWh", watts, "the catalog has no rated power for this device")
    yield row("carbon", carbon.total, lambda value: f"{significant(value)} kg CO2e", f"{carbon.grid.value:g} g/kWh of {grid}")
    if figures.start is not None:
        start = figures.start
        yield row("best start", start.kg, lambda value: f"{significant(value)} kg CO2e", " ".join(start_lines(start)))
    meaning = f"{loss.expected.unit} {loss.meaning}\n{loss.verdict}"
    yield row("loss", loss.expected, "{:.2f}".format, meaning)


def _parts(parts: Iterable[tuple[str, float]]) -> list[Bar]:
    """The largest first; the small ones together."""
    parts = sorted(parts, key=lambda part: -part[1])
    whole = sum(value for _, value in parts)
    shown = [Bar(words(name), value) for name, value in parts if value >= SMALL * whole]
    rest = [value for _, value in parts if value < SMALL * whole]
    return [
        *shown,
        *([Bar(f"{len(rest)} others", sum(rest))] if len(rest) > 1 else [Bar(words(n), v) for n, v in parts if v < SMALL * whole]),
    ]


def _memory(figures: Estimate) -> tuple[str, str]:
    memory = figures.memory
    bars = _parts((name, quantity.value) for name, quantity in memory.components.items())
    peak = Bar("peak", memory.peak.value, here=True, low=memory.peak.low, high=memory.peak.high)
    picture = Bars("Memory of a device", "", (peak, *bars), gib, ("capacity", memory.capacity.value))
    return bars_svg(picture), f"The peak is {memory.moment}, {memory.peak.value / memory.capacity.value:.0%} of what there is"


def _step(figures: Estimate) -> tuple[str, str]:
    step = figures.step_time
    whole = Bar("step", step.step.value, here=True, low=step.step.low, high=step.step.high)
    picture = Bars("Time of a step", "", (whole, *_parts(step.parts.items())), seconds)
    share = step.parts[step.dominant] / step.step.value
    return bars_svg(picture), f"{words(step.dominant).capitalize()} take {share:.0%}"


def _offers(figures: Estimate) -> list[tuple[str, str]]:
    money = figures.money
    if not money.offers or money.cost is None or money.cost.low is None or money.cost.high is None:
        return []
    # What the run costs is as uncertain with every provider.
    low, high = money.cost.low / money.cost.value, money.cost.high / money.cost.value
    bars = [
        Bar(offer.provider, offer.usd, offer.provider == money.provider, offer.usd * low, offer.usd * high)
        for offer in money.offers[:MOST_OFFERS]
    ]
    left = len(money.offers) - len(bars)
    dates = sorted(offer.date for offer in money.offers if offer.date)
    quoted = f"; quotes of {' to '.join(dict.fromkeys((dates[0], dates[-1])))}" if dates else ""
    rest = f"; {left} dearer ones left out" if left > 0 else ""
    return [(bars_svg(Bars("Cost by provider", "", tuple(bars), dollars)), f"Cheapest quote without commitment of each{quoted}{rest}")]


def _all_offers(figures: Estimate) -> list[str]:
    """Every provider in every market, folded away."""
    offers = all_offers(figures.money)
    return [folded("Who rents the accelerator out", ((f"{len(offers) - 2} offers, the cheapest first", offers[1:]),))] if offers else []


def _label(figures: Estimate) -> str:
    clock, cost = figures.wall_clock.total_hours, figures.money.cost
    return f"{_devices(figures)}: {_whole(clock, duration)}" + ("" if cost is None else f", {_whole(cost, dollars)}")


def _series(name: str, found: Sequence[tuple[Point, Estimate]], kind: str) -> Series:
    labels = tuple(_label(figures) for _, figures in found)
    assert kind in ("mark", "faint", "here")
    return Series(name, tuple(point for point, _ in found), labels, kind)  # type: ignore[arg-type]


def _alone(nodes: Sequence[Case]) -> list[str]:
    """Why there is no curve over nodes."""
    return (
        [] if len(nodes) > 1 else [remark("No curve over devices: on no other number of nodes does this layout divide the batch and fit.")]
    )


def _scaling(figures: Estimate, nodes: Sequence[Case]) -> list[tuple[str, str]]:
    """The time of a step and the cost of the run over the number of devices."""
    found = [case.estimate for case in nodes if case.estimate is not None]
    if len(found) < 2:
        return []
    first = found[0]
    steps = [((float(e.devices), e.step_time.step.value), e) for e in found]
    ideal = tuple((float(e.devices), first.step_time.step.value * first.devices / e.devices) for e in found)
    here = ((float(figures.devices), figures.step_time.step.value), figures)
    chart = Chart(
        "Step over devices",
        "devices",
        "seconds",
        (
            Series("step", tuple(point for point, _ in steps)),
            _series("estimated", steps, "mark"),
            Series("ideal", ideal, tuple(f"ideal: {seconds(y)}" for _, y in ideal), "faint"),
            _series("this spec", [here], "here"),
        ),
        logarithmic=True,
        x_ticks=tuple(float(e.devices) for e in found),
    )
    last = found[-1]
    kept = first.step_time.step.value * first.devices / (last.step_time.step.value * last.devices)
    caption = (
        f"The same batch on {first.devices:,} to {last.devices:,} devices, where it divides and fits: from end to end {kept:.0%} of the "
        "ideal speed-up"
    )
    pictures = [(svg(chart, width=WIDTH, height=HEIGHT, style=False), caption)]
    costs = [((float(e.devices), e.money.cost.value), e) for e in found if e.money.cost is not None]
    if len(costs) == len(found) and figures.money.cost is not None:
        chart = Chart(
            "Cost over devices",
            "devices",
            "US$",
            (
                Series("cost", tuple(point for point, _ in costs)),
                _series("estimated", costs, "mark"),
                _series("this spec", [((float(figures.devices), figures.money.cost.value), figures)], "here"),
            ),
            logarithmic=True,
            x_ticks=tuple(float(e.devices) for e in found),
        )
        pictures.append((svg(chart, width=WIDTH, height=HEIGHT, style=False), "What the same tokens cost on more or fewer devices"))
    return pictures


def _frontier(figures: Estimate, nodes: Sequence[Case], others: Sequence[Case]) -> list[tuple[str, str]]:
    """Hours against money, of all estimates that were made; the line joins those that no other beats in both."""
    if figures.money.cost is None:
        return []
    points = sorted(
        (
            ((e.wall_clock.total_hours.value, e.money.cost.value), e)
            for e in (case.estimate for case in (*nodes, *others))
            if e is not None and e.money.cost is not None
        ),
        key=lambda entry: entry[0],
    )
    best: list[tuple[Point, Estimate]] = []
    for point, found in points:
        if not best or point[1] < best[-1][0][1]:
            best.append((point, found))
    if len(points) < 2:
        return []
    here = ((figures.wall_clock.total_hours.value, figures.money.cost.value), figures)
    chart = Chart(
        "Time against money",
        "hours",
        "US$",
        (
            Series("frontier", tuple(point for point, _ in best)),
            _series("others", [entry for entry in points if entry not in best], "faint"),
            _series("frontier", best, "mark"),
            _series("this spec", [here], "here"),
        ),
        logarithmic=True,
    )
    dearest, cheapest = best[0][1], best[-1][1]
    caption = (
        f"{len(points)} choices of node count and accelerator with this layout, at their cheapest quotes. Fastest: {_label(dearest)}. "
        f"Cheapest: {_label(cheapest)}"
    )
    return [(svg(chart, width=WIDTH, height=HEIGHT, style=False), caption)]

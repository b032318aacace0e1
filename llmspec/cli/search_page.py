"""What a search found as one HTML page: the best few, the frontier of time against money, where the time goes, what does not fit."""

from collections.abc import Iterable
from pathlib import Path

from llmspec import __version__
from llmspec.cli.estimate_text import bounds, dollars, duration, gib, seconds, words
from llmspec.cli.search_text import answer, devices_name, differences, frontier_chart, gains, layout_name, spec_of, spends
from llmspec.estimate import Estimate
from llmspec.report import Bar, Bars, bars_svg, document, gallery, svg, table
from llmspec.search import Finalist, Result

WIDTH, HEIGHT = 480, 300
SMALL = 0.005


def search_page(path: Path, result: Result) -> str:
    """The page."""
    pictures = [*_frontier(result), *_steps(result), *_misfits(result)]
    header = ("layout", "step", "wall-clock", "cost", "memory of a device", "why")
    own = [] if result.own is None else [_row("the spec as it is", result.own, "")]
    best = [_row(_name(result, one), one.estimate, _why(result, one)) for one in (*result.best, *_better_unbuilt(result))]
    blocks = [table(header, [*own, *best], wrapped=True), gallery(pictures)]
    if len(result.frontier) > 1:
        rows = [(devices_name(one), layout_name(spec_of(one)), duration(one.hours), dollars(one.usd or 0.0)) for one in result.frontier]
        blocks.append(table(("the frontier", "layout", "wall-clock", "cost"), rows))
    return document(f"Search: {result.base.resolved.spec.name}", [*_remarks(path, result)], blocks)


def _better_unbuilt(result: Result) -> tuple[Finalist, ...]:
    return () if result.request.unbuilt else result.unbuilt


def _remarks(path: Path, result: Result) -> Iterable[str]:
    yield f"{result.candidates:,} layouts scored, {result.fitting:,} of them fit"
    yield from answer(result)
    if result.own_error is not None:
        yield f"The spec as it is: {result.own_error.code} {result.own_error.message}"
    chosen = result.suggested
    if result.own_is_best:
        yield "No layout is better than the spec's own by more than a hundredth"
    elif chosen is not None and result.reached:
        yield "What --apply writes: " + ", ".join(f"{name}: {after} (was {before})" for name, before, after in differences(result, chosen))
    yield f"llmspec {__version__}; searched from {path}, nothing has run"


def _name(result: Result, found: Finalist) -> str:
    unbuilt = "" if found.buildable else "\nnot built yet"
    place = f"{devices_name(found)}: " if result.request.goal.given or len({one.point for one in result.best}) > 1 else ""
    return f"{place}{layout_name(spec_of(found))}{unbuilt}"


def _row(name: str, figures: Estimate, why: str) -> tuple[str, ...]:
    step, clock, cost, memory = figures.step_time.step, figures.wall_clock.total_hours, figures.money.cost, figures.memory
    fits = "does not fit" if not memory.fits else "fits barely" if memory.tight else "fits"
    return (
        name,
        f"{seconds(step.value)}\n{bounds(step, seconds).strip(' ()')}",
        f"{duration(clock.value)}\n{bounds(clock, duration).strip(' ()')}",
        "not known" if cost is None else f"{dollars(cost.value)}\n{bounds(cost, dollars).strip(' ()')}",
        f"{gib(memory.peak.value)}\n{fits}",
        why or f"time: {spends(figures)}",
    )


def _why(result: Result, found: Finalist) -> str:
    return "\n".join(part for part in (gains(result, found), f"time: {spends(found.estimate)}") if part)


def _frontier(result: Result) -> Iterable[tuple[str, str]]:
    chart = frontier_chart(result)
    if chart is not None:
        caption = f"The best layout on each of {len(result.points)} choices of devices; the line joins those that no other beats in both"
        yield svg(chart._replace(title="Time against money"), width=WIDTH, height=HEIGHT, style=False), caption


def _steps(result: Result) -> Iterable[tuple[str, str]]:
    if result.best:
        figures = result.best[0].estimate
        whole = figures.step_time.step.value
        parts = sorted(figures.step_time.parts.items(), key=lambda part: -part[1])
        bars = tuple(Bar(words(name), value) for name, value in parts if value >= SMALL * whole)
        first = Bar("step", whole, True, figures.step_time.step.low, figures.step_time.step.high)
        yield (
            bars_svg(Bars("Where its time goes", "", (first, *bars), seconds)),
            f"The first of the list: {layout_name(spec_of(result.best[0]))}",
        )


def _misfits(result: Result) -> Iterable[tuple[str, str]]:
    if result.blame:
        bars = tuple(Bar(words(name), float(count)) for name, count in result.blame.items())
        total = sum(result.blame.values())
        yield bars_svg(Bars("Layouts that do not fit", "", bars, "{:,.0f}".format)), f"{total:,}, by what takes most of their memory"

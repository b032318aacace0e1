"""What a search found, for people and for programs.

JSON has these keys:

    name, candidates, fitting           the run, how many layouts were scored, how many of them fit
    reached                             whether the goal is reached; true without one
    own                                 the spec as it is: an entry as below; null where a rule refuses its layout
    own_error                           the code and message of that rule
    suggested                           the entry that --apply writes; null where the spec's own layout is as good
    best                                the best first, of those that can be built: a list of entries
    unbuilt, fits_barely, bought        others: entries, as the terminal shows them
    frontier                            entries that no other beats in time and money, the fastest first
    does_not_fit.<component>            how many layouts do not fit, by what takes most of the memory
    refused.<layout>                    the code of the rule that refuses it with this spec

An entry has `changes` (field and value, against the spec), `buildable`, `accelerator`, `nodes`, `accelerators_per_node`, `step_seconds`,
`step_by_component`, `memory_gib`, `fits`, `fits_barely`, `total_hours`, `usd`, `loss`, `tokens` and `parameters`. CSV has a row for each
entry; `kind` says of which list.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmspec.cli.estimate_text import bounds, colored, dollars, duration, gib, scaled, seconds, unicode, words
from llmspec.cli.printer import columns, printable
from llmspec.estimate import Estimate
from llmspec.report import Chart, Series, terminal_chart
from llmspec.search import Finalist, Result
from llmspec.spec.schema import Spec
from llmspec.variants import WORTHWHILE

# Parts below these shares of a step are not told.
SMALL_GAIN, SMALL_PART = 0.005, 0.05
MOST_PARTS = 4
MOST_LINES = 10


def search_table(result: Result, path: Path, written: tuple[tuple[str, str], ...] | None) -> str:
    """Everything on a screen."""
    lines = [*_head(result), "", *_answer(result), *_best(result), *_others(result), *_misfits(result), *_frontier(result)]
    return "\n".join([*lines, "", *_apply(result, path, written)])


def layout_name(spec: Spec) -> str:
    """A layout in a few words."""
    layout, training = spec.parallelism, spec.training
    devices = spec.hardware.nodes * spec.hardware.accelerators_per_node
    names = []
    if layout.engine == "deepspeed":
        names.append(f"ZeRO {layout.zero_stage}" + (", offloaded" if layout.offload is not None else ""))
    elif layout.data == "hsdp":
        names.append(f"hsdp in groups of {layout.shard_size}")
    elif devices > layout.tensor * layout.pipeline:
        names.append(layout.data)
    if layout.data in ("fsdp", "hsdp") and not layout.reshard_after_forward:
        names[-1] += " kept whole"
    degrees = {name: getattr(layout, name) for name in ("tensor", "pipeline", "context", "expert")}
    names += [f"{name} {degree}" for name, degree in degrees.items() if degree > 1]
    if layout.pipeline > 1:
        stages = f" x {layout.stages_per_device}" if layout.stages_per_device > 1 else ""
        names[-1 if layout.context == 1 else -2] += f" {words(layout.pipeline_schedule)}{stages}"
    if layout.tensor > 1 and not layout.sequence_parallel:
        names.append("no sequence parallel")
    names.append(f"micro batch {training.micro_batch_size}")
    if layout.activation_checkpointing != "none":
        names.append(f"{layout.activation_checkpointing} checkpointing")
    if not training.compile:
        names.append("not compiled")
    return ", ".join(names)


def spec_of(found: Finalist) -> Spec:
    """The spec with the changes."""
    assert found.case.analysis is not None
    return found.case.analysis.resolved.spec


def differences(result: Result, found: Finalist) -> list[tuple[str, str, str]]:
    """Fields that differ from the spec as it is resolved: the field, what it was, what it is."""
    return [(path, _shown(before), _shown(after)) for path, before, after in result.differences(found)]


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else printable(str(value))


def devices_name(found: Finalist) -> str:
    """What it runs on."""
    return f"{found.estimate.devices:,} x {found.estimate.device}"


def _head(result: Result) -> list[str]:
    spec = result.base.resolved.spec
    lines = [
        f"{colored(printable(spec.name), bold=True)}: {result.candidates:,} layouts scored, {result.fitting:,} of them fit",
    ]
    own = result.own
    if own is None:
        assert result.own_error is not None
        lines.append(f"as it is: {colored(result.own_error.code, color='red')} {printable(result.own_error.message)}")
        return lines
    fits = "fits" if own.memory.fits and not own.memory.tight else "fits barely" if own.memory.fits else "does not fit"
    unbuilt = "" if result.own_buildable else ", which cannot be built yet"
    lines.append(f"as it is: {layout_name(spec)} on {own.devices:,} x {own.device}{unbuilt}")
    money = "" if own.money.cost is None else f", {dollars(own.money.cost.value)}"
    verdict = colored(fits, color="red" if not own.memory.fits else "yellow" if own.memory.tight else "green")
    lines.append(
        f"          {seconds(own.step_time.step.value)} a step, {duration(own.wall_clock.total_hours.value)}{money}, "
        f"{gib(own.memory.peak.value)} of {gib(own.memory.capacity.value)}: {verdict}"
    )
    return lines


def _figures(found: Finalist) -> str:
    figures = found.estimate
    money = "" if found.usd is None else f", {dollars(found.usd)}"
    return f"{devices_name(found)}: {duration(found.hours)}{money}, loss {found.loss:.3f} after {scaled(figures.tokens)} tokens"


def answer(result: Result) -> list[str]:
    """What the goal comes to, in a sentence or two; nothing without a goal."""
    goal, request = result.request.goal, result.request
    if not goal.given or not result.best:
        return []
    best = result.best[0]
    figures = best.estimate
    limits = []
    if goal.budget is not None:
        limits.append(f"a budget of {dollars(goal.budget)}")
    if goal.deadline is not None:
        limits.append(f"a deadline of {duration(goal.deadline)}")
    within = " and ".join(limits)
    varies = request.vary_size or request.vary_tokens
    size = f"{scaled(figures.parameters.total.value)} parameters"
    lines = []
    if not result.reached:
        nearest = f"{duration(best.hours)}" + ("" if best.usd is None else f" and {dollars(best.usd)}")
        cut = ", where `training.max_duration` cuts it off" if best.cut else ""
        lines.append(f"{within or 'the goal'} is out of reach: the nearest takes {nearest} on {devices_name(best)}{cut}")
    elif goal.loss is not None:
        cost = "" if best.usd is None else f" costs {dollars(best.usd)} at least"
        lines.append(f"a loss of {goal.loss:g}{cost}{f' within {within}' if within else ''}: {size}, {_figures(best)}")
    elif varies:
        lines.append(f"{within} buys a loss of {best.loss:.3f}: {size}, {_figures(best)}")
    elif goal.deadline is not None:
        cost = "is met" if best.usd is None else f"costs {dollars(best.usd)} at least"
        lines.append(f"{within} {cost}: {_figures(best)}")
    else:
        lines.append(f"{within} pays the spec's run in {duration(best.hours)}: {_figures(best)}")
    if result.bought is not None:
        lines.append(f"at most it buys, with --vary-tokens, {_figures(result.bought)}")
    return lines


def _answer(result: Result) -> list[str]:
    lines = answer(result)
    if not lines:
        return []
    first = colored(lines[0], bold=True, color=None if result.reached else "red")
    return [first, *lines[1:], ""]


def _best(result: Result) -> Iterator[str]:
    if not result.best:
        yield colored("nothing that can be built today fits", color="red")
        return
    many = result.request.goal.given or len({found.point for found in result.best}) > 1
    yield colored("the best that can be built today" if not result.request.unbuilt else "the best", bold=True)
    yield from _rows(result, result.best, many)
    chosen = result.suggested
    if result.own_is_best:
        yield f"The spec's own layout is within {WORTHWHILE:.0%} of the fastest: nothing to change."
    elif chosen is not None and chosen is not result.best[0]:
        yield f"* within {WORTHWHILE:.0%} of the fastest, and nearer to the spec: what --apply takes"


def _rows(result: Result, found: Iterable[Finalist], many: bool) -> Iterator[str]:
    chosen = result.suggested
    for number, one in enumerate(found, start=1):
        figures = one.estimate
        mark = "*" if one is chosen else " "
        unbuilt = "" if one.buildable else colored("  not built yet", color="yellow")
        barely = colored("  fits barely", color="yellow") if figures.memory.tight else ""
        name = f"{devices_name(one)}: {layout_name(spec_of(one))}" if many else layout_name(spec_of(one))
        yield f"{mark}{number:>2}  {colored(name, bold=True)}{unbuilt}{barely}"
        money = "" if one.usd is None else f", {dollars(one.usd)}"
        against = ""
        own = result.own
        if own is not None and own.memory.fits:
            change = one.hours / own.wall_clock.total_hours.value - 1
            against = f" ({change:+.1%})" if abs(change) >= 0.0005 else ""
        size = f", {scaled(figures.parameters.total.value)} parameters" if result.request.vary_size else ""
        loss = f", loss {one.loss:.3f}" if result.request.goal.given else ""
        tokens = f", {scaled(figures.tokens)} tokens" if result.request.goal.given else ""
        yield (
            f"     {seconds(figures.step_time.step.value)} a step{bounds(figures.step_time.step, seconds)}, {duration(one.hours)}{against}"
            f"{money}, {gib(figures.memory.peak.value)}, MFU {figures.step_time.mfu.value:.0%}{size}{tokens}{loss}"
        )
        reason = gains(result, one)
        if reason:
            yield f"     {reason}"
        yield f"     time: {spends(figures)}"


def gains(result: Result, found: Finalist) -> str:
    """What it gains over the spec's own layout, by part of the step, where both run on the same devices with the same batch."""
    own = result.own
    spec, before = spec_of(found), result.base.resolved.spec
    same = (spec.hardware == before.hardware) and spec.training.global_batch_size == before.training.global_batch_size
    if own is None or not own.memory.fits:
        return "" if own is None else "fits, where the spec's own layout does not"
    if not same or spec.architecture != before.architecture:
        return ""
    names = dict.fromkeys((*own.step_time.parts, *found.estimate.step_time.parts))
    exchange = ("gradient_all_reduce", "sharded_exchange")

    def part(figures: Estimate, name: str) -> float:
        if name in exchange:
            return sum(figures.step_time.parts.get(one, 0.0) for one in exchange)
        return figures.step_time.parts.get(name, 0.0)

    merged = dict.fromkeys("exchange of gradients and shards" if name in exchange else name for name in names)
    differ = {
        name: part(found.estimate, exchange[0] if name.startswith("exchange of") else name)
        - part(own, exchange[0] if name.startswith("exchange of") else name)
        for name in merged
    }
    enough = SMALL_GAIN * own.step_time.step.value
    told = sorted(((value, name) for name, value in differ.items() if abs(value) >= enough), key=lambda entry: -abs(entry[0]))
    saved = [f"{seconds(-value)} of {words(name)}" for value, name in told[:MOST_PARTS] if value < 0]
    spent = [f"{seconds(value)} on {words(name)}" for value, name in told[:MOST_PARTS] if value > 0]
    pieces = ([f"saves {', '.join(saved)}"] if saved else []) + ([f"spends {', '.join(spent)}"] if spent else [])
    return ", ".join(pieces)


def spends(figures: Estimate) -> str:
    """Where its time goes."""
    step = figures.step_time.step.value
    parts = sorted(figures.step_time.parts.items(), key=lambda part: -part[1])
    shown = [f"{words(name)} {value / step:.0%}" for name, value in parts if value >= SMALL_PART * step]
    return ", ".join(shown[: MOST_PARTS + 1])


def _others(result: Result) -> Iterator[str]:
    if result.unbuilt and not result.request.unbuilt:
        yield ""
        yield colored("faster, but not built yet (--unbuilt lets them win)" if result.best else "what cannot be built yet", bold=True)
        yield from _rows(result, result.unbuilt, False)
    if result.tight is not None:
        found = result.tight
        saved = 1 - found.pace / result.best[0].pace
        yield ""
        peak = gib(found.estimate.memory.peak.value)
        yield f"{saved:.0%} faster, but within the error of the memory's estimate: {layout_name(spec_of(found))}, {peak}"


def _misfits(result: Result) -> Iterator[str]:
    if result.blame:
        total = sum(result.blame.values())
        parts = ", ".join(f"{words(name)} {count:,}" for name, count in list(result.blame.items())[:5])
        yield ""
        yield f"{total:,} do not fit. What takes most of their memory: {parts}"
    if result.refused:
        names = ", ".join(f"{name} ({code})" for name, code in result.refused.items())
        yield f"rules refuse with this spec: {names}"


def frontier_chart(result: Result) -> Chart | None:
    """Hours against money; None where there is nothing to trade."""
    points = [found for found in result.points if found.usd is not None]
    if len(points) < 2:
        return None

    def series(name: str, some: Iterable[Finalist], kind: Any) -> Series:
        chosen = list(some)
        return Series(
            name,
            tuple((found.hours, found.usd or 0.0) for found in chosen),
            tuple(f"{_figures(found)}; {layout_name(spec_of(found))}" for found in chosen),
            kind,
        )

    own = result.own
    here = []
    if own is not None and own.memory.fits and own.money.cost is not None:
        here = [Series("this spec", ((own.wall_clock.total_hours.value, own.money.cost.value),), ("the spec as it is",), "here")]
    rest = [found for found in points if found not in result.frontier]
    return Chart(
        "US$ over hours",
        "hours",
        "US$",
        (
            Series("frontier", tuple((found.hours, found.usd or 0.0) for found in result.frontier)),
            *([series("others", rest, "faint")] if rest else []),
            series("best on some devices", result.frontier, "mark"),
            *here,
        ),
        logarithmic=True,
    )


def _frontier(result: Result) -> Iterator[str]:
    chart = frontier_chart(result)
    if chart is None:
        return
    yield ""
    yield colored("time against money", bold=True)
    yield terminal_chart(chart, width=64, height=10, unicode=unicode())
    shown = _thinned(result.frontier)
    width = max(columns(devices_name(found)) for found in shown)
    for found in shown:
        name = devices_name(found)
        pad = " " * (width - columns(name))
        yield f"  {name}{pad}  {duration(found.hours):>10}  {dollars(found.usd or 0.0):>10}  {layout_name(spec_of(found))}"


def _thinned(found: Sequence[Finalist]) -> list[Finalist]:
    """Both ends and some in between, evenly."""
    if len(found) <= MOST_LINES:
        return list(found)
    return [found[round(index * (len(found) - 1) / (MOST_LINES - 1))] for index in range(MOST_LINES)]


def _apply(result: Result, path: Path, written: tuple[tuple[str, str], ...] | None) -> Iterator[str]:
    chosen = result.suggested
    if written is not None:
        if not written:
            yield f"{path} says so already; nothing was written"
            return
        yield f"wrote to {path}: " + ", ".join(f"{name}: {value}" for name, value in written)
        return
    if chosen is None or not result.reached:
        return
    differ = differences(result, chosen)
    if differ:
        changes = ", ".join(f"{name}: {after} (was {before})" for name, before, after in differ)
        yield f"--apply writes {changes}"


def entry(result: Result, found: Finalist) -> dict[str, Any]:
    """A finalist for programs; the module's docstring says what is in it."""
    return {
        "changes": {name: after for name, _, after in differences(result, found)},
        "buildable": found.buildable,
        **_of_estimate(found.estimate),
        "accelerator": found.point.accelerator,
        "nodes": found.point.nodes,
        "accelerators_per_node": found.point.per_node,
    }


def _of_estimate(figures: Estimate) -> dict[str, Any]:
    return {
        "step_seconds": figures.step_time.step.value,
        "step_by_component": dict(figures.step_time.parts),
        "memory_gib": figures.memory.peak.value,
        "fits": figures.memory.fits,
        "fits_barely": figures.memory.tight,
        "total_hours": figures.wall_clock.total_hours.value,
        "usd": figures.money.cost and figures.money.cost.value,
        "loss": figures.loss.expected.value,
        "tokens": figures.tokens,
        "parameters": figures.parameters.total.value,
    }


def search_json(result: Result) -> str:
    """Everything for programs; the module's docstring lists the keys."""
    hardware = result.base.resolved.spec.hardware
    own = None
    if result.own is not None:
        own = {"changes": {}, "buildable": result.own_buildable, **_of_estimate(result.own)}
        own |= {"accelerator": hardware.accelerator, "nodes": hardware.nodes, "accelerators_per_node": hardware.accelerators_per_node}
    chosen = result.suggested
    value = {
        "name": result.base.resolved.spec.name,
        "candidates": result.candidates,
        "fitting": result.fitting,
        "reached": result.reached,
        "own": own,
        "own_error": result.own_error and {"code": result.own_error.code, "message": result.own_error.message},
        "suggested": None if chosen is None else entry(result, chosen),
        **{name: [entry(result, found) for found in some] for name, some in _lists(result).items()},
        "fits_barely": None if result.tight is None else entry(result, result.tight),
        "bought": None if result.bought is None else entry(result, result.bought),
        "does_not_fit": dict(result.blame),
        "refused": dict(result.refused),
    }
    return json.dumps(value, indent=2)


def _lists(result: Result) -> Mapping[str, tuple[Finalist, ...]]:
    return {"best": result.best, "unbuilt": result.unbuilt, "frontier": result.frontier}


def search_csv(result: Result) -> str:
    """A row for each entry; the module's docstring says what is in them."""
    import csv
    import io

    rows: list[dict[str, Any]] = []
    for kind, some in _lists(result).items():
        for rank, found in enumerate(some, start=1):
            figures = entry(result, found)
            plain = {name: value for name, value in figures.items() if not isinstance(value, dict)}
            rows.append({"kind": kind, "rank": rank, **plain, **figures["changes"]})
    fields = dict.fromkeys(field for row in rows for field in row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: str(v).lower() if isinstance(v, bool) else v for name, v in row.items()} for row in rows)
    return out.getvalue()

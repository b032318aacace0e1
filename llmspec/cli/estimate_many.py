"""Several estimates beside each other: specs in columns, variations of one spec in rows, and both as JSON and CSV.

JSON is a list with an entry for each spec or variation:

    spec, changes           the file, and the fields that differ from it
    name                    of the run; null where the spec has an error
    errors, warnings        lists of {code, message}
    estimate                as `llmspec.estimate.estimate` describes it; null where there is an error

CSV has the same in columns, one row each: `spec`, `code` (of the first error), a column for each changed field, and the estimate's keys
with dots between them; both ends of an interval stand in `intervals.KEY.low` and `.high`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmspec.cli.estimate_text import bounds, colored, dollars, duration, gib, scaled, seconds, significant
from llmspec.cli.printer import columns, printable
from llmspec.estimate import Estimate, Quantity
from llmspec.variants import Case

# Beyond this many specs, columns are too many for a screen: each spec gets a row.
MOST_COLUMNS = 4
WIDEST_NAME = 28


class Figure(NamedTuple):
    """One figure of a table. `better` says which end is the good one: -1 less, 1 more, 0 neither."""

    label: str
    find: Callable[[Estimate], Quantity | None]
    show: Callable[[float], str]
    better: int = -1


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _unit(unit: str) -> Callable[[float], str]:
    return lambda value: f"{significant(value)} {unit}"


PARAMETERS = Figure("parameters", lambda e: e.parameters.total, scaled, 0)
MEMORY = Figure("memory", lambda e: e.memory.peak, gib)
STEP = Figure("step", lambda e: e.step_time.step, seconds)
SPEED = Figure("tokens/s", lambda e: e.step_time.tokens_per_second, significant, 1)
MFU = Figure("MFU", lambda e: e.step_time.mfu, _percent, 1)
CLOCK = Figure("wall-clock", lambda e: e.wall_clock.total_hours, duration)
COST = Figure("cost", lambda e: e.money.cost, dollars)
ENERGY = Figure("energy", lambda e: e.energy.kwh, _unit("kWh"))
CARBON = Figure("carbon", lambda e: e.carbon.total, _unit("kg"))
LOSS = Figure("loss", lambda e: e.loss.expected, "{:.3f}".format)
FIGURES = (PARAMETERS, MEMORY, STEP, SPEED, MFU, CLOCK, COST, ENERGY, CARBON, LOSS)


def cases_json(cases: Sequence[Case]) -> str:
    """A list with an entry for each case; the module's docstring says what is in it."""
    return json.dumps([_entry(case) for case in cases], indent=2)


def _entry(case: Case) -> dict[str, Any]:
    figures = case.estimate
    return {
        "spec": str(case.spec),
        "changes": dict(case.changes),
        "name": figures and figures.name,
        "errors": [{"code": found.code, "message": found.message} for found in case.bag.errors],
        "warnings": [{"code": found.code, "message": found.message} for found in case.bag.warnings],
        "estimate": figures and figures.to_json(),
    }


def cases_csv(cases: Sequence[Case]) -> str:
    """A header and a row for each case; the module's docstring says what is in them."""
    import csv
    import io

    rows = []
    for case in cases:
        row: dict[str, Any] = {"spec": str(case.spec), "code": case.error.code if case.error is not None else "", **dict(case.changes)}
        if case.estimate is not None:
            row |= {"name": case.estimate.name} | dict(_flat(case.estimate.to_json()))
        rows.append(row)
    changed = dict.fromkeys(field for case in cases for field, _ in case.changes)
    fields = dict.fromkeys(("spec", "code", *changed, "name", *(field for row in rows for field in row)))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{key}.")
        elif isinstance(value, list):
            yield from zip((f"{key}.low", f"{key}.high"), value, strict=True)
        else:
            yield key, str(value).lower() if isinstance(value, bool) else value


def side_by_side(cases: Sequence[Case]) -> str:
    """A column for each spec, each figure with its bounds below it; rows where there are too many for that."""
    if len(cases) > MOST_COLUMNS:
        rows = [[_name(case), *(_cell(case, figure) for figure in FIGURES)] for case in cases]
        best = [_best(cases, figure) for figure in FIGURES]
        marked = {(row, column + 1) for column, winners in enumerate(best) for row in winners}
        return "\n".join([*_table([("", *(figure.label for figure in FIGURES)), *rows], marked, _errors(cases)), *_legend(marked)])
    lines: list[list[str]] = [["", *map(_name, cases)], ["on", *map(_devices, cases)]]
    marked = set()
    for figure in FIGURES:
        marked |= {(len(lines) - 1, column + 1) for column in _best(cases, figure)}
        lines.append([figure.label, *(_cell(case, figure) for case in cases)])
        if figure is MEMORY:
            lines.append(["", *map(_fits, cases)])
        ends = [_ends(case, figure) for case in cases]
        if any(ends):
            lines.append(["", *ends])
    errors = [f"{_name(case)}: {_error(case)}" for case in cases if case.error is not None]
    return "\n".join([*_table(lines, marked, {}), *(["", *errors] if errors else []), *_legend(marked)])


def what_if_table(cases: Sequence[Case]) -> str:
    """A row for each variation, the spec as it is first; what does not work shows its code in place of figures."""
    fields = dict.fromkeys(field for case in cases for field, _ in case.changes)
    base = cases[0].estimate
    varying = [figure for figure in (PARAMETERS, LOSS) if len({_cell(case, figure) for case in cases if case.estimate is not None}) > 1]
    shown = [*(f for f in varying if f is PARAMETERS), MEMORY, STEP, SPEED, MFU, CLOCK, COST, *(f for f in varying if f is LOSS)]
    header = [
        *map(_last, fields),
        *(text for figure in shown for text in ((figure.label, "bounds", "") if figure is STEP else (figure.label,))),
    ]
    rows: list[list[str]] = []
    marked = set()
    place = {figure: len(fields) + index + (2 if index > shown.index(STEP) else 0) for index, figure in enumerate(shown)}
    for case in cases:
        changes = dict(case.changes)
        row = [printable(changes.get(field, _own(cases[0], field))) for field in fields]
        for figure in shown:
            tight = figure is MEMORY and case.estimate is not None and case.estimate.memory.tight
            row.append(_cell(case, figure) + (" !" if tight else ""))
            if figure is STEP:
                row += [_ends(case, figure), _against(case.estimate, base)]
        rows.append(row)
    for figure in shown:
        marked |= {(row, place[figure]) for row in _best(cases, figure)}
    name = cases[0].estimate.name if cases[0].estimate is not None else str(cases[0].spec)
    remarks = _legend(marked)
    if any(case.estimate is not None and case.estimate.memory.tight for case in cases):
        remarks.append("! fits barely: within the error of the estimate")
    lines = _table([header, *rows], marked, _errors(cases, after=len(fields)))
    return "\n".join([f"{colored(printable(name), bold=True)}: the first row is the spec as it is", "", *lines, *remarks])


def _table(rows: Sequence[Sequence[str]], marked: set[tuple[int, int]], errors: Mapping[int, tuple[int, str]]) -> list[str]:
    """Rows of aligned cells under a header; `errors` replace what stands in a row from some column on."""
    body = [row if index not in errors else row[: errors[index][0]] for index, row in enumerate(rows[1:])]
    widths = [max((columns(row[column]) for row in (rows[0], *body) if column < len(row)), default=0) for column in range(len(rows[0]))]
    star = {column for _, column in marked}
    lines = [colored(_line(rows[0], widths, star, set()).rstrip(), bold=True)]
    for index, row in enumerate(body):
        line = _line(row, widths, star, {column for at, column in marked if at == index}).rstrip()
        if index in errors:
            # Blank cells that end the row keep their width, so that codes stand below each other.
            lead = sum(widths[: errors[index][0]]) + 2 * errors[index][0]
            line = f"{line}{' ' * (lead - columns(line))}{colored(errors[index][1], color='red')}"
        lines.append(line)
    return lines


def _line(row: Sequence[str], widths: Sequence[int], star: set[int], best: set[int]) -> str:
    cells = []
    for column, text in enumerate(row):
        blanks = " " * (widths[column] - columns(text))
        mark = "*" if column in best else " " if column in star else ""
        cell = text + blanks if column == 0 else blanks + text
        cells.append(colored(cell + mark, color="green") if column in best else cell + mark)
    return "  ".join(cells)


def _legend(marked: set[tuple[int, int]]) -> list[str]:
    return ["", "* the best of those shown"] if marked else []


def _errors(cases: Sequence[Case], after: int = 1) -> dict[int, tuple[int, str]]:
    return {index: (after, _error(case)) for index, case in enumerate(cases) if case.error is not None}


def _error(case: Case) -> str:
    error = case.error
    assert error is not None
    return f"{error.code} {printable(error.message)}"


def _name(case: Case) -> str:
    name = printable(case.estimate.name if case.estimate is not None else str(case.spec))
    return name if len(name) <= WIDEST_NAME else f"{name[: WIDEST_NAME - 3]}..."


def _devices(case: Case) -> str:
    figures = case.estimate
    return "" if figures is None else f"{figures.devices:,} x {figures.device}"


def _fits(case: Case) -> str:
    if case.estimate is None:
        return ""
    return f"of {gib(case.estimate.memory.capacity.value)}, fits{' barely' if case.estimate.memory.tight else ''}"


def _cell(case: Case, figure: Figure) -> str:
    if case.estimate is None:
        return case.error.code if case.error is not None else ""
    quantity = figure.find(case.estimate)
    return "not known" if quantity is None else figure.show(quantity.value)


def _ends(case: Case, figure: Figure) -> str:
    quantity = None if case.estimate is None else figure.find(case.estimate)
    return "" if quantity is None else bounds(quantity, figure.show).strip(" ()")


def _best(cases: Iterable[Case], figure: Figure) -> set[int]:
    """The cases whose figure is the best; none where all that have one agree."""
    found = {}
    for index, case in enumerate(cases):
        quantity = None if case.estimate is None else figure.find(case.estimate)
        if quantity is not None:
            found[index] = quantity.value * figure.better
    most = max(found.values(), default=0.0)
    return {index for index, value in found.items() if value == most} if len(set(found.values())) > 1 else set()


def _against(figures: Estimate | None, base: Estimate | None) -> str:
    if figures is None or base is None or figures is base:
        return ""
    return f"{figures.step_time.step.value / base.step_time.step.value - 1:+.0%}"


def _last(field: str) -> str:
    return printable(field.rpartition(".")[2])


def _own(case: Case, field: str) -> str:
    """What the spec itself says in a field."""
    if case.analysis is None:
        return "as it is"
    value: object = case.analysis.resolved.spec
    for name in field.split("."):
        value = getattr(value, name, None)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

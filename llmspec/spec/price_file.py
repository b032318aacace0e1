"""A file of one's own prices: YAML with the columns of the catalog's prices.yaml, read with the place of everything that is wrong in it.

h100-sxm:
  quotes:
  - {provider: our-cloud, on_demand: 2.10, reserved: true, date: '2026-11-02', accelerators: 8}
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmspec.catalog import Quote, accelerator_names
from llmspec.diagnostics import Bag, CompilationError, Diagnostic, Span
from llmspec.diagnostics.codes import problem
from llmspec.diagnostics.suggest import choice, nearest
from llmspec.spec.source import Source, parse, read_source
from llmspec.spec.tree import Node

MOST_USD = 10_000
_NUMBERS = ("on_demand",)
_TEXTS = ("provider", "instance", "region", "date", "source", "note")
COLUMNS = (*_TEXTS, *_NUMBERS, "accelerators", "spot", "other_regions", "reserved", "verified")
_DATE = re.compile(r"20\d\d(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
_EXAMPLE = "a file of prices reads `h100-sxm: {quotes: [{provider: our-cloud, on_demand: 2.10, date: '2026-11-02'}]}`"


def read_prices(path: Path, file: str, at: Span, bag: Bag) -> Mapping[str, tuple[Quote, ...]]:
    """The quotes of a file by accelerator.

    Args:
        path: The file.
        file: Its name for people.
        at: Where the spec names it.
        bag: Takes what is wrong.

    Raises:
        CompilationError: It cannot be read, or something in it is wrong; the bag says what.
    """
    try:
        source = read_source(path, Bag(), file=file)
    except CompilationError as error:
        reason = error.bag.errors[0]
        bag.add(problem("LS552", f"the file of prices: {reason.message.replace(', not a spec', '')}", at, help=reason.help))
        raise CompilationError(bag) from None
    tree = _parsed(source, bag)
    problems = list(_problems(tree))
    bag.extend(problems)
    if problems:
        raise CompilationError(bag)
    return {name: tuple(_quote(name, row, file) for row in _rows(entry)) for name, entry in tree.mapping.items()}


def _parsed(source: Source, bag: Bag) -> Node:
    own = Bag()
    try:
        tree = parse(source, own)
    except CompilationError:
        tree = None
    bag.sources.update(own.sources)
    for found in own:
        if found.code in ("LS007", "LS020"):
            bag.add(problem("LS552", "the file of prices is empty or no mapping", found.span, help=(_EXAMPLE,)))
        else:
            bag.add(found)
    if tree is None or own.errors:
        raise CompilationError(bag)
    return tree


def _rows(entry: Node) -> list[Node]:
    quotes = entry.mapping.get("quotes")
    return quotes.value if quotes is not None and isinstance(quotes.value, list) else []


def _wrong(message: str, span: Span, *help: str) -> Diagnostic:
    return problem("LS552", message, span, help=help)


def _problems(tree: Node) -> Iterator[Diagnostic]:
    known = accelerator_names()
    for name, entry in tree.mapping.items():
        if name not in known:
            near = nearest(name, known)
            yield _wrong(
                f"the catalog has no accelerator `{name}`",
                entry.key_span or entry.span,
                *((f"did you mean {choice(near)}?",) if near else ()),
            )
        quotes = entry.mapping.get("quotes")
        if quotes is None or not isinstance(quotes.value, list):
            yield _wrong(f"`{name}` has no list of `quotes`", entry.place, _EXAMPLE)
            continue
        for extra in (key for key in entry.mapping if key not in ("quotes", "usual")):
            node = entry.mapping[extra]
            yield _wrong(f"an accelerator has `quotes`, and no `{extra}`", node.key_span or node.span)
        for row in quotes.value:
            yield from _row_problems(row)


def _row_problems(row: Node) -> Iterator[Diagnostic]:
    values = row.mapping
    if not values:
        yield _wrong("a quote is a mapping of columns", row.span, _EXAMPLE)
        return
    for name, node in values.items():
        if name not in COLUMNS:
            near = nearest(name, COLUMNS)
            hint = f"did you mean {choice(near)}?" if near else f"the columns are {', '.join(COLUMNS)}"
            yield _wrong(f"there is no column `{name}`", node.key_span or node.span, hint)
        elif reason := _fault(name, node):
            yield _wrong(f"`{name}` {reason}", node.place)
    if "provider" not in values:
        yield _wrong("a quote names its `provider`", row.span)
    if "on_demand" not in values and "spot" not in values:
        yield _wrong("a quote has a price: `on_demand` or `spot`, in US dollars for one accelerator for one hour", row.span)


def _fault(name: str, node: Node) -> str | None:
    """What is wrong with a value; None where nothing is."""
    value = node.value
    if name in _TEXTS:
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            return "should be a text"
        return "should be a day, a month or a year such as 2026-11-02" if name == "date" and not _DATE.fullmatch(str(value)) else None
    if name in ("reserved", "verified"):
        return None if isinstance(value, bool) else "should be true or false"
    if name == "accelerators":
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        return None if whole else "should be the number of accelerators in the instance, 1 or more"
    if name == "spot":
        ends = [_usd(item) for item in value] if isinstance(value, list) else [_usd(node)] * 2
        sound = len(ends) == 2 and ends[0] is not None and ends[1] is not None and ends[0] <= ends[1]
        return None if sound else "should be a price, or the lowest and the highest in brackets, in US dollars an hour"
    if name == "other_regions":
        sound = isinstance(value, dict) and all(_usd(price) is not None for price in value.values())
        return None if sound else "should be a mapping of regions to prices"
    return None if _usd(node) is not None else f"should be a price above 0 and below {MOST_USD:,} US dollars an hour"


def _usd(node: Node) -> float | None:
    value = node.value
    sound = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MOST_USD
    return float(value) if sound and isinstance(value, int | float) else None


def _quote(accelerator: str, row: Node, file: str) -> Quote:
    values = row.mapping

    def text(name: str, otherwise: str) -> str:
        return str(values[name].value) if name in values else otherwise

    def price(name: str) -> float | None:
        return _usd(values[name]) if name in values else None

    spot = values.get("spot")
    ends = None if spot is None else [_usd(item) for item in (spot.value if isinstance(spot.value, list) else [spot, spot])]
    accelerators = values["accelerators"].value if "accelerators" in values else 1
    return Quote(
        accelerator=accelerator,
        provider=text("provider", ""),
        instance=text("instance", ""),
        accelerators=accelerators if isinstance(accelerators, int) else 1,
        on_demand=price("on_demand"),
        spot=None if ends is None else (ends[0] or 0.0, ends[1] or 0.0),
        region=text("region", "") or None,
        other_regions={name: _usd(node) or 0.0 for name, node in values["other_regions"].mapping.items()}
        if "other_regions" in values
        else {},
        reserved="reserved" in values and values["reserved"].value is True,
        date=text("date", "") or None,
        verified="verified" not in values or values["verified"].value is True,
        source=text("source", f"{file}:{row.span.line}"),
        note=text("note", ""),
    )

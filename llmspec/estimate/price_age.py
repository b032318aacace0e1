"""How old the quotes are that an estimate rests on. Its figures do not depend on the day; only this warning does."""

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import date

from llmspec.diagnostics import Diagnostic, Fact, Severity
from llmspec.diagnostics.codes import problem
from llmspec.estimate.money import Money
from llmspec.resolve.resolved import Resolved

DAYS = 365


def last_day(text: str) -> date | None:
    """The last day that a quote's date may mean: a day, a month, a year, or years such as 2025-26. None where it is no date."""
    found = re.fullmatch(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?", text)
    if found is None:
        return None
    year, month, day = (int(part) if part else None for part in found.groups())
    assert year is not None
    if month is None or month > 12:
        return date(year if month is None else year // 100 * 100 + month, 12, 31)
    if day is None:
        return date(year, month, monthrange(year, month)[1])
    try:
        return date(year, month, day)
    except ValueError:
        return None


def old_quotes(resolved: Resolved, money: Money, today: date) -> Iterator[Diagnostic]:
    """A warning where the price, or prices beside it, are from more than a year before today."""
    quoted = {offer.provider: offer.date for offer in money.offers if offer.date}
    old = {name: day for name, day in quoted.items() if (last := last_day(day)) is not None and (today - last).days > DAYS}
    if not old:
        return
    used = money.quote is not None and money.quote.provider in old
    subject = (
        f"the price is {money.quote.provider}'s of {old[money.quote.provider]}"
        if used and money.quote is not None
        else f"{len(old)} of {len(quoted)} quotes beside the price are old"
    )
    yield problem(
        "LS551",
        f"{subject}, more than a year before {today.isoformat()}",
        resolved.span("hardware.price"),
        facts=[Fact(name, f"quote of {day}", resolved.origin("hardware.price").text) for name, day in sorted(old.items())],
        help=["they move by half in a year: give yours with `--price USD` or `hardware.price`, or a file with `--prices`"],
        severity=Severity.WARNING,
    )

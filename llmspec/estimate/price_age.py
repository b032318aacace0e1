"""How old the quotes are that an estimate rests on. Its figures do not depend on the day; only this warning does."""

import re
from collections.abc import Iterator

from llmspec.diagnostics import Diagnostic, Fact, Severity
from llmspec.diagnostics.codes import problem
from llmspec.estimate.money import Money
from llmspec.resolve.resolved import Resolved


def last_day(text: str) -> str | None:
    """The last day that a quote's date may mean: a day, a month, a year, or years such as 2025-26. None where it is no date.

    Days are texts such as 2026-11-23, which sort as they follow each other: importing `datetime` takes longer than an estimate has.
    """
    found = re.fullmatch(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?", text)
    if found is None:
        return None
    year, month, day = found.groups()
    if month is not None and int(month) > 12:
        return f"{year[:2]}{month}-12-31"
    return f"{year}-{month or '12'}-{day or '31'}"


def old_quotes(resolved: Resolved, money: Money, today: str) -> Iterator[Diagnostic]:
    """A warning where the price, or prices beside it, are from more than a year before today."""
    quoted = {offer.provider: offer.date for offer in money.offers if offer.date}
    a_year_ago = f"{int(today[:4]) - 1}{today[4:]}"
    old = {name: day for name, day in quoted.items() if (last := last_day(day)) is not None and last < a_year_ago}
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
        f"{subject}, more than a year before {today}",
        resolved.span("hardware.price"),
        facts=[Fact(name, f"quote of {day}", resolved.origin("hardware.price").text) for name, day in sorted(old.items())],
        help=["they move by half in a year: give yours with `--price USD` or `hardware.price`, or a file with `--prices`"],
        severity=Severity.WARNING,
    )

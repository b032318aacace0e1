"""What an hour of an accelerator costs. Prices move: every quote has its date, and a spec can give its own price."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from llmspec.catalog.table import table

Market = Literal["on_demand", "spot", "reserved"]
MARKETS: tuple[Market, ...] = ("on_demand", "spot", "reserved")


class Quote(NamedTuple):
    """One provider's price, in US dollars for one accelerator for one hour."""

    accelerator: str
    provider: str
    instance: str
    accelerators: int
    """Accelerators in the instance."""
    on_demand: float | None
    spot: tuple[float, float] | None
    """Lowest and highest spot price seen over the provider's zones."""
    region: str | None
    other_regions: Mapping[str, float]
    """On-demand price in the provider's other regions, where the source has them."""
    reserved: bool
    """Whether the price asks for a commitment."""
    date: str | None
    """When it was the price: a day, a month or a year; None where the source does not say."""
    verified: bool
    """Whether the price was read in its source. False: recalled."""
    source: str
    note: str

    def price(self, market: Market) -> float | None:
        """Dollars for one accelerator hour; for spot the middle of what was seen. None where it is not sold so."""
        if market != "spot":
            return self.on_demand if self.reserved == (market == "reserved") else None
        return None if self.spot is None else sum(self.spot) / 2


class MarketPrice(NamedTuple):
    """What one accelerator hour usually costs, in US dollars: a judgement from the quotes, not a quote."""

    low: float | None
    mid: float | None
    hyperscaler: float | None


@cache
def prices_for(accelerator: str) -> tuple[Quote, ...]:
    """All quotes for an accelerator; none where nobody was found to rent it out."""
    entry = table("prices.yaml").entry(accelerator) or {}
    return tuple(_quote(accelerator, row) for row in entry.get("quotes", ()))


def market_price(accelerator: str) -> MarketPrice | None:
    """What the accelerator usually costs; None where the catalog does not know."""
    usual = (table("prices.yaml").entry(accelerator) or {}).get("usual")
    return None if usual is None else MarketPrice(usual.get("low"), usual.get("mid"), usual.get("hyperscaler"))


def best_quote(accelerator: str, market: Market, per_node: int = 1, quotes: Iterable[Quote] | None = None) -> Quote | None:
    """The cheapest quote of a market.

    A quote that was read in its source goes before one that was recalled, and an instance with at least `per_node` accelerators before a
    smaller one: eight rented singly are not joined by a fast link.

    Args:
        accelerator: Identifier of the accelerator.
        market: `on_demand` or `spot`, both without commitment, or `reserved`.
        per_node: Accelerators that one node of the run has.
        quotes: Where to look; in the catalog when left out.

    Returns:
        The quote; None where the accelerator is not sold so.
    """
    offered = prices_for(accelerator) if quotes is None else quotes
    priced = [(price, quote) for quote in offered if (price := quote.price(market)) is not None]
    if not priced:
        return None
    return min(priced, key=lambda pair: (not pair[1].verified, pair[1].accelerators < per_node, pair[0]))[1]


def _quote(accelerator: str, row: dict[str, Any]) -> Quote:
    spot = row.get("spot")
    return Quote(
        accelerator=accelerator,
        provider=row["provider"],
        instance=row["instance"],
        accelerators=row["accelerators"],
        on_demand=row.get("on_demand"),
        spot=None if spot is None else (spot[0], spot[1]),
        region=row.get("region"),
        other_regions=row.get("other_regions", {}),
        reserved=row.get("reserved", False),
        date=row.get("date"),
        verified=row.get("verified", True),
        source=row["source"],
        note=row.get("note", ""),
    )

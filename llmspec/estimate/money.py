"""Money: device hours at the price of the spec, or of the best quote in its own file or in the catalog."""

from collections.abc import Mapping
from typing import NamedTuple

from llmspec.catalog import MARKETS, Market, Quote, best_quote
from llmspec.estimate.derivation import Input, Quantity, field
from llmspec.estimate.wall_clock import WallClock
from llmspec.resolve.resolved import Resolved

# How a market is rented.
KINDS: Mapping[Market, str] = {"on_demand": "on demand", "spot": "on spot", "reserved": "with a commitment"}


class Offer(NamedTuple):
    """One provider's cheapest quote of a market for the run."""

    provider: str
    usd_per_hour: float
    usd: float
    date: str | None
    market: Market
    instance: str
    source: str


class Money(NamedTuple):
    """What the run costs. `cost` is None where nobody quotes the device; `provider` is None where the spec gives its own price.

    `offers` are those of the market that the spec asks for, `all_offers` those of all markets; the cheapest first, one of each provider.
    """

    cost: Quantity | None
    price: Quantity | None
    provider: str | None
    offers: tuple[Offer, ...]
    all_offers: tuple[Offer, ...]
    quote: Quote | None
    """The one that the price is."""

    @property
    def chosen(self) -> tuple[str, str] | None:
        """Market and provider of the price; None where it is nobody's."""
        offers = [offer for offer in self.offers if offer.provider == self.provider]
        return (offers[0].market, offers[0].provider) if offers else None


def _dated(quote: Quote, resolved: Resolved) -> str:
    where = "catalog" if quote.accelerator not in resolved.own_quotes else f"own prices in {quote.source}"
    date = f"quote of {quote.date}" if quote.date else "undated quote"
    return f"{where}: {quote.provider} {quote.instance}".rstrip() + f", {date}" + ("" if quote.verified else ", recalled")


def _price(resolved: Resolved) -> tuple[Quantity | None, Quote | None]:
    hardware = resolved.spec.hardware
    unit = "USD/device hour"
    if not isinstance(hardware.price, str):
        own = field(resolved, "hardware.price")
        return Quantity(hardware.price, unit, "hardware.price", (own,), "the spec's own price"), None
    quote = best_quote(hardware.accelerator, hardware.price, hardware.accelerators_per_node, resolved.quotes)
    if quote is None:
        return None, None
    value = quote.price(hardware.price)
    assert value is not None
    others = [p for q in resolved.quotes if (p := q.price(hardware.price)) is not None]
    dated = _dated(quote, resolved)
    inputs = (field(resolved, "hardware.accelerator"), field(resolved, "hardware.price"), Input("quote", f"{value:g}", dated))
    return (
        Quantity(
            value,
            unit,
            f"cheapest quote {KINDS[hardware.price]}, instances of at least accelerators_per_node first",
            (*inputs, field(resolved, "hardware.accelerators_per_node")),
            dated,
            low=min(others),
            high=max(others),
        ),
        quote,
    )


def estimate_money(resolved: Resolved, wall_clock: WallClock) -> Money:
    """What the run's device hours cost, and what each provider would ask."""
    hardware = resolved.spec.hardware
    price, quote = _price(resolved)
    hours = wall_clock.device_hours
    assert hours.low is not None and hours.high is not None
    cost = None
    if price is not None:
        cost = Quantity(
            hours.value * price.value,
            "USD",
            "device_hours * price",
            (hours.as_input("device_hours"), price.as_input("price")),
            price.source + "; storage, traffic and idle hours come on top",
            low=hours.low * price.value,
            high=hours.high * price.value,
        )
    offers = _offers(resolved, hours.value)
    return Money(
        cost=cost,
        price=price,
        provider=quote.provider if quote is not None else None,
        offers=tuple(offer for offer in offers if offer.market == hardware.price),
        all_offers=offers,
        quote=quote,
    )


def _offers(resolved: Resolved, device_hours: float) -> tuple[Offer, ...]:
    """The cheapest quote of each provider in each market; the cheapest of all first."""
    cheapest: dict[tuple[Market, str], Offer] = {}
    for quote in resolved.quotes:
        for market in MARKETS:
            value, key = quote.price(market), (market, quote.provider)
            if value is not None and (key not in cheapest or value < cheapest[key].usd_per_hour):
                cheapest[key] = Offer(
                    quote.provider, value, value * device_hours, quote.date, market, quote.instance, _dated(quote, resolved)
                )
    return tuple(sorted(cheapest.values(), key=lambda offer: (offer.usd_per_hour, offer.provider, offer.market)))

"""Money: device hours at the price of the spec or of the catalog's best quote."""

from typing import NamedTuple

from llmspec.catalog import Quote, best_quote, prices_for
from llmspec.estimate.derivation import Input, Quantity, field
from llmspec.estimate.wall_clock import WallClock
from llmspec.resolve.resolved import Resolved


class Offer(NamedTuple):
    """One provider's cheapest quote for the run."""

    provider: str
    usd_per_hour: float
    usd: float
    date: str | None


class Money(NamedTuple):
    """What the run costs. `cost` is None where nobody quotes the device; `provider` is None where the spec gives its own price."""

    cost: Quantity | None
    price: Quantity | None
    provider: str | None
    offers: tuple[Offer, ...]


def _dated(quote: Quote) -> str:
    date = f"quote of {quote.date}" if quote.date else "undated quote"
    return f"catalog: {quote.provider} {quote.instance}, {date}" + ("" if quote.verified else ", recalled")


def _price(resolved: Resolved) -> tuple[Quantity | None, Quote | None]:
    hardware = resolved.spec.hardware
    unit = "USD/device hour"
    if not isinstance(hardware.price, str):
        own = field(resolved, "hardware.price")
        return Quantity(hardware.price, unit, "hardware.price", (own,), "the spec's own price"), None
    quote = best_quote(hardware.accelerator, hardware.price, hardware.accelerators_per_node)
    if quote is None:
        return None, None
    value = quote.price(hardware.price)
    assert value is not None
    others = [p for q in prices_for(hardware.accelerator) if not q.reserved and (p := q.price(hardware.price)) is not None]
    inputs = (field(resolved, "hardware.accelerator"), field(resolved, "hardware.price"), Input("quote", f"{value:g}", _dated(quote)))
    return (
        Quantity(
            value,
            unit,
            "cheapest quote without commitment, instances of at least accelerators_per_node first",
            (*inputs, field(resolved, "hardware.accelerators_per_node")),
            _dated(quote),
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
    cheapest: dict[str, tuple[float, Quote]] = {}
    if isinstance(hardware.price, str):
        for candidate in prices_for(hardware.accelerator):
            value = candidate.price(hardware.price)
            if value is not None and not candidate.reserved and value < cheapest.get(candidate.provider, (float("inf"), None))[0]:
                cheapest[candidate.provider] = value, candidate
    offers = sorted((value, name, candidate.date) for name, (value, candidate) in cheapest.items())
    return Money(
        cost=cost,
        price=price,
        provider=quote.provider if quote is not None else None,
        offers=tuple(Offer(name, value, value * hours.value, date) for value, name, date in offers),
    )

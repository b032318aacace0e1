"""What surrounds the accelerators: the building's overhead, and the carbon of making the machines."""

from typing import NamedTuple

from llmspec.catalog.table import table


class Facility(NamedTuple):
    """A provider's data centres."""

    name: str
    pue: float
    """Power usage effectiveness: energy of the whole building for each unit that the machines use."""
    verified: bool
    source: str


class Embodied(NamedTuple):
    """The carbon of making one accelerator and its share of the server around it."""

    accelerator_kg: float
    """kg of CO2 equivalent for one accelerator."""
    server_kg: float
    """kg of CO2 equivalent for the accelerator's share of the server without accelerators."""
    lifetime_years: float
    """Years over which it is spread."""
    verified: bool
    """False where the figure is another device's."""
    source: str


# Above so many accelerators, which draw a megawatt, a building is a large modern one whoever rents it out.
LARGE = 1000


def facility(provider: str | None, devices: int = 1) -> Facility:
    """The overhead of a provider's data centres; where the provider is not known, that of buildings for so many accelerators."""
    facilities = table("facilities.yaml")
    name = provider if provider is not None and provider in facilities.names else "large" if devices >= LARGE else "industry"
    entry = facilities.entry(name)
    return Facility(name, entry["pue"], entry.get("verified", True), entry["source"])


def embodied_carbon(accelerator: str) -> Embodied:
    """The carbon of making an accelerator; where nobody published it, that of a device like it, marked as not verified."""
    devices = table("embodied.yaml")
    entry = devices.entry(accelerator) or devices.entry("default")
    return Embodied(
        accelerator_kg=entry["accelerator_kg"],
        server_kg=entry["server_kg"],
        lifetime_years=entry["lifetime_years"],
        verified=entry.get("verified", True),
        source=entry["source"],
    )

"""Carbon: the run's energy on its grid, and its share of making the machines."""

from typing import NamedTuple

from llmspec.catalog import embodied_carbon, grid_intensity
from llmspec.estimate.derivation import Quantity, constant, field
from llmspec.estimate.energy import Energy
from llmspec.estimate.wall_clock import WallClock
from llmspec.resolve.resolved import Resolved

HOURS_PER_YEAR = 8760


class Carbon(NamedTuple):
    """Carbon dioxide equivalent of the run. `total` and `operational` are None where its energy is not known."""

    total: Quantity | None
    operational: Quantity | None
    embodied: Quantity
    grid: Quantity


def estimate_carbon(resolved: Resolved, wall_clock: WallClock, energy: Energy) -> Carbon:
    """What the run emits where it runs, whatever certificates the operator buys."""
    hardware = resolved.spec.hardware
    region = grid_intensity(hardware.region) or grid_intensity(None)
    assert region is not None
    grid = Quantity(
        region.gco2_per_kwh,
        "gCO2e/kWh",
        "mean intensity of the region's grid",
        (field(resolved, "hardware.region"),),
        f"catalog: {region.name} ({region.place}), {region.date}, {region.source}",
    )
    made = embodied_carbon(hardware.accelerator)
    hours = wall_clock.device_hours
    assert hours.low is not None and hours.high is not None
    kg_per_hour = (made.accelerator_kg + made.server_kg) / (made.lifetime_years * HOURS_PER_YEAR)
    origin = f"catalog: {made.source}" + ("" if made.verified else " (not verified for this device)")
    embodied = Quantity(
        hours.value * kg_per_hour,
        "kgCO2e",
        "device_hours * (accelerator_kg + server_kg) / (lifetime_years * 8760)",
        (
            hours.as_input("device_hours"),
            constant("accelerator_kg", made.accelerator_kg, origin),
            constant("server_kg", made.server_kg, origin),
            constant("lifetime_years", made.lifetime_years, origin),
        ),
        origin,
        low=hours.low * kg_per_hour / 2,
        high=hours.high * kg_per_hour * 2,
    )
    if energy.kwh is None:
        return Carbon(None, None, embodied, grid)
    kwh = energy.kwh
    assert kwh.low is not None and kwh.high is not None and embodied.low is not None and embodied.high is not None
    kg = region.gco2_per_kwh / 1000
    operational = Quantity(
        kwh.value * kg,
        "kgCO2e",
        "kwh * grid / 1000",
        (kwh.as_input("kwh"), grid.as_input("grid")),
        grid.source,
        low=kwh.low * kg,
        high=kwh.high * kg,
    )
    return Carbon(
        total=Quantity(
            operational.value + embodied.value,
            "kgCO2e",
            "operational + embodied",
            (operational.as_input("operational"), embodied.as_input("embodied")),
            "location-based",
            low=kwh.low * kg + embodied.low,
            high=kwh.high * kg + embodied.high,
        ),
        operational=operational,
        embodied=embodied,
        grid=grid,
    )

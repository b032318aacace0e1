"""Energy: power by what the devices do, their hosts, and the building around them. Not rated power times hours."""

from typing import NamedTuple

from llmspec.catalog import facility
from llmspec.estimate.derivation import Quantity, constant
from llmspec.estimate.device import Device
from llmspec.estimate.money import Money
from llmspec.estimate.step_time import StepTime
from llmspec.estimate.wall_clock import WallClock

# Share of the rated power that a device draws at rest, and what each kind of work adds of the rest: matrix units draw most.
IDLE_SHARE = 0.30
FULL, MEMORY_BOUND, WAITING = 1.0, 0.6, 0.1
ACTIVITY = {
    "matrix_products": FULL,
    "attention": FULL,
    "elementwise": MEMORY_BOUND,
    "loss": MEMORY_BOUND,
    "optimizer": MEMORY_BOUND,
    "quantisation": MEMORY_BOUND,
}
# Starting kernels, exchanging with other devices, bubbles of a pipeline: the device waits.
# Everything else in the server: 1.2 kW for eight accelerators (ecologits). A processor is its own host.
HOST_WATTS = 150.0
SOURCE = "power model of llmspec; metered training runs swing between 15% and 85% of rated power (Morrison et al. 2025)"
ERROR = (0.75, 1.25)


class Energy(NamedTuple):
    """What the run draws from the grid. None where the catalog has no rated power for the device."""

    kwh: Quantity | None
    watts_per_device: Quantity | None
    pue: Quantity


def estimate_energy(device: Device, step_time: StepTime, wall_clock: WallClock, money: Money) -> Energy:
    """The run's energy, building included."""
    building = facility(money.provider)
    pue = Quantity(
        building.pue,
        "",
        "energy of the building / energy of the machines",
        (constant("pue", building.pue, building.source),),
        f"catalog: {building.name}, {building.source}",
    )
    if not device.watts:
        return Energy(None, None, pue)
    step = step_time.step.value
    busy = sum(seconds * ACTIVITY.get(name, WAITING) for name, seconds in step_time.parts.items()) / step * wall_clock.goodput.goodput.value
    share = IDLE_SHARE + (1 - IDLE_SHARE) * busy
    host = 0.0 if device.is_processor else HOST_WATTS
    watts = Quantity(
        device.watts * share + host,
        "W",
        "rated * (idle + (1 - idle) * activity) + host",
        (
            constant("rated", device.watts, f"catalog: {device.name}", "W"),
            constant("idle", IDLE_SHARE, SOURCE),
            constant("activity", busy, "time in steps weighted by kind of work, estimated here"),
            constant("host", host, "ecologits: 1.2 kW for the host of eight accelerators", "W"),
        ),
        SOURCE,
        low=device.watts * IDLE_SHARE + host,
        high=device.watts + host,
    )
    hours = wall_clock.device_hours
    assert hours.low is not None and hours.high is not None
    kwh = hours.value * watts.value / 1000 * building.pue
    return Energy(
        kwh=Quantity(
            kwh,
            "kWh",
            "device_hours * watts_per_device / 1000 * pue",
            (hours.as_input("device_hours"), watts.as_input("watts_per_device"), pue.as_input("pue")),
            SOURCE,
            low=kwh * hours.low / hours.value * ERROR[0],
            high=kwh * hours.high / hours.value * ERROR[1],
        ),
        watts_per_device=watts,
        pue=pue,
    )

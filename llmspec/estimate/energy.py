"""Energy: power by what the devices do, their hosts, and the building around them. Not rated power times hours."""

from collections.abc import Mapping
from typing import NamedTuple

from llmspec.catalog import Accelerator, facility
from llmspec.estimate.derivation import Quantity, constant
from llmspec.estimate.device import Device
from llmspec.estimate.money import Money
from llmspec.estimate.step_time import StepTime
from llmspec.estimate.wall_clock import WallClock
from llmspec.resolve.resolved import Resolved

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
# A processor is its own host.
# Hosts, fans and network: eight H100 draw 8.4 kW at most in training (Latif et al. 2025, arXiv:2412.08602), 700 W each beside which half as
# much again is left; at least the 1.2 kW for the host of eight that ecologits takes.
HOST_SHARE = 0.5
LEAST_HOST_WATTS = 150.0
SOURCE = "power model of llmspec; metered training runs swing between 15% and 85% of rated power (Morrison et al. 2025)"
ERROR = (0.75, 1.25)


class Energy(NamedTuple):
    """What the run draws from the grid. None where the catalog has no rated power for the device."""

    kwh: Quantity | None
    watts_per_device: Quantity | None
    pue: Quantity


def activity(parts: Mapping[str, float]) -> float:
    """Share of full activity over a step's parts: what computes counts whole, what waits a tenth."""
    return sum(seconds * ACTIVITY.get(name, WAITING) for name, seconds in parts.items()) / sum(parts.values())


def host_watts(accelerator: Accelerator) -> float:
    """What the rest of the machine draws for one accelerator."""
    return 0.0 if accelerator.is_cpu else max(LEAST_HOST_WATTS, HOST_SHARE * (accelerator.tdp_watts or 0.0))


def device_watts(accelerator: Accelerator, busy: float) -> float:
    """What one accelerator and its share of the machine draw at some activity."""
    return (accelerator.tdp_watts or 0.0) * (IDLE_SHARE + (1 - IDLE_SHARE) * busy) + host_watts(accelerator)


def estimate_energy(resolved: Resolved, device: Device, step_time: StepTime, wall_clock: WallClock, money: Money) -> Energy:
    """The run's energy, building included."""
    building = facility(money.provider, resolved.world_size)
    pue = Quantity(
        building.pue,
        "",
        "energy of the building / energy of the machines",
        (constant("pue", building.pue, building.source),),
        f"catalog: {building.name}, {building.source}",
    )
    if not device.watts:
        return Energy(None, None, pue)
    busy = activity(step_time.parts) * wall_clock.goodput.goodput.value
    host = host_watts(device.accelerator)
    watts = Quantity(
        device_watts(device.accelerator, busy),
        "W",
        "rated * (idle + (1 - idle) * activity) + host",
        (
            constant("rated", device.watts, f"catalog: {device.name}", "W"),
            constant("idle", IDLE_SHARE, SOURCE),
            constant("activity", busy, "time in steps weighted by kind of work, estimated here"),
            constant(
                "host",
                host,
                "half of rated as in eight H100 (Latif et al. 2025), at least 1.2 kW for eight (ecologits)",
                "W",
            ),
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

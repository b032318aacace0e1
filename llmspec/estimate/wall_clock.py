"""Wall-clock: what a run takes beyond its steps."""

from typing import NamedTuple

from llmspec.estimate.correction import Stepping
from llmspec.estimate.derivation import Quantity, field
from llmspec.estimate.goodput import HOUR, Goodput, estimate_goodput
from llmspec.estimate.step_time import StepTime
from llmspec.network.network import Network
from llmspec.resolve.resolved import Resolved

SOURCE = "step time model and goodput"


class WallClock(NamedTuple):
    """How long the run takes. `stops_early` says that `max_duration` ends it before `max_steps`."""

    total_hours: Quantity
    training_hours: Quantity
    goodput: Goodput
    device_hours: Quantity
    stops_early: bool


def estimate_wall_clock(resolved: Resolved, network: Network, step_time: StepTime, seen: Stepping | None = None) -> WallClock:
    """The run's duration: its steps, divided by the share of the time in which a run steps, of which runs that were seen may tell."""
    training = resolved.spec.training
    step = step_time.step
    assert step.low is not None and step.high is not None
    steps = resolved.full_steps
    goodput = estimate_goodput(resolved, network, step_time, seen)
    share = goodput.goodput
    assert share.low is not None and share.high is not None
    hours = steps * step.value / HOUR
    training_hours = Quantity(
        hours,
        "h",
        "max_steps * step / 3600" if not training.batch_size_warmup else "max_steps * step / 3600, less for the smaller first batches",
        (field(resolved, "training.max_steps"), step.as_input("step")),
        "step time model",
        low=steps * step.low / HOUR,
        high=steps * step.high / HOUR,
    )
    limit = training.max_duration / HOUR if training.max_duration is not None else float("inf")
    wanted = hours / share.value
    total = min(wanted, limit)
    low = min(steps * step.low / HOUR / share.high, limit)
    high = min(steps * step.high / HOUR / share.low, limit)
    limited = () if training.max_duration is None else (field(resolved, "training.max_duration"),)
    total_hours = Quantity(
        total,
        "h",
        "training_hours / goodput" if not limited else "min(training_hours / goodput, max_duration / 3600)",
        (training_hours.as_input("training_hours"), share.as_input("goodput"), *limited),
        SOURCE,
        low=low,
        high=high,
    )
    devices = resolved.world_size
    return WallClock(
        total_hours=total_hours,
        training_hours=training_hours,
        goodput=goodput,
        device_hours=Quantity(
            total * devices,
            "device hours",
            "total_hours * nodes * accelerators_per_node",
            (total_hours.as_input("total_hours"), field(resolved, "hardware.nodes"), field(resolved, "hardware.accelerators_per_node")),
            "arithmetic",
            low=low * devices,
            high=high * devices,
        ),
        stops_early=wanted > limit,
    )

"""Wall-clock: what a run takes beyond its steps."""

from typing import NamedTuple

from llmspec.estimate.derivation import Quantity, constant, field
from llmspec.estimate.step_time import StepTime
from llmspec.resolve.resolved import Resolved

# Step time * steps is 87% to 91% of the wall-clock in 40 of 40 xLSTM runs with logs; Llama 3 reports more than 90% over 54 days.
GOODPUT, GOODPUT_LOW, GOODPUT_HIGH = 0.90, 0.85, 0.95
GOODPUT_SOURCE = "published runs: 0.87 to 0.91 with validation, checkpoints and data stalls"
HOUR = 3600


class WallClock(NamedTuple):
    """How long the run takes. `stops_early` says that `max_duration` ends it before `max_steps`."""

    total_hours: Quantity
    training_hours: Quantity
    goodput: Quantity
    device_hours: Quantity
    stops_early: bool


def estimate_wall_clock(resolved: Resolved, step_time: StepTime) -> WallClock:
    """The run's duration: its steps, divided by the share of the time in which a run steps."""
    training = resolved.spec.training
    step = step_time.step
    assert step.low is not None and step.high is not None
    steps = resolved.full_steps
    goodput = Quantity(
        GOODPUT,
        "",
        "time in steps / wall-clock",
        (constant("goodput", GOODPUT, GOODPUT_SOURCE),),
        GOODPUT_SOURCE,
        low=GOODPUT_LOW,
        high=GOODPUT_HIGH,
    )
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
    wanted = hours / GOODPUT
    total = min(wanted, limit)
    low = min(steps * step.low / HOUR / GOODPUT_HIGH, limit)
    high = min(steps * step.high / HOUR / GOODPUT_LOW, limit)
    limited = () if training.max_duration is None else (field(resolved, "training.max_duration"),)
    total_hours = Quantity(
        total,
        "h",
        "training_hours / goodput" if not limited else "min(training_hours / goodput, max_duration / 3600)",
        (training_hours.as_input("training_hours"), goodput.as_input("goodput"), *limited),
        GOODPUT_SOURCE,
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

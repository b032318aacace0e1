"""Goodput: the share of a run's wall-clock in which it steps.

Two things take the rest. Validation, waiting for data, start-up and logging take their share where nothing fails (`stepping`). Failures and
checkpoints take theirs (`availability`): a failure costs the work since the last checkpoint and the time to start again, a checkpoint the
time for which the run waits. The first grows with the interval, the second shrinks, so that there is a best one.
"""

from collections.abc import Iterable, Mapping
from math import exp, expm1, log, log10, sqrt
from typing import NamedTuple

from llmspec.catalog import reliability
from llmspec.estimate.configuration import shard_stage
from llmspec.estimate.correction import Stepping
from llmspec.estimate.derivation import Input, Quantity, constant, counted, field
from llmspec.estimate.step_time import StepTime
from llmspec.network.network import Network, Weight
from llmspec.network.optimizer_state import optimizer_state_bytes
from llmspec.resolve.resolved import Resolved

HOUR = 3600
GIB = 2**30
# Beyond this many failures in one interval no checkpoint is ever reached: how many more makes no difference to anybody.
MOST_FAILURES = 30.0
_UNCERTAIN = ("failures", "restart", "storage", "host_copy", "pause")
MODEL = "Daly 2006 (doi:10.1016/j.future.2004.11.016), failures at random: wall-clock = M e^(R/M) (e^((T+w)/M) - 1) for T hours of steps"
BEST = (
    "Young 1974 (doi:10.1145/361147.361115): interval sqrt(2 w M); Daly 2006 adds terms of sqrt(w / 2M) and takes w off; in steps, to two "
    "digits, and no shorter than the writing of a checkpoint"
)


class Saving(NamedTuple):
    """What one checkpoint takes, in hours, and the failures that it is there for."""

    stall: float
    """Time for which training waits."""
    write: float
    """Time until the checkpoint is on storage."""
    asynchronous: bool
    restart: float
    """From a failure to the next step."""
    between: float
    """Mean time between failures of the whole run."""

    def availability(self, interval: float) -> float:
        """Share of the wall-clock that failures and checkpoints leave to so many hours of steps between checkpoints.

        An asynchronous checkpoint that is being written when the run fails is lost too, which costs as long again as writing it takes;
        and where it is still being written when the next one is due, training waits for it.
        """
        lost = self.restart + (self.write if self.asynchronous else 0.0)
        stall = self.stall + (max(0.0, self.write - interval) if self.asynchronous else 0.0)
        failures = min(MOST_FAILURES, (interval + stall) / self.between)
        again = min(MOST_FAILURES, lost / self.between)
        return interval / (interval + stall) * (failures * exp(-again) / expm1(failures))

    def best_interval(self) -> float:
        """Hours of steps between checkpoints that leave most (Young 1974, Daly 2006)."""
        if self.stall >= 2 * self.between:
            return self.between
        ratio = sqrt(self.stall / (2 * self.between))
        interval = sqrt(2 * self.stall * self.between) * (1 + ratio / 3 + ratio**2 / 9) - self.stall
        return max(interval, self.write if self.asynchronous else 0.0)


class Goodput(NamedTuple):
    """Share of the wall-clock in steps, and what it is made of."""

    goodput: Quantity
    availability: Quantity
    """Share that failures and checkpoints leave."""
    between: Quantity
    """Hours between failures."""
    stall: Quantity
    """Seconds for which a checkpoint holds training up."""
    best_every: Quantity
    """Steps between checkpoints that cost least."""
    best_availability: Quantity
    every: int
    """Steps between checkpoints, as the spec has it."""
    steps: int

    @property
    def lost(self) -> float:
        """Share of the wall-clock that failures and checkpoints take."""
        return 1 - self.availability.value

    @property
    def least_lost(self) -> float:
        """The same with the best interval."""
        return 1 - self.best_availability.value


def checkpoint_bytes(resolved: Resolved, network: Network) -> int:
    """Bytes of one checkpoint: weights in fp32 and what the optimizer remembers of them; DeepSpeed keeps 16-bit weights beside these."""
    spec = resolved.spec
    mixed = spec.parallelism.engine == "deepspeed" and spec.precision in ("bf16", "fp16")
    # Layers are alike: what is kept of a weight is asked once for each shape, inside the layers and outside.
    kinds: dict[tuple[tuple[int, ...], bool], tuple[Weight, int]] = {}
    for weight in network.weights:
        kind = weight.shape, weight.layer is None
        kinds[kind] = weight, kinds[kind][1] + 1 if kind in kinds else 1
    return sum(
        count * ((6 if mixed else 4) * weight.size + optimizer_state_bytes(spec.optimizer, weight)) for weight, count in kinds.values()
    )


def _holders(resolved: Resolved) -> int:
    """Devices that together hold the state once, and write it."""
    layout = resolved.spec.parallelism
    shards = layout.shard_size if shard_stage(resolved) else 1
    return min(resolved.world_size, layout.tensor * layout.pipeline * max(1, shards or 1))


def _saving(resolved: Resolved, size: int, known: Mapping[str, float]) -> Saving:
    """A checkpoint of so many bytes, and the failures that it is there for."""
    holders = _holders(resolved)
    write = size / (_writers(resolved) * known["storage"]) / HOUR
    asynchronous = bool(resolved.spec.checkpoint.asynchronous)
    pause = known["pause"] if resolved.world_size > 1 else 0.0
    stall = (pause + size / (holders * known["host_copy"])) / HOUR if asynchronous else write
    return Saving(stall, write, asynchronous, known["restart"], 1 / (known["failures"] * resolved.world_size))


def _writers(resolved: Resolved) -> int:
    """Nodes of the devices that hold the state."""
    return max(1, _holders(resolved) // resolved.spec.hardware.accelerators_per_node)


def _ends(value: float, others: Iterable[float]) -> tuple[float, float]:
    """Bounds of a share from what it would be with each of its inputs at one end: independent factors add up as squares of logarithms."""
    below, above = 0.0, 0.0
    for other in others:
        ratio = log(other / value)
        below += min(0.0, ratio) ** 2
        above += max(0.0, ratio) ** 2
    return value * exp(-sqrt(below)), min(1.0, value * exp(sqrt(above)))


def plain_goodput(size: int | float, devices: int, nodes: int) -> float:
    """Goodput of a run of which only the size is known, in bytes of state, devices and nodes; with checkpoints at the best interval."""
    known = reliability()
    stall = (known.pause.value * (devices > 1) + size / (devices * known.host_copy.value)) / HOUR
    write = size / (nodes * known.storage.value) / HOUR
    saving = Saving(stall, write, True, known.restart.value, 1 / (known.failures.value * devices))
    return known.stepping.value * saving.availability(saving.best_interval())


def _rounded(steps: float, most: int) -> int:
    """Steps to two digits; not more than the run has."""
    if steps >= most:
        return most
    digits = max(0, int(log10(max(1.0, steps))) - 1)
    return min(most, max(1, int(round(steps, -digits))))


def estimate_goodput(resolved: Resolved, network: Network, step_time: StepTime, seen: Stepping | None = None) -> Goodput:
    """How much of the wall-clock is in steps; `seen` is the share that measured runs reach where nothing fails."""
    known = reliability()
    spec = resolved.spec
    step = step_time.step.value / HOUR
    size = checkpoint_bytes(resolved, network)
    middle: dict[str, float] = {name: getattr(known, name).value for name in _UNCERTAIN}
    saving = _saving(resolved, size, middle)
    others = [
        _saving(resolved, size, {**middle, name: end})
        for name in _UNCERTAIN
        for end in (getattr(known, name).low, getattr(known, name).high)
    ]
    steps = max(1, spec.training.max_steps)
    every = min(steps, spec.checkpoint.every)
    best = _rounded(saving.best_interval() / step, steps)
    devices = Input("devices", f"{resolved.world_size:,}", resolved.origin("hardware.nodes").text)
    between = Quantity(
        saving.between,
        "h",
        "1 / (failures * devices)",
        (constant("failures", known.failures.value, f"{known.failures.low:.2g} to {known.failures.high:.2g}", "a device hour"), devices),
        known.failures.source,
        low=1 / (known.failures.high * resolved.world_size),
        high=1 / (known.failures.low * resolved.world_size),
    )
    holders = _holders(resolved)
    nodes = _writers(resolved)
    state = Input("checkpoint", f"{size / GIB:,.3g} GiB", "counted from the network: weights and the optimizer's state")
    pace: tuple[Input, ...]
    if saving.asynchronous:
        speed, how = known.host_copy, "checkpoint / (devices that hold the state * host_copy): it is written from a copy"
        if resolved.world_size > 1:
            how = f"pause + {how}"
        pace = (
            *((constant("pause", known.pause.value, known.pause.source, "s"),) if resolved.world_size > 1 else ()),
            counted("devices that hold the state", holders),
            constant("host_copy", speed.value / 1e9, speed.source, "GB/s"),
        )
    else:
        speed, how = known.storage, "checkpoint / (nodes that write * storage)"
        pace = (counted("nodes that write", nodes), constant("storage", speed.value / 1e9, speed.source, "GB/s"))
    stall = Quantity(
        saving.stall * HOUR,
        "s",
        how,
        (state, *pace, field(resolved, "checkpoint.asynchronous")),
        speed.source,
        low=min(other.stall for other in others) * HOUR,
        high=max(other.stall for other in others) * HOUR,
    )
    parts = (
        step_time.step.as_input("step"),
        between.as_input("M"),
        stall.as_input("w"),
        constant("R", known.restart.value * 60, known.restart.source, "min"),
        *(
            (Input("write", f"{saving.write * HOUR:,.3g} s", "checkpoint / (nodes that write * storage); adds to R"),)
            if saving.asynchronous
            else ()
        ),
    )
    every_input = field(resolved, "checkpoint.every")
    now, then = saving.availability(every * step), saving.availability(best * step)
    low, high = _ends(now, (other.availability(every * step) for other in others))
    availability = Quantity(
        now,
        "",
        "T / (M e^(R/M) (e^((T+w)/M) - 1)), T = every * step",
        (every_input, *parts),
        MODEL,
        low=low,
        high=high,
    )
    best_every = Quantity(
        best,
        "steps",
        "(sqrt(2 w M) (1 + sqrt(w/2M) / 3 + (w/2M) / 9) - w) / step, at most max_steps",
        (*parts, field(resolved, "training.max_steps")),
        BEST,
    )
    best_low, best_high = _ends(then, (other.availability(best * step) for other in others))
    best_availability = Quantity(
        then,
        "",
        "T / (M e^(R/M) (e^((T+w)/M) - 1)), T = best_every * step",
        (best_every.as_input("best_every"), *parts),
        MODEL,
        low=best_low,
        high=best_high,
    )
    stepping = seen or known.stepping
    share_low, share_high = _ends(
        stepping.value * now, (now * stepping.low, now * stepping.high, stepping.value * low, stepping.value * high)
    )
    goodput = Quantity(
        stepping.value * now,
        "",
        "stepping * availability",
        (constant("stepping", stepping.value, stepping.source), availability.as_input("availability")),
        "time in steps / wall-clock where nothing fails, times what failures and checkpoints leave",
        low=share_low,
        high=share_high,
    )
    return Goodput(goodput, availability, between, stall, best_every, best_availability, every, steps)

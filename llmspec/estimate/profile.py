"""Profiles: what runs on some cluster have shown of the estimates that were made for them, and what follows for others.

A profile keeps the runs and not the conclusion: how much a run says about a spec depends on how alike they are. The conclusion is drawn by
`llmspec.estimate.likeness` when the profile is used. `Profile.calibrated` takes one spec; `Profile.step_factors` a column of
configurations of one spec, as the search has them.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from math import exp, log, sqrt
from typing import NamedTuple

from llmspec.catalog import find_accelerator, reliability
from llmspec.catalog.calibration import Prior, priors
from llmspec.diagnostics import Bag, Span
from llmspec.estimate.arithmetic import SCALARS, Arithmetic
from llmspec.estimate.configuration import configuration_of
from llmspec.estimate.correction import Correction, Corrections, Stepping, log_odds, share_of
from llmspec.estimate.estimate import Estimate, estimate
from llmspec.estimate.likeness import KINDS, NORMAL_80, Evidence, Features, Learned, features, features_of, kinds_of, sizes_of
from llmspec.estimate.memory import GIB
from llmspec.estimate.profile_problems import another_accelerator
from llmspec.estimate.workload import Configuration, Number
from llmspec.network.network import Network
from llmspec.resolve.resolved import Resolved


class Measured(NamedTuple):
    """A figure that was measured, and what had been estimated for it with its bounds."""

    measured: float
    estimated: float
    low: float
    high: float
    noise: float = 0.0
    """Standard error of ln(measured) within the run."""

    @property
    def width(self) -> float:
        """Standard deviation of ln(measured / estimated) that the bounds stand for."""
        return width_of(self.low, self.high)

    @property
    def ratio(self) -> float:
        """Measured over estimated."""
        return self.measured / self.estimated


class Run(NamedTuple):
    """A run that was measured."""

    name: str
    log: str
    engine: str
    precision: str
    sizes: tuple[float, ...]
    kinds: tuple[float, ...]
    steps: int
    intervals: int
    step_seconds: Measured
    memory_gib: Measured | None
    stepping: float | None
    """Share of the wall-clock in steps but for failures and checkpoints; None where the log has no clock."""
    stepping_noise: float

    @property
    def features(self) -> Features:
        """What it is like."""
        return features(SCALARS, self.sizes, self.kinds, (self.engine, self.precision))


def width_of(low: float, high: float) -> float:
    """Standard deviation, in logarithms, of which an 80% interval is the middle."""
    return log(high / low) / (2 * NORMAL_80)


def run_of(
    resolved: Resolved,
    network: Network,
    figures: Estimate,
    *,
    log_name: str,
    steps: int,
    intervals: int,
    step_seconds: float,
    step_noise: float,
    memory_gib: float | None,
    stepping: float | None,
    stepping_noise: float,
) -> Run:
    """A run of a spec with what its log says, beside what the plain estimate says."""
    configuration = _configuration(resolved, network)
    step, peak = figures.step_time.step, figures.memory.peak
    assert step.low is not None and step.high is not None and peak.low is not None and peak.high is not None
    # An accelerator's log has what the allocator handed out, a processor's the whole process.
    expected = peak.value if _on_processor(resolved) else figures.memory.allocated_bytes / GIB
    memory = None
    if memory_gib is not None and memory_gib > 0:
        memory = Measured(memory_gib, expected, expected * peak.low / peak.value, expected * peak.high / peak.value)
    if stepping is not None:
        # Checkpoints have their own place in the estimate's goodput: what they took of the log's is not counted twice.
        clock = figures.wall_clock.goodput
        stepping = min(1.0, stepping * (1.0 + clock.stall.value / (clock.every * step_seconds)))
    return Run(
        name=resolved.spec.name,
        log=log_name,
        engine=resolved.spec.parallelism.engine,
        precision=resolved.spec.precision,
        sizes=sizes_of(configuration),
        kinds=kinds_of(configuration),
        steps=steps,
        intervals=intervals,
        step_seconds=Measured(step_seconds, step.value, step.low, step.high, step_noise),
        memory_gib=memory,
        stepping=stepping,
        stepping_noise=stepping_noise,
    )


class Profile:
    """Runs on one kind of accelerator, under a name."""

    def __init__(self, name: str, accelerator: str, runs: Sequence[Run], place: str = "") -> None:
        self.name = name
        self.accelerator = accelerator
        self.runs = tuple(runs)
        self.place = place

    @property
    def learned(self) -> str:
        """From what, for people."""
        count, steps = len(self.runs), sum(run.steps for run in self.runs)
        return f"profile {self.name}: {count} run{'s' if count > 1 else ''}, {steps:,} steps"

    @cached_property
    def _step(self) -> Learned:
        return Learned(priors().step, _evidence(self.runs, priors().step, lambda run: run.step_seconds))

    @cached_property
    def _memory(self) -> Learned:
        return Learned(priors().memory, _evidence(self.runs, priors().memory, lambda run: run.memory_gib))

    @cached_property
    def _stepping(self) -> Learned:
        prior, (middle, width) = priors().goodput, _stepping_scale()
        return Learned(
            prior,
            [
                Evidence(run.features, (log_odds(run.stepping) - middle) / width, sqrt(prior.repeat**2 + run.stepping_noise**2) / width)
                for run in self.runs
                if run.stepping is not None
            ],
        )

    def step_factors(
        self, operations: Arithmetic, configuration: Configuration, low: Number, high: Number, *, engine: str, precision: str
    ) -> tuple[Number, Number, Number]:
        """What step times are to be multiplied with, and the bounds around the products, as shares.

        Args:
            operations: `SCALARS` for one configuration, numpy for columns of them.
            configuration: The layouts in question, all on this profile's accelerator.
            low: Lower bound of the plain estimate, as a share of it.
            high: Upper bound, likewise.
            engine: Of the runs in question.
            precision: Likewise.
        """
        width = operations.log(high / low) / (2 * NORMAL_80)
        target = features_of(operations, configuration, (engine, precision))
        found = self._step.posterior(operations, target, self._step.prior.repeat / width)
        return 2.718281828459045 ** (found.mean * width), low**found.spread, high**found.spread

    def corrections(self, resolved: Resolved, network: Network, figures: Estimate) -> Corrections:
        """What the profile says about a spec with its plain estimate."""
        target = features_of(SCALARS, _configuration(resolved, network), (resolved.spec.parallelism.engine, resolved.spec.precision))
        step, peak = figures.step_time.step, figures.memory.peak
        assert step.low is not None and step.high is not None and peak.low is not None and peak.high is not None
        return Corrections(
            profile=self.name,
            learned=self.learned,
            remarks=tuple(self._differences(target, resolved)),
            step=self._correction(self._step, target, step.low, step.high),
            memory=self._correction(self._memory, target, peak.low, peak.high) if self._memory.evidence else None,
            stepping=self._in_steps(target) if self._stepping.evidence else None,
        )

    def calibrated(self, resolved: Resolved, network: Network, figures: Estimate, bag: Bag) -> Estimate:
        """The estimate as the profile has it; a problem goes to the bag, and the plain estimate comes back."""
        device = find_accelerator(resolved.spec.hardware.accelerator)
        if device is None or device.id != self.accelerator:
            span: Span = resolved.span("hardware.accelerator")
            bag.add(another_accelerator(span, self.place or self.name, self.accelerator, resolved.spec.hardware.accelerator))
            return figures
        return estimate(resolved, network, self.corrections(resolved, network, figures))

    def _correction(self, learned: Learned, target: Features, low: float, high: float) -> Correction:
        width = width_of(low, high)
        found = learned.posterior(SCALARS, target, learned.prior.repeat / width)
        return Correction(exp(found.mean * width), found.spread, self.learned)

    def _in_steps(self, target: Features) -> Stepping:
        middle, width = _stepping_scale()
        before = reliability().stepping
        found = self._stepping.posterior(SCALARS, target, self._stepping.prior.repeat / width)
        odds = middle + found.mean * width
        low, high = (share_of(odds + found.spread * (log_odds(end) - middle)) for end in (before.low, before.high))
        return Stepping(share_of(odds), low, high, self.learned)

    def _differences(self, target: Features, resolved: Resolved) -> list[str]:
        several = KINDS.index("several_nodes")
        spec = resolved.spec
        found = []
        if all(run.engine != spec.parallelism.engine for run in self.runs):
            found.append(f"none of them with engine {spec.parallelism.engine}")
        if all(run.precision != spec.precision for run in self.runs):
            found.append(f"none in {spec.precision}")
        if all(bool(run.kinds[several]) != bool(target.kinds[several]) for run in self.runs):
            found.append("none on several nodes" if target.kinds[several] else "none on one node")
        apart = self._step.nearest(target)
        if apart > 0.5:
            found.append(f"the most alike is {apart:.0f} doublings away")
        return found


def _on_processor(resolved: Resolved) -> bool:
    device = find_accelerator(resolved.spec.hardware.accelerator)
    return device is not None and device.is_cpu


def _configuration(resolved: Resolved, network: Network) -> Configuration:
    device = find_accelerator(resolved.spec.hardware.accelerator)
    assert device is not None  # rules have made sure of it
    return configuration_of(resolved, network, device)


def _stepping_scale() -> tuple[float, float]:
    """Middle and standard deviation of the odds of losing time, before anything was seen."""
    before = reliability().stepping
    return log_odds(before.value), (log_odds(before.low) - log_odds(before.high)) / (2 * NORMAL_80)


def _evidence(runs: Sequence[Run], prior: Prior, figure: Callable[[Run], Measured | None]) -> list[Evidence]:
    found = []
    for run in runs:
        value = figure(run)
        if value is not None:
            noise = sqrt(prior.repeat**2 + value.noise**2)
            found.append(Evidence(run.features, log(value.ratio) / value.width, noise / value.width))
    return found

"""How the learning rate moves: the function of the step, and its numbers."""

from collections.abc import Iterator
from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec
from llmspec.spec.schema.schedule import (
    ConstantSchedule,
    CosineRestartsSchedule,
    CosineSchedule,
    CyclicalSchedule,
    ExponentialSchedule,
    InverseSqrtSchedule,
    LinearSchedule,
    MultiStepSchedule,
    OneCycleSchedule,
    PolynomialSchedule,
    StepSchedule,
    WarmedUp,
    WsdSchedule,
)

_ENDS = (MultiStepSchedule, ExponentialSchedule, LinearSchedule, PolynomialSchedule, CosineSchedule, WsdSchedule, OneCycleSchedule)


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """What the templates need to know of the learning rate.

    `component` and `test_component` are paths of templates to include. `ends` says that the function needs to know the last step,
    `math` that it needs the module of that name and `test_math` that its test does, `warms_up` that it has `warmup_steps`. `cycles_grow`
    and `peaks_halve` are of schedules with cycles; `shape` is the line that a rise or fall follows, where there is a choice.
    `momentum` is what the optimizer calls the momentum that moves against the rate: `beta1` or `momentum`, None where none moves.
    """

    component: str
    test_component: str
    ends: bool
    math: bool
    test_math: bool
    warms_up: bool
    shape: str | None
    cycles_grow: bool
    peaks_halve: bool
    momentum: str | None
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_schedule(resolved: Resolved) -> SchedulePlan:
    """Choose the schedule's component and its numbers."""
    schedule = resolved.spec.schedule
    shape: str | None = None
    if isinstance(schedule, WsdSchedule):
        shape = schedule.decay_shape
    elif isinstance(schedule, OneCycleSchedule):
        shape = schedule.anneal_shape
    return SchedulePlan(
        component=f"components/schedule/{schedule.kind}.py.jinja",
        test_component=f"components/schedule/test_{schedule.kind}.py.jinja",
        ends=isinstance(schedule, _ENDS),
        math=schedule.kind in ("cosine", "cosine_restarts", "inverse_sqrt") or shape in ("cosine", "one_minus_sqrt"),
        test_math=schedule.kind == "cosine_restarts" or shape == "cosine",
        warms_up=isinstance(schedule, WarmedUp),
        shape=shape,
        cycles_grow=isinstance(schedule, CosineRestartsSchedule) and schedule.cycle_growth > 1,
        peaks_halve=isinstance(schedule, CyclicalSchedule) and schedule.cycle_shape == "triangular2",
        momentum=_cycled_momentum(resolved.spec),
        config_classes=(ConfigClass("ScheduleConfig", "The learning rate over the run.", tuple(_schedule_fields(resolved.spec))),),
        files=(EmittedFile("tests/test_schedule.py", "project/tests/test_schedule.py.jinja"),),
    )


def _cycled_momentum(spec: Spec) -> str | None:
    if getattr(spec.schedule, "momentum_at_peak", None) is None:
        return None
    return "beta1" if hasattr(spec.optimizer, "beta1") else "momentum"


def _schedule_fields(spec: Spec) -> Iterator[ConfigField]:
    schedule = spec.schedule
    yield ConfigField("learning_rate", "float", spec.optimizer.learning_rate, "at the peak")
    if isinstance(schedule, WarmedUp):
        yield ConfigField("warmup_steps", "int", schedule.warmup_steps, "steps until the peak")
    match schedule:
        case StepSchedule():
            yield ConfigField("decay_every", "int", schedule.decay_every, "steps between two falls")
            yield ConfigField("decay_factor", "float", schedule.decay_factor, "what a fall multiplies the rate by")
        case MultiStepSchedule():
            yield ConfigField("decay_at", "tuple[float, ...]", schedule.decay_at, "shares of the steps after which the rate falls")
            yield ConfigField("decay_factor", "float", schedule.decay_factor, "what a fall multiplies the rate by")
        case PolynomialSchedule():
            yield ConfigField("power", "float", schedule.power, "of the share of the steps that are left")
        case InverseSqrtSchedule():
            yield ConfigField("timescale", "int", schedule.timescale, "steps after which the rate has fallen by the root of 2")
        case CosineRestartsSchedule():
            yield ConfigField(
                "cycle_steps", "int", schedule.cycle_steps, f"steps of {'the first' if schedule.cycle_growth > 1 else 'a'} cycle"
            )
            if schedule.cycle_growth > 1:
                yield ConfigField("cycle_growth", "int", schedule.cycle_growth, "how many times as long each cycle is as the last")
        case WsdSchedule():
            yield ConfigField("decay_fraction", "float", schedule.decay_fraction, "share of the steps in which the rate falls")
        case CyclicalSchedule():
            yield ConfigField("rise_steps", "int", schedule.rise_steps, "steps from the lowest rate to the peak")
            yield ConfigField("fall_steps", "int", schedule.fall_steps, "steps back from there")
        case OneCycleSchedule():
            yield ConfigField("rise_fraction", "float", schedule.rise_fraction, "share of the steps in which the rate rises")
            yield ConfigField("initial_learning_rate", "float", schedule.initial_learning_rate, "at the first step")
        case _:
            pass
    if not isinstance(schedule, ConstantSchedule | StepSchedule | MultiStepSchedule | InverseSqrtSchedule):
        where = "at the end of a cycle" if isinstance(schedule, CosineRestartsSchedule | CyclicalSchedule) else "at the last step"
        yield ConfigField("min_learning_rate", "float", schedule.min_learning_rate, where)
    if isinstance(schedule, CyclicalSchedule | OneCycleSchedule) and schedule.momentum_at_peak is not None:
        name = _cycled_momentum(spec)
        yield ConfigField("momentum_at_peak", "float", schedule.momentum_at_peak, f"what the optimizer's {name} falls to there")

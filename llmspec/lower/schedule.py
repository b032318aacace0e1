"""How the learning rate moves: the function of the step, and its numbers."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec
from llmspec.spec.schema.schedule import ConstantSchedule, WsdSchedule


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """What the templates need to know of the learning rate.

    `component` and `test_component` are paths of templates to include. `ends` says that the function needs to know the last step, `math`
    that it needs the module of that name.
    """

    component: str
    test_component: str
    ends: bool
    math: bool
    decay_shape: str | None
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_schedule(resolved: Resolved) -> SchedulePlan:
    """Choose the schedule's component and its numbers."""
    schedule = resolved.spec.schedule
    decay_shape = schedule.decay_shape if isinstance(schedule, WsdSchedule) else None
    return SchedulePlan(
        component=f"components/schedule/{schedule.kind}.py.jinja",
        test_component=f"components/schedule/test_{schedule.kind}.py.jinja",
        ends=not isinstance(schedule, ConstantSchedule),
        math=schedule.kind == "cosine" or decay_shape in ("cosine", "one_minus_sqrt"),
        decay_shape=decay_shape,
        config_classes=(ConfigClass("ScheduleConfig", "The learning rate over the run.", _schedule_fields(resolved.spec)),),
        files=(EmittedFile("tests/test_schedule.py", "project/tests/test_schedule.py.jinja"),),
    )


def _schedule_fields(spec: Spec) -> tuple[ConfigField, ...]:
    schedule = spec.schedule
    fields = [
        ConfigField("learning_rate", "float", spec.optimizer.learning_rate, "at the peak"),
        ConfigField("warmup_steps", "int", schedule.warmup_steps, "steps until the peak"),
    ]
    if isinstance(schedule, WsdSchedule):
        fields.append(ConfigField("decay_fraction", "float", schedule.decay_fraction, "share of the steps in which the rate falls"))
    if not isinstance(schedule, ConstantSchedule):
        fields.append(ConfigField("min_learning_rate", "float", schedule.min_learning_rate, "at the last step"))
    return tuple(fields)

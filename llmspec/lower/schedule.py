"""The numbers of the learning rate schedule."""

from llmspec.lower.pieces import ConfigField
from llmspec.spec.schema import Spec
from llmspec.spec.schema.schedule import ConstantSchedule, WsdSchedule


def schedule_fields(spec: Spec) -> tuple[ConfigField, ...]:
    """The fields of ScheduleConfig."""
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

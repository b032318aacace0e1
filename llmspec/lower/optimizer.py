"""How the weights move: parameter groups, optimizer, learning rate."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.lower.schedule import schedule_fields
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec
from llmspec.spec.schema.schedule import ConstantSchedule, WsdSchedule


@dataclass(frozen=True, slots=True)
class OptimizerPlan:
    """What the template of optim.py needs to know.

    Each `*_component` is the path of a template to include. `schedule_ends` says that the learning rate falls towards the last step.
    """

    groups_component: str
    decays: bool
    decay_embeddings: bool
    schedule_component: str
    schedule_kind: str
    schedule_ends: bool
    schedule_math: bool
    decay_shape: str | None
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_optimizer(resolved: Resolved) -> OptimizerPlan:
    """Choose the optimizer's and the schedule's components, and the numbers of their config classes."""
    spec = resolved.spec
    schedule = spec.schedule
    decay_shape = schedule.decay_shape if isinstance(schedule, WsdSchedule) else None
    return OptimizerPlan(
        groups_component=f"components/optimizer/adamw{'_decay' if spec.optimizer.weight_decay else ''}.py.jinja",
        decays=spec.optimizer.weight_decay > 0,
        decay_embeddings=spec.optimizer.decay_embeddings,
        schedule_component=f"components/schedule/{schedule.kind}.py.jinja",
        schedule_kind=schedule.kind,
        schedule_ends=not isinstance(schedule, ConstantSchedule),
        schedule_math=schedule.kind == "cosine" or decay_shape in ("cosine", "one_minus_sqrt"),
        decay_shape=decay_shape,
        config_classes=(
            ConfigClass("OptimizerConfig", "AdamW.", (*_optimizer_fields(spec), *_weight_decay_fields(spec))),
            ConfigClass("ScheduleConfig", "The learning rate over the run.", schedule_fields(spec)),
        ),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in ("optim.py", "tests/test_optim.py")),
    )


def _optimizer_fields(spec: Spec) -> tuple[ConfigField, ...]:
    return (
        ConfigField("beta1", "float", spec.optimizer.beta1, "decay of the first moment"),
        ConfigField("beta2", "float", spec.optimizer.beta2, "decay of the second moment"),
        ConfigField("adam_eps", "float", spec.optimizer.adam_eps, "added to the root of the second moment"),
    )


def _weight_decay_fields(spec: Spec) -> list[ConfigField]:
    if not spec.optimizer.weight_decay:
        return []
    what = "matrices and embeddings" if spec.optimizer.decay_embeddings else "matrices"
    return [ConfigField("weight_decay", "float", spec.optimizer.weight_decay, f"of {what}, times the learning rate")]

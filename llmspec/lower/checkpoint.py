"""When and how the run is saved."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved


@dataclass(frozen=True, slots=True)
class CheckpointPlan:
    """What the template of checkpoint.py needs to know.

    `checkpoints_component` is the path of a template to include. `extra` says that there is state beside model and optimizer, which
    train.py names, `extra_tensors` that some of it is tensors; `keeps_some` that some checkpoints are never deleted.
    """

    checkpoints_component: str
    asynchronous: bool
    keeps_some: bool
    extra: bool
    extra_tensors: bool
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_checkpoint(resolved: Resolved) -> CheckpointPlan:
    """Decide what checkpoints hold."""
    checkpoint = resolved.spec.checkpoint
    fields = [
        ConfigField("every", "int", checkpoint.every, "steps between checkpoints"),
        ConfigField("keep", "int", checkpoint.keep, "how many stay, the newest"),
    ]
    if checkpoint.keep_every is not None:
        fields.append(ConfigField("keep_every", "int", checkpoint.keep_every, "those of each multiple of so many steps stay for ever"))
    deepspeed = resolved.spec.parallelism.engine == "deepspeed"
    tests = "components/deepspeed/test_checkpoint.py.jinja" if deepspeed else "project/tests/test_checkpoint.py.jinja"
    return CheckpointPlan(
        checkpoints_component=_component(resolved),
        asynchronous=bool(checkpoint.asynchronous),
        keeps_some=checkpoint.keep_every is not None,
        extra=True,
        extra_tensors=resolved.spec.training.ema is not None,
        config_classes=(ConfigClass("CheckpointConfig", "When the run is saved.", tuple(fields)),),
        files=(EmittedFile("checkpoint.py", "project/checkpoint.py.jinja"), EmittedFile("tests/test_checkpoint.py", tests)),
    )


def _component(resolved: Resolved) -> str:
    if resolved.spec.parallelism.engine == "deepspeed":
        return "components/deepspeed/checkpoints.py.jinja"
    return f"components/checkpoint/{'many_processes' if resolved.world_size > 1 else 'one_process'}.py.jinja"

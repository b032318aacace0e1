"""When and how the run is saved."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved


@dataclass(frozen=True, slots=True)
class CheckpointPlan:
    """What the template of checkpoint.py needs to know."""

    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_checkpoint(resolved: Resolved) -> CheckpointPlan:
    """Decide what checkpoints hold."""
    checkpoint = resolved.spec.checkpoint
    fields = (
        ConfigField("every", "int", checkpoint.every, "steps between checkpoints"),
        ConfigField("keep", "int", checkpoint.keep, "how many stay, the newest"),
    )
    return CheckpointPlan(
        config_classes=(ConfigClass("CheckpointConfig", "When the run is saved.", fields),),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in ("checkpoint.py", "tests/test_checkpoint.py")),
    )
